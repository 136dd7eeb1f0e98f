//! JSON-Schema-Test-Suite: no value that the suite calls invalid under a schema can be generated under it.
//! `docs/STRUCTURED_OUTPUT.md` has the counts and the command.

use super::{END, words};
use llamero::{
    constrain::{Compiled, Compiler, Vocabulary},
    protocol::{Constraint, Token},
};
use serde_json::Value;
use std::{env, fs, path::Path, sync::Arc};

const DOCUMENT: &str = include_str!("../../../docs/STRUCTURED_OUTPUT.md");

/// Counts of groups, which are schemas with values, and of values.
#[derive(Debug, Default)]
struct Tally {
    compiled: usize,
    refused: Vec<String>,
    /// Groups with a value that can be generated although it is not valid.
    wrong: Vec<String>,
    valid: usize,
    /// Values that cannot be generated although they are valid, as compact JSON.
    narrower: Vec<String>,
}

fn accepts(compiled: &Compiled, text: &str) -> bool {
    let mut matcher = compiled.matcher();
    let mut push = |token: Token, is_last: bool| {
        let may = matcher.allowed().is_ok_and(|allowed| allowed[token.0 as usize / 32] >> (token.0 % 32) & 1 == 1);
        let finished = matcher.is_finished();
        if is_last { finished || may } else { !finished && may && matcher.advance(token).is_ok() }
    };
    text.bytes().all(|byte| push(Token(byte.into()), false)) && push(END, true)
}

fn group(compiler: &Compiler, name: &str, group: &Value, tally: &mut Tally) {
    let name = format!("{name}: {}", group["description"].as_str().unwrap());
    let mut schema = group["schema"].clone();
    // The suite is about JSON Schema, which leaves objects open.
    if let Some(map) = schema.as_object_mut() {
        map.insert("x-llamero-open".to_owned(), true.into());
    }
    let compiled = match compiler.compile(&Constraint::JsonSchema(schema.to_string())) {
        Ok(compiled) => compiled,
        Err(reason) => return tally.refused.push(format!("{name}: {reason}")),
    };
    tally.compiled += 1;
    for case in group["tests"].as_array().unwrap() {
        let (text, is_valid) = (case["data"].to_string(), case["valid"] == true);
        tally.valid += usize::from(is_valid);
        match accepts(&compiled, &text) {
            true if !is_valid => tally.wrong.push(format!("{name}: {text}")),
            false if is_valid => tally.narrower.push(format!("{name}: {text}")),
            true | false => {}
        }
    }
}

#[test]
#[ignore = "takes a copy of JSON-Schema-Test-Suite"]
fn nothing_that_the_test_suite_calls_invalid_can_be_generated() {
    let folder = env::var("LLAMERO_SCHEMA_SUITE").expect("LLAMERO_SCHEMA_SUITE is a folder of the suite, such as tests/draft2020-12");
    let spell = |text: &str| text.bytes().map(|byte| Token(byte.into())).collect();
    let compiler = Compiler::new(Vocabulary::new(&words().unwrap(), Arc::new(spell)).unwrap());
    let mut paths: Vec<_> = fs::read_dir(Path::new(&folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut tally = Tally::default();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|end| end == "json")) {
        let name = path.file_stem().unwrap().to_string_lossy();
        let groups: Vec<Value> = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        groups.iter().for_each(|value| group(&compiler, &name, value, &mut tally));
    }

    eprintln!("{tally:#?}");
    let (all, narrower) = (tally.compiled + tally.refused.len(), tally.narrower.len());
    let counts = format!("| {all} | {} | {} | {} | {} | {narrower} |", tally.compiled, tally.refused.len(), tally.wrong.len(), tally.valid);
    eprintln!("{counts}");
    assert_eq!(tally.wrong, Vec::<String>::new());
    assert!(DOCUMENT.contains(&counts), "the document does not say {counts}");
}

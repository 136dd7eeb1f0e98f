//! Schemas whose numbers and strings are changed to extremes: each is compiled in the trial process and followed at
//! random, and an independent validator checks the texts.
//!
//! A small part runs with the other tests, over the schemas of `tests/fixtures`. The whole runs over
//! JSON-Schema-Test-Suite (`docs/STRUCTURED_OUTPUT.md` has the command).

use super::{END, trial, words};
use fastrand::Rng;
use llamero::{
    constrain::{Compiled, Compiler, Vocabulary, trial::TrialProcess},
    protocol::{Constraint, Token},
};
use serde_json::{Value, json};
use std::{env, fs, path::Path, sync::Arc};

/// Limits of 64-bit integers, floats and counters.
const NUMBERS: [&str; 34] = [
    "0",
    "-0.0",
    "1",
    "-1",
    "2",
    "3.0",
    "0.5",
    "-0.5",
    "0.1",
    "0.3",
    "1e-7",
    "5e-324",
    "1e-300",
    "99999",
    "100000",
    "100001",
    "65535",
    "65536",
    "2147483648",
    "-2147483649",
    "4294967296",
    "9007199254740991",
    "9007199254740992",
    "9007199254740993",
    "-9007199254740992",
    "-9007199254740993",
    "9223372036854775807",
    "-9223372036854775809",
    "18446744073709551616",
    "1e16",
    "1e19",
    "-1e19",
    "1e308",
    "-1e308",
];
/// Texts that are hard to quote, to match or to count.
const TEXTS: [&str; 20] = [
    "",
    " ",
    "a",
    "\0",
    "\n",
    "\u{7f}",
    "\u{80}",
    "\u{2028}",
    "é\u{301}",
    "😀",
    "\"\\",
    "\u{fffd}",
    "(",
    "(a+)+$",
    "^$",
    ".*",
    "[a-z]{300}",
    "\\p{L}+",
    "^(a|b)*x.{9}$",
    "__proto__",
];
/// Number of texts generated under one constraint.
const WALKS: usize = 3;
/// Maximum number of tokens of a text.
const TOKENS: usize = 400;

/// Counts of the outcomes.
#[derive(Debug, Default)]
struct Tally {
    sound: usize,
    refused: usize,
    out_of_cpu_time: usize,
    deaths_of_trials: usize,
    nobody_knows: usize,
    finished: usize,
    /// Number of outputs with a number that the validator's reader cannot represent, as the document says.
    unreadable: usize,
    /// Outputs that the validator refuses.
    invalid: Vec<String>,
}

struct Fuzz {
    dice: Rng,
    trial: TrialProcess,
    compiler: Compiler,
    tally: Tally,
}

impl Fuzz {
    fn new(seed: u64) -> Self {
        let spell = |text: &str| text.bytes().map(|byte| Token(byte.into())).collect();
        let vocabulary = Vocabulary::new(&words().unwrap(), Arc::new(spell)).unwrap();
        Self { dice: Rng::with_seed(seed), trial: trial(), compiler: Compiler::new(vocabulary), tally: Tally::default() }
    }

    fn run(mut self, schemas: &[Value], cases: usize) -> Tally {
        for _ in 0..cases {
            let mut schema = schemas[self.dice.usize(..schemas.len())].clone();
            for _ in 0..=self.dice.usize(..3) {
                self.mutate(&mut schema);
            }
            self.case(&schema);
        }
        self.tally
    }

    /// Changes some leaves to extremes, and sometimes adds a bound.
    fn mutate(&mut self, value: &mut Value) {
        match value {
            Value::Number(_) if self.dice.u8(..4) == 0 => *value = self.number(),
            Value::String(text) if self.dice.u8(..12) == 0 => *text = self.text(),
            Value::Array(values) => values.iter_mut().for_each(|value| self.mutate(value)),
            Value::Object(map) => {
                map.values_mut().for_each(|value| self.mutate(value));
                if self.dice.u8(..12) == 0 {
                    let keyword = ["const", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "multipleOf"];
                    map.insert(keyword[self.dice.usize(..keyword.len())].to_owned(), self.number());
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    fn number(&mut self) -> Value {
        serde_json::from_str(NUMBERS[self.dice.usize(..NUMBERS.len())]).unwrap()
    }

    fn text(&mut self) -> String {
        let text = TEXTS[self.dice.usize(..TEXTS.len())];
        text.repeat([1, 1, 1, 50][self.dice.usize(..4)])
    }

    fn case(&mut self, schema: &Value) {
        let constraint = Constraint::JsonSchema(schema.to_string());
        match self.trial.try_out(&constraint, &words) {
            Ok(_) => {
                self.tally.sound += 1;
                // The engine compiles only constraints that the trial process has compiled.
                let compiled = self.compiler.compile(&constraint).unwrap_or_else(|error| panic!("{schema}: sound, and then {error}"));
                self.follow(schema, &compiled);
            }
            Err(error) if error.message.contains("fails on it") => {
                eprintln!("death: {schema}");
                self.tally.deaths_of_trials += 1;
            }
            Err(error) if error.message.contains("CPU time") => self.tally.out_of_cpu_time += 1,
            Err(error) if error.is_final() => self.tally.refused += 1,
            Err(error) => {
                eprintln!("nobody knows, {error}: {schema}");
                self.tally.nobody_knows += 1;
            }
        }
    }

    fn follow(&mut self, schema: &Value, compiled: &Compiled) {
        // Formats that are not enforced are noted.
        let has_all_formats = compiled.notes().is_empty();
        let options = jsonschema::options().with_draft(draft(schema)).should_validate_formats(has_all_formats);
        let Ok(validator) = options.build(schema) else { return };
        for _ in 0..WALKS {
            let Some(text) = self.walk(compiled) else { continue };
            self.tally.finished += 1;
            match serde_json::from_str::<Value>(&text) {
                Ok(value) if validator.is_valid(&value) => {}
                Ok(value) if schema.to_string().contains("multipleOf") && is_inexact(&value) => self.tally.unreadable += 1,
                Err(error) if error.to_string().contains("number out of range") => self.tally.unreadable += 1,
                Ok(_) | Err(_) => self.tally.invalid.push(format!("{text:?} under {schema}")),
            }
        }
    }

    /// A finished text; `None` if it does not finish within [`TOKENS`].
    fn walk(&mut self, compiled: &Compiled) -> Option<String> {
        let mut matcher = compiled.matcher();
        let mut bytes = Vec::new();
        for _ in 0..TOKENS {
            if matcher.is_finished() {
                return String::from_utf8(bytes).ok();
            }
            let allowed = matcher.allowed().ok()?;
            let may = |token: Token| allowed[token.0 as usize / 32] >> (token.0 % 32) & 1 == 1;
            if may(END) && self.dice.bool() {
                return String::from_utf8(bytes).ok();
            }
            // Often a character that ends something, so that texts end.
            let closing = b"\"}],0:".iter().map(|byte| Token(u32::from(*byte))).filter(|token| may(*token));
            let any = (0..256).map(Token).filter(|token| may(*token));
            let choices: Vec<Token> = if self.dice.u8(..3) == 0 { closing.collect() } else { Vec::new() };
            let choices = if choices.is_empty() { any.collect() } else { choices };
            let token = *choices.get(self.dice.usize(..choices.len().max(1)))?;
            matcher.advance(token).ok()?;
            bytes.push(u8::try_from(token.0).ok()?);
        }
        None
    }
}

/// True if the validator's reader has rounded a number in `value`.
fn is_inexact(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_f64().is_some_and(|number| number.abs() > (1_u64 << 53) as f64),
        Value::Array(values) => values.iter().any(is_inexact),
        Value::Object(map) => map.values().any(is_inexact),
        Value::Null | Value::Bool(_) | Value::String(_) => false,
    }
}

fn draft(schema: &Value) -> jsonschema::Draft {
    match schema["$schema"].as_str() {
        Some(uri) if uri.contains("draft-07") => jsonschema::Draft::Draft7,
        Some(uri) if uri.contains("2019-09") => jsonschema::Draft::Draft201909,
        _ => jsonschema::Draft::Draft202012,
    }
}

/// The schemas of the suite's files in a folder: lists of `{"schema", "tests"}`.
fn suite(folder: &Path) -> Vec<Value> {
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let files = paths.iter().filter(|path| path.extension().is_some_and(|end| end == "json"));
    let groups = files.flat_map(|path| serde_json::from_str::<Vec<Value>>(&fs::read_to_string(path).unwrap()).unwrap());
    groups.map(|group| group["schema"].clone()).filter(Value::is_object).collect()
}

fn fixtures() -> Vec<Value> {
    let table: Vec<Value> = serde_json::from_str(include_str!("../../fixtures/json_schema_keywords.json")).unwrap();
    let rows = table.into_iter().filter(|row| row["refused"].is_null()).map(|mut row| row["schema"].take());
    let corpora = [include_str!("../../fixtures/one_field/pydantic.json"), include_str!("../../fixtures/one_field/zod.json")];
    let corpora =
        corpora.into_iter().flat_map(|corpus| serde_json::from_str::<Value>(corpus).unwrap()["models"].as_array().unwrap().clone());
    let models = corpora.map(|mut model| model["schema"].take());
    rows.chain(models).chain([json!({"type": "object"}), json!({"type": "integer", "minimum": 0, "maximum": 10})]).collect()
}

#[track_caller]
fn check(tally: &Tally) {
    eprintln!("{tally:#?}");
    assert_eq!((tally.deaths_of_trials, tally.nobody_knows), (0, 0));
    assert_eq!(tally.invalid, Vec::<String>::new());
    assert!(tally.unreadable * 20 < tally.finished, "{tally:?}");
}

#[test]
fn schemas_driven_to_extremes_are_refused_or_give_valid_json() {
    let tally = Fuzz::new(1).run(&fixtures(), 400);

    check(&tally);
    assert!(tally.finished > 100, "{tally:?}");
}

#[test]
#[ignore = "takes a minute, and a copy of JSON-Schema-Test-Suite"]
fn the_test_suite_driven_to_extremes_is_refused_or_gives_valid_json() {
    let folder = env::var("LLAMERO_SCHEMA_SUITE").expect("LLAMERO_SCHEMA_SUITE is a folder of the suite, such as tests/draft2020-12");
    let number = |name: &str, default: u64| env::var(name).map_or(default, |value| value.parse().unwrap());
    let cases = usize::try_from(number("LLAMERO_FUZZ_CASES", 20_000)).unwrap();

    check(&Fuzz::new(number("LLAMERO_FUZZ_SEED", 1)).run(&suite(Path::new(&folder)), cases));
}

//! Constraints over a real vocabulary: the same texts are allowed as over single bytes; also the time of a mask.

use super::*;
use llamero::{
    constrain::{Compiler, Matcher, Piece, Vocabulary, Words},
    protocol::Constraint,
};
use serde_json::{Value, json};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

fn vocabulary(tokenizer: &Arc<dyn Tokenizer>) -> Vocabulary {
    let spell = Arc::clone(tokenizer);
    let spell = move |text: &str| spell.encode(text, false, &SpecialText::Continuation).unwrap();
    let piece = |token| match tokenizer.piece(token, false) {
        _ if tokenizer.is_eog(token) => Piece::End(tokenizer.piece(token, true)),
        b"" => Piece::Special(tokenizer.piece(token, true)),
        bytes => Piece::Text(bytes),
    };
    Vocabulary::new(&Words::new(tokenizer.vocabulary_size(), piece).unwrap(), Arc::new(spell)).unwrap()
}

fn compiler() -> Option<(Arc<dyn Tokenizer>, Compiler)> {
    let tokenizer: std::sync::Arc<dyn Tokenizer> = loaded(KvLayout::Split)?.tokenizer();
    let compiler = Compiler::new(vocabulary(&tokenizer));
    Some((tokenizer, compiler))
}

fn may(allowed: &[u32], token: Token) -> bool {
    allowed[usize::try_from(token.0 / 32).unwrap()] >> (token.0 % 32) & 1 == 1
}

/// True if the text can be generated in the tokenizer's spelling; and the time of each mask.
fn follow(tokenizer: &dyn Tokenizer, mut matcher: Matcher, text: &str) -> (bool, Vec<Duration>) {
    let mut times = Vec::new();
    for token in tokenizer.encode(text, false, &SpecialText::Plain).unwrap() {
        let begun = Instant::now();
        let allowed = matcher.allowed().map(|allowed| may(allowed, token));
        times.push(begun.elapsed());
        if allowed != Ok(true) || matcher.advance(token).is_err() {
            return (false, times);
        }
    }
    let ends = |allowed: &[u32]| (0..tokenizer.vocabulary_size()).map(Token).any(|token| may(allowed, token) && tokenizer.is_eog(token));
    let complete = matcher.is_finished() || matcher.allowed().is_ok_and(ends);
    (complete, times)
}

#[test]
fn keywords_of_json_schema_hold_for_tokens_as_they_do_for_bytes() {
    let Some((tokenizer, compiler)) = compiler() else { return };
    let table: Vec<Value> = serde_json::from_str(include_str!("../../fixtures/json_schema_keywords.json")).unwrap();
    for row in table.iter().filter(|row| row["refused"].is_null()) {
        let mut schema = row["schema"].clone();
        // The table is about JSON Schema, which leaves objects open.
        schema["x-llamero-open"] = true.into();
        let compiled = compiler.compile(&Constraint::JsonSchema(schema.to_string())).unwrap();
        for (list, expected) in [("accepts", true), ("rejects", false), ("narrower", false)] {
            for instance in row[list].as_array().into_iter().flatten() {
                let (accepted, _) = follow(&*tokenizer, compiled.matcher(), &instance.to_string());
                assert_eq!(accepted, expected, "{instance} under {row}");
            }
        }
    }
}

#[test]
fn masks_take_microseconds() {
    let Some((tokenizer, compiler)) = compiler() else { return };
    let begun = Instant::now();
    drop(vocabulary(&tokenizer));
    eprintln!("vocabulary of {}: {:.0} ms", tokenizer.vocabulary_size(), begun.elapsed().as_secs_f64() * 1e3);
    let person = json!({"type": "object", "properties": {
        "name": {"type": "string"}, "age": {"type": "integer", "minimum": 0, "maximum": 130}, "email": {"type": "string", "format": "email"},
        "tags": {"type": "array", "items": {"type": "string", "maxLength": 20}}, "role": {"enum": ["admin", "user", "guest"]},
        "active": {"type": "boolean"}}, "required": ["name", "age", "email", "tags", "role", "active"], "additionalProperties": false});
    let text = json!({"name": "Grace Brewster Murray Hopper", "age": 85, "email": "grace.hopper@navy.example.org",
        "tags": ["compilers", "COBOL", "admiral of the fleet"], "role": "admin", "active": true});
    let prose = "The quick brown fox jumps over the lazy dog, and then it does so again and again. ".repeat(4);
    let cases = [
        ("json object", Constraint::JsonObject, text.to_string()),
        ("six keys", Constraint::JsonSchema(person.to_string()), text.to_string()),
        ("string of any length", Constraint::JsonSchema(r#"{"type":"string"}"#.to_owned()), json!(prose).to_string()),
        ("regex", Constraint::Regex("[A-Za-z ,.]{0,2000}".to_owned()), prose.clone()),
        ("choice", Constraint::Choice(vec![prose.clone(), "other".to_owned()]), prose),
    ];
    for (name, constraint, text) in cases {
        let begun = Instant::now();
        let compiled = compiler.compile(&constraint).unwrap();
        let compile = begun.elapsed();
        let begun = Instant::now();
        let matcher = compiled.matcher();
        let copied = begun.elapsed();
        let (accepted, mut times) = follow(&*tokenizer, matcher, &text);
        assert!(accepted, "{name}: {text}");
        let us = |time: Duration| time.as_secs_f64() * 1e6;
        let mean = us(times.iter().sum::<Duration>()) / times.len() as f64;
        times.sort_unstable();
        eprintln!(
            "{name}: compiled in {:.1} ms, copied in {:.0} µs; {} masks: mean {mean:.0} µs, median {:.0}, p90 {:.0}, worst {:.0}",
            us(compile) / 1e3,
            us(copied),
            times.len(),
            us(times[times.len() / 2]),
            us(times[times.len() * 9 / 10]),
            us(times[times.len() - 1])
        );
    }
}

//! The keywords of JSON schema that work: a table of schemas with texts that they accept and reject, and the document
//! that lists the keywords.

use super::{Automaton, left_open};
use crate::{constrain::schema::REFUSED, protocol::Constraint};
use serde_json::Value;
use std::collections::BTreeSet;

const TABLE: &str = include_str!("../../../tests/fixtures/json_schema_keywords.json");
const DOCUMENT: &str = include_str!("../../../docs/STRUCTURED_OUTPUT.md");

fn table() -> Vec<Value> {
    serde_json::from_str(TABLE).unwrap()
}

fn values<'a>(row: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> {
    row[list].as_array().map(Vec::as_slice).unwrap_or_default().iter()
}

/// True if an independent validator accepts the instance.
fn is_valid(row: &Value, instance: &Value) -> bool {
    let draft = if row["draft"] == 7 { jsonschema::Draft::Draft7 } else { jsonschema::Draft::Draft202012 };
    let validator = jsonschema::options().with_draft(draft).should_validate_formats(true).build(&row["schema"]).unwrap();
    validator.is_valid(instance)
}

#[test]
fn supported_keywords_accept_and_reject_as_an_independent_validator_does() {
    for row in table().iter().filter(|row| row["refused"].is_null()) {
        let constraint = Constraint::JsonSchema(left_open(&row["schema"].to_string()));
        let automaton = Automaton::new(&constraint).unwrap_or_else(|error| panic!("{row}: {error}"));
        for instance in values(row, "accepts") {
            assert!(is_valid(row, instance), "the table is wrong about {instance}: {row}");
            assert!(automaton.accepts(&instance.to_string()), "{instance} cannot be generated: {row}");
        }
        for instance in values(row, "rejects") {
            assert!(!is_valid(row, instance), "the table is wrong about {instance}: {row}");
            assert!(!automaton.accepts(&instance.to_string()), "{instance} can be generated: {row}");
        }
        for instance in values(row, "narrower") {
            assert!(is_valid(row, instance), "the table is wrong about {instance}: {row}");
            assert!(!automaton.accepts(&instance.to_string()), "{instance} can be generated after all: {row}");
        }
    }
}

#[test]
fn unsupported_keywords_are_refused_by_name_and_place() {
    for row in table().iter().filter(|row| !row["refused"].is_null()) {
        let refused = Automaton::new(&Constraint::JsonSchema(left_open(&row["schema"].to_string()))).unwrap_err();

        assert!(refused.contains(row["refused"].as_str().unwrap()), "{refused:?}: {row}");
    }
}

/// The keywords in the first column of the document's table under `heading`.
fn documented(heading: &str) -> BTreeSet<String> {
    let section = DOCUMENT.split(heading).nth(1).unwrap().split("\n#").next().unwrap();
    let cells = section.lines().filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
    cells.flat_map(|cell| cell.split(',')).map(|name| name.trim().trim_matches('`').to_owned()).collect()
}

fn in_table(refused: bool) -> BTreeSet<String> {
    let rows = table().into_iter().filter(|row| row["refused"].is_null() != refused);
    rows.map(|row| row["keyword"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn the_document_lists_exactly_the_keywords_of_the_table() {
    assert_eq!(documented("### Keywords that work"), in_table(false));
    assert_eq!(documented("### Keywords that are refused"), in_table(true));
    assert_eq!(in_table(true), REFUSED.iter().map(|keyword| (*keyword).to_owned()).collect());
}

#[test]
fn the_document_lists_exactly_the_formats_of_the_table() {
    let line = DOCUMENT.lines().find(|line| line.starts_with("| `format`")).unwrap();
    let listed: BTreeSet<&str> = line.split('`').skip(3).step_by(2).collect();
    let table = table();

    let formats = table.iter().filter_map(|row| row["schema"]["format"].as_str()).collect();

    assert_eq!(listed, formats);
}

//! Schemas that libraries write for one field of each kind: `tests/fixtures/one_field`, made by pydantic and zod.

use super::schema;
use serde_json::Value;

const DOCUMENT: &str = include_str!("../../../docs/STRUCTURED_OUTPUT.md");

/// The kinds of fields whose models are refused, and the number of all models.
fn refused(corpus: &str) -> (Vec<String>, usize) {
    let corpus: Value = serde_json::from_str(corpus).unwrap();
    let models = corpus["models"].as_array().unwrap();
    let refused = models.iter().filter_map(|model| schema(&model["schema"].to_string()).err().map(|reason| (model, reason)));
    let named = refused.map(|(model, reason)| {
        // A refusal names its place.
        assert!(reason.contains("#/"), "{model}: {reason}");
        model["name"].as_str().unwrap().to_owned()
    });
    (named.collect(), models.len())
}

fn check(library: &str, corpus: &str, expected: &[&str]) {
    let (refused, all) = refused(corpus);

    assert_eq!(refused, expected);
    let count = format!("{} of {all} models of {library}", all - refused.len());
    assert!(DOCUMENT.contains(&count), "the document does not say {count}");
}

#[test]
fn models_of_pydantic_with_one_field_can_be_used_but_for_the_known_ones() {
    check("pydantic", include_str!("../../../tests/fixtures/one_field/pydantic.json"), &["set[str]"]);
}

#[test]
fn models_of_zod_with_one_field_can_be_used_but_for_the_known_ones() {
    check("zod", include_str!("../../../tests/fixtures/one_field/zod.json"), &["emoji", "iso.duration"]);
}

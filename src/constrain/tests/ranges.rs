//! Numbers with every kind of bound: exactly the texts of numbers within them can be generated.

use super::{Automaton, schema};
use fastrand::Rng;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Bounds of both signs, within one unit and across units, up to where floats end to have fractions.
const BOUNDS: [f64; 15] = [-1e15, -10.5, -10.0, -1.5, -1.0, -0.25, 0.0, 1e-7, 0.1, 0.5, 1.0, 1.5, 9.99, 10.0, 10.5];
const OPENNESS: [(&str, &str); 4] =
    [("minimum", "maximum"), ("exclusiveMinimum", "maximum"), ("minimum", "exclusiveMaximum"), ("exclusiveMinimum", "exclusiveMaximum")];

#[derive(Debug, Clone, Copy)]
struct Range {
    low: Option<f64>,
    high: Option<f64>,
    openness: (&'static str, &'static str),
}

impl Range {
    fn has(self, value: f64) -> bool {
        let (low, high) = (self.low.unwrap_or(f64::NEG_INFINITY), self.high.unwrap_or(f64::INFINITY));
        let above = if self.openness.0 == "minimum" { value >= low } else { value > low };
        above && if self.openness.1 == "maximum" { value <= high } else { value < high }
    }

    fn schema(self, kind: &str) -> Value {
        let mut schema = json!({"type": kind});
        if let Some(low) = self.low {
            schema[self.openness.0] = json!(low);
        }
        if let Some(high) = self.high {
            schema[self.openness.1] = json!(high);
        }
        schema
    }

    /// Values within, at and beside the bounds, in the spellings that JSON has for them.
    fn texts(self, dice: &mut Rng) -> BTreeSet<String> {
        let (low, high) = (self.low.unwrap_or(-2e15), self.high.unwrap_or(2e15));
        let mut values = vec![0.0, 1.0, -1.0, (low + high) / 2.0];
        for bound in [low, high] {
            let near = [0.0, 1e-9, 0.1, 1.0].into_iter().flat_map(|step| [bound - step, bound + step]);
            values.extend(near.chain([bound.next_up(), bound.next_down(), bound.trunc()]));
        }
        values.extend((0..3).map(|_| low + (high - low) * dice.f64()));
        let spelled = values.into_iter().flat_map(|value| {
            [format!("{value}"), format!("{value:.2}"), format!("{value:.24}"), format!("{value:e}"), format!("-{value}")]
        });
        spelled.filter(|text| !text.starts_with("--")).collect()
    }
}

/// Texts of numbers outside of the range that can be generated, and short ones within it that cannot.
fn faults(range: Range, kind: &str, dice: &mut Rng) -> Vec<String> {
    let schema_text = range.schema(kind).to_string();
    let automaton: Result<Automaton, String> = schema(&schema_text);
    let mut faults = Vec::new();
    for text in range.texts(dice) {
        let value: f64 = text.parse().unwrap();
        let (is_whole, is_short) = (value.fract() == 0.0, text.len() < 12 && !text.contains('e') && text != "-0");
        let is_valid = range.has(value) && (kind == "number" || is_whole);
        // As text, an integer has no point, and a number no zeros that say nothing.
        let is_plain = is_short && text == value.to_string();
        match &automaton {
            Err(reason) if is_valid && is_plain => faults.push(format!("{schema_text} is refused, though it has {text}: {reason}")),
            Ok(automaton) if !is_valid && automaton.accepts(&text) => faults.push(format!("{schema_text} allows {text}")),
            Ok(automaton) if is_valid && is_plain && !automaton.accepts(&text) => {
                faults.push(format!("{schema_text} does not allow {text}"))
            }
            Ok(_) | Err(_) => {}
        }
    }
    faults
}

fn check(kind: &str) {
    let mut dice = Rng::with_seed(11);
    let mut all = Vec::new();
    let ends: Vec<Option<f64>> = BOUNDS.into_iter().map(Some).chain([None]).collect();
    for (&low, &high) in ends.iter().flat_map(|low| ends.iter().map(move |high| (low, high))) {
        for openness in OPENNESS {
            all.extend(faults(Range { low, high, openness }, kind, &mut dice));
        }
    }
    let shown: Vec<&String> = all.iter().take(20).collect();
    assert!(all.is_empty(), "{} faults: {shown:#?}", all.len());
}

#[test]
fn numbers_lie_within_their_bounds_and_short_ones_that_do_can_be_generated() {
    check("number");
}

#[test]
fn integers_lie_within_their_bounds_and_short_ones_that_do_can_be_generated() {
    check("integer");
}

#[test]
fn numbers_within_bounds_of_any_size_are_never_equal_to_an_exclusive_one() {
    let mut dice = Rng::with_seed(12);
    let mut all = Vec::new();
    for _ in 0..150 {
        let mut bound = || {
            let value = (dice.f64() - 0.5) * 10_f64.powi(dice.i32(-12..15));
            let decimals = dice.usize(0..8);
            format!("{value:.decimals$}").parse::<f64>().unwrap()
        };
        let (one, other) = (bound(), bound());
        let range = Range { low: Some(one.min(other)), high: Some(one.max(other)), openness: OPENNESS[dice.usize(0..4)] };
        all.extend(faults(range, ["number", "integer"][dice.usize(0..2)], &mut dice));
    }
    let shown: Vec<&String> = all.iter().take(20).collect();
    assert!(all.is_empty(), "{} faults: {shown:#?}", all.len());
}

#[test]
fn bounds_that_stand_in_different_places_are_all_kept() {
    for (text, valid, invalid) in [
        (r#"{"allOf":[{"type":"number","exclusiveMinimum":0},{"maximum":0.5}]}"#, "0.25", "0"),
        (r#"{"type":"number","minimum":1,"exclusiveMinimum":true,"maximum":1.5}"#, "1.25", "1"),
        (r#"{"type":"number","minimum":0,"exclusiveMinimum":0.5,"exclusiveMaximum":1,"maximum":0.75}"#, "0.75", "0.5"),
        (r#"{"type":"integer","exclusiveMinimum":9007199254740992}"#, "9007199254740994", "9007199254740992"),
        (r#"{"enum":[0,0.5,1],"exclusiveMinimum":0}"#, "0.5", "0"),
        (r#"{"type":"number","exclusiveMinimum":0,"maximum":1e-30}"#, "0.0000000000000000000000000000005", "0"),
        (r#"{"type":"number","multipleOf":0.5,"exclusiveMinimum":1,"maximum":2}"#, "1.5", "1.0"),
    ] {
        let automaton = schema(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert!(automaton.accepts(valid), "{text}: {valid}");
        assert!(!automaton.accepts(invalid), "{text}: {invalid}");
    }
}

#[test]
fn a_range_without_a_number_is_refused_in_its_own_numbers() {
    let refused = schema(r#"{"type":"number","exclusiveMinimum":5,"maximum":5}"#).unwrap_err();

    assert!(refused.contains("exclusiveMinimum (5) is equal to maximum (5)"), "{refused}");
}

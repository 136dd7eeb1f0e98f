//! JSON schemas inside a Lark grammar (`%json { … }`): checked by the same rules as a schema that stands alone, and
//! compiled with the same options. In regular expressions `\d`, `\w` and `\s` become ASCII. llguidance checks the rest
//! of the grammar.

use super::{
    ascii,
    json_style::with_options,
    schema::{self, Notes},
};
use crate::protocol::{ConstraintError, ConstraintErrorKind::Invalid};
use serde_json::{Deserializer, Value};

/// The directive before a schema.
const JSON: &str = "%json";

/// The grammar with its schemas checked and prepared, and the notes on them.
///
/// # Errors
/// A schema cannot be used.
pub(super) fn prepare(text: &str) -> Result<(String, Notes), ConstraintError> {
    let mut notes = Notes::default();
    let mut prepared = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = next_schema(rest) {
        let (before, schema) = rest.split_at(at + JSON.len());
        let mut values = Deserializer::from_str(schema).into_iter::<Value>();
        let not_json = |error| ConstraintError::new(Invalid, format!("what follows {JSON} is not JSON: {error}"));
        let value = values.next().unwrap_or(Ok(Value::Null)).map_err(not_json)?;
        let checked = schema::prepare(&value.to_string())?;
        notes.append(&checked.notes);
        let value = with_options(checked.schema);
        push_with_ascii_classes(before, &mut prepared);
        prepared.push(' ');
        prepared.push_str(&value.to_string());
        rest = &schema[values.byte_offset()..];
    }
    push_with_ascii_classes(rest, &mut prepared);
    Ok((prepared, notes))
}

/// The offset of the next [`JSON`] that is not part of a string, a regular expression or a comment.
fn next_schema(text: &str) -> Option<usize> {
    parts(text).find(|part| part.kind == PartKind::Json).map(|part| part.start)
}

/// Copies a part of a grammar without schemas. Its regular expressions get ASCII classes.
fn push_with_ascii_classes(text: &str, written: &mut String) {
    let mut copied = 0;
    for LarkPart { start, end, .. } in parts(text).filter(|part| part.kind == PartKind::Regex) {
        written.push_str(&text[copied..start]);
        written.push_str(&ascii::shorthands(&text[start..end]));
        copied = end;
    }
    written.push_str(&text[copied..]);
}

/// A part of a grammar that is found by scanning it, by its offsets.
struct LarkPart {
    kind: PartKind,
    start: usize,
    end: usize,
}

#[derive(PartialEq, Eq)]
enum PartKind {
    /// A regular expression with its slashes.
    Regex,
    /// The directive [`JSON`].
    Json,
}

/// The regular expressions and [`JSON`]s, but not those in strings, expressions and comments. Each byte is looked at
/// once.
fn parts(text: &str) -> impl Iterator<Item = LarkPart> {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        while at < bytes.len() {
            let start = at;
            match bytes[at] {
                b'"' => at = after(bytes, at + 1, b'"'),
                b'#' => at = line_end(bytes, at),
                b'/' if bytes.get(at + 1) == Some(&b'/') => at = line_end(bytes, at),
                b'/' => {
                    at = after(bytes, at + 1, b'/');
                    return Some(LarkPart { kind: PartKind::Regex, start, end: at });
                }
                b'%' if bytes[at..].starts_with(JSON.as_bytes()) => {
                    at += JSON.len();
                    return Some(LarkPart { kind: PartKind::Json, start, end: at });
                }
                _ => at += 1,
            }
        }
        None
    })
}

/// The offset of the next line end, from `at` on.
fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |end| at + end)
}

/// The offset after the next `end` that no backslash escapes. A string ends with its line at the latest; a regular
/// expression may span lines (llguidance's lexer, `lark/lexer.rs`).
fn after(bytes: &[u8], mut at: usize, end: u8) -> usize {
    while let Some(&byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'\\' => at += 1,
            b'\n' if end == b'"' => return at,
            byte if byte == end => return at,
            _ => {}
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemas_inside_are_held_to_the_rules_of_schemas() {
        for (grammar, reason) in [
            (r#"start: %json {"type": "integer", "const": -1e19}"#, "#/const"),
            (r#"start: a %json{"not": {}} b"#, "'not'"),
            ("start: a\na: \"x\" %json {\"const\":1}\nb: %json {\"minimum\": 1e300}", "#/minimum"),
            ("start: /a\n\"/ %json {\"const\":-1e19}", "#/const"),
            ("start: %lark { start: %json {\"const\":1e19} }", "#/const"),
            ("start: %json {", "not JSON"),
            ("start: %json", "not a JSON object"),
            ("start: %json [1]", "not a JSON object"),
        ] {
            let refused = prepare(grammar).unwrap_err().to_string();
            assert!(refused.contains(reason), "{grammar}: {refused}");
        }
    }

    #[test]
    fn regular_expressions_get_ascii_classes() {
        let (prepared, _) = prepare("start: A \"\\d\" %json {\"pattern\": \"\\\\d\"} B\nA: /\\d\\//  // \\d\nB: /\\w/i\n").unwrap();

        assert!(prepared.starts_with("start: A \"\\d\" %json {\"pattern\":\"\\\\d\""), "{prepared}");
        assert!(prepared.ends_with(" B\nA: /[0-9]\\//  // \\d\nB: /[0-9A-Za-z_]/i\n"), "{prepared}");
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        for grammar in [
            "start: \"%json {\" /a%json\\/\"/ \"\\\"%json\" b\n// %json {\nb: /\"/ \"c\"\n",
            "# the %json below\nstart: a # %json {\n",
            "start: \"é\" %jso",
            "",
        ] {
            assert_eq!(prepare(grammar), Ok((grammar.to_owned(), Notes::default())));
        }
        let (prepared, _) = prepare("start: a %json {\"type\":\"null\"} \"z\" // end").unwrap();
        assert!(prepared.starts_with("start: a %json {\"type\":\"null\",\"x-guidance\":"), "{prepared}");
        assert!(prepared.ends_with("}} \"z\" // end"), "{prepared}");
    }
}

//! Reads the text that a model gave a tool whose input is a text (OpenAI's custom tools) from the arguments of the
//! call: `{"input": "…"}`.
//!
//! The text is passed on while it arrives if `input` is the first member, as the schema has it. Other arguments are
//! read at their end, because a model may leave the schema where nothing constrains it. Holds back at most the
//! arguments of one call.

use serde_json::{Map, Value};

/// The name of the argument that holds the text.
pub const TEXT_ARGUMENT: &str = "input";

/// Maximum bytes before the text of `input`, if it is to be passed on while it arrives.
const MAX_OPENING: usize = 64;

/// The input of one call, as far as it was read.
#[derive(Debug, Default)]
pub(super) struct InputReader {
    /// The arguments so far; empty once the text has begun.
    arguments: String,
    state: InputReaderState,
    /// The first of two UTF-16 units that make one character.
    half: Option<u16>,
}

#[derive(Debug, Default)]
enum InputReaderState {
    /// Before the text of `input`, or the arguments have another form.
    #[default]
    Opening,
    Text,
    Escape,
    /// Within the four digits of an escape; the value of those that have come.
    Unicode {
        digits: u8,
        unit: u16,
    },
    /// After the text.
    Ended,
}

impl InputReader {
    /// Adds arguments, which are JSON as far as they go, and returns the text that is certain now.
    pub(super) fn push(&mut self, more: &str) -> String {
        let mut text = String::new();
        more.chars().for_each(|c| self.take(c, &mut text));
        text
    }

    /// Ends the arguments, and returns the rest of the text.
    pub(super) fn finish(mut self) -> String {
        let mut text = String::new();
        self.end_half(&mut text);
        if !self.arguments.is_empty() {
            text.push_str(&text_of(&self.arguments));
        }
        text
    }

    fn take(&mut self, c: char, text: &mut String) {
        match (&mut self.state, c) {
            (InputReaderState::Opening, _) => {
                self.arguments.push(c);
                if c == '"' && self.arguments.len() <= MAX_OPENING && opens_text(&self.arguments) {
                    self.arguments.clear();
                    self.state = InputReaderState::Text;
                }
            }
            (InputReaderState::Text, '"') => {
                self.end_half(text);
                self.state = InputReaderState::Ended;
            }
            (InputReaderState::Text, '\\') => self.state = InputReaderState::Escape,
            (InputReaderState::Text, _) => {
                self.end_half(text);
                text.push(c);
            }
            (InputReaderState::Escape, 'u') => self.state = InputReaderState::Unicode { digits: 0, unit: 0 },
            (InputReaderState::Escape, _) => {
                self.end_half(text);
                text.push(escaped(c));
                self.state = InputReaderState::Text;
            }
            (InputReaderState::Unicode { digits, unit }, _) => {
                let digit = c.to_digit(16).and_then(|digit| u16::try_from(digit).ok()).unwrap_or_default();
                (*digits, *unit) = (*digits + 1, (*unit << 4) | digit);
                if *digits == 4 {
                    let unit = *unit;
                    self.state = InputReaderState::Text;
                    self.unit(unit, text);
                }
            }
            (InputReaderState::Ended, _) => {}
        }
    }

    /// Takes in a UTF-16 unit: a character, or half of one.
    fn unit(&mut self, unit: u16, text: &mut String) {
        if let Some(Ok(c)) = self.half.and_then(|half| char::decode_utf16([half, unit]).next()) {
            self.half = None;
            text.push(c);
            return;
        }
        self.end_half(text);
        match char::from_u32(unit.into()) {
            Some(c) => text.push(c),
            None => self.half = Some(unit),
        }
    }

    /// Replaces a half that nothing completes.
    fn end_half(&mut self, text: &mut String) {
        if self.half.take().is_some() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
}

/// True if these are the arguments up to the first character of the text of `input`.
fn opens_text(arguments: &str) -> bool {
    let after_key = arguments.strip_prefix('{').and_then(|rest| rest.trim_start().strip_prefix("\"input\""));
    after_key.and_then(|rest| rest.trim_start().strip_prefix(':')).is_some_and(|rest| rest.trim_start() == "\"")
}

/// The character that an escape of JSON means.
fn escaped(c: char) -> char {
    match c {
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'b' => '\u{8}',
        'f' => '\u{c}',
        c => c,
    }
}

/// The text of arguments in another form: `input`, else the only member, else all of them. A value that is no string is
/// its JSON.
fn text_of(arguments: &str) -> String {
    let Ok(members) = serde_json::from_str::<Map<String, Value>>(arguments) else { return arguments.to_owned() };
    let only = (members.len() == 1).then(|| members.values().next()).flatten();
    match members.get(TEXT_ARGUMENT).or(only) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => arguments.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The text, read in one piece and character by character.
    fn text(arguments: &str) -> String {
        let mut whole = InputReader::default();
        let at_once = whole.push(arguments) + &whole.finish();
        let mut pieces = InputReader::default();
        let mut joined: String = arguments.chars().map(|c| pieces.push(c.encode_utf8(&mut [0; 4]))).collect();
        joined.push_str(&pieces.finish());
        assert_eq!(at_once, joined);
        at_once
    }

    #[test]
    fn the_text_is_the_string_without_its_escapes() {
        assert_eq!(text(r#"{"input": "a\n\"b\" \\ \/ \t é €"}"#), "a\n\"b\" \\ / \t é €");
        assert_eq!(text("{ \"input\" :\n\"\\u00e9\\ud83d\\ude00x\"}"), "é😀x");
        assert_eq!(text(r#"{"input":""}"#), "");
    }

    #[test]
    fn half_a_character_is_replaced() {
        assert_eq!(text(r#"{"input":"\ud83dx"}"#), "\u{fffd}x");
        assert_eq!(text(r#"{"input":"\ud83d"}"#), "\u{fffd}");
        assert_eq!(text(r#"{"input":"\ud83d\ud83d\ude00"}"#), "\u{fffd}😀");
        assert_eq!(text(r#"{"input":"\ude00\n"}"#), "\u{fffd}\n");
    }

    #[test]
    fn a_text_that_was_cut_off_is_there_up_to_the_cut() {
        assert_eq!(text(r#"{"input":"ab"#), "ab");
        assert_eq!(text(r#"{"input":"ab\"#), "ab");
        assert_eq!(text(r#"{"input":"ab\u00"#), "ab");
    }

    #[test]
    fn arguments_in_another_form_are_read_at_their_end() {
        assert_eq!(text(r#"{"patch":"a\nb"}"#), "a\nb");
        assert_eq!(text(r#"{"why":"x","input":"ab"}"#), "ab");
        assert_eq!(text(r#"{"input":{"a":1}}"#), r#"{"a":1}"#);
        assert_eq!(text(r#"{"a":1,"b":2}"#), r#"{"a":1,"b":2}"#);
        assert_eq!(text("{}"), "{}");
        assert_eq!(text(r#"{"a":"#), r#"{"a":"#);
    }

    #[test]
    fn the_text_arrives_with_its_arguments() {
        let mut reader = InputReader::default();

        assert_eq!(reader.push(r#"{"input": "a"#), "a");
        assert_eq!(reader.push("b"), "b");
    }
}

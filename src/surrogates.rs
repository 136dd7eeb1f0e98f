//! Escapes of lone surrogates (`\ud83d` without its other half), which are no characters, are read as U+FFFD.
//!
//! JavaScript's strings are cut between the halves of an emoji, and `JSON.stringify` then writes such an escape;
//! serde_json refuses it.

use std::borrow::Cow;

/// The warning for a body with such escapes.
pub(crate) const REPLACED: &str = "an escape of half a character (a lone surrogate) was read as U+FFFD";
/// The length of an escape `\uXXXX`, bytes.
const LENGTH: usize = 6;

/// The body with `\ufffd` in place of each escape of a lone surrogate; borrowed if it has none. All other bytes stay
/// where they are, so that the parser's errors have the right place.
pub(crate) fn without_lone(body: &[u8]) -> Cow<'_, [u8]> {
    let mut without = Cow::Borrowed(body);
    let mut at = 0;
    // In JSON, a backslash is a part of an escape.
    while let Some(next) = body.get(at..).and_then(|rest| rest.iter().position(|byte| *byte == b'\\')) {
        at += next;
        at += match escaped(body, at) {
            None => 2,
            Some(0xD800..=0xDBFF) if matches!(escaped(body, at + LENGTH), Some(0xDC00..=0xDFFF)) => 2 * LENGTH,
            Some(0xD800..=0xDFFF) => {
                without.to_mut()[at..at + LENGTH].copy_from_slice(br"\ufffd");
                LENGTH
            }
            Some(_) => LENGTH,
        };
    }
    without
}

/// The number in the escape `\uXXXX` at this place; `None` if there is another escape or none.
fn escaped(body: &[u8], at: usize) -> Option<u32> {
    let digits = body.get(at..at + LENGTH)?.strip_prefix(br"\u")?;
    digits.iter().try_fold(0, |number, digit| Some(number * 16 + char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};
    use serde_json::Value;
    use std::time::{Duration, Instant};

    fn read(body: &str) -> Value {
        serde_json::from_slice(&without_lone(body.as_bytes())).unwrap_or_else(|error| panic!("{body}: {error}"))
    }

    /// A piece of the text of a JSON string, and the UTF-16 units that it stands for.
    fn piece() -> impl Strategy<Value = (String, Vec<u16>)> {
        let unit = prop_oneof![0xD800..=0xDBFF_u16, 0xDC00..=0xDFFF_u16, any::<u16>()];
        let escape = (unit, any::<bool>()).prop_map(|(unit, is_upper)| {
            let escape = if is_upper { format!("\\u{unit:04X}") } else { format!("\\u{unit:04x}") };
            (escape, vec![unit])
        });
        let literal = prop_oneof![Just("ud83d"), Just("é"), Just("😀"), Just("{"), Just("x")];
        let literal = literal.prop_map(|text| (text.to_owned(), text.encode_utf16().collect()));
        let short = prop_oneof![Just(("\\\\", '\\')), Just(("\\\"", '"')), Just(("\\n", '\n')), Just(("\\/", '/'))];
        let short = short.prop_map(|(text, c)| (text.to_owned(), vec![u16::try_from(u32::from(c)).unwrap()]));
        prop_oneof![3 => escape, 1 => literal, 1 => short]
    }

    proptest! {
        #[test]
        fn a_string_is_read_as_a_decoder_of_utf16_reads_it(pieces in vec(piece(), 0..12)) {
            let text: String = pieces.iter().map(|(text, _)| text.as_str()).collect();
            let body = format!("{{\"{text}\": [\"{text}\"]}}");
            let units: Vec<u16> = pieces.iter().flat_map(|(_, units)| units.iter().copied()).collect();
            // A literal character is never half of a pair.
            let expected = String::from_utf16_lossy(&units);

            prop_assert_eq!(read(&body), serde_json::json!({&expected: [&expected]}));
            let is_changed = matches!(without_lone(body.as_bytes()), Cow::Owned(_));
            prop_assert_eq!(is_changed, serde_json::from_str::<Value>(&body).is_err());
        }
    }

    #[test]
    fn text_that_is_no_json_is_scanned_to_its_end_without_a_change_of_length() {
        for text in ["\\", "\\u", "\\ud83", "\"\\ud83d", "\\ud83d\\", "\\ud83d\\ud83d", "\\uzzzz", "\u{e9}\\u\u{e9}\u{e9}"] {
            assert_eq!(without_lone(text.as_bytes()).len(), text.len(), "{text}");
        }
    }

    #[test]
    fn the_time_grows_with_the_length_whatever_the_escapes() {
        let start = Instant::now();
        for unit in ["\\ud83d", "\\ude00", "\\ud83d\\ude00", "\\\\", "\\u"] {
            without_lone(unit.repeat(500_000).as_bytes());
        }

        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    }
}

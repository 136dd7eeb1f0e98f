//! The fields that determine the end of a generation: stop strings and tokens, and the end of generation itself.
//!
//! Sources: OpenAI's `stop`; vLLM's `SamplingParams` for the others.

use super::{limits::RequestLimits, room::TokenLimit};
use crate::{
    api::fields::{
        self, FieldError, Fields,
        spec::{FieldSpec, Specs},
        values::{Booleans, Integers, Or, Shaped, boolean, integer, shaped},
    },
    protocol::Token,
};
use serde_json::{Value, json};

/// The default of `--max-stop-strings`. OpenAI takes 4; editors and front-ends send a dozen or two.
pub(in crate::api) const MAX_STOP_STRINGS: usize = 64;
/// The maximum length of a stop string, bytes.
pub(in crate::api) const MAX_STOP_BYTES: usize = 256;
/// The maximum length of all stop strings of a request together, bytes: each costs a comparison for each byte of each
/// answer, and memory in each sequence.
pub(in crate::api) const MAX_STOP_BYTES_TOGETHER: usize = 16 * 1024;
/// The maximum number of entries in `stop_token_ids`.
const MAX_STOP_TOKENS: usize = 128;

pub(in crate::api) const STOP: FieldSpec<Shaped> = shaped("stop", || {
    let text = json!({"type": "string", "maxLength": MAX_STOP_BYTES});
    json!({"anyOf": [text, {"type": "array", "maxItems": MAX_STOP_STRINGS, "items": text}]})
})
.example(r#"["\n"]"#)
.about("Strings that end the text and are not included in it; together 16 KiB at most, and empty ones are reported. `--max-stop-strings` sets their number.");
const STOP_TOKEN_IDS: FieldSpec<Shaped> =
    shaped("stop_token_ids", || json!({"type": "array", "maxItems": MAX_STOP_TOKENS, "items": {"type": "integer", "minimum": 0}}))
        .extra()
        .example("[5]")
        .about("Tokens that end the text (vLLM).");
const INCLUDE_STOP_STR_IN_OUTPUT: FieldSpec<Or<Booleans>> =
    boolean("include_stop_str_in_output").or(false).extra().about("Keep the stop string or token in the text (vLLM).");
const MIN_TOKENS: FieldSpec<Or<Integers>> = integer("min_tokens", 0..=u32::MAX as i64)
    .or(0)
    .extra()
    .example("1")
    .about("Tokens before the text may end by itself; more than its limit is reduced to that and reported (vLLM).");
pub(in crate::api) const IGNORE_EOS: FieldSpec<Or<Booleans>> =
    boolean("ignore_eos").or(false).extra().about("Go on past the end of generation (vLLM).");

/// All specs of this file.
pub(in crate::api) const ENDING: Specs = &[&STOP, &STOP_TOKEN_IDS, &INCLUDE_STOP_STR_IN_OUTPUT, &MIN_TOKENS, &IGNORE_EOS];

/// The ends of a generation other than `max_tokens`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ending {
    /// Stop strings, none of them empty.
    pub strings: Vec<String>,
    /// Stop tokens, each within the vocabulary.
    pub tokens: Vec<Token>,
    /// True if the stop string or token stays in the text. Default false.
    pub include: bool,
    /// Number of tokens before an EOG token or a stop token may be drawn. Default 0.
    pub min_tokens: u32,
    /// True if the text goes on past EOG tokens. Default false.
    pub ignore_eos: bool,
}

impl Ending {
    /// Reads the fields of [`ENDING`]; `limit` is that of the request's answer.
    ///
    /// # Errors
    /// A field of the wrong type or outside its range.
    pub(in crate::api) fn read(f: &mut Fields, limits: &RequestLimits, limit: Option<TokenLimit>) -> Result<Self, FieldError> {
        Ok(Self {
            strings: read_stop(f, &STOP, limits.max_stop_strings)?,
            tokens: stop_tokens(f, limits.vocabulary_size)?,
            include: f.get(&INCLUDE_STOP_STR_IN_OUTPUT)?,
            min_tokens: min_tokens(f, limit)?,
            ignore_eos: f.get(&IGNORE_EOS)?,
        })
    }
}

/// Reads `min_tokens`. More than the limit of the answer is reduced to it, and reported.
fn min_tokens(f: &mut Fields, limit: Option<TokenLimit>) -> Result<u32, FieldError> {
    const NAME: &str = MIN_TOKENS.name;
    let asked = u32::try_from(f.get(&MIN_TOKENS)?).expect("the range fits");
    let Some((field, most)) = limit.and_then(|limit| Some((limit.field, limit.tokens()?))) else { return Ok(asked) };
    let most = u32::try_from(most).unwrap_or(u32::MAX);
    if asked > most {
        f.change(NAME, format!("{NAME} was reduced to {most}, which {field} allows"));
    }
    Ok(asked.min(most))
}

/// Reads `stop`, or another route's field for it: a string or up to `max_strings` of them, each of at most 256 bytes,
/// together 16 KiB at most. Empty ones, at which nothing can stop, are left out and reported.
///
/// # Errors
/// The value has another type, there are too many strings or bytes, or one that is too long.
pub fn read_stop(f: &mut Fields, spec: &FieldSpec<Shaped>, max_strings: usize) -> Result<Vec<String>, FieldError> {
    let mut values = match f.get(spec)? {
        None => return Ok(Vec::new()),
        Some(Value::Array(values)) => values,
        Some(value) => vec![value],
    };
    let sent = values.len();
    values.retain(|value| value != "");
    if values.len() < sent {
        f.change(spec.name, format!("{}: an empty string was left out", spec.name));
    }
    if values.len() > max_strings {
        return Err(FieldError::invalid(spec.name, format!("it has {} strings; at most {max_strings} are accepted", values.len())));
    }
    let strings: Vec<String> = values.into_iter().map(|value| stop_string(spec.name, value)).collect::<Result<_, _>>()?;
    match strings.iter().map(String::len).sum::<usize>() {
        bytes if bytes > MAX_STOP_BYTES_TOGETHER => {
            let reason = format!("its strings have {bytes} bytes together; at most {MAX_STOP_BYTES_TOGETHER} are accepted");
            Err(FieldError::invalid(spec.name, reason))
        }
        _ => Ok(strings),
    }
}

fn stop_string(name: &str, value: Value) -> Result<String, FieldError> {
    match value {
        Value::String(text) if text.len() > MAX_STOP_BYTES => {
            Err(FieldError::invalid(name, format!("a stop string has {} bytes; at most {MAX_STOP_BYTES} are accepted", text.len())))
        }
        Value::String(text) => Ok(text),
        other => Err(FieldError::wrong_type(name, "a string or an array of strings", &other)),
    }
}

fn stop_tokens(f: &mut Fields, vocabulary_size: u32) -> Result<Vec<Token>, FieldError> {
    const NAME: &str = STOP_TOKEN_IDS.name;
    let ids = match f.get(&STOP_TOKEN_IDS)? {
        None => return Ok(Vec::new()),
        Some(Value::Array(ids)) if ids.len() > MAX_STOP_TOKENS => {
            return Err(FieldError::invalid(NAME, format!("it has {} ids; at most {MAX_STOP_TOKENS} are accepted", ids.len())));
        }
        Some(Value::Array(ids)) => ids,
        Some(other) => return Err(FieldError::wrong_type(NAME, "an array of token ids", &other)),
    };
    let token = |id: &Value| {
        let id = fields::integer(NAME, id, 0..=i64::from(vocabulary_size) - 1)?;
        Ok(Token(u32::try_from(id).expect("the range fits")))
    };
    ids.iter().map(token).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const LIMITS: RequestLimits = RequestLimits { vocabulary_size: 100, max_num_seqs: 8, max_stop_strings: 4, max_logprobs: None };

    fn read(body: Value) -> Result<Ending, FieldError> {
        read_within(body, None).map(|(ending, _)| ending)
    }

    /// The ending, and the warnings.
    fn read_within(body: Value, limit: Option<TokenLimit>) -> Result<(Ending, Vec<String>), FieldError> {
        let Value::Object(map) = body else { panic!("{body} is no object") };
        let mut fields = Fields::new(map);
        let ending = Ending::read(&mut fields, &LIMITS, limit)?;
        Ok((ending, fields.finish().take_changed().into_iter().map(|(_, text)| text).collect()))
    }

    #[test]
    fn everything_may_be_said_or_nothing() {
        let all = read(
            json!({"stop": ["a"], "stop_token_ids": [0, 99.0], "include_stop_str_in_output": true, "min_tokens": 3, "ignore_eos": true}),
        );

        let expected =
            Ending { strings: vec!["a".into()], tokens: vec![Token(0), Token(99)], include: true, min_tokens: 3, ignore_eos: true };
        assert_eq!(all, Ok(expected));
        assert_eq!(read(json!({"stop_token_ids": null, "min_tokens": null})), Ok(Ending::default()));
    }

    #[test]
    fn what_is_out_of_range_is_named() {
        for (field, bad) in [
            ("stop_token_ids", json!([100])),
            ("stop_token_ids", json!([-1])),
            ("stop_token_ids", json!(5)),
            ("stop_token_ids", json!(vec![1; 129])),
            ("min_tokens", json!(-1)),
            ("include_stop_str_in_output", json!("yes")),
        ] {
            assert_eq!(read(json!({field: bad})).unwrap_err().param(), Some(field), "{bad}");
        }
    }

    #[test]
    fn a_min_tokens_above_the_limit_of_the_answer_is_reduced_to_it_and_reported() {
        let read = |limit| {
            let (ending, warnings) = read_within(json!({"min_tokens": 5}), limit).unwrap();
            (ending.min_tokens, warnings)
        };
        let limit = |tokens| Some(TokenLimit::at_most("max_output_tokens", tokens));

        assert_eq!(read(None), (5, vec![]));
        assert_eq!(read(limit(5)), (5, vec![]));
        assert_eq!(read(limit(u64::MAX)), (5, vec![]));
        assert_eq!(read(limit(4)), (4, vec!["min_tokens was reduced to 4, which max_output_tokens allows".to_owned()]));
    }

    #[test]
    fn an_empty_stop_string_is_left_out_and_reported_by_the_name_of_its_field() {
        let told = vec!["stop: an empty string was left out".to_owned()];
        for (sent, kept) in [(json!(""), vec![]), (json!(["a", "", "b", ""]), vec!["a".to_owned(), "b".to_owned()])] {
            let (ending, warnings) = read_within(json!({"stop": sent}), None).unwrap();
            assert_eq!((ending.strings, warnings), (kept, told.clone()));
        }
        // Empty strings do not count.
        assert!(read_within(json!({"stop": ["", "a", "b", "c", "d"]}), None).is_ok());
    }

    #[test]
    fn stop_strings_are_bounded_by_their_number_and_by_their_bytes_together() {
        let read = |count: usize, bytes: usize, max| {
            let strings = json!(vec!["x".repeat(bytes); count]);
            read_stop(&mut Fields::new([("stop".to_owned(), strings)].into_iter().collect()), &STOP, max).map(|strings| strings.len())
        };

        assert_eq!(read(64, 256, 64), Ok(64));
        assert_eq!(read(256, 64, 256), Ok(256));
        for (error, words) in [
            (read(65, 1, 64), "it has 65 strings; at most 64 are accepted"),
            (read(65, 253, 256), "its strings have 16445 bytes together; at most 16384 are accepted"),
        ] {
            let error = error.unwrap_err();
            assert_eq!((error.param(), error.to_string().contains(words)), (Some("stop"), true), "{error}");
        }
    }

    fn stop(value: Value) -> Result<Vec<String>, FieldError> {
        read_stop(&mut Fields::new([("stop".to_owned(), value)].into_iter().collect()), &STOP, 4)
    }

    #[test]
    fn stop_is_a_string_or_some_strings() {
        assert_eq!(stop(Value::Null), Ok(vec![]));
        assert_eq!(stop(json!([])), Ok(vec![]));
        assert_eq!(stop(json!("\n")), Ok(vec!["\n".to_owned()]));
        assert_eq!(stop(json!(["a", "b", "c", "d"])).map(|strings| strings.len()), Ok(4));
        assert_eq!(stop(json!("x".repeat(256))).map(|strings| strings.len()), Ok(1));

        let refused = [json!(["a", "b", "c", "d", "e"]), json!("x".repeat(257)), json!(5), json!(["a", null])];
        for value in refused {
            assert_eq!(stop(value.clone()).unwrap_err().param(), Some("stop"), "{value}");
        }
    }
}

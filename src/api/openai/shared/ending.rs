//! The fields that say where a generation ends: stop strings and tokens, and the end of generation itself.
//!
//! Sources: OpenAI's `stop`; vLLM's `SamplingParams` for the others.

use super::sampling::read_stop;
use crate::{
    api::fields::{self, FieldError, Fields},
    protocol::Token,
};
use serde_json::Value;

/// Entries of `stop_token_ids` at most.
const MAX_STOP_TOKENS: usize = 128;

/// Where a generation ends besides at `max_tokens`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ending {
    /// Stop strings, none of them empty.
    pub strings: Vec<String>,
    /// Stop tokens, each within the vocabulary.
    pub tokens: Vec<Token>,
    /// The stop string or token stays in the text. Default false.
    pub include: bool,
    /// Tokens before an end of generation or a stop token may be sampled. Default 0.
    pub min_tokens: u32,
    /// Go on past end-of-generation tokens. Default false.
    pub ignore_eos: bool,
}

impl Ending {
    /// Reads `stop`, `stop_token_ids`, `include_stop_str_in_output`, `min_tokens` and `ignore_eos`.
    ///
    /// # Errors
    /// A field of the wrong type or outside its range.
    pub fn read(f: &mut Fields, vocabulary_size: u32, max_stop_strings: usize) -> Result<Self, FieldError> {
        Ok(Self {
            strings: read_stop(f, max_stop_strings)?,
            tokens: stop_tokens(f, vocabulary_size)?,
            include: f.boolean("include_stop_str_in_output")?.unwrap_or(false),
            min_tokens: u32::try_from(f.integer("min_tokens", 0..=i64::from(u32::MAX))?.unwrap_or(0)).expect("the range fits"),
            ignore_eos: f.boolean("ignore_eos")?.unwrap_or(false),
        })
    }

    /// Refuses a `min_tokens` that `max_tokens` does not reach.
    ///
    /// # Errors
    /// `Invalid`, which names `min_tokens`.
    pub fn check(&self, max_tokens: Option<u64>) -> Result<(), FieldError> {
        self.check_under("max_tokens", max_tokens)
    }

    /// As [`Ending::check`] for a route that calls `max_tokens` by the name `limit`.
    ///
    /// # Errors
    /// As [`Ending::check`].
    pub fn check_under(&self, limit: &str, max_tokens: Option<u64>) -> Result<(), FieldError> {
        match max_tokens {
            Some(most) if u64::from(self.min_tokens) > most => {
                Err(FieldError::invalid("min_tokens", format!("{} are more than the {most} of '{limit}'", self.min_tokens)))
            }
            _ => Ok(()),
        }
    }
}

fn stop_tokens(f: &mut Fields, vocabulary_size: u32) -> Result<Vec<Token>, FieldError> {
    const NAME: &str = "stop_token_ids";
    let ids = match f.take(NAME) {
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

    fn read(body: Value) -> Result<Ending, FieldError> {
        let Value::Object(map) = body else { panic!("{body} is no object") };
        Ending::read(&mut Fields::new(map), 100, 4)
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
        let ending = read(json!({"min_tokens": 5})).unwrap();
        assert_eq!((ending.check(Some(5)), ending.check(None)), (Ok(()), Ok(())));
        assert_eq!(ending.check(Some(4)).unwrap_err().param(), Some("min_tokens"));
    }
}

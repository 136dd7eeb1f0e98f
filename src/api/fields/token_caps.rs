//! The values of a field that limits the tokens of an answer: a number, or -1 for as many as fit.
//!
//! -1 is llama-server's; editors send it to OpenAI's routes too.

use super::{
    FieldError, integer,
    spec::{FieldSpec, Support, Values},
};
use serde_json::{Value, json};

/// The largest number of tokens that a client allows an answer to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenCap {
    /// As many as the context has room for.
    AsManyAsFit,
    /// This number; it may be more than the context has room for.
    AtMost(u64),
}

impl From<TokenCap> for Value {
    /// The value by which a client says the same.
    fn from(cap: TokenCap) -> Self {
        match cap {
            TokenCap::AsManyAsFit => json!(-1),
            TokenCap::AtMost(tokens) => json!(tokens),
        }
    }
}

/// Whole numbers from `min` on, and -1.
#[derive(Debug, Clone, Copy)]
pub struct TokenCaps {
    /// The smallest number of tokens.
    min: i64,
}

/// A limit of at least `min` tokens.
#[must_use]
pub const fn token_cap(name: &'static str, min: i64) -> FieldSpec<TokenCaps> {
    FieldSpec::new(name, Support::Works, TokenCaps { min })
}

impl Values for TokenCaps {
    type Value = TokenCap;
    type Read = Option<TokenCap>;

    fn read(&self, name: &str, sent: Option<Value>) -> Result<Option<TokenCap>, FieldError> {
        let Some(value) = sent else { return Ok(None) };
        if integer(name, &value, -1..=-1).is_ok() {
            return Ok(Some(TokenCap::AsManyAsFit));
        }
        Ok(Some(TokenCap::AtMost(integer(name, &value, self.min..=i64::MAX)?.unsigned_abs())))
    }

    fn schema(&self) -> Value {
        json!({"anyOf": [{"type": "integer", "minimum": self.min}, {"const": -1}]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fields::Fields;

    #[test]
    fn a_cap_is_a_number_from_the_minimum_on_or_minus_one() {
        let read = |min, value: Value| Fields::new([("cap".to_owned(), value)].into_iter().collect()).get(&token_cap("cap", min));

        assert_eq!(read(1, Value::Null), Ok(None));
        for value in [json!(-1), json!(-1.0)] {
            assert_eq!(read(1, value), Ok(Some(TokenCap::AsManyAsFit)));
        }
        assert_eq!(read(1, json!(1)), Ok(Some(TokenCap::AtMost(1))));
        assert_eq!(read(0, json!(0)), Ok(Some(TokenCap::AtMost(0))));
        assert_eq!(read(1, json!(32_000.0)), Ok(Some(TokenCap::AtMost(32_000))));
        for value in [json!(0), json!(-2), json!(1.5), json!("1"), json!(1e300), json!(true)] {
            assert_eq!(read(1, value.clone()).unwrap_err().param(), Some("cap"), "{value}");
        }
    }
}

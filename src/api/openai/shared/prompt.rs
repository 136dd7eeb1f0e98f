//! The field `prompt` of completions: one prompt or several, as text or as token ids.
//!
//! Tells `[1, 2]` (one prompt of two tokens) from `[[1], [2]]` and `["a", "b"]` by the first element. Nothing is
//! tokenized here.

use crate::{
    api::fields::{
        self, FieldError, FieldFault, Fields,
        spec::FieldSpec,
        values::{Shaped, shaped},
    },
    protocol::Token,
};
use serde_json::{Value, json};

/// The maximum number of prompts in one request.
const MAX_PROMPTS: usize = 32;
const NAME: &str = PROMPT.name;
const EXPECTED: &str = "a string, an array of strings, an array of token ids, or an array of arrays of token ids";

pub(in crate::api) const PROMPT: FieldSpec<Shaped> = shaped("prompt", || {
    let (text, ids) = (json!({"type": "string"}), json!({"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": 0}}));
    let several = |items| json!({"type": "array", "minItems": 1, "maxItems": MAX_PROMPTS, "items": items});
    json!({"anyOf": [text, several(&text), ids, several(&ids)]})
})
.about("A string, strings, token ids, or lists of token ids; 32 prompts at most.");

/// One prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prompt {
    /// A text, which gets BOS in front where the vocabulary requires one. May be empty.
    Text(String),
    /// Tokens, at least one and each within the vocabulary, which are taken as they are.
    Tokens(Vec<Token>),
}

/// Reads `prompt`: 1 to 32 prompts, all text or all tokens.
///
/// # Errors
/// The field is absent, an array is empty or mixed, there are too many prompts, or an id is outside the vocabulary. The
/// error names `prompt`.
pub fn read_prompts(f: &mut Fields, vocabulary_size: u32) -> Result<Vec<Prompt>, FieldError> {
    let elements = match f.require(&PROMPT)? {
        Value::String(text) => return Ok(vec![Prompt::Text(text)]),
        Value::Array(elements) => elements,
        other => return Err(FieldError::wrong_type(NAME, EXPECTED, &other)),
    };
    let prompts: Vec<Prompt> = match elements.first() {
        None => return Err(FieldError::invalid(NAME, "the array is empty")),
        Some(Value::Number(_)) => return Ok(vec![Prompt::Tokens(token_ids(NAME, &elements, vocabulary_size)?)]),
        Some(Value::String(_)) => few(elements)?.into_iter().map(text).collect::<Result<_, _>>()?,
        Some(Value::Array(_)) => few(elements)?.iter().map(|ids| token_array(ids, vocabulary_size)).collect::<Result<_, _>>()?,
        Some(other) => return Err(FieldError::wrong_type(NAME, EXPECTED, other)),
    };
    Ok(prompts)
}

fn few(prompts: Vec<Value>) -> Result<Vec<Value>, FieldError> {
    if prompts.len() > MAX_PROMPTS {
        return Err(FieldError::invalid(NAME, format!("there are {} prompts; at most {MAX_PROMPTS} are accepted", prompts.len())));
    }
    Ok(prompts)
}

fn text(value: Value) -> Result<Prompt, FieldError> {
    match value {
        Value::String(text) => Ok(Prompt::Text(text)),
        other => Err(FieldError::wrong_type(NAME, "only strings, as the first element is one", &other)),
    }
}

fn token_array(value: &Value, vocabulary_size: u32) -> Result<Prompt, FieldError> {
    match value {
        Value::Array(ids) if ids.is_empty() => Err(FieldError::invalid(NAME, "an array of token ids is empty")),
        Value::Array(ids) => Ok(Prompt::Tokens(token_ids(NAME, ids, vocabulary_size)?)),
        other => Err(FieldError::wrong_type(NAME, "only arrays of token ids, as the first element is one", other)),
    }
}

/// The token ids of the field `param`, each within the vocabulary.
///
/// # Errors
/// An id has another type, or is outside the vocabulary.
pub fn token_ids(param: &str, ids: &[Value], vocabulary_size: u32) -> Result<Vec<Token>, FieldError> {
    let highest = i64::from(vocabulary_size) - 1;
    let token = |id: &Value| {
        let id = fields::integer(param, id, 0..=highest).map_err(|error| match error {
            FieldError { fault: FieldFault::OutOfRange { found, .. }, .. } => {
                FieldError::invalid(param, format!("token id {found} is outside the vocabulary; ids are 0 to {highest}"))
            }
            other => other,
        })?;
        Ok(Token(u32::try_from(id).expect("the range fits")))
    };
    ids.iter().map(token).collect()
}

#[cfg(test)]
mod tests;

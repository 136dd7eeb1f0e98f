//! The request of `POST /v1/embeddings`: every field of OpenAI's `CreateEmbeddingRequest`, and two of vLLM's.
//!
//! Limits that need token counts are checked in `run.rs`.

pub(in crate::api) mod specs;

use super::vectors::VectorEncoding;
use crate::{
    api::{
        fields::{self, FieldError, FieldFault, Fields, ignored::Ignored, spec::FieldSpec, values::Shaped},
        openai::shared::{limits::USER, prompt::Prompt},
    },
    protocol::{EmbeddingInfo, Token},
};
use serde_json::Value;

/// The maximum number of inputs in one request (OpenAI).
pub const MAX_INPUTS: usize = 2048;
const EXPECTED: &str = "a string, an array of strings, an array of token ids, or an array of arrays of token ids";

/// A request whose fields are each valid.
#[derive(Debug, Clone, PartialEq)]
pub struct EmbeddingRequest {
    /// 1 to [`MAX_INPUTS`] inputs, none of them empty.
    pub inputs: Vec<Prompt>,
    /// The form of vectors in the answer. Default float.
    pub encoding: VectorEncoding,
    /// Number of dimensions of a vector to keep, 1 to the model's; all by default.
    pub dimensions: usize,
    /// Number of tokens, special ones included, to which longer inputs are cut (vLLM's `truncate_prompt_tokens`). By
    /// default inputs that are too long are refused.
    pub truncate: Option<usize>,
    /// True if texts get the model's special tokens around them (vLLM's `add_special_tokens`). Default true.
    pub add_special: bool,
    /// Names of unknown fields, which had no effect.
    pub unknown: Ignored,
}

impl EmbeddingRequest {
    /// Reads all fields but `model`, which was taken before. Token ids are below `vocabulary_size`.
    ///
    /// # Errors
    /// The first field at fault.
    pub fn read(mut f: Fields, info: &EmbeddingInfo, vocabulary_size: u32) -> Result<Self, FieldError> {
        let inputs = read_inputs(&mut f, &specs::INPUT, vocabulary_size)?;
        let encoding = match f.get(&specs::ENCODING_FORMAT)? {
            "base64" => VectorEncoding::Base64,
            _ => VectorEncoding::Float,
        };
        let all = i64::from(info.dimensions);
        let dimensions = f.get(&specs::DIMENSIONS.within(1..=all))?.unwrap_or(all);
        let truncate = read_truncation(&mut f, info)?;
        let add_special = f.get(&specs::ADD_SPECIAL_TOKENS)?;
        f.get(&USER)?;
        let dimensions = usize::try_from(dimensions).expect("the range fits");
        Ok(Self { inputs, encoding, dimensions, truncate, add_special, unknown: f.finish() })
    }
}

/// Reads `truncate_prompt_tokens`: −1 for the longest that the model takes, or a number of tokens.
pub(in crate::api) fn read_truncation(f: &mut Fields, info: &EmbeddingInfo) -> Result<Option<usize>, FieldError> {
    const NAME: &str = specs::TRUNCATE_PROMPT_TOKENS.name;

    let longest = i64::from(info.max_input_tokens);
    let (before, between, after) = &info.around_pair;
    let special = i64::try_from(before.len() + between.len() + after.len()).unwrap_or(longest);
    let least = (special + 1).min(longest);
    let truncate = match f.get(&specs::TRUNCATE_PROMPT_TOKENS.within(-1..=longest))? {
        Some(-1) => Some(longest),
        Some(few) if few < least => return Err(FieldError::invalid(NAME, format!("it must be -1 or from {least} to {longest}"))),
        other => other,
    };
    Ok(truncate.map(|tokens| usize::try_from(tokens).expect("the range fits")))
}

/// Reads `input`, or the field of another route that has the same values. The first element tells one input of token
/// ids from several inputs.
///
/// # Errors
/// The field is absent, empty, of another type or too long, or has an id outside the vocabulary.
pub(in crate::api) fn read_inputs(f: &mut Fields, spec: &FieldSpec<Shaped>, vocabulary_size: u32) -> Result<Vec<Prompt>, FieldError> {
    let name = spec.name;
    let elements = match f.require(spec)? {
        Value::String(text) => return Ok(vec![Prompt::Text(not_empty(name, text)?)]),
        Value::Array(elements) => elements,
        other => return Err(FieldError::wrong_type(name, EXPECTED, &other)),
    };
    match elements.first() {
        None => Err(FieldError::invalid(name, "the array is empty")),
        Some(Value::Number(_)) => Ok(vec![tokens(name, &elements, vocabulary_size)?]),
        Some(Value::String(_) | Value::Array(_)) if elements.len() > MAX_INPUTS => {
            Err(FieldError::invalid(name, format!("there are {} inputs; at most {MAX_INPUTS} are accepted", elements.len())))
        }
        Some(Value::String(_)) => Ok(read_texts(name, elements)?.into_iter().map(Prompt::Text).collect()),
        Some(Value::Array(_)) => {
            let input = |(index, ids): (usize, &Value)| {
                let name = format!("{name}[{index}]");
                let Value::Array(ids) = ids else {
                    return Err(FieldError::wrong_type(&name, "an array of token ids, as the first is one", ids));
                };
                tokens(&name, ids, vocabulary_size)
            };
            elements.iter().enumerate().map(input).collect()
        }
        Some(other) => Err(FieldError::wrong_type(name, EXPECTED, other)),
    }
}

/// Reads strings, none of them empty; errors name the one at fault.
pub(in crate::api) fn read_texts(name: &str, elements: Vec<Value>) -> Result<Vec<String>, FieldError> {
    let text = |(index, element): (usize, Value)| {
        let name = format!("{name}[{index}]");
        match element {
            Value::String(text) => not_empty(&name, text),
            other => Err(FieldError::wrong_type(&name, "a string", &other)),
        }
    };
    elements.into_iter().enumerate().map(text).collect()
}

pub(in crate::api) fn not_empty(name: &str, text: String) -> Result<String, FieldError> {
    if text.is_empty() { Err(FieldError::invalid(name, "it is an empty string")) } else { Ok(text) }
}

fn tokens(name: &str, ids: &[Value], vocabulary_size: u32) -> Result<Prompt, FieldError> {
    let highest = i64::from(vocabulary_size) - 1;
    if ids.is_empty() {
        return Err(FieldError::invalid(name, "it has no tokens"));
    }
    let token = |id: &Value| match fields::integer(name, id, 0..=highest) {
        Ok(id) => Ok(Token(u32::try_from(id).expect("the range fits"))),
        Err(FieldError { fault: FieldFault::OutOfRange { found, .. }, .. }) => {
            Err(FieldError::invalid(name, format!("token id {found} is outside the vocabulary; ids are 0 to {highest}")))
        }
        Err(other) => Err(other),
    };
    Ok(Prompt::Tokens(ids.iter().map(token).collect::<Result<_, _>>()?))
}

#[cfg(test)]
mod tests;

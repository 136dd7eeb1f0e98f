//! The field `prompt` of llama-server: a text, token ids, both mixed, an object with `prompt_string`, or several of
//! these.
//!
//! `["a", "b"]` are two prompts and `[1, "b"]` is one, as llama-server reads them. Nothing is tokenized here.

use super::{
    super::options::is_neutral,
    specs::{MAX_PROMPTS, PROMPT},
};
use crate::{
    api::{
        fields::{FieldError, Fields},
        openai::shared::prompt::token_ids,
    },
    protocol::Token,
};
use serde_json::Value;

/// The maximum number of texts in a prompt of texts and token ids.
const MAX_PARTS: usize = 64;
const NAME: &str = PROMPT.name;
/// The name of an element in warnings.
const ELEMENT: &str = "prompt[]";
const EXPECTED: &str = "a string, an array of token ids and strings, or an array of such prompts";

/// A prompt: its parts in order, at least one.
pub(super) type MixedPrompt = Vec<PromptPart>;

/// A part of a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PromptPart {
    /// A text to be tokenized. May be empty.
    Text(String),
    /// Tokens, each within the vocabulary.
    Tokens(Vec<Token>),
}

impl PromptPart {
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Tokens(_) => None,
        }
    }
}

/// Reads `prompt`.
///
/// # Errors
/// The field is absent or has another type, there are too many prompts or parts, or an id is outside the vocabulary.
pub(super) fn read(f: &mut Fields, vocabulary_size: u32) -> Result<Vec<MixedPrompt>, FieldError> {
    let elements = match f.require(&PROMPT)? {
        Value::Array(elements) => elements,
        single => return Ok(vec![one(f, NAME, single, vocabulary_size)?]),
    };
    let has_ids = elements.iter().any(Value::is_number);
    if has_ids {
        return Ok(vec![mixed(elements, vocabulary_size)?]);
    }
    if elements.is_empty() {
        return Err(FieldError::invalid(NAME, "the array is empty"));
    }
    if elements.len() > MAX_PROMPTS {
        return Err(FieldError::invalid(NAME, format!("there are {} prompts; at most {MAX_PROMPTS} are accepted", elements.len())));
    }
    elements.into_iter().map(|element| one(f, ELEMENT, element, vocabulary_size)).collect()
}

/// Reads a prompt that the field `place` of `f` contains. Unknown fields of an object are left to `f`.
fn one(f: &mut Fields, place: &str, value: Value, vocabulary_size: u32) -> Result<MixedPrompt, FieldError> {
    match value {
        Value::String(text) => Ok(vec![PromptPart::Text(text)]),
        Value::Array(elements) => mixed(elements, vocabulary_size),
        Value::Object(object) => {
            let mut object = Fields::new(object);
            let inside = |error: FieldError| error.inside(NAME);
            if object.take("multimodal_data").is_some_and(|data| !is_neutral(&data)) {
                return Err(FieldError::unsupported(NAME, "has 'multimodal_data', and this server reads no images and no audio"));
            }
            let text = object.string("prompt_string").map_err(inside)?;
            f.leave(place, object);
            Ok(vec![PromptPart::Text(text.ok_or_else(|| FieldError::missing(format!("{NAME}.prompt_string")))?)])
        }
        other => Err(FieldError::wrong_type(NAME, EXPECTED, &other)),
    }
}

fn mixed(elements: Vec<Value>, vocabulary_size: u32) -> Result<MixedPrompt, FieldError> {
    if elements.is_empty() {
        return Err(FieldError::invalid(NAME, "an array of token ids is empty"));
    }
    let texts = elements.iter().filter(|element| element.is_string()).take(MAX_PARTS + 1).count();
    if texts > MAX_PARTS {
        return Err(FieldError::invalid(NAME, format!("a prompt has more than {MAX_PARTS} texts between token ids")));
    }
    let mut parts: MixedPrompt = Vec::new();
    for element in elements {
        match (element, parts.last_mut()) {
            (Value::String(text), _) => parts.push(PromptPart::Text(text)),
            (Value::Number(id), last) => {
                let mut ids = token_ids(NAME, &[Value::Number(id)], vocabulary_size)?;
                match last {
                    Some(PromptPart::Tokens(tokens)) => tokens.append(&mut ids),
                    _ => parts.push(PromptPart::Tokens(ids)),
                }
            }
            (other, _) => return Err(FieldError::wrong_type(NAME, EXPECTED, &other)),
        }
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn prompts(prompt: Value) -> Result<Vec<MixedPrompt>, FieldError> {
        read(&mut Fields::new([("prompt".to_owned(), prompt)].into_iter().collect()), 100)
    }

    #[test]
    fn a_prompt_is_a_text_or_ids_or_both_and_several_are_a_list() {
        let text = |text: &str| PromptPart::Text(text.to_owned());
        let ids = |ids: &[u32]| PromptPart::Tokens(ids.iter().copied().map(Token).collect());
        let cases = [
            (json!("a"), vec![vec![text("a")]]),
            (json!([1, 2]), vec![vec![ids(&[1, 2])]]),
            (json!([1, 2, "a", 3]), vec![vec![ids(&[1, 2]), text("a"), ids(&[3])]]),
            (json!({"prompt_string": "a", "multimodal_data": []}), vec![vec![text("a")]]),
            (json!({"prompt_string": "a", "multimodal_data": {}}), vec![vec![text("a")]]),
            (json!({"prompt_string": "a", "multimodal_data": ""}), vec![vec![text("a")]]),
            (json!(["a", "b"]), vec![vec![text("a")], vec![text("b")]]),
            (json!(["a", [1, "b"], {"prompt_string": "c"}]), vec![vec![text("a")], vec![ids(&[1]), text("b")], vec![text("c")]]),
        ];
        for (prompt, expected) in cases {
            assert_eq!(prompts(prompt.clone()), Ok(expected), "{prompt}");
        }
    }

    #[test]
    fn unknown_keys_of_a_prompt_object_are_reported() {
        for (prompt, name) in
            [(json!({"prompt_string": "a", "foo": 1}), "prompt.foo"), (json!(["a", {"prompt_string": "b", "foo": 1}]), "prompt[].foo")]
        {
            let mut fields = Fields::new([("prompt".to_owned(), prompt)].into_iter().collect());
            read(&mut fields, 100).unwrap();

            assert_eq!(fields.finish(), [name]);
        }
    }

    #[test]
    fn other_values_are_refused_as_prompts() {
        for prompt in [
            Value::Null,
            json!(5),
            json!([]),
            json!([[]]),
            json!([100]),
            json!([1, null]),
            json!({"prompt_string": "a", "multimodal_data": ["x"]}),
            json!(vec!["a"; 33]),
            json!([vec![json!("a"); 65], [1]]),
        ] {
            assert_eq!(prompts(prompt.clone()).unwrap_err().param(), Some("prompt"), "{prompt}");
        }
        assert_eq!(prompts(json!({})).unwrap_err().param(), Some("prompt.prompt_string"));
    }
}

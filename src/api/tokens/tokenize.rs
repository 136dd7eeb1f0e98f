//! `POST /tokenize`: llama-server's `{content, add_special, parse_special, with_pieces}` and vLLM's
//! `{prompt, add_special_tokens, return_token_strs}`, or `{messages, tools, …}` for the prompt of a chat.
//!
//! The field with the text distinguishes the dialects where their defaults differ: BOS is added to a `prompt` and not
//! to a `content`. Control tokens that the text spells become those tokens in both; in a chat, only those of the
//! template.

pub(in crate::api) mod specs;

use crate::{
    api::{
        call::Call,
        error::ApiError,
        fields::{FieldError, Fields},
        openai::{chat::understand, models},
        warnings::Warnings,
    },
    protocol::{SpecialText, Token},
};
use axum::{
    Json,
    response::{IntoResponse, Response},
};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

/// A request with a text.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::api) struct TokenizeRequest {
    text: String,
    /// The name of the field with the text.
    param: &'static str,
    add_special: bool,
    special: SpecialText,
    details: TokenDetails,
}

/// A request for the prompt of a chat.
#[derive(Debug, PartialEq)]
pub(in crate::api) struct TokenizeChat {
    /// The fields of the chat request that has this prompt, except `model`.
    pub(in crate::api) chat: Map<String, Value>,
    details: TokenDetails,
}

/// The facts about tokens that the answer contains besides their ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct TokenDetails {
    with_pieces: bool,
    return_token_strs: bool,
}

/// The answer, with the keys of both dialects.
#[derive(Serialize)]
struct Tokenized {
    tokens: Tokens,
    count: usize,
    max_model_len: u32,
    token_strs: Option<Vec<String>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Tokens {
    Ids(Vec<u32>),
    WithPieces(Vec<TokenWithPiece>),
}

#[derive(Serialize)]
struct TokenWithPiece {
    id: u32,
    #[serde(serialize_with = "text_or_bytes")]
    piece: Vec<u8>,
}

/// Writes a piece as llama-server does: as a string if the bytes are UTF-8, else as the list of bytes.
fn text_or_bytes<S: Serializer>(piece: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    match str::from_utf8(piece) {
        Ok(text) => serializer.serialize_str(text),
        Err(_) => serializer.collect_seq(piece),
    }
}

/// The handler of `POST /tokenize`.
///
/// # Errors
/// A field is at fault, the text cannot be tokenized, or the engine is not available.
pub(in crate::api) async fn tokenize(call: Call, mut fields: Fields) -> Result<Response, ApiError> {
    let mut warnings = Warnings::default();
    let model = models::requested_or_first(&call, &mut fields, &mut warnings)?;
    let max_model_len = models::loaded(&model)?.max_model_len;
    let (tokens, details, param, warnings) = if fields.has("messages") {
        let TokenizeChat { mut chat, details } = TokenizeChat::read(&mut fields)?;
        chat.insert("model".to_owned(), model.name.clone().into());
        let understood = understand(&call, Fields::new(chat)).await?;
        warnings.extend(understood.warnings);
        warnings.ignore(fields.finish());
        (understood.tokens, details, "messages", call.enforce(warnings)?)
    } else {
        let TokenizeRequest { text, param, add_special, special, details } = TokenizeRequest::read(&mut fields)?;
        warnings.ignore(fields.finish());
        let warnings = call.enforce(warnings)?;
        let tokens = model.handle.tokenize(text, add_special, special).await.map_err(|error| ApiError::of_text(param, error))?;
        (tokens, details, param, warnings)
    };
    let TokenDetails { with_pieces, return_token_strs } = details;
    let count = tokens.len();
    let pieces = if with_pieces || return_token_strs {
        model.handle.spell(tokens.clone()).await.map_err(|error| ApiError::of_text(param, error))?
    } else {
        Vec::new()
    };
    let token_strs = return_token_strs.then(|| pieces.iter().map(|piece| String::from_utf8_lossy(piece).into_owned()).collect());
    let tokens = if with_pieces {
        let both = tokens.into_iter().zip(pieces);
        Tokens::WithPieces(both.map(|(Token(id), piece)| TokenWithPiece { id, piece }).collect())
    } else {
        Tokens::Ids(tokens.into_iter().map(|Token(id)| id).collect())
    };
    let mut response = Json(Tokenized { tokens, count, max_model_len, token_strs }).into_response();
    warnings.write_header(&mut response);
    Ok(response)
}

impl TokenDetails {
    fn read(f: &mut Fields) -> Result<Self, FieldError> {
        Ok(Self { with_pieces: f.get(&specs::WITH_PIECES)?, return_token_strs: f.get(&specs::RETURN_TOKEN_STRS)? })
    }
}

impl TokenizeChat {
    /// Reads all fields but `model`; chat's reader checks their values.
    ///
    /// # Errors
    /// A field has the wrong type, or there is a text beside the messages.
    pub(in crate::api) fn read(f: &mut Fields) -> Result<Self, FieldError> {
        for text in specs::TEXTS {
            if f.take(text.name()).is_some() {
                return Err(FieldError::invalid(text.name(), "there are 'messages' too; send one of them"));
            }
        }
        let details = TokenDetails::read(f)?;
        let names = specs::OF_CHAT.iter().chain(specs::REFUSED_BY_CHAT).map(|spec| spec.name());
        let chat = names.filter_map(|name| Some((name.to_owned(), f.take(name)?))).collect();
        Ok(Self { chat, details })
    }
}

impl TokenizeRequest {
    pub(in crate::api) fn read(f: &mut Fields) -> Result<Self, FieldError> {
        const CONTENT: &str = specs::CONTENT.name;
        const PROMPT: &str = specs::PROMPT.name;

        let (text, param) = match (f.get(&specs::CONTENT)?, f.get(&specs::PROMPT)?) {
            (Some(text), None) => (text, CONTENT),
            (None, Some(text)) => (text, PROMPT),
            (Some(_), Some(_)) => return Err(FieldError::invalid(CONTENT, "there is a 'prompt' too; send one of them")),
            (None, None) => return Err(FieldError::missing(PROMPT)),
        };
        let add_special = match (f.get(&specs::ADD_SPECIAL)?, f.get(&specs::ADD_SPECIAL_TOKENS)?) {
            (Some(one), Some(other)) if one != other => {
                return Err(FieldError::invalid(specs::ADD_SPECIAL.name, "'add_special_tokens' says the contrary"));
            }
            (Some(given), _) | (None, Some(given)) => given,
            (None, None) => param == PROMPT,
        };
        let parse_special = f.get(&specs::PARSE_SPECIAL)?;
        Ok(Self {
            text,
            param,
            add_special,
            special: if parse_special { SpecialText::Recognised } else { SpecialText::Plain },
            details: TokenDetails::read(f)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(body: Value) -> Result<TokenizeRequest, FieldError> {
        let Value::Object(map) = body else { panic!("{body} is no object") };
        TokenizeRequest::read(&mut Fields::new(map))
    }

    #[test]
    fn each_dialect_has_its_own_default_for_bos() {
        let add_special = |body| read(body).unwrap().add_special;

        assert!(add_special(json!({"prompt": "a"})));
        assert!(!add_special(json!({"content": "a"})));
        assert!(!add_special(json!({"prompt": "a", "add_special_tokens": false})));
        assert!(!add_special(json!({"prompt": "a", "add_special": false})));
        assert!(add_special(json!({"content": "a", "add_special": true, "add_special_tokens": true})));
    }

    #[test]
    fn control_tokens_are_recognised_unless_that_is_unwanted() {
        assert_eq!(read(json!({"content": "a"})).unwrap().special, SpecialText::Recognised);
        assert_eq!(read(json!({"content": "a", "parse_special": false})).unwrap().special, SpecialText::Plain);
    }

    #[test]
    fn what_is_at_fault_is_named() {
        for (body, param) in [
            (json!({}), "prompt"),
            (json!({"content": "a", "prompt": "b"}), "content"),
            (json!({"content": [1, 2]}), "content"),
            (json!({"prompt": ["a", "b"]}), "prompt"),
            (json!({"prompt": "a", "add_special": true, "add_special_tokens": false}), "add_special"),
            (json!({"prompt": "a", "with_pieces": 1}), "with_pieces"),
        ] {
            assert_eq!(read(body.clone()).unwrap_err().param(), Some(param), "{body}");
        }
    }

    #[test]
    fn a_chat_is_read_without_a_text_and_with_what_makes_its_prompt() {
        let read = |body: Value| TokenizeChat::read(&mut Fields::new(body.as_object().unwrap().clone()));

        let request = read(json!({"messages": [1], "tools": [2], "with_pieces": true, "temperature": 1})).unwrap();

        assert_eq!(Value::Object(request.chat), json!({"messages": [1], "tools": [2]}));
        assert!(request.details.with_pieces);
        assert_eq!(read(json!({"messages": [1], "prompt": "a"})).unwrap_err().param(), Some("prompt"));
    }
}

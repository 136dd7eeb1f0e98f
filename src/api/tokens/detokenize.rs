//! `POST /detokenize`: the text of `tokens`, as llama-server's `content` and as vLLM's `prompt`.

use crate::{
    api::{
        call::Call,
        error::ApiError,
        fields::{
            FieldError, Fields,
            spec::{FieldSpec, Specs},
            values::{Shaped, shaped},
        },
        openai::{
            models,
            shared::{limits::MODEL_OR_FIRST, prompt::token_ids},
        },
        warnings::Warnings,
    },
    protocol::Token,
};
use axum::{
    Json,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Value, json};

/// The answer, with the keys of both dialects.
#[derive(Serialize)]
struct Detokenized {
    content: String,
    prompt: String,
}

const TOKENS: FieldSpec<Shaped> =
    shaped("tokens", || json!({"type": "array", "items": {"type": "integer", "minimum": 0}})).extra().example("[5]").about("Token ids.");

/// All fields of `POST /detokenize`.
pub(in crate::api) const DETOKENIZE: Specs = &[&MODEL_OR_FIRST, &TOKENS];

/// Reads `tokens`.
///
/// # Errors
/// The field is missing, is no array of ids, or has an id outside the vocabulary.
pub(in crate::api) fn read(f: &mut Fields, vocabulary_size: u32) -> Result<Vec<Token>, FieldError> {
    match f.require(&TOKENS)? {
        Value::Array(ids) => token_ids(TOKENS.name, &ids, vocabulary_size),
        other => Err(FieldError::wrong_type(TOKENS.name, "an array of token ids", &other)),
    }
}

/// The handler of `POST /detokenize`. Control tokens are written out; bytes that are no UTF-8 become U+FFFD.
///
/// # Errors
/// A field is at fault, an id is outside the vocabulary, the text is too long, or the engine is not available.
pub(in crate::api) async fn detokenize(call: Call, mut fields: Fields) -> Result<Response, ApiError> {
    let mut warnings = Warnings::default();
    let model = models::requested_or_first(&call, &mut fields, &mut warnings)?;
    let info = models::loaded(&model)?;
    let tokens = read(&mut fields, info.vocabulary_size)?;
    warnings.ignore(fields.finish());
    let warnings = call.enforce(warnings)?;

    let prompt = model.handle.detokenize(tokens).await.map_err(|error| ApiError::of_text(TOKENS.name, error))?;
    let mut response = Json(Detokenized { content: prompt.clone(), prompt }).into_response();
    warnings.write_header(&mut response);
    Ok(response)
}

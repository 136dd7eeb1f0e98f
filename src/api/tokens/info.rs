//! `GET /tokenizer_info`: vLLM's facts about a tokenizer, as far as a GGUF file contains them.
//!
//! lm-eval's remote tokenizer reads `eos_token`, `bos_token`, `pad_token` and `chat_template`, and encodes the first
//! two with `/tokenize` to learn their ids; so the answer spells them as that route recognises them.

use crate::{
    api::{call::Call, error::ApiError, openai::models},
    protocol::{ModelInfo, Token},
};
use axum::Json;
use serde::Serialize;

/// The answer. Its names are those of Hugging Face's `tokenizer_config.json`, except `tokenizer`.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(in crate::api) struct TokenizerInfo {
    /// The kind of the vocabulary as the model file names it, such as `llama` or `gpt2`.
    tokenizer: String,
    bos_token: Option<String>,
    eos_token: Option<String>,
    /// Always null: sequences are never padded here.
    pad_token: Option<String>,
    add_bos_token: bool,
    additional_special_tokens: Vec<String>,
    chat_template: Option<String>,
    model_max_length: u32,
    vocab_size: u32,
}

/// The handler of `GET /tokenizer_info`.
///
/// # Errors
/// The model is not loaded, or the engine is not available.
pub(in crate::api) async fn info(call: Call) -> Result<Json<TokenizerInfo>, ApiError> {
    let served = call.first_model();
    let model = models::loaded(&served)?;
    let wanted: Vec<Token> = model.bos.into_iter().chain(model.eos).collect();
    let mut texts = served.handle.spell(wanted).await?.into_iter().map(|piece| String::from_utf8_lossy(&piece).into_owned());
    let mut text_of = |token: Option<Token>| token.and_then(|_| texts.next());
    let (bos_token, eos_token) = (text_of(model.bos), text_of(model.eos));
    Ok(Json(TokenizerInfo {
        tokenizer: model.tokenizer.clone(),
        bos_token,
        eos_token,
        pad_token: None,
        add_bos_token: model.adds_bos,
        additional_special_tokens: model.control_tokens.iter().map(|(text, _)| text.clone()).collect(),
        chat_template: default_template(&model),
        model_max_length: model.max_model_len,
        vocab_size: model.vocabulary_size,
    }))
}

fn default_template(model: &ModelInfo) -> Option<String> {
    model.chat_templates.iter().find(|(name, _)| name == "default").map(|(_, template)| template.clone())
}

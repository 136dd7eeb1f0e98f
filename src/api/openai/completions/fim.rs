//! Prompts with a hole: the texts before and after it become tokens in the order prefix, suffix, middle.
//!
//! ```text
//! [BOS] [context] <PRE> prefix <SUF> suffix <MID>      the model then writes the middle
//! ```
//!
//! The order and the spaces are those of Meta's `infilling_prompt_tokens` (codellama, `llama/generation.py`): the
//! prefix is tokenized as any other text, the suffix without the space that SentencePiece puts in front, and both are
//! the user's words, in which no control token is recognised. The marks are the vocabulary's own. The caller checks the
//! length.

use crate::{
    api::error::ApiError,
    gateway::handle::EngineHandle,
    protocol::{FimTokens, ModelInfo, SpecialText, Token},
};

/// The text around a hole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FimPrompt {
    /// The text before the hole. May be empty.
    pub prefix: String,
    /// The text after the hole. May be empty.
    pub suffix: String,
}

/// The tokens around a hole, without marks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FimTexts {
    /// The tokens before the hole.
    pub prefix: Vec<Token>,
    /// The tokens after the hole.
    pub suffix: Vec<Token>,
}

impl FimPrompt {
    /// Tokenizes both parts. `prefix_param` and `suffix_param` are the names of their fields.
    ///
    /// # Errors
    /// A part cannot be tokenized; the error names its field.
    pub async fn tokenize(self, engine: &EngineHandle, prefix_param: &str, suffix_param: &str) -> Result<FimTexts, ApiError> {
        let (prefix, suffix) = tokio::join!(prefix(engine, self.prefix, prefix_param), suffix(engine, self.suffix, suffix_param));
        Ok(FimTexts { prefix: prefix?, suffix: suffix? })
    }
}

/// The tokens before a hole.
///
/// # Errors
/// The text cannot be tokenized; the error names `param`.
pub(super) async fn prefix(engine: &EngineHandle, text: String, param: &str) -> Result<Vec<Token>, ApiError> {
    engine.tokenize(text, false, SpecialText::Plain).await.map_err(|error| ApiError::of_text(param, error))
}

/// The tokens after a hole.
///
/// # Errors
/// The text cannot be tokenized; the error names `param`.
pub(super) async fn suffix(engine: &EngineHandle, text: String, param: &str) -> Result<Vec<Token>, ApiError> {
    engine.tokenize(text, false, SpecialText::Continuation).await.map_err(|error| ApiError::of_text(param, error))
}

impl FimTexts {
    /// The prompt: `bos` (see [`begin`]), then `context` (other files, or nothing), then the parts between their marks.
    #[must_use]
    pub fn assemble(&self, bos: Option<Token>, marks: &FimTokens, context: &[Token]) -> Vec<Token> {
        let mut tokens = Vec::with_capacity(context.len() + self.prefix.len() + self.suffix.len() + 4);
        tokens.extend(bos);
        tokens.extend_from_slice(context);
        tokens.push(marks.prefix);
        tokens.extend_from_slice(&self.prefix);
        tokens.push(marks.suffix);
        tokens.extend_from_slice(&self.suffix);
        tokens.push(marks.middle);
        tokens
    }
}

/// The BOS that a prompt begins with, where the vocabulary requires one.
#[must_use]
pub fn begin(model: &ModelInfo) -> Option<Token> {
    model.bos.filter(|_| model.adds_bos)
}

/// The error for a model without marks.
pub const NO_MARKS: &str = "is not supported by this model: its vocabulary has no tokens that mark prefix, suffix and middle";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::testing::model_info;

    const MARKS: FimTokens = FimTokens { prefix: Token(250), suffix: Token(251), middle: Token(252), repository: None, file: None };

    fn ids(tokens: &[u32]) -> Vec<Token> {
        tokens.iter().copied().map(Token).collect()
    }

    #[test]
    fn the_order_is_begin_context_prefix_suffix_middle() {
        let texts = FimTexts { prefix: ids(&[1, 2]), suffix: ids(&[3]) };

        assert_eq!(texts.assemble(begin(&model_info()), &MARKS, &ids(&[7, 8])), ids(&[0, 7, 8, 250, 1, 2, 251, 3, 252]));
        let without_bos = ModelInfo { adds_bos: false, ..model_info() };
        assert_eq!(texts.assemble(begin(&without_bos), &MARKS, &[]), ids(&[250, 1, 2, 251, 3, 252]));
    }

    #[test]
    fn a_hole_may_lie_at_the_beginning_or_the_end_or_in_nothing() {
        let texts = FimTexts { prefix: vec![], suffix: vec![] };

        assert_eq!(texts.assemble(begin(&model_info()), &MARKS, &[]), ids(&[0, 250, 251, 252]));
    }
}

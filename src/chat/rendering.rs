//! The input of a chat template, and the result of a render: a prompt, or the reason why there is none.

use serde_json::{Map, Value as Json};

/// Tokens of the model, as they are spelled.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TemplateTokens {
    /// Beginning of sequence, the template's `bos_token`; empty if the vocabulary has none.
    pub bos: String,
    /// End of sequence, the template's `eos_token`; empty if the vocabulary has none.
    pub eos: String,
    /// Control tokens: what a user's words must not become.
    pub control: Vec<String>,
}

/// What to render. Every string in it, keys too, counts as a user's words.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ChatInput {
    /// Objects with `role` and `content`, as the template is to see them.
    pub messages: Vec<Json>,
    /// Tools in OpenAI's form; `None` and no tools are different things to some templates.
    pub tools: Option<Vec<Json>>,
    /// True if the prompt ends where the assistant begins to speak.
    pub add_generation_prompt: bool,
    /// True if the prompt ends within the last message, so that the answer continues it. Not with
    /// `add_generation_prompt`.
    pub continue_final_message: bool,
    /// More variables for the template, such as `enable_thinking`.
    pub kwargs: Map<String, Json>,
}

/// A prompt, to be tokenized with BOS added unless it is there (`add_special`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedPrompt {
    /// The text.
    pub text: String,
    /// Byte offsets within `text`, rising: a control token that spans one is a user's words, and no token
    /// ([`SpecialText::RecognisedOutside`](crate::protocol::SpecialText::RecognisedOutside)).
    pub barriers: Vec<u32>,
}

/// The reason why there is no prompt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The template refused this conversation, in its own words: the request's fault.
    #[error("{0}")]
    Raised(String),
    /// The request asks for what no template can do: the request's fault.
    #[error("{0}")]
    Input(String),
    /// The last message cannot be continued: the request's fault.
    #[error("`continue_final_message`{0}")]
    Continuation(ContinuationError),
    /// The template is faulty or spends more than its limits: the model's fault.
    #[error("the model's chat template failed: {0}")]
    Failed(String),
}

/// The reason why the last message cannot be continued. Each text follows the words that ask for it, whatever a route
/// has for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ContinuationError {
    /// There is no text to go on from.
    #[error(" needs a last message with text")]
    NoText,
    /// The template does not print it.
    #[error(": the model's chat template leaves the last message's text out")]
    LeftOut,
    /// The template prints something else.
    #[error(": the model's chat template changes the last message's text")]
    Changed,
}

//! The input of a chat template, and the result of a render: a prompt, or the reason why there is none.

use serde_json::{Map, Value as Json};

/// Texts of the model's tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TemplateTokens {
    /// Beginning of sequence, the template's `bos_token`; empty if the vocabulary has none.
    pub bos: String,
    /// End of sequence, the template's `eos_token`; empty if the vocabulary has none.
    pub eos: String,
    /// Control tokens, which a user's words must not become.
    pub control: Vec<String>,
}

/// The input of a render. Every string in it, keys too, counts as a user's words.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ChatInput {
    /// Objects with `role` and `content`, in the form for the template.
    pub messages: Vec<Json>,
    /// Tools in OpenAI's form. For some templates `None` and an empty list differ.
    pub tools: Option<Vec<Json>>,
    /// True if the prompt ends at the point where the assistant begins to speak.
    pub add_generation_prompt: bool,
    /// True if the prompt ends within the last message, so that the answer continues it. Excludes
    /// `add_generation_prompt`.
    pub continue_final_message: bool,
    /// More variables for the template, such as `enable_thinking`.
    pub kwargs: Map<String, Json>,
}

/// A prompt. It is to be tokenized with BOS added unless it is there (`add_special`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedPrompt {
    /// The text of the prompt.
    pub text: String,
    /// Byte offsets within `text`, rising. A control token that spans one of them is a user's words, and must be no
    /// token ([`SpecialText::RecognisedOutside`](crate::protocol::SpecialText::RecognisedOutside)).
    pub barriers: Vec<u32>,
}

/// The reason why there is no prompt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The template refused this conversation, in its own words. The request is at fault.
    #[error("{0}")]
    Raised(String),
    /// An argument has the name of a variable that the server sets. The request is at fault.
    #[error("`{0}` is set by the server and cannot be a template's argument")]
    Reserved(String),
    /// The request asks for something that no template can do. The request is at fault.
    #[error("{0}")]
    Input(String),
    /// The last message cannot be continued. The request is at fault.
    #[error("`continue_final_message`{0}")]
    Continuation(ContinuationError),
    /// The template is faulty or exceeds its limits. The model is at fault.
    #[error("the model's chat template failed: {0}")]
    Failed(String),
}

/// The reason why the last message cannot be continued. Each text follows the name of the request's field or option,
/// which differs from route to route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ContinuationError {
    /// There is no text to continue.
    #[error(" needs a last message with text")]
    NoText,
    /// The template does not print the text.
    #[error(": the model's chat template leaves the last message's text out")]
    LeftOut,
    /// The template prints another text.
    #[error(": the model's chat template changes the last message's text")]
    Changed,
}

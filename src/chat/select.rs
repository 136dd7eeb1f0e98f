//! Chooses the chat template of a model that a request gets.
//!
//! Owns the set and the fallback. It reads no files: names and sources come from the model's metadata.

use super::{
    rendering::{TemplateError, TemplateTokens},
    template::ChatTemplate,
};
use std::sync::Arc;

/// ChatML, the template for a model that has none: `<|im_start|>role`, a line end, the content, `<|im_end|>`, a line
/// end. If its marks are no control tokens of the model, they are plain text, and the model may never have seen them.
pub const FALLBACK: &str = "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}\
    {% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

/// The marks that end a turn of [`FALLBACK`] and begin the next one. A model that has no tokens for them writes them as
/// plain text.
pub const FALLBACK_MARKS: [&str; 2] = ["<|im_end|>", "<|im_start|>"];

/// A model's templates, compiled.
#[derive(Debug, Clone)]
pub struct ChatTemplates {
    default: Arc<ChatTemplate>,
    tool_use: Option<Arc<ChatTemplate>>,
    is_fallback: bool,
}

impl ChatTemplates {
    /// Compiles the operator's template, which then serves every request; else those of the model by name
    /// (`ModelInfo::chat_templates`) that are not blank; else [`FALLBACK`].
    ///
    /// # Errors
    /// `Failed` if a template that would be used does not compile.
    pub fn new(of_model: &[(String, String)], of_operator: Option<&str>, tokens: &TemplateTokens) -> Result<Self, TemplateError> {
        let compile = |source: &str| ChatTemplate::compile(source, tokens.clone()).map(Arc::new);
        if let Some(source) = of_operator {
            return Ok(Self { default: compile(source)?, tool_use: None, is_fallback: false });
        }
        let of_model: Vec<&(String, String)> = of_model.iter().filter(|(_, source)| !source.trim().is_empty()).collect();
        let named = |wanted: &str| of_model.iter().find(|(name, _)| name == wanted).map(|(_, source)| source.as_str());
        let tool_use = named("tool_use").map(compile).transpose()?;
        let source = named("default").or(of_model.iter().find(|(name, _)| name != "tool_use").map(|(_, source)| source.as_str()));
        match (source, tool_use) {
            (Some(source), tool_use) => Ok(Self { default: compile(source)?, tool_use, is_fallback: false }),
            (None, Some(tool_use)) => Ok(Self { default: tool_use, tool_use: None, is_fallback: false }),
            (None, None) => Ok(Self { default: compile(FALLBACK)?, tool_use: None, is_fallback: true }),
        }
    }

    /// The template for a request: `tool_use` if the request has tools and the model has such a template, else
    /// `default`.
    pub fn select(&self, has_tools: bool) -> &Arc<ChatTemplate> {
        self.tool_use.as_ref().filter(|_| has_tools).unwrap_or(&self.default)
    }

    /// True if the model has no template and [`FALLBACK`] is used. That is worth a warning, since answers may be poor.
    pub fn is_fallback(&self) -> bool {
        self.is_fallback
    }
}

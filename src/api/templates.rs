//! The served model's chat templates, compiled once for each loaded model, and the operator's own (`--chat-template`).
//!
//! Owns the cache and the limit on templates rendered at a time. What a template is, is `crate::chat`'s.

use crate::{
    chat::{ChatTemplate, ChatTemplates, TemplateTokens},
    protocol::{ModelInfo, Token},
};
use std::{
    fs, io,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Templates rendered at a time: they take the processor from the engine.
const MAX_RENDERS: usize = 2;

/// Templates of a model, or why there are none.
type Compiled = Result<Arc<ChatTemplates>, String>;

/// See the module.
#[derive(Debug)]
pub struct TemplateCache {
    of_operator: Option<String>,
    /// For the model that was asked for last. An engine that starts again brings the same one as another value.
    compiled: Mutex<Option<(Arc<ModelInfo>, Compiled)>>,
    renders: Arc<Semaphore>,
}

/// Why the operator's template cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TemplateFileError {
    /// The file cannot be read.
    #[error("the chat template {path} cannot be read: {error}")]
    File {
        /// As the operator named it.
        path: String,
        /// Why.
        error: io::Error,
    },
    /// It is no template.
    #[error("the chat template does not compile: {0}")]
    Template(String),
}

impl Default for TemplateCache {
    fn default() -> Self {
        Self { of_operator: None, compiled: Mutex::default(), renders: Arc::new(Semaphore::new(MAX_RENDERS)) }
    }
}

impl TemplateCache {
    /// With the operator's template, if there is one: a file, or the template itself, which is known by its braces.
    ///
    /// # Errors
    /// The file cannot be read, or the template does not compile.
    pub fn load(option: Option<&str>) -> Result<Self, TemplateFileError> {
        let of_operator = match option {
            Some(template) if template.contains("{{") || template.contains("{%") => Some(template.to_owned()),
            Some(path) => Some(fs::read_to_string(path).map_err(|error| TemplateFileError::File { path: path.to_owned(), error })?),
            None => None,
        };
        if let Some(source) = &of_operator {
            ChatTemplate::compile(source, TemplateTokens::default()).map_err(|error| TemplateFileError::Template(error.to_string()))?;
        }
        Ok(Self { of_operator, ..Self::default() })
    }

    /// The templates of `model`. Compiled by the first who asks; what is odd about them is logged then.
    pub(super) fn of(&self, model: &Arc<ModelInfo>) -> Compiled {
        // What is inside is whole whenever the lock is free.
        let mut cached = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, compiled)) = &*cached
            && Arc::ptr_eq(of, model)
        {
            return compiled.clone();
        }
        let compiled = self.compile(model);
        match &compiled {
            Err(reason) => tracing::error!(%reason, "chat is not available; --chat-template gives this model a template that works"),
            Ok(templates) if templates.is_fallback() => {
                tracing::warn!("the model has no chat template: ChatML serves, which it may not know; --chat-template gives it another");
            }
            Ok(_) => {}
        }
        *cached = Some((Arc::clone(model), compiled.clone()));
        compiled
    }

    /// Waits for a turn to render.
    pub(super) async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        Arc::clone(&self.renders).acquire_owned().await.ok()
    }

    fn compile(&self, model: &ModelInfo) -> Compiled {
        let tokens = template_tokens(model);
        let templates = ChatTemplates::new(&model.chat_templates, self.of_operator.as_deref(), &tokens);
        templates.map(Arc::new).map_err(|error| error.to_string())
    }
}

/// A token as it is spelled; empty if there is none, or it is no control token.
fn spelled(model: &ModelInfo, token: Option<Token>) -> String {
    let found = model.control_tokens.iter().find(|(_, id)| Some(*id) == token);
    found.map(|(text, _)| text.clone()).unwrap_or_default()
}

fn template_tokens(model: &ModelInfo) -> TemplateTokens {
    TemplateTokens {
        bos: spelled(model, model.bos),
        eos: spelled(model, model.eos),
        control: model.control_tokens.iter().map(|(text, _)| text.clone()).collect(),
    }
}

//! A model's chat templates, compiled once for each text, and the operator's own template (`--chat-template`).
//!
//! Owns the cache. `crate::chat` defines templates; the API limits how many are rendered at a time.

use crate::{
    chat::{ChatTemplate, ChatTemplates, TemplateTokens},
    protocol::{ModelInfo, Token},
};
use std::{
    fs, io,
    sync::{Arc, Mutex, PoisonError},
};

const NO_TEMPLATE: &str = "no chat template in this model; using ChatML (set --chat-template)";

/// The templates of a model, or the reason why there are none.
type CompileResult = Result<Arc<ChatTemplates>, String>;

/// Caches the compiled templates of the model that was asked for last.
#[derive(Debug, Default)]
pub struct TemplateCache {
    of_operator: Option<String>,
    /// The templates and the value of their model that was seen last.
    compiled: Mutex<Option<(Arc<ModelInfo>, CompileResult)>>,
}

/// The reason why the operator's template cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TemplateFileError {
    /// The file cannot be read.
    #[error("the chat template {path} cannot be read: {error}")]
    File {
        /// The path, as the operator gave it.
        path: String,
        /// The error of the file system.
        error: io::Error,
    },
    /// The text is no template.
    #[error("the chat template does not compile: {0}")]
    Template(String),
}

impl TemplateCache {
    /// Creates a cache with the operator's template, if there is one: the path of a file, or the template itself, which
    /// is recognised by its braces.
    ///
    /// # Errors
    /// The file cannot be read, or the template does not compile.
    pub fn load(option: Option<&str>) -> Result<Self, TemplateFileError> {
        let of_operator = match option {
            Some(template) if template.contains("{{") || template.contains("{%") => Some(template.to_owned()),
            Some(path) => {
                let text = fs::read_to_string(path).map_err(|error| TemplateFileError::File { path: path.to_owned(), error })?;
                // Editors of Windows write a byte order mark, which the prompt would begin with.
                Some(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
            }
            None => None,
        };
        if let Some(source) = &of_operator {
            ChatTemplate::compile(source, TemplateTokens::default()).map_err(|error| TemplateFileError::Template(error.to_string()))?;
        }
        Ok(Self { of_operator, ..Self::default() })
    }

    /// The templates of `model`. The first call compiles them and logs their oddities.
    ///
    /// # Errors
    /// The reason why one of the templates does not compile.
    pub fn of(&self, model: &Arc<ModelInfo>) -> CompileResult {
        // The cached value is complete whenever the lock is free.
        let mut cached = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, compiled)) = &mut *cached
            && (Arc::ptr_eq(of, model) || has_same_templates(of, model))
        {
            // An engine that starts again brings the same model as another value, which is compared only once.
            *of = Arc::clone(model);
            return compiled.clone();
        }
        let compiled = self.compile(model);
        match &compiled {
            Err(reason) => tracing::error!(%reason, "chat is not available with this model; set --chat-template to a template that works"),
            Ok(templates) if templates.is_fallback() => {
                tracing::warn!("{NO_TEMPLATE}");
            }
            Ok(_) => {}
        }
        *cached = Some((Arc::clone(model), compiled.clone()));
        compiled
    }

    /// A sentence for the operator, at the start, if chat with this model will not work as expected. Compiles the
    /// templates.
    pub fn complaint(&self, model: &Arc<ModelInfo>) -> Option<String> {
        if model.embedding().is_some() {
            return None;
        }
        match self.of(model) {
            Ok(templates) => templates.is_fallback().then(|| NO_TEMPLATE.to_owned()),
            Err(reason) => Some(format!("chat is not available: {reason}; set --chat-template to a template that works")),
        }
    }

    fn compile(&self, model: &ModelInfo) -> CompileResult {
        let tokens = template_tokens(model);
        let templates = ChatTemplates::new(&model.chat_templates, self.of_operator.as_deref(), &tokens);
        templates.map(Arc::new).map_err(|error| error.to_string())
    }
}

/// True if all that templates are compiled of is the same.
fn has_same_templates(one: &ModelInfo, other: &ModelInfo) -> bool {
    let tokens = |model: &ModelInfo| (model.bos, model.eos);
    tokens(one) == tokens(other) && one.chat_templates == other.chat_templates && one.control_tokens == other.control_tokens
}

/// The text of a token; empty if there is none, or if it is no control token.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{chat::ChatInput, gateway::testing::model_info};
    use serde_json::json;

    fn rendered(cache: &TemplateCache, model: ModelInfo) -> String {
        let templates = cache.of(&Arc::new(model)).unwrap();
        let input = ChatInput { messages: vec![json!({"role": "user", "content": "Hi"})], ..ChatInput::default() };
        templates.select(false).render(&input).unwrap().text
    }

    fn model(template: &str) -> ModelInfo {
        ModelInfo { chat_templates: vec![("default".to_owned(), template.to_owned())], ..model_info() }
    }

    #[test]
    fn the_operators_template_comes_before_the_models_as_text_or_as_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "from a file: {{ messages[0].content }}").unwrap();
        let load = |option: &str| TemplateCache::load(Some(option)).unwrap();

        assert_eq!(rendered(&TemplateCache::load(None).unwrap(), model("of the model")), "of the model");
        assert_eq!(rendered(&load("inline: {{ messages[0].content }}"), model("of the model")), "inline: Hi");
        assert_eq!(rendered(&load(file.path().to_str().unwrap()), model("of the model")), "from a file: Hi");
    }

    #[test]
    fn an_operators_template_that_cannot_be_used_is_known_at_the_start() {
        assert!(matches!(TemplateCache::load(Some("/no/such/file")), Err(TemplateFileError::File { .. })));
        assert!(matches!(TemplateCache::load(Some("{% if %}")), Err(TemplateFileError::Template(_))));
    }

    #[test]
    fn a_models_template_that_does_not_compile_costs_it_its_chat_and_nothing_else() {
        let cache = TemplateCache::default();
        let broken = Arc::new(model("{% if %}"));

        assert!(cache.of(&broken).is_err());
        assert!(cache.of(&broken).is_err(), "the answer is kept");
        assert_eq!(rendered(&cache, model("of another")), "of another");
    }

    #[test]
    fn templates_are_compiled_again_only_if_their_text_or_their_tokens_change() {
        let cache = TemplateCache::default();
        let first = cache.of(&Arc::new(model("a"))).unwrap();
        let restarted = Arc::new(ModelInfo { threads: model("a").threads + 1, ..model("a") });

        assert!(Arc::ptr_eq(&first, &cache.of(&restarted).unwrap()), "an engine that starts again");
        assert!(Arc::ptr_eq(&first, &cache.of(&restarted).unwrap()));
        let tokens = ModelInfo { control_tokens: vec![("<x>".to_owned(), Token(1))], ..model("a") };
        assert!(!Arc::ptr_eq(&first, &cache.of(&Arc::new(tokens)).unwrap()));
        let again = cache.of(&restarted).unwrap();
        assert!(!Arc::ptr_eq(&again, &cache.of(&Arc::new(model("b"))).unwrap()));
    }

    #[test]
    fn what_is_wrong_with_chat_is_known_at_the_start() {
        let complaint = |model: ModelInfo| TemplateCache::default().complaint(&Arc::new(model)).unwrap_or_default();

        assert_eq!(complaint(model("fine")), "");
        assert_eq!(complaint(model_info()), NO_TEMPLATE);
        assert_eq!(complaint(model(" \n")), NO_TEMPLATE, "a blank one says nothing of messages");
        let broken = complaint(model("{% if %}"));
        assert!(broken.starts_with("chat is not available: ") && broken.contains("--chat-template"), "{broken}");
        let operators = TemplateCache::load(Some("{{ messages }}")).unwrap();
        assert_eq!(operators.complaint(&Arc::new(model_info())), None);
    }

    #[test]
    fn the_template_is_told_the_models_tokens_as_they_are_spelled() {
        let control_tokens = vec![("<s>".to_owned(), Token(1)), ("</s>".to_owned(), Token(2))];
        let model = ModelInfo { bos: Some(Token(1)), eos: Some(Token(2)), control_tokens, ..model("{{ bos_token }}|{{ eos_token }}") };

        assert_eq!(rendered(&TemplateCache::default(), model), "<s>|</s>");
    }
}

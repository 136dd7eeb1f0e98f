//! A model's chat templates, compiled once for each text, and the operator's own template (`--chat-template`).
//!
//! Owns the cache. `crate::chat` defines templates; the API limits how many are rendered at a time. Templates are
//! compiled on a thread for blocking work, one model's at a time, while the requests that need them wait.

use crate::{
    chat::{ChatTemplate, ChatTemplates, SystemMessages, TemplateTokens},
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
    /// Held while templates are compiled, so that they are compiled once.
    compiling: Arc<tokio::sync::Mutex<()>>,
}

/// Facts about chat with a model, in words for the operator.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChatFacts {
    /// The parts of a conversation that the template shows, and those that it does not.
    pub shown: Option<String>,
    /// The reason why chat with this model will not work as expected.
    pub warning: Option<String>,
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
    pub async fn of(self: &Arc<Self>, model: &Arc<ModelInfo>) -> CompileResult {
        if let Some(compiled) = self.cached(model) {
            return compiled;
        }
        let one_at_a_time = Arc::clone(&self.compiling).lock_owned().await;
        if let Some(compiled) = self.cached(model) {
            return compiled;
        }
        let (cache, of) = (Arc::clone(self), Arc::clone(model));
        // A request that is cancelled meanwhile holds the lock until the templates are compiled and kept.
        let compile = move || {
            let _held = one_at_a_time;
            cache.compile_and_keep(&of)
        };
        let compiled = tokio::task::spawn_blocking(compile).await;
        compiled.unwrap_or_else(|error| Err(format!("compiling its template ended early: {error}")))
    }

    /// The words by which a list of models says that tools can be used with this model: `tools`, and `generic_tools` if
    /// they are described in the system turn because the template shows none.
    pub async fn tool_capabilities(self: &Arc<Self>, model: &Arc<ModelInfo>, generic_tools: bool) -> &'static [&'static str] {
        match self.of(model).await {
            Ok(templates) if templates.select(true).abilities().shows_tools => &["tools"],
            Ok(_) if generic_tools => &["tools", "generic_tools"],
            Ok(_) | Err(_) => &[],
        }
    }

    /// The templates of `model`, if they were the last ones that were compiled.
    fn cached(&self, model: &Arc<ModelInfo>) -> Option<CompileResult> {
        // The cached value is complete whenever the lock is free.
        let mut cached = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        let (of, compiled) = cached.as_mut().filter(|(of, _)| Arc::ptr_eq(of, model) || has_same_templates(of, model))?;
        // An engine that starts again brings the same model as another value, which is compared only once.
        *of = Arc::clone(model);
        Some(compiled.clone())
    }

    /// Compiles the templates of `model`, logs their oddities and keeps the result.
    fn compile_and_keep(&self, model: &Arc<ModelInfo>) -> CompileResult {
        let compiled = self.compile(model);
        match &compiled {
            Err(reason) => tracing::error!(%reason, "chat is not available with this model; set --chat-template to a template that works"),
            Ok(templates) if templates.is_fallback() => {
                tracing::warn!("{NO_TEMPLATE}");
            }
            Ok(_) => {}
        }
        *self.compiled.lock().unwrap_or_else(PoisonError::into_inner) = Some((Arc::clone(model), compiled.clone()));
        compiled
    }

    /// Facts about chat with this model for the operator, at the start. Compiles the templates. `generic_tools` is true
    /// if tools that a template does not show are described in the system turn.
    pub async fn facts(self: &Arc<Self>, model: &Arc<ModelInfo>, generic_tools: bool) -> ChatFacts {
        if model.embedding().is_some() {
            return ChatFacts::default();
        }
        match self.of(model).await {
            Ok(templates) => ChatFacts {
                shown: Some(shown(&templates, generic_tools)),
                warning: templates.is_fallback().then(|| NO_TEMPLATE.to_owned()),
            },
            Err(reason) => {
                let warning = format!("chat is not available: {reason}; set --chat-template to a template that works");
                ChatFacts { shown: None, warning: Some(warning) }
            }
        }
    }

    fn compile(&self, model: &ModelInfo) -> CompileResult {
        let tokens = template_tokens(model);
        let templates = ChatTemplates::new(&model.chat_templates, self.of_operator.as_deref(), &tokens);
        templates.map(Arc::new).map_err(|error| error.to_string())
    }
}

/// The parts of a conversation that templates show, and those that they do not.
fn shown(templates: &ChatTemplates, generic_tools: bool) -> String {
    let (plain, tools) = (templates.select(false).abilities(), templates.select(true).abilities());
    let no_tools = if generic_tools { "tools (they are described in the system turn)" } else { "tools (they are left out)" };
    let parts = [
        (tools.shows_tools, "tools", no_tools),
        (plain.system != SystemMessages::Nowhere, "system messages", "system messages (they are put into user turns)"),
        (plain.shows_thoughts, "reasoning", "reasoning of earlier turns (it is left out)"),
    ];
    let listed = |wanted: bool| {
        let listed: Vec<&str> =
            parts.iter().filter(|(is_shown, ..)| *is_shown == wanted).map(|(_, yes, no)| if wanted { *yes } else { *no }).collect();
        listed.join(", ")
    };
    match (listed(true), listed(false)) {
        (yes, no) if no.is_empty() => format!("shows {yes}"),
        (yes, no) if yes.is_empty() => format!("shows no {no}"),
        (yes, no) => format!("shows {yes}; does not show {no}"),
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
        let templates = cache.compile_and_keep(&Arc::new(model)).unwrap();
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

    #[tokio::test]
    async fn a_models_template_that_does_not_compile_costs_it_its_chat_and_nothing_else() {
        let cache = Arc::new(TemplateCache::default());
        let broken = Arc::new(model("{% if %}"));

        assert!(cache.of(&broken).await.is_err());
        assert!(cache.of(&broken).await.is_err(), "the answer is kept");
        assert_eq!(rendered(&cache, model("of another")), "of another");
    }

    #[tokio::test]
    async fn templates_are_compiled_again_only_if_their_text_or_their_tokens_change() {
        let cache = Arc::new(TemplateCache::default());
        let first = cache.of(&Arc::new(model("a"))).await.unwrap();
        let restarted = Arc::new(ModelInfo { threads: model("a").threads + 1, ..model("a") });

        assert!(Arc::ptr_eq(&first, &cache.of(&restarted).await.unwrap()), "an engine that starts again");
        assert!(Arc::ptr_eq(&first, &cache.of(&restarted).await.unwrap()));
        let tokens = ModelInfo { control_tokens: vec![("<x>".to_owned(), Token(1))], ..model("a") };
        assert!(!Arc::ptr_eq(&first, &cache.of(&Arc::new(tokens)).await.unwrap()));
        let again = cache.of(&restarted).await.unwrap();
        assert!(!Arc::ptr_eq(&again, &cache.of(&Arc::new(model("b"))).await.unwrap()));
    }

    /// The runtime of this test has one thread: it could not count if a template were compiled on it.
    #[tokio::test]
    async fn other_requests_go_on_while_a_template_is_compiled_and_it_is_compiled_once() {
        let cache = Arc::new(TemplateCache::default());
        let slow = Arc::new(model(&"{% if x %}{{ x }}{% endif %}".repeat(20_000)));

        let (one, other) = (cache.of(&slow), cache.of(&slow));
        tokio::pin!(one, other);
        assert!(futures_util::poll!(&mut one).is_pending(), "it is compiled elsewhere");
        assert!(futures_util::poll!(&mut other).is_pending());

        assert!(Arc::ptr_eq(&one.await.unwrap(), &other.await.unwrap()));
    }

    #[tokio::test]
    async fn a_request_that_is_cancelled_leaves_its_compilation_to_the_next() {
        let cache = Arc::new(TemplateCache::default());
        let slow = Arc::new(model(&"{% if x %}{{ x }}{% endif %}".repeat(20_000)));

        assert!(futures_util::poll!(Box::pin(cache.of(&slow))).is_pending());

        assert!(cache.compiling.try_lock().is_err(), "the compilation goes on");
        cache.of(&slow).await.unwrap();
    }

    #[tokio::test]
    async fn what_is_wrong_with_chat_is_known_at_the_start() {
        let facts = async |model: ModelInfo| Arc::new(TemplateCache::default()).facts(&Arc::new(model), true).await;
        let warning = async |model: ModelInfo| facts(model).await.warning.unwrap_or_default();

        assert_eq!(warning(model("fine")).await, "");
        assert_eq!(warning(model_info()).await, NO_TEMPLATE);
        assert_eq!(warning(model(" \n")).await, NO_TEMPLATE, "a blank one says nothing of messages");
        let broken = warning(model("{% if %}")).await;
        assert!(broken.starts_with("chat is not available: ") && broken.contains("--chat-template"), "{broken}");
        let operators = Arc::new(TemplateCache::load(Some("{{ messages }}")).unwrap());
        assert_eq!(operators.facts(&Arc::new(model_info()), true).await.warning, None);
    }

    #[tokio::test]
    async fn what_a_template_does_not_show_is_known_at_the_start() {
        let plain = "{% for message in messages %}{% if message.role != 'system' %}{{ message.content }}{% endif %}{% endfor %}";
        let whole = "{{ tools }}{% for message in messages %}{{ message.content }}{{ message.reasoning_content }}{% endfor %}";
        let shown = async |source: &str, generic: bool| {
            let cache = Arc::new(TemplateCache::default());
            cache.facts(&Arc::new(model(source)), generic).await.shown.unwrap()
        };

        assert_eq!(shown(whole, true).await, "shows tools, system messages, reasoning");
        let nothing = "system messages (they are put into user turns), reasoning of earlier turns (it is left out)";
        assert_eq!(shown(plain, true).await, format!("shows no tools (they are described in the system turn), {nothing}"));
        assert_eq!(shown(plain, false).await, format!("shows no tools (they are left out), {nothing}"));
        let system = shown("{% for message in messages %}{{ message.content }}{% endfor %}", true).await;
        assert!(system.starts_with("shows system messages; does not show tools (they"), "{system}");
    }

    #[test]
    fn the_template_is_told_the_models_tokens_as_they_are_spelled() {
        let control_tokens = vec![("<s>".to_owned(), Token(1)), ("</s>".to_owned(), Token(2))];
        let model = ModelInfo { bos: Some(Token(1)), eos: Some(Token(2)), control_tokens, ..model("{{ bos_token }}|{{ eos_token }}") };

        assert_eq!(rendered(&TemplateCache::default(), model), "<s>|</s>");
    }
}

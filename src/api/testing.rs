//! The whole API in front of a scripted engine, without sockets: `TestApp::start(Setup { … }).await`, then
//! `app.post(…)`.
//!
//! The engine's tokens are characters, and of all constraints it refuses the regex `refuse me` and is too busy for
//! `not now`. It answers each submission with ` world` and an end, in one step.

use super::{layers::HostPolicy, router::router, state::AppState};
use crate::{
    chat::FALLBACK,
    config::{ApiConfig, KeyConfig},
    gateway::{
        Supervisor,
        engine_state::EngineState,
        keys::KeyRing,
        live_config::LiveConfig,
        models::Models,
        templates::TemplateCache,
        testing::{model_info, start_scripted, token},
    },
    protocol::{
        CheckConstraint, Constraint, ConstraintError, ConstraintErrorKind, EngineCall, EngineReply, Finish, FromEngine, ModelInfo,
        SequenceRequest, StepReport, ToEngine, Token, Tokenize,
    },
};
use axum::{
    Router,
    body::{Body, to_bytes},
    http::{HeaderMap, HeaderValue, Request, StatusCode},
};
use std::sync::{Arc, Mutex};
use tokio_util::task::AbortOnDropHandle;
use tower::ServiceExt as _;

/// The differences from a server without keys and limits whose model is loaded.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) keys: &'static [&'static str],
    pub(crate) config: ApiConfig,
    pub(crate) hosts: HostPolicy,
    /// True if the engine ever loads its model.
    pub(crate) loads: bool,
}

impl Default for Setup {
    fn default() -> Self {
        // A description of tools would not fit into the small context of the scripted model.
        let config = ApiConfig { max_body_bytes: 4096, generic_tools: false, ..ApiConfig::served_as(&["tiny"]) };
        Self { keys: &[], config, hosts: HostPolicy::Any, loads: true }
    }
}

/// A response, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    /// The text of a header; empty if the answer does not have it.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("ASCII"))
    }
}

/// A running API.
pub(crate) struct TestApp {
    pub(crate) state: AppState,
    pub(crate) router: Router,
    submitted: Arc<Mutex<Vec<SequenceRequest>>>,
    _engine: AbortOnDropHandle<()>,
    _supervisor: Supervisor,
}

impl TestApp {
    pub(crate) async fn start(setup: Setup) -> Self {
        Self::with_template(setup, FALLBACK).await
    }

    /// As [`Self::start`], with a model that has this chat template.
    pub(crate) async fn with_template(setup: Setup, source: &str) -> Self {
        let chat_templates = vec![("default".to_owned(), source.to_owned())];
        Self::of_model(setup, ModelInfo { chat_templates, ..model_info() }).await
    }

    /// As [`Self::start`], with a model that has no chat template.
    pub(crate) async fn without_template(setup: Setup) -> Self {
        Self::of_model(setup, model_info()).await
    }

    /// As [`Self::start`], with a model that has these templates, whose context holds a description of tools.
    pub(crate) async fn with_generic_tools(chat_templates: Vec<(String, String)>) -> Self {
        let mut setup = Setup::default();
        setup.config.generic_tools = true;
        Self::of_model(setup, ModelInfo { chat_templates, max_model_len: 2048, ..model_info() }).await
    }

    /// As [`Self::start`], with this model.
    pub(crate) async fn of_model(setup: Setup, model: ModelInfo) -> Self {
        let submitted = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&submitted);
        let app = Self::start_with(setup, model, move |message| answers(message, &seen)).await;
        Self { submitted, ..app }
    }

    /// Starts an API whose engine has loaded this model, if `setup.loads`, and answers by this script.
    pub(crate) async fn start_with(
        setup: Setup,
        model: ModelInfo,
        script: impl FnMut(ToEngine) -> Vec<FromEngine> + Send + 'static,
    ) -> Self {
        let (engine, supervisor, mut engines) = start_scripted(4, 4);
        let submitted = Arc::default();
        let loads = setup.loads;
        let engine_task = tokio::spawn(async move {
            let scripted = if loads { engines.next_ready_with(model).await } else { engines.next().await };
            scripted.run(script).await;
        });
        if loads {
            engine.watch_state().wait_for(|state| *state == EngineState::Ready).await.expect("supervised");
        }
        let keys = KeyConfig { keys: setup.keys.iter().map(|key| (*key).to_owned()).collect(), file: None };
        let (keys, config) = (KeyRing::load(&keys).expect("sound keys"), LiveConfig::new(setup.config));
        let models = Models::of_one(engine, TemplateCache::default(), config.clone());
        let state = AppState::new(models, Arc::new(keys), config);
        let router = router(state.clone(), setup.hosts);
        Self { state, router, submitted, _engine: AbortOnDropHandle::new(engine_task), _supervisor: supervisor }
    }

    /// The sequences that were submitted to the engine so far.
    pub(crate) fn submitted(&self) -> Vec<SequenceRequest> {
        self.submitted.lock().expect("not poisoned").clone()
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        answer_of(self.router.clone(), request).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(Request::get(path).body(Body::empty()).expect("a request")).await
    }

    /// Posts JSON.
    pub(crate) async fn post(&self, path: &str, body: &str) -> Answer {
        let request = Request::post(path).header("content-type", "application/json");
        self.send(request.body(Body::from(body.to_owned())).expect("a request")).await
    }
}

/// Sends one request to a router, with the `Host` that every client sends.
pub(crate) async fn answer_of(router: Router, mut request: Request<Body>) -> Answer {
    request.headers_mut().entry("host").or_insert(HeaderValue::from_static("localhost"));
    answer_of_exactly(router, request).await
}

/// Sends one request to a router as it is.
pub(crate) async fn answer_of_exactly(router: Router, request: Request<Body>) -> Answer {
    let response = router.oneshot(request).await.expect("infallible");
    let (parts, body) = response.into_parts();
    let body = to_bytes(body, 1 << 24).await.expect("a whole body");
    Answer { status: parts.status, headers: parts.headers, body: String::from_utf8(body.to_vec()).expect("text") }
}

fn answers(message: ToEngine, submitted: &Mutex<Vec<SequenceRequest>>) -> Vec<FromEngine> {
    match message {
        ToEngine::Call { id, call: EngineCall::Tokenize(Tokenize { text, .. }) } => {
            let tokens = text.chars().map(|letter| Token(u32::from(letter))).collect();
            vec![FromEngine::Reply { id, reply: EngineReply::Tokenize(Ok(tokens)) }]
        }
        ToEngine::Call { id, call: EngineCall::Check(CheckConstraint { constraint, .. }) } => {
            let result = match constraint {
                Constraint::Regex(text) if text == "refuse me" => Err(ConstraintError::new(ConstraintErrorKind::Invalid, "it is refused")),
                Constraint::Regex(text) if text == "not now" => Err(ConstraintError::new(ConstraintErrorKind::Busy, "others are compiled")),
                Constraint::Regex(text) if text == "in part" => Ok(vec!["a part is not enforced".to_owned()]),
                _ => Ok(Vec::new()),
            };
            vec![FromEngine::Reply { id, reply: EngineReply::Check(result) }]
        }
        ToEngine::Submit(request) => {
            let mut output = token(request.id, 7, " world");
            output.finish = Some(Finish::EndOfGeneration);
            submitted.lock().expect("not poisoned").push(*request);
            vec![FromEngine::Step(StepReport { outputs: vec![output], ..StepReport::default() })]
        }
        _ => Vec::new(),
    }
}

//! A server for tests that send the same request with and without a field: the sequences that reached the engine, and
//! the answers.
//!
//! The engine's tokens are characters; it generates ` world` after reasoning, and embeds by counting. It answers every
//! message.

use crate::{
    api::{
        openai::embeddings_script,
        testing::{Setup, TestApp},
    },
    chat::FALLBACK,
    gateway::testing::{embedding_info, model_info, token},
    protocol::{
        Detokenize, EngineCall, EngineReply, FimTokens, Finish, Forecast, FromEngine, ModelInfo, SequenceId, SequenceRequest, SpecialText,
        Spell, StepReport, ToEngine, Token, Tokenize,
    },
};
use axum::{body::Body, http::Request};
use serde_json::Value;
use std::sync::{Arc, Mutex};

/// A template that shows the model the whole of a request.
pub(super) const RICH: &str = "{# <think> #}{% for message in messages %}{{ message | tojson }}\n{% endfor %}\
    {% if tools %}{{ tools | tojson }}{% endif %}{% if enable_thinking is defined %}{{ enable_thinking }}{% endif %}\
    {% if reasoning_effort is defined %}{{ reasoning_effort }}{% endif %}{% if verbosity is defined %}{{ verbosity }}{% endif %}\
    {% if add_generation_prompt %}<assistant>{% endif %}";
/// A template that shows the model roles and contents alone.
pub(super) const POOR: &str = FALLBACK;

/// A server and its engine.
pub(super) struct Bench {
    app: TestApp,
    submitted: Arc<Mutex<Vec<SequenceRequest>>>,
}

/// The outcome of a request.
#[derive(Debug, PartialEq)]
pub(super) struct Seen {
    pub(super) status: u16,
    /// The field that an error names.
    pub(super) param: Option<String>,
    pub(super) warnings: String,
    submitted: Vec<SequenceRequest>,
    body: String,
}

impl Bench {
    /// A bench with a model that generates by this chat template and fills in the middle.
    pub(super) async fn generating(template: &str) -> Self {
        let fim = FimTokens { prefix: Token(1), suffix: Token(2), middle: Token(3), repository: None, file: None };
        let model = ModelInfo {
            vocabulary_size: 0x11_0000,
            max_model_len: 100_000,
            fim: Some(fim),
            chat_templates: vec![("default".to_owned(), template.to_owned())],
            ..model_info()
        };
        let submitted = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&submitted);
        let app = TestApp::start_with(setup(), model, move |message| answers(message, &seen)).await;
        Self { app, submitted }
    }

    /// A bench with a model that embeds.
    pub(super) async fn embedding() -> Self {
        let model = ModelInfo { kind: crate::protocol::ModelKind::Embeds(embedding_info()), vocabulary_size: 0x11_0000, ..model_info() };
        Self { app: TestApp::start_with(setup(), model, embeddings_script).await, submitted: Arc::default() }
    }

    /// Posts a body and reads the answer to its end.
    pub(super) async fn post(&self, path: &str, body: &Value) -> Seen {
        self.send(path, body.to_string(), "0").await
    }

    /// As [`Self::post`], for a strict request.
    pub(super) async fn post_strictly(&self, path: &str, body: &Value) -> Seen {
        self.send(path, body.to_string(), "1").await
    }

    /// As [`Self::post`], for a body as it is written; the request is strict if `strict` is `1`.
    pub(super) async fn send(&self, path: &str, body: String, strict: &str) -> Seen {
        let before = self.submitted.lock().unwrap().len();
        let request = Request::post(path).header("content-type", "application/json").header("x-llamero-strict", strict);
        let answer = self.app.send(request.body(Body::from(body)).unwrap()).await;
        let submitted = self.submitted.lock().unwrap()[before..].to_vec();
        let json: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let of_fastapi = json["detail"][0]["loc"][1].as_str();
        // Anthropic's errors name the field in their message, in quotes.
        let message = json["error"]["message"].as_str().filter(|_| json["type"] == "error");
        let of_anthropic = message.and_then(|message| message.split('\'').nth(1).or(message.starts_with("The model `").then_some("model")));
        Seen {
            status: answer.status.as_u16(),
            param: json["error"]["param"].as_str().or(of_fastapi).or(of_anthropic).map(str::to_owned),
            warnings: answer.header("x-llamero-warnings").to_owned(),
            submitted: submitted.into_iter().map(|request| comparable(request, path)).collect(),
            body: without_chance(&answer.body),
        }
    }
}

/// The sequence without the id that the gateway gave it, and without the seed that `/generate` draws.
fn comparable(mut request: SequenceRequest, path: &str) -> SequenceRequest {
    request.id = SequenceId(0);
    if path == "/generate" {
        request.sampling.seed = 0;
    }
    request
}

fn setup() -> Setup {
    let mut setup = Setup::default();
    setup.config.max_body_bytes = 1 << 20;
    setup
}

/// Removes the parts that differ between two answers to the same request: ids, times and measured durations.
fn without_chance(body: &str) -> String {
    let mut kept = String::new();
    for piece in body.split_inclusive([',', '}', ' ']) {
        let chance = ["\"id\":", "\"created\":", "_ms\":", "_per_second\":", "\"system_fingerprint\":"];
        if !chance.iter().any(|key| piece.contains(key)) {
            kept.push_str(piece);
        }
    }
    kept
}

fn answers(message: ToEngine, submitted: &Mutex<Vec<SequenceRequest>>) -> Vec<FromEngine> {
    match message {
        ToEngine::Call { id, call: EngineCall::Tokenize(Tokenize { text, add_special, special }) } => {
            let bos = add_special.then_some(Token(0));
            // Token 9 marks texts that may not spell control tokens.
            let plain = (special == SpecialText::Plain).then_some(Token(9));
            let letters = text.chars().map(|letter| Token(u32::from(letter)));
            vec![FromEngine::Reply { id, reply: EngineReply::Tokenize(Ok(bos.into_iter().chain(plain).chain(letters).collect())) }]
        }
        ToEngine::Call { id, call: EngineCall::Detokenize(Detokenize { tokens }) } => {
            let text = tokens.iter().map(|token| char::from_u32(token.0).unwrap_or('?')).collect();
            vec![FromEngine::Reply { id, reply: EngineReply::Detokenize(Ok(text)) }]
        }
        ToEngine::Call { id, call: EngineCall::Spell(Spell { tokens }) } => {
            let spell = |token: &Token| char::from_u32(token.0).unwrap_or('?').to_string().into_bytes();
            vec![FromEngine::Reply { id, reply: EngineReply::Spell(Ok(tokens.iter().map(spell).collect())) }]
        }
        ToEngine::Call { id, call: EngineCall::Forecast(prospect) } => {
            vec![FromEngine::Reply {
                id,
                reply: EngineReply::Forecast(Forecast { cached_tokens: vec![0; prospect.prompts.len()], slots: 4, ..Forecast::default() }),
            }]
        }
        ToEngine::Call { id, call: EngineCall::Check(_) } => vec![FromEngine::Reply { id, reply: EngineReply::Check(Ok(Vec::new())) }],
        ToEngine::Submit(request) => {
            let mut output = token(request.id, 7, "<think>hm</think> world");
            output.finish = Some(Finish::EndOfGeneration);
            submitted.lock().unwrap().push(*request);
            vec![FromEngine::Step(StepReport { outputs: vec![output], ..StepReport::default() })]
        }
        ToEngine::Load { .. } | ToEngine::Cancel(_) | ToEngine::Ping { .. } | ToEngine::Call { call: EngineCall::Embed(_), .. } => {
            Vec::new()
        }
    }
}

//! The routes as the documents list them.

use super::structured::{RESPONSE_FORMAT, STRUCTURED};
use crate::api::{
    anthropic::specs::MESSAGE_FIELDS,
    fields::spec::{AnySpec, Specs},
    infill::request::specs as infill,
    legacy::request::specs::GENERATE,
    openai::{
        chat::specs::CHAT,
        completions::request::specs::COMPLETIONS,
        embeddings::request::specs::EMBEDDINGS,
        rerank::request::specs::{RERANK, SCORE},
        responses::specs::RESPONSES,
        shared::{ending::ENDING, limits::NOT_IMPLEMENTED, sampling::specs::SAMPLING},
    },
    tokens::{
        detokenize::DETOKENIZE,
        tokenize::specs::{TOKENIZE, TOKENIZE_CHAT},
    },
};

/// A route and what it is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operation {
    /// `get` or `post`.
    pub(super) method: &'static str,
    /// With parameters in braces.
    pub(super) path: &'static str,
    /// One sentence.
    pub(super) about: &'static str,
    /// What a body may contain; `None` without a body.
    pub(super) body: Option<Body>,
    /// Media type and schema of the answer; a name in `schemas.json`.
    pub(super) answers: &'static [(&'static str, &'static str)],
    /// Statuses of refusals.
    pub(super) refusals: &'static [u16],
}

/// A JSON body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Body {
    /// Tables of its fields. Of two specs of one field the first counts.
    pub(super) fields: &'static [Specs],
    /// Fields that must be there.
    pub(super) required: &'static [&'static str],
    /// A request, JSON text.
    pub(super) example: &'static str,
}

impl Body {
    /// Each of its fields, once.
    pub(super) fn specs(&self) -> impl Iterator<Item = &'static dyn AnySpec> {
        let all: Vec<&'static dyn AnySpec> = self.fields.iter().copied().flatten().copied().collect();
        let stands_before = |at: usize, name: &str| all[..at].iter().any(|earlier| earlier.name() == name);
        let first: Vec<usize> = (0..all.len()).filter(|at| !stands_before(*at, all[*at].name())).collect();
        first.into_iter().map(move |at| all[at])
    }
}

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";
/// What any route with a body may answer.
const REFUSALS: &[u16] = &[400, 401, 403, 404, 408, 413, 422, 429, 500, 503];

/// The same at Anthropic's routes, where a full queue has a status of its own.
const ANTHROPICS_REFUSALS: &[u16] = &[400, 401, 403, 404, 408, 413, 422, 429, 500, 503, 529];

const COMPLETION: Body = Body {
    fields: &[COMPLETIONS, NOT_IMPLEMENTED, SAMPLING, ENDING, &[&RESPONSE_FORMAT], STRUCTURED],
    required: &["model", "prompt"],
    example: r#"{"model":"MODEL","prompt":"The capital of France is","max_tokens":8,"temperature":0}"#,
};

const CHAT_COMPLETION: Body = Body {
    fields: &[CHAT, NOT_IMPLEMENTED, SAMPLING, ENDING, &[&RESPONSE_FORMAT], STRUCTURED],
    required: &["model", "messages"],
    example: r#"{"model":"MODEL","messages":[{"role":"user","content":"What is the capital of France?"}],"max_completion_tokens":8,"temperature":0}"#,
};

const RANKED: Body = Body {
    fields: &[RERANK],
    required: &["model", "query", "documents"],
    example: r#"{"model":"MODEL","query":"bank","documents":["river","money"]}"#,
};

const SCORED: Body = Body {
    fields: &[SCORE],
    required: &["model", "text_1", "text_2"],
    example: r#"{"model":"MODEL","text_1":"bank","text_2":["river","money"]}"#,
};

/// A route that reads nothing and that nobody is kept from.
const fn page(path: &'static str, about: &'static str, answers: &'static [(&'static str, &'static str)]) -> Operation {
    Operation { method: "get", path, about, body: None, answers, refusals: &[403] }
}

/// Every route. One with two kinds of body stands here twice.
pub(super) const OPERATIONS: &[Operation] = &[
    Operation {
        method: "post",
        path: "/v1/completions",
        about: "OpenAI's completions, whole or as server-sent events.",
        body: Some(COMPLETION),
        answers: &[(JSON, "Completion"), (EVENTS, "Events")],
        refusals: REFUSALS,
    },
    Operation {
        method: "post",
        path: "/v1/chat/completions",
        about: "OpenAI's chat, whole or as server-sent events, by the model's own chat template.",
        body: Some(CHAT_COMPLETION),
        answers: &[(JSON, "ChatCompletion"), (EVENTS, "Events")],
        refusals: REFUSALS,
    },
    Operation {
        method: "post",
        path: "/v1/responses",
        about: "OpenAI's Responses API over chat, whole or as named events. Nothing is stored: what needs a stored response is refused.",
        body: Some(Body {
            fields: &[RESPONSES, NOT_IMPLEMENTED, SAMPLING, ENDING, STRUCTURED],
            required: &["model", "input"],
            example: r#"{"model":"MODEL","input":"What is the capital of France?","max_output_tokens":8,"temperature":0}"#,
        }),
        answers: &[(JSON, "Response"), (EVENTS, "ResponseEvents")],
        refusals: REFUSALS,
    },
    Operation {
        method: "post",
        path: "/v1/messages",
        about: "Anthropic's messages, whole or as server-sent events, by the model's own chat template.",
        body: Some(Body {
            fields: &[MESSAGE_FIELDS],
            required: &["model", "messages", "max_tokens"],
            example: r#"{"model":"MODEL","max_tokens":8,"messages":[{"role":"user","content":"What is the capital of France?"}],"temperature":0}"#,
        }),
        answers: &[(JSON, "Message"), (EVENTS, "MessageEvents")],
        refusals: ANTHROPICS_REFUSALS,
    },
    Operation {
        method: "post",
        path: "/v1/messages/count_tokens",
        about: "How many tokens the prompt of a messages request has: `input_tokens` and `cache_read_input_tokens` of its usage together.",
        body: Some(Body {
            fields: &[MESSAGE_FIELDS],
            required: &["model", "messages"],
            example: r#"{"model":"MODEL","messages":[{"role":"user","content":"What is the capital of France?"}]}"#,
        }),
        answers: &[(JSON, "TokenCount")],
        refusals: ANTHROPICS_REFUSALS,
    },
    Operation {
        method: "post",
        path: "/v1/embeddings",
        about: "A normalised vector for each input, where an embedding model is served.",
        body: Some(Body { fields: &[EMBEDDINGS], required: &["model", "input"], example: r#"{"model":"MODEL","input":"The river bank"}"# }),
        answers: &[(JSON, "EmbeddingList")],
        refusals: REFUSALS,
    },
    Operation {
        method: "post",
        path: "/v1/rerank",
        about: "Documents by relevance to a query (Jina, Cohere).",
        body: Some(RANKED),
        answers: &[(JSON, "Ranking")],
        refusals: REFUSALS,
    },
    Operation {
        method: "post",
        path: "/v2/rerank",
        about: "The same, where Cohere has it.",
        body: Some(RANKED),
        answers: &[(JSON, "Ranking")],
        refusals: REFUSALS,
    },
    Operation {
        method: "post",
        path: "/rerank",
        about: "The same, where Jina and vLLM have it.",
        body: Some(RANKED),
        answers: &[(JSON, "Ranking")],
        refusals: REFUSALS,
    },
    Operation {
        method: "post",
        path: "/v1/score",
        about: "How relevant texts are to each other (vLLM).",
        body: Some(SCORED),
        answers: &[(JSON, "ScoreList")],
        refusals: REFUSALS,
    },
    Operation {
        method: "post",
        path: "/score",
        about: "The same, where vLLM has it.",
        body: Some(SCORED),
        answers: &[(JSON, "ScoreList")],
        refusals: REFUSALS,
    },
    Operation {
        method: "post",
        path: "/v1/completions/render",
        about: "The tokens that a completions request would compute, one element per prompt (vLLM). Nothing is generated.",
        body: Some(COMPLETION),
        answers: &[(JSON, "RenderedList")],
        refusals: REFUSALS,
    },
    Operation {
        method: "post",
        path: "/v1/chat/completions/render",
        about: "The tokens that a chat request would compute (vLLM). Nothing is generated.",
        body: Some(CHAT_COMPLETION),
        answers: &[(JSON, "Rendered")],
        refusals: REFUSALS,
    },
    Operation {
        method: "post",
        path: "/v1/explain",
        about: "What would become of a completions request, with its tokens, parameters, limits and times. Nothing is generated.",
        body: Some(COMPLETION),
        answers: &[(JSON, "Explanation")],
        refusals: REFUSALS,
    },
    Operation {
        method: "post",
        path: "/v1/explain",
        about: "The same of a chat request: a body with `messages`.",
        body: Some(CHAT_COMPLETION),
        answers: &[(JSON, "Explanation")],
        refusals: REFUSALS,
    },
    Operation {
        method: "post",
        path: "/tokenize",
        about: "Text to tokens, as vLLM and as llama-server do.",
        body: Some(Body { fields: &[TOKENIZE], required: &[], example: r#"{"prompt":"Hello"}"# }),
        answers: &[(JSON, "Tokenized")],
        refusals: REFUSALS,
    },
    Operation {
        method: "post",
        path: "/tokenize",
        about: "The tokens of a chat's prompt, as vLLM does: a body with `messages`.",
        body: Some(Body { fields: TOKENIZE_CHAT, required: &["messages"], example: r#"{"messages":[{"role":"user","content":"Hello"}]}"# }),
        answers: &[(JSON, "Tokenized")],
        refusals: REFUSALS,
    },
    Operation {
        method: "post",
        path: "/detokenize",
        about: "Tokens to text, as vLLM and as llama-server do.",
        body: Some(Body { fields: &[DETOKENIZE], required: &["tokens"], example: r#"{"tokens":[1,2]}"# }),
        answers: &[(JSON, "Detokenized")],
        refusals: REFUSALS,
    },
    Operation {
        method: "get",
        path: "/tokenizer_info",
        about: "Names of special tokens and the chat template (vLLM).",
        body: None,
        answers: &[(JSON, "TokenizerInfo")],
        refusals: &[401, 403, 422, 503],
    },
    Operation {
        method: "post",
        path: "/infill",
        about: "llama-server's code completion for editors, for models with fill-in-the-middle tokens.",
        body: Some(Body {
            fields: &[infill::INFILL, infill::WITHOUT_EFFECT, infill::REFUSED, infill::OTHER_DEFAULTS, SAMPLING],
            required: &["input_prefix", "input_suffix"],
            example: r#"{"input_prefix":"fn main() {\n","input_suffix":"\n}\n","n_predict":16}"#,
        }),
        answers: &[(JSON, "Infill"), (EVENTS, "Events")],
        refusals: REFUSALS,
    },
    Operation {
        method: "get",
        path: "/v1/models",
        about: "The names under which the model is served.",
        body: None,
        answers: &[(JSON, "ModelList")],
        refusals: &[401, 403],
    },
    Operation {
        method: "get",
        path: "/v1/models/{id}",
        about: "One of them.",
        body: None,
        answers: &[(JSON, "Model")],
        refusals: &[401, 403, 404],
    },
    Operation {
        method: "post",
        path: "/generate",
        about: "A prompt in, a completion out, as a FastAPI script answers it.",
        body: Some(Body { fields: &[GENERATE], required: &["prompt"], example: r#"{"prompt":"Hello","max_tokens":8}"# }),
        answers: &[(JSON, "Generated")],
        refusals: &[400, 401, 403, 408, 413, 422, 429, 500, 503],
    },
    page("/", "What runs here.", &[(JSON, "Object")]),
    page("/health", "200 `healthy` once the model is loaded, else 503.", &[(JSON, "Object")]),
    page("/livez", "200 while this process answers.", &[(JSON, "Object")]),
    page(
        "/readyz",
        "200 while requests are welcome, else 503 and why: loading (`load_percent` says how far), restarting, about to stop.",
        &[(JSON, "Object")],
    ),
    page("/metrics", "Prometheus; vLLM's names and buckets where one exists.", &[("text/plain", "Text")]),
    page("/openapi.json", "This specification.", &[(JSON, "Object")]),
    page("/docs", "A page that shows it; nothing is loaded from elsewhere.", &[("text/html", "Text")]),
];

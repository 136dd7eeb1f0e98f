//! Bodies, answers and refusals of routes, for the documents. The table of routes (`api/routes.rs`) refers to these
//! constants; nothing here refers to the table.

use super::docs::{Body, Docs};
use crate::api::{
    anthropic::specs::MESSAGE_FIELDS,
    infill::request::specs::INFILL,
    legacy::request::specs::GENERATE,
    llama_server::{
        completion::specs::COMPLETION as LLAMA_COMPLETION,
        embedding::specs::EMBEDDING as LLAMA_EMBEDDING,
        options::specs::{OTHER_DEFAULTS, SHARED, WITHOUT_EFFECT},
    },
    openai::{
        chat::specs::CHAT,
        completions::request::specs::COMPLETIONS,
        embeddings::request::specs::EMBEDDINGS,
        rerank::request::specs::{RERANK, SCORE},
        responses::specs::RESPONSES,
        shared::{
            ending::ENDING,
            limits::{MODEL_OR_FIRST, NOT_IMPLEMENTED},
            sampling::specs::SAMPLING,
            structured::specs::{RESPONSE_FORMAT, STRUCTURED},
        },
    },
    tokens::{
        detokenize::DETOKENIZE,
        tokenize::specs::{OF_CHAT, REFUSED_BY_CHAT, TOKENIZE, TOKENIZE_CHAT},
    },
};

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";
/// Statuses of the errors that any route with a body may answer with.
const REFUSALS: &[u16] = &[400, 401, 403, 404, 408, 413, 415, 422, 429, 500, 503];

/// As [`REFUSALS`], for Anthropic's routes, where a full queue has a status of its own.
const ANTHROPICS_REFUSALS: &[u16] = &[400, 401, 403, 404, 408, 413, 415, 422, 429, 500, 503, 529];

const COMPLETION: Body = Body {
    fields: &[COMPLETIONS, NOT_IMPLEMENTED, SAMPLING, ENDING, &[&RESPONSE_FORMAT], STRUCTURED],
    required: &["prompt"],
    example: r#"{"model":"MODEL","prompt":"The capital of France is","max_tokens":8,"temperature":0}"#,
};

const CHAT_COMPLETION: Body = Body {
    fields: &[CHAT, NOT_IMPLEMENTED, SAMPLING, ENDING, &[&RESPONSE_FORMAT], STRUCTURED],
    required: &["messages"],
    example: r#"{"model":"MODEL","messages":[{"role":"user","content":"What is the capital of France?"}],"max_completion_tokens":8,"temperature":0}"#,
};

const LLAMA_BODY: Body = Body {
    fields: &[LLAMA_COMPLETION, SHARED, WITHOUT_EFFECT, OTHER_DEFAULTS, SAMPLING, ENDING],
    required: &["prompt"],
    example: r#"{"prompt":"The capital of France is","n_predict":8,"temperature":0}"#,
};

const VECTORS: Body = Body { fields: &[EMBEDDINGS], required: &["input"], example: r#"{"model":"MODEL","input":"The river bank"}"# };

const LLAMA_VECTORS: Body = Body { fields: &[LLAMA_EMBEDDING], required: &["content"], example: r#"{"content":"The river bank"}"# };

const RANKED: Body = Body {
    fields: &[RERANK],
    required: &["query", "documents"],
    example: r#"{"model":"MODEL","query":"bank","documents":["river","money"]}"#,
};

const SCORED: Body = Body {
    fields: &[SCORE],
    // One of several names for each side must be there.
    required: &[],
    example: r#"{"model":"MODEL","text_1":"bank","text_2":["river","money"]}"#,
};

/// A route without a body.
const fn page(answers: &'static [(&'static str, &'static str)], refusals: &'static [u16]) -> [Docs; 1] {
    [Docs { about: None, body: None, answers, refusals }]
}

/// The bodies and answers of `/v1/completions`.
pub(in crate::api) const COMPLETIONS_DOCS: &[Docs] =
    &[Docs { about: None, body: Some(COMPLETION), answers: &[(JSON, "Completion"), (EVENTS, "Events")], refusals: REFUSALS }];
/// The bodies and answers of `/v1/chat/completions`.
pub(in crate::api) const CHAT_DOCS: &[Docs] =
    &[Docs { about: None, body: Some(CHAT_COMPLETION), answers: &[(JSON, "ChatCompletion"), (EVENTS, "Events")], refusals: REFUSALS }];
/// The bodies and answers of `/v1/responses`.
pub(in crate::api) const RESPONSES_DOCS: &[Docs] = &[Docs {
    about: None,
    body: Some(Body {
        fields: &[RESPONSES, NOT_IMPLEMENTED, SAMPLING, ENDING, STRUCTURED],
        required: &["input"],
        example: r#"{"model":"MODEL","input":"What is the capital of France?","max_output_tokens":8,"temperature":0}"#,
    }),
    answers: &[(JSON, "Response"), (EVENTS, "ResponseEvents")],
    refusals: REFUSALS,
}];
/// The bodies and answers of `/v1/messages`.
pub(in crate::api) const MESSAGES_DOCS: &[Docs] = &[Docs {
    about: None,
    body: Some(Body {
        fields: &[MESSAGE_FIELDS],
        required: &["messages", "max_tokens"],
        example: r#"{"model":"MODEL","max_tokens":8,"messages":[{"role":"user","content":"What is the capital of France?"}],"temperature":0}"#,
    }),
    answers: &[(JSON, "Message"), (EVENTS, "MessageEvents")],
    refusals: ANTHROPICS_REFUSALS,
}];
/// The bodies and answers of `/v1/messages/count_tokens`.
pub(in crate::api) const COUNT_TOKENS_DOCS: &[Docs] = &[Docs {
    about: None,
    body: Some(Body {
        fields: &[MESSAGE_FIELDS],
        required: &["messages"],
        example: r#"{"model":"MODEL","messages":[{"role":"user","content":"What is the capital of France?"}]}"#,
    }),
    answers: &[(JSON, "TokenCount")],
    refusals: ANTHROPICS_REFUSALS,
}];
/// The bodies and answers of `/v1/embeddings`.
pub(in crate::api) const EMBEDDINGS_DOCS: &[Docs] =
    &[Docs { about: None, body: Some(VECTORS), answers: &[(JSON, "EmbeddingList")], refusals: REFUSALS }];
/// The bodies and answers of `/v1/rerank`.
pub(in crate::api) const RERANK_DOCS: &[Docs] =
    &[Docs { about: None, body: Some(RANKED), answers: &[(JSON, "Ranking")], refusals: REFUSALS }];
/// The bodies and answers of `/v1/score`.
pub(in crate::api) const SCORE_DOCS: &[Docs] =
    &[Docs { about: None, body: Some(SCORED), answers: &[(JSON, "ScoreList")], refusals: REFUSALS }];
/// The bodies and answers of `/v1/completions/render`.
pub(in crate::api) const RENDERED_COMPLETIONS_DOCS: &[Docs] =
    &[Docs { about: None, body: Some(COMPLETION), answers: &[(JSON, "RenderedList")], refusals: REFUSALS }];
/// The bodies and answers of `/v1/chat/completions/render`.
pub(in crate::api) const RENDERED_CHAT_DOCS: &[Docs] =
    &[Docs { about: None, body: Some(CHAT_COMPLETION), answers: &[(JSON, "Rendered")], refusals: REFUSALS }];
/// The bodies and answers of `/v1/explain`.
pub(in crate::api) const EXPLAIN_DOCS: &[Docs] = &[
    Docs { about: None, body: Some(COMPLETION), answers: &[(JSON, "Explanation")], refusals: REFUSALS },
    Docs {
        about: Some("The same of a conversation: a body of chat; those of `/v1/responses` and `/v1/messages` are known by their fields."),
        body: Some(CHAT_COMPLETION),
        answers: &[(JSON, "Explanation")],
        refusals: REFUSALS,
    },
];
/// The bodies and answers of `/tokenize`.
pub(in crate::api) const TOKENIZE_DOCS: &[Docs] = &[
    Docs {
        about: None,
        body: Some(Body { fields: &[TOKENIZE], required: &[], example: r#"{"prompt":"Hello"}"# }),
        answers: &[(JSON, "Tokenized")],
        refusals: REFUSALS,
    },
    Docs {
        about: Some("The tokens of a chat's prompt, as vLLM does: a body with `messages`."),
        body: Some(Body { fields: TOKENIZE_CHAT, required: &["messages"], example: r#"{"messages":[{"role":"user","content":"Hello"}]}"# }),
        answers: &[(JSON, "Tokenized")],
        refusals: REFUSALS,
    },
];
/// The bodies and answers of `/detokenize`.
pub(in crate::api) const DETOKENIZE_DOCS: &[Docs] = &[Docs {
    about: None,
    body: Some(Body { fields: &[DETOKENIZE], required: &["tokens"], example: r#"{"tokens":[1,2]}"# }),
    answers: &[(JSON, "Detokenized")],
    refusals: REFUSALS,
}];
/// The bodies and answers of `/tokenizer_info`.
pub(in crate::api) const TOKENIZER_INFO_DOCS: &[Docs] =
    &[Docs { about: None, body: None, answers: &[(JSON, "TokenizerInfo")], refusals: &[401, 403, 422, 503] }];
/// The bodies and answers of `/infill`.
pub(in crate::api) const INFILL_DOCS: &[Docs] = &[Docs {
    about: None,
    body: Some(Body {
        fields: &[INFILL, SHARED, WITHOUT_EFFECT, OTHER_DEFAULTS, SAMPLING, ENDING],
        required: &["input_prefix", "input_suffix"],
        example: r#"{"input_prefix":"fn main() {\n","input_suffix":"\n}\n","n_predict":16}"#,
    }),
    answers: &[(JSON, "LlamaCompletion"), (EVENTS, "Events")],
    refusals: REFUSALS,
}];
/// The bodies and answers of `/completion`.
pub(in crate::api) const LLAMA_COMPLETION_DOCS: &[Docs] =
    &[Docs { about: None, body: Some(LLAMA_BODY), answers: &[(JSON, "LlamaCompletion"), (EVENTS, "Events")], refusals: REFUSALS }];
/// The bodies and answers of `/completions`.
pub(in crate::api) const EITHER_COMPLETIONS_DOCS: &[Docs] = &[
    Docs { about: None, body: Some(COMPLETION), answers: &[(JSON, "EitherCompletion"), (EVENTS, "Events")], refusals: REFUSALS },
    Docs {
        about: Some("`/completion` where the body has `n_predict`, as llama-server has it."),
        body: Some(LLAMA_BODY),
        answers: &[(JSON, "EitherCompletion"), (EVENTS, "Events")],
        refusals: REFUSALS,
    },
];
/// The bodies and answers of `/embedding`.
pub(in crate::api) const LLAMA_EMBEDDING_DOCS: &[Docs] =
    &[Docs { about: None, body: Some(LLAMA_VECTORS), answers: &[(JSON, "IndexedVectors")], refusals: REFUSALS }];
/// The bodies and answers of `/embeddings`.
pub(in crate::api) const EITHER_EMBEDDINGS_DOCS: &[Docs] = &[
    Docs { about: None, body: Some(VECTORS), answers: &[(JSON, "EitherVectors")], refusals: REFUSALS },
    Docs {
        about: Some("`/embedding` where the body has `content`, as llama-server has it."),
        body: Some(LLAMA_VECTORS),
        answers: &[(JSON, "EitherVectors")],
        refusals: REFUSALS,
    },
];
/// The bodies and answers of `/apply-template`.
pub(in crate::api) const APPLY_TEMPLATE_DOCS: &[Docs] = &[Docs {
    about: None,
    body: Some(Body {
        fields: &[&[&MODEL_OR_FIRST], OF_CHAT, REFUSED_BY_CHAT],
        required: &["messages"],
        example: r#"{"messages":[{"role":"user","content":"Hello"}]}"#,
    }),
    answers: &[(JSON, "AppliedTemplate")],
    refusals: REFUSALS,
}];
/// The answers of `/props`.
pub(in crate::api) const PROPS_DOCS: &[Docs] = &page(&[(JSON, "Props")], &[401, 403, 422, 500, 503]);
/// The answers of `/slots`.
pub(in crate::api) const SLOTS_DOCS: &[Docs] = &page(&[(JSON, "Slots")], &[401, 403, 503]);
/// The bodies and answers of `/v1/models`.
pub(in crate::api) const MODELS_DOCS: &[Docs] = &[Docs { about: None, body: None, answers: &[(JSON, "ModelList")], refusals: &[401, 403] }];
/// The bodies and answers of `/v1/models/{id}`.
pub(in crate::api) const MODEL_DOCS: &[Docs] = &[Docs { about: None, body: None, answers: &[(JSON, "Model")], refusals: &[401, 403, 404] }];
/// The bodies and answers of `/generate`.
pub(in crate::api) const GENERATE_DOCS: &[Docs] = &[Docs {
    about: None,
    body: Some(Body { fields: &[GENERATE], required: &["prompt"], example: r#"{"prompt":"Hello","max_tokens":8}"# }),
    answers: &[(JSON, "Generated")],
    refusals: &[400, 401, 403, 408, 413, 415, 422, 429, 500, 503],
}];
/// The answers of pages that show JSON of no fixed shape.
pub(in crate::api) const STATUS_DOCS: &[Docs] = &page(&[(JSON, "Object")], &[403]);
/// The answers of `/get_load`.
pub(in crate::api) const LOAD_DOCS: &[Docs] = &page(&[(JSON, "Object")], &[401, 403]);
/// The answers of `/openapi.json`.
pub(in crate::api) const SPECIFICATION_DOCS: &[Docs] = &page(&[(JSON, "Object")], &[403]);
/// The answers of `/metrics`.
pub(in crate::api) const METRICS_DOCS: &[Docs] = &page(&[("text/plain", "Text")], &[401, 403]);
/// The answers of `/docs`.
pub(in crate::api) const PAGE_DOCS: &[Docs] = &page(&[("text/html", "Text")], &[403]);

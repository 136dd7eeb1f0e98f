//! Every route of the server, with each fact of it stated once.
//!
//! The router, the layers, `/openapi.json`, the answers to paths that are no route, and the labels in logs and metrics
//! read this table.

// Import circle: the table has the route of `/openapi.json`, and that document lists the table, its own route included.

use super::{
    anthropic,
    family::Family,
    health, infill, legacy, llama_server,
    openai::{chat, completions, embeddings, explain, models, render, rerank, responses},
    openapi::{self, operations},
    route::{
        Access,
        Handler::{Below, Here},
        Route, Verb,
    },
    server_facts,
    state::AppState,
    tokens::{detokenize, info, tokenize},
};
use axum::{
    Router,
    http::Method,
    routing::{MethodRouter, get, post},
};

/// A POST that makes the engine work: it needs a key and counts against requests per minute.
const OPENAI: Route = Route {
    verb: Verb::Post,
    path: "",
    family: Family::OpenAi,
    access: Access::Key,
    counts: true,
    body_limit: None,
    label: "",
    summary: "",
    docs: &[],
    handler: Here(MethodRouter::new),
};
/// As [`OPENAI`], for Anthropic's clients.
const ANTHROPIC: Route = Route { family: Family::Anthropic, ..OPENAI };
/// As [`OPENAI`], for scripts that expect FastAPI's answers.
const FASTAPI: Route = Route { family: Family::Legacy, ..OPENAI };
/// A GET for OpenAI's clients: it needs a key and does not count against requests per minute.
const LOOK_UP: Route = Route { verb: Verb::Get, counts: false, ..OPENAI };
/// A GET for people and their tools: it needs a key and does not count; its errors have FastAPI's shape.
const PAGE: Route = Route { verb: Verb::Get, family: Family::Legacy, counts: false, ..OPENAI };
/// As [`PAGE`], without a key: a person enters the key into the page, and the documents are public. Bodies are small,
/// since anybody may send them.
const OPEN_PAGE: Route = Route { access: Access::Open, body_limit: Some(4096), ..PAGE };
/// As [`OPEN_PAGE`], for load balancers. `/metrics` is no probe, because it shows the use of the server.
const PROBE: Route = Route { verb: Verb::Probe, ..OPEN_PAGE };

/// The table. The documents list the routes in this order.
pub(super) static ROUTES: &[Route] = &[
    Route {
        path: "/v1/completions",
        label: "completions",
        summary: "OpenAI's completions, whole or as server-sent events.",
        docs: operations::COMPLETIONS_DOCS,
        handler: Here(|| post(completions::create)),
        ..OPENAI
    },
    Route {
        path: "/v1/chat/completions",
        label: "chat_completions",
        summary: "OpenAI's chat, whole or as server-sent events, by the model's own chat template.",
        docs: operations::CHAT_DOCS,
        handler: Here(|| post(chat::create)),
        ..OPENAI
    },
    Route {
        path: "/v1/responses",
        label: "responses",
        summary: "OpenAI's Responses API over chat, whole or as named events. Nothing is stored: what needs a stored response is refused.",
        docs: operations::RESPONSES_DOCS,
        handler: Here(|| post(responses::create)),
        ..OPENAI
    },
    Route {
        path: "/v1/messages",
        label: "messages",
        summary: "Anthropic's messages, whole or as server-sent events, by the model's own chat template.",
        docs: operations::MESSAGES_DOCS,
        handler: Here(|| post(anthropic::create)),
        ..ANTHROPIC
    },
    Route {
        path: "/v1/messages/count_tokens",
        label: "count_tokens",
        summary: "The number of tokens in the prompt of a messages request: `input_tokens` and `cache_read_input_tokens` of its usage together.",
        docs: operations::COUNT_TOKENS_DOCS,
        handler: Here(|| post(anthropic::count)),
        ..ANTHROPIC
    },
    Route {
        path: "/v1/embeddings",
        label: "embeddings",
        summary: "A normalised vector for each input, where an embedding model is served.",
        docs: operations::EMBEDDINGS_DOCS,
        handler: Here(|| post(embeddings::create)),
        ..OPENAI
    },
    Route {
        path: "/v1/rerank",
        label: "rerank",
        summary: "Documents by relevance to a query (Jina, Cohere).",
        docs: operations::RERANK_DOCS,
        handler: Here(|| post(rerank::rerank)),
        ..OPENAI
    },
    Route {
        path: "/v2/rerank",
        label: "rerank",
        summary: "The same, where Cohere has it.",
        docs: operations::RERANK_DOCS,
        handler: Here(|| post(rerank::rerank)),
        ..OPENAI
    },
    Route {
        path: "/rerank",
        label: "rerank",
        summary: "The same, where Jina and vLLM have it.",
        docs: operations::RERANK_DOCS,
        handler: Here(|| post(rerank::rerank)),
        ..OPENAI
    },
    Route {
        path: "/v1/score",
        label: "score",
        summary: "The relevance of texts to each other (vLLM).",
        docs: operations::SCORE_DOCS,
        handler: Here(|| post(rerank::score)),
        ..OPENAI
    },
    Route {
        path: "/score",
        label: "score",
        summary: "The same, where vLLM has it.",
        docs: operations::SCORE_DOCS,
        handler: Here(|| post(rerank::score)),
        ..OPENAI
    },
    Route {
        path: "/v1/completions/render",
        label: "completions_render",
        summary: "The tokens that a completions request would compute, one element per prompt (vLLM). Nothing is generated.",
        docs: operations::RENDERED_COMPLETIONS_DOCS,
        handler: Here(|| post(render::of_completions)),
        ..OPENAI
    },
    Route {
        path: "/v1/chat/completions/render",
        label: "chat_completions_render",
        summary: "The tokens that a chat request would compute (vLLM). Nothing is generated.",
        docs: operations::RENDERED_CHAT_DOCS,
        handler: Here(|| post(render::of_chat)),
        ..OPENAI
    },
    Route {
        path: "/v1/explain",
        label: "explain",
        summary: "The plan for a request: its tokens, what fills its prompt, parameters, limits and times. Nothing is generated.",
        docs: operations::EXPLAIN_DOCS,
        handler: Here(|| post(explain::explain)),
        ..OPENAI
    },
    Route {
        path: "/tokenize",
        label: "tokenize",
        summary: "Text to tokens, as vLLM and as llama-server do.",
        docs: operations::TOKENIZE_DOCS,
        handler: Here(|| post(tokenize::tokenize)),
        ..OPENAI
    },
    Route {
        path: "/detokenize",
        label: "detokenize",
        summary: "Tokens to text, as vLLM and as llama-server do.",
        docs: operations::DETOKENIZE_DOCS,
        handler: Here(|| post(detokenize::detokenize)),
        ..OPENAI
    },
    Route {
        path: "/tokenizer_info",
        label: "tokenizer_info",
        summary: "Names of special tokens and the chat template (vLLM).",
        docs: operations::TOKENIZER_INFO_DOCS,
        handler: Here(|| get(info::info)),
        ..LOOK_UP
    },
    Route {
        path: "/infill",
        label: "infill",
        summary: "llama-server's code completion for editors, for models with fill-in-the-middle tokens.",
        docs: operations::INFILL_DOCS,
        handler: Here(|| post(infill::infill)),
        ..OPENAI
    },
    Route {
        path: "/completion",
        label: "completion",
        summary: "llama-server's completion in its own shape, whole or as server-sent events.",
        docs: operations::LLAMA_COMPLETION_DOCS,
        handler: Here(|| post(llama_server::completion::complete)),
        ..OPENAI
    },
    Route {
        path: "/completions",
        label: "completions_unprefixed",
        summary: "`/v1/completions` where a base URL lacks `/v1`, unless the body has `n_predict`.",
        docs: operations::EITHER_COMPLETIONS_DOCS,
        handler: Here(|| post(llama_server::completion::complete_either)),
        ..OPENAI
    },
    Route {
        path: "/embedding",
        label: "embedding",
        summary: "llama-server's vectors in its own shape, where an embedding model is served.",
        docs: operations::LLAMA_EMBEDDING_DOCS,
        handler: Here(|| post(llama_server::embedding::embed)),
        ..OPENAI
    },
    Route {
        path: "/embeddings",
        label: "embeddings_unprefixed",
        summary: "`/v1/embeddings` where a base URL lacks `/v1`, unless the body has `content`.",
        docs: operations::EITHER_EMBEDDINGS_DOCS,
        handler: Here(|| post(llama_server::embedding::embed_either)),
        ..OPENAI
    },
    Route {
        path: "/apply-template",
        label: "apply_template",
        summary: "The text that the model's chat template makes of messages, for `/completion` (llama-server).",
        docs: operations::APPLY_TEMPLATE_DOCS,
        handler: Here(|| post(llama_server::template::apply)),
        ..OPENAI
    },
    Route {
        path: "/props",
        label: "props",
        summary: "Facts about the server and its model under llama-server's names.",
        docs: operations::PROPS_DOCS,
        handler: Here(|| get(llama_server::props::props)),
        ..LOOK_UP
    },
    Route {
        path: "/slots",
        label: "slots",
        summary: "The places for sequences and the number of busy ones (llama-server); prompts are not shown.",
        docs: operations::SLOTS_DOCS,
        handler: Here(|| get(llama_server::slots::slots)),
        ..LOOK_UP
    },
    Route {
        path: "/v1/models",
        label: "models",
        summary: "The names under which the model is served.",
        docs: operations::MODELS_DOCS,
        handler: Here(|| get(models::list)),
        ..LOOK_UP
    },
    Route {
        path: "/v1/models/{*id}",
        label: "model",
        summary: "One of them.",
        docs: operations::MODEL_DOCS,
        handler: Here(|| get(models::get)),
        ..LOOK_UP
    },
    Route {
        path: "/generate",
        label: "generate",
        summary: "A prompt in, a completion out, as a FastAPI script answers it.",
        docs: operations::GENERATE_DOCS,
        handler: Here(|| post(legacy::generate)),
        ..FASTAPI
    },
    Route {
        path: "/",
        label: "root",
        summary: "A message that the server runs, and the name of the served model.",
        docs: operations::STATUS_DOCS,
        handler: Here(|| health::probe(legacy::root)),
        ..PROBE
    },
    Route {
        path: "/health",
        label: "health",
        summary: "200 `healthy` once the model is loaded, else 503.",
        docs: operations::STATUS_DOCS,
        handler: Here(|| health::probe(legacy::health)),
        ..PROBE
    },
    Route {
        path: "/v1/health",
        label: "health",
        summary: "The same, where routers look for it.",
        docs: operations::STATUS_DOCS,
        handler: Here(|| health::probe(legacy::health)),
        ..PROBE
    },
    Route {
        path: "/ping",
        label: "health",
        summary: "The same, where SageMaker looks for it.",
        docs: operations::STATUS_DOCS,
        handler: Here(|| health::probe(legacy::health)),
        ..PROBE
    },
    Route {
        path: "/livez",
        label: "livez",
        summary: "200 while this process answers.",
        docs: operations::STATUS_DOCS,
        handler: Here(|| health::probe(health::livez)),
        ..PROBE
    },
    Route {
        path: "/readyz",
        label: "readyz",
        summary: "200 while requests are welcome, else 503 and why: loading (`load_percent` says how far), restarting, failing in tests, about to stop.",
        docs: operations::STATUS_DOCS,
        handler: Here(|| health::probe(health::readyz)),
        ..PROBE
    },
    Route {
        path: "/metrics",
        label: "metrics",
        summary: "Prometheus; vLLM's names and buckets where one exists.",
        docs: operations::METRICS_DOCS,
        handler: Here(|| get(health::scrape)),
        ..PAGE
    },
    Route {
        path: "/version",
        label: "version",
        summary: "The version of the server (vLLM).",
        docs: operations::STATUS_DOCS,
        handler: Here(|| get(server_facts::version)),
        ..OPEN_PAGE
    },
    Route {
        path: "/get_load",
        label: "get_load",
        summary: "Running and waiting sequences, for vllm-router's policy `power_of_two`.",
        docs: operations::LOAD_DOCS,
        handler: Here(|| get(server_facts::load)),
        ..PAGE
    },
    Route {
        path: "/openapi.json",
        label: "openapi",
        summary: "This specification.",
        docs: operations::SPECIFICATION_DOCS,
        handler: Here(|| get(openapi::specification)),
        ..OPEN_PAGE
    },
    Route {
        path: "/docs",
        label: "docs",
        summary: "A page that shows it; nothing is loaded from elsewhere.",
        docs: operations::PAGE_DOCS,
        handler: Below(|| get(openapi::page)),
        ..OPEN_PAGE
    },
];

/// The facts that the layers use of a request's route. They are known before the request is answered, even if it has no
/// route.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules {
    /// The request's route, if there is one.
    pub(super) route: Option<&'static Route>,
    /// The family of the path, which decides the shape of errors.
    pub(super) family: Family,
    /// The callers that may send the request.
    pub(super) access: Access,
    /// True if the request counts against requests per minute.
    pub(super) counts: bool,
    /// The maximum size of a body, bytes; `None` for the value of `--max-body-bytes`.
    pub(super) body_limit: Option<usize>,
}

impl Rules {
    /// The rules for a request with this method and path.
    pub(super) fn of(method: &Method, path: &str) -> Self {
        let respelled = respelled(path);
        let path = respelled.as_deref().unwrap_or(path);
        let route = find(method, path);
        // A path that has only other methods keeps its family and access, so that its callers can read the 405.
        let of_path = route.or_else(|| at(path).next());
        let counts = match (route, of_path) {
            (Some(route), _) => route.counts,
            (None, Some(other)) => method == Method::POST && other.family != Family::Legacy,
            (None, None) => method == Method::POST && path.starts_with("/v1/"),
        };
        Self {
            route,
            family: of_path.map_or_else(|| Family::around(path), |route| route.family),
            access: of_path.map_or(Access::Key, |route| route.access),
            counts,
            body_limit: of_path.and_then(|route| route.body_limit),
        }
    }
}

/// The family of a path: that of its routes, else that of the paths around it.
pub(super) fn family_of(path: &str) -> Family {
    let respelled = respelled(path);
    let path = respelled.as_deref().unwrap_or(path);
    at(path).next().map_or_else(|| Family::around(path), |route| route.family)
}

/// The path of the route that `path` means but does not spell: slashes are doubled or stand at its end, or `/v1` is
/// there twice or not at all, because the client's base URL has it or lacks it. `None` if `path` is a route's own, and
/// if no route is meant.
pub(super) fn respelled(path: &str) -> Option<String> {
    if is_route(path) {
        return None;
    }
    let mut single = String::with_capacity(path.len());
    for letter in path.chars() {
        if letter != '/' || !single.ends_with('/') {
            single.push(letter);
        }
    }
    let mut once = single.as_str();
    while let Some(rest) = once.strip_prefix("/v1").filter(|rest| rest.starts_with("/v1/")) {
        once = rest;
    }
    let without_end = once.trim_end_matches('/');
    [once.to_owned(), without_end.to_owned(), format!("/v1{without_end}")].into_iter().find(|path| is_route(path))
}

/// All routes, without fallbacks and layers.
pub(super) fn serve() -> Router<AppState> {
    ROUTES.iter().fold(Router::new(), |router, route| match route.handler {
        Here(handler) => router.route(route.path, handler()),
        Below(handler) => {
            let [folder, pages] = ["/", "/{*page}"].map(|below| format!("{}{below}", route.path));
            router.route(route.path, handler()).route(&folder, handler()).route(&pages, handler())
        }
    })
}

fn find(method: &Method, path: &str) -> Option<&'static Route> {
    at(path).find(|route| route.verb.serves(method))
}

fn is_route(path: &str) -> bool {
    at(path).next().is_some()
}

fn at(path: &str) -> impl Iterator<Item = &'static Route> {
    ROUTES.iter().filter(move |route| route.is_at(path))
}

#[cfg(test)]
mod tests;

//! The three families of routes, and the shape that an error has in each.
//!
//! Under `/v1/messages` errors are Anthropic's `{"type":"error",…}`. Elsewhere under `/v1`, and on the routes of vLLM and
//! llama-server that lie beside it, errors are OpenAI's `{"error":{…}}`; everywhere else they are FastAPI's `{"detail":…}`, because that is what the scripts know which call these routes. Layers and fallbacks answer through here, so each error has one shape per family.

use super::{anthropic, error::ApiError, legacy};
use axum::{
    extract::Request,
    http::{Method, header},
    response::{IntoResponse, Response},
};

/// Routes outside `/v1` whose callers know OpenAI's errors: those of vLLM and of llama-server, both of which use that shape.
const BESIDE_V1: [&str; 7] = ["/tokenize", "/detokenize", "/tokenizer_info", "/infill", "/rerank", "/v2/rerank", "/score"];

/// Which shape of errors a path has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `/v1` and below, and the routes of vLLM and llama-server.
    OpenAi,
    /// `/v1/messages` and below.
    Anthropic,
    /// Everything else.
    Legacy,
}

impl Family {
    /// The family of a request's path.
    #[must_use]
    pub fn of(path: &str) -> Self {
        if path == "/v1/messages" || path.starts_with("/v1/messages/") {
            return Self::Anthropic;
        }
        let is_openai = path == "/v1" || path.starts_with("/v1/") || BESIDE_V1.contains(&path);
        if is_openai { Self::OpenAi } else { Self::Legacy }
    }

    /// The error as a response of this family, with its headers.
    #[must_use]
    pub fn refuse(self, error: &ApiError) -> Response {
        match self {
            Self::OpenAi => error.clone().into_response(),
            Self::Anthropic => anthropic::refusal(error),
            Self::Legacy => legacy::refusal(error),
        }
    }
}

/// Whether the request makes the engine work: these are authenticated, limited and timed. That is every POST of a
/// generation, and those that only tokenize too: a key with a limit could else keep the tokenizers from everybody.
#[must_use]
pub fn is_generation(method: &Method, path: &str) -> bool {
    method == Method::POST && (path == "/generate" || path.starts_with("/v1/") || BESIDE_V1.contains(&path))
}

/// Answers a path that is no route: 404, or for a legacy route with slashes behind it the 307 that FastAPI sends.
pub async fn route_not_found(request: Request) -> Response {
    let path = request.uri().path();
    let family = Family::of(path);
    let trimmed = path.trim_end_matches('/');
    if family == Family::Legacy && trimmed.len() < path.len() && legacy::PATHS.contains(&trimmed) {
        // Relative: behind a proxy we know neither scheme nor host, and a wrong one would make clients drop their key.
        let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
        return (axum::http::StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, format!("{trimmed}{query}"))]).into_response();
    }
    family.refuse(&match path.strip_prefix("/v1/responses/") {
        // OpenAI's SDKs have methods for these.
        Some(id) if !id.is_empty() => ApiError::ResponseNotFound { id: id.split('/').next().unwrap_or_default().to_owned() },
        Some(_) | None => ApiError::RouteNotFound { method: request.method().to_string(), path: path.to_owned() },
    })
}

/// Answers a route that has other methods; the router adds `Allow`.
pub async fn method_not_allowed(request: Request) -> Response {
    let path = request.uri().path();
    Family::of(path).refuse(&ApiError::MethodNotAllowed { method: request.method().to_string(), path: path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v1_and_what_lies_below_or_beside_it_is_openai() {
        for path in ["/v1", "/v1/", "/v1/completions", "/v1/nope", "/tokenize", "/infill", "/rerank", "/v2/rerank", "/score"] {
            assert_eq!(Family::of(path), Family::OpenAi, "{path}");
        }
        for path in ["/", "/generate", "/v1x", "/v10/completions", "/x/v1/", "/tokenize/", "/x/infill", "/v2/", "/rerank/x"] {
            assert_eq!(Family::of(path), Family::Legacy, "{path}");
        }
    }

    #[test]
    fn messages_and_what_lies_below_is_anthropics() {
        for path in ["/v1/messages", "/v1/messages/", "/v1/messages/count_tokens", "/v1/messages/batches/x"] {
            assert_eq!(Family::of(path), Family::Anthropic, "{path}");
        }
        assert_eq!(Family::of("/v1/messagesx"), Family::OpenAi);
        assert_eq!(Family::of("/messages"), Family::Legacy);
    }

    #[test]
    fn posts_to_generate_and_below_v1_are_generations() {
        assert!(is_generation(&Method::POST, "/generate"));
        assert!(is_generation(&Method::POST, "/v1/completions"));
        assert!(is_generation(&Method::POST, "/rerank"));
        assert!(is_generation(&Method::POST, "/tokenize"));
        assert!(!is_generation(&Method::GET, "/tokenizer_info"));
        assert!(!is_generation(&Method::GET, "/v1/models"));
        assert!(!is_generation(&Method::POST, "/health"));
    }
}

//! The three families of routes, and the shape that an error has in each.
//!
//! Under `/v1/messages` errors are Anthropic's `{"type":"error",…}`. Elsewhere under `/v1`, and on the routes of vLLM
//! and llama-server outside of it, errors are OpenAI's `{"error":{…}}`; everywhere else they are FastAPI's
//! `{"detail":…}`, which the scripts that call these routes expect. Layers and fallbacks write errors through this
//! module, so each error has one shape per family. The family of a route stands in its row in `routes.rs`.

use super::{anthropic::error as anthropic, error::ApiError, legacy::refusal as legacy};
use axum::response::{IntoResponse, Response};

/// A family of routes, whose errors have one shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `/v1` and below, and the routes of vLLM and llama-server.
    OpenAi,
    /// `/v1/messages` and below.
    Anthropic,
    /// All other routes.
    Legacy,
}

impl Family {
    /// The family of a path that is no route, by the paths around it.
    #[must_use]
    pub fn around(path: &str) -> Self {
        if path == "/v1/messages" || path.starts_with("/v1/messages/") {
            return Self::Anthropic;
        }
        if path == "/v1" || path.starts_with("/v1/") { Self::OpenAi } else { Self::Legacy }
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

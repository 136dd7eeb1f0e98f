//! The facts of a route. The routes themselves are in `routes.rs`.

use super::{family::Family, openapi::docs::Docs, state::AppState};
use axum::{Router, http::Method, routing::MethodRouter};

/// A method at a path, and all facts of it that are not its handler's own.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// Its method.
    pub(super) verb: Verb,
    /// Its path as axum spells it: `{*id}` stands for the rest, slashes included.
    pub(super) path: &'static str,
    /// The shape of its errors.
    pub(super) family: Family,
    /// Who may call it.
    pub(super) access: Access,
    /// True if it makes the engine work: such requests count against a key's requests per minute, and have OpenAI's
    /// headers. A route that only tokenizes counts too: a key with a limit could else keep the tokenizers from
    /// everybody.
    pub(super) counts: bool,
    /// Largest body, bytes; `None` for the value of `--max-body-bytes`.
    pub(super) body_limit: Option<usize>,
    /// True if the same path with slashes after it is redirected here, as FastAPI does it.
    pub(super) redirects_slashes: bool,
    /// Its name in logs and metrics.
    pub(super) label: &'static str,
    /// Its purpose, one sentence.
    pub(super) summary: &'static str,
    /// The bodies and answers for the documents: an element for each kind of body.
    pub(super) docs: &'static [Docs],
    /// Its handler.
    pub(super) handler: Handler,
}

/// A method that a route may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// GET, and HEAD with it.
    Get,
    /// POST only.
    Post,
}

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody: its answer is for load balancers and contains nothing else.
    Open,
    /// Whoever has a key, or everybody if no keys are configured.
    Key,
    /// Clients with an administrator's key. There are no such keys yet, so no client.
    Admin,
}

/// How a route is answered.
#[derive(Debug, Clone, Copy)]
pub(super) enum Handler {
    /// A handler at the route's path.
    Here(fn() -> MethodRouter<AppState>),
    /// A router of its own, which has the route's path and pages below it.
    Below(fn() -> Router<AppState>),
}

impl Route {
    /// True if this is the route of `path`, whatever the method.
    pub(super) fn is_at(&self, path: &str) -> bool {
        match self.path.split_once("{*") {
            Some((prefix, _)) => path.len() > prefix.len() && path.starts_with(prefix),
            None => path == self.path,
        }
    }
}

impl Verb {
    /// As OpenAPI writes it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "get",
            Self::Post => "post",
        }
    }

    /// True if the route answers requests with this method.
    pub(super) fn serves(self, method: &Method) -> bool {
        match self {
            Self::Get => method == Method::GET || method == Method::HEAD,
            Self::Post => method == Method::POST,
        }
    }
}

//! The facts of a route. The routes themselves are in `routes.rs`.

use super::{family::Family, openapi::docs::Docs, state::AppState};
use axum::{http::Method, routing::MethodRouter};

/// A method at a path, and all facts of it that are not its handler's own.
#[derive(Debug, Clone, Copy)]
pub struct Route {
    /// The route's method.
    pub(super) verb: Verb,
    /// The route's path as axum spells it: `{*id}` stands for the rest of the path, slashes included.
    pub(super) path: &'static str,
    /// The family of the route, which decides the shape of errors.
    pub(super) family: Family,
    /// The callers that may use the route.
    pub(super) access: Access,
    /// True if the route makes the engine work: its requests count against a key's requests per minute. A legacy route
    /// has OpenAI's headers only if it counts. A route that only tokenizes counts too, because a key with a limit could
    /// otherwise keep the tokenizers busy for everybody.
    pub(super) counts: bool,
    /// The maximum size of a body, bytes; `None` for the value of `--max-body-bytes`.
    pub(super) body_limit: Option<usize>,
    /// The route's name in logs and metrics.
    pub(super) label: &'static str,
    /// The route's purpose in one sentence.
    pub(super) summary: &'static str,
    /// The bodies and answers for the documents: an element for each kind of body.
    pub(super) docs: &'static [Docs],
    /// The route's handler.
    pub(super) handler: Handler,
}

/// A method that a route may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// GET, and HEAD with it.
    Get,
    /// GET, HEAD and OPTIONS: a health check, which HAProxy sends as OPTIONS unless it is told otherwise.
    Probe,
    /// POST only.
    Post,
}

/// The callers that may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody. The answer contains only facts for load balancers.
    Open,
    /// Callers with a key, or everybody if no keys are configured.
    Key,
    /// Clients with an administrator's key. There are no such keys yet, so no client.
    Admin,
}

/// The part of the router that answers a route.
#[derive(Debug, Clone, Copy)]
pub(super) enum Handler {
    /// A handler at the route's path.
    Here(fn() -> MethodRouter<AppState>),
    /// A handler at the route's path and at all paths below it.
    Below(fn() -> MethodRouter<AppState>),
}

impl Route {
    /// True if load balancers and Prometheus call this route by themselves, so that it says nothing about clients.
    pub(super) fn is_probe(&self) -> bool {
        self.verb == Verb::Probe || self.path == "/metrics"
    }

    /// True if this is the route of `path`, whatever the method.
    pub(super) fn is_at(&self, path: &str) -> bool {
        match (self.path.split_once("{*"), self.handler) {
            (Some((prefix, _)), _) => path.len() > prefix.len() && path.starts_with(prefix),
            (None, Handler::Here(_)) => path == self.path,
            (None, Handler::Below(_)) => path.strip_prefix(self.path).is_some_and(is_below),
        }
    }
}

/// True if a rest of a path is that of a page below it, or nothing.
fn is_below(rest: &str) -> bool {
    rest.is_empty() || (rest.starts_with('/') && !rest.starts_with("//"))
}

impl Verb {
    /// The verb as HTTP writes it.
    pub(super) fn method(self) -> &'static str {
        match self {
            Self::Get | Self::Probe => "GET",
            Self::Post => "POST",
        }
    }

    /// The verb as OpenAPI writes it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Get | Self::Probe => "get",
            Self::Post => "post",
        }
    }

    /// True if the route answers requests with this method.
    pub(super) fn serves(self, method: &Method) -> bool {
        match self {
            Self::Get => method == Method::GET || method == Method::HEAD,
            Self::Probe => [Method::GET, Method::HEAD, Method::OPTIONS].contains(method),
            Self::Post => method == Method::POST,
        }
    }
}

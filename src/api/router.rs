//! The routes inside the layers, and the answers to paths and methods that have none. Routes are in `routes.rs`, layers
//! in `layers`.

use super::{
    error::ApiError,
    layers::{self, HostPolicy},
    route::Verb,
    routes,
    state::AppState,
};
use crate::telemetry::http;
use axum::{
    Router,
    extract::Request,
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};

/// Every route, inside every layer.
pub fn router(state: AppState, hosts: HostPolicy) -> Router {
    for route in routes::ROUTES.iter().filter(|route| !route.is_probe()) {
        http::register_route(route.path, route.verb.method());
    }
    [Verb::Get, Verb::Post].into_iter().for_each(|verb| http::register_route(http::NO_ROUTE, verb.method()));
    let routes = routes::serve().fallback(route_not_found).method_not_allowed_fallback(method_not_allowed);
    layers::wrap(routes, &state, hosts).with_state(state)
}

/// Answers a path that is no route with 404, or, if it is a route without the slashes at its end, with the 307 that
/// FastAPI sends.
async fn route_not_found(request: Request) -> Response {
    let path = request.uri().path();
    if let Some(trimmed) = routes::without_slashes(path) {
        // The location is relative: a server that has a proxy before it does not know the client's scheme and host, and
        // wrong ones would make clients drop their key.
        let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
        return (StatusCode::TEMPORARY_REDIRECT, [(header::LOCATION, format!("{trimmed}{query}"))]).into_response();
    }
    routes::family_of(path).refuse(&match path.strip_prefix("/v1/responses/") {
        // OpenAI's SDKs have methods for these paths.
        Some(id) if !id.is_empty() => ApiError::ResponseNotFound { id: id.split('/').next().unwrap_or_default().to_owned() },
        Some(_) | None => ApiError::RouteNotFound { method: request.method().to_string(), path: path.to_owned() },
    })
}

/// Answers a route that has other methods; axum adds `Allow`.
async fn method_not_allowed(request: Request) -> Response {
    let path = request.uri().path();
    routes::family_of(path).refuse(&ApiError::MethodNotAllowed { method: request.method().to_string(), path: path.to_owned() })
}

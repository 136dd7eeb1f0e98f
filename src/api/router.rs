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
    http::{
        Method, Uri, header,
        uri::{InvalidUri, PathAndQuery},
    },
    response::Response,
};
use std::sync::Arc;
use tower::{Layer as _, ServiceExt as _, util::MapRequestLayer};

/// Every route, inside every layer, also under the configured prefix.
pub fn router(state: AppState, hosts: HostPolicy) -> Router {
    for route in routes::ROUTES.iter().filter(|route| !route.is_probe()) {
        http::register_route(route.path, route.verb.method());
    }
    [Verb::Get, Verb::Post].into_iter().for_each(|verb| http::register_route(http::NO_ROUTE, verb.method()));
    let routes = || routes::serve().method_not_allowed_fallback(method_not_allowed);
    let by_own_path = routes().fallback(route_not_found).with_state(state.clone());
    let routes = routes().fallback(|request| respell(by_own_path, request));
    let root_path = state.config.now().proxy.root_path.clone();
    let router = layers::wrap(routes, &state, hosts).with_state(state);
    if root_path.is_empty() { router } else { under(root_path.into(), router) }
}

/// The same routes, for requests whose path may begin with `prefix`. It is taken off before anything else, so that
/// layers and routes know one path of each route.
fn under(prefix: Arc<str>, router: Router) -> Router {
    let take_off = MapRequestLayer::new(move |mut request: Request| {
        let path = request.uri().path();
        let rest = path.strip_prefix(&*prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'));
        if let Some(rest) = rest
            && let Ok(uri) = with_path(request.uri(), if rest.is_empty() { "/" } else { rest })
        {
            *request.uri_mut() = uri;
        }
        request
    });
    Router::new().fallback_service(take_off.layer(router))
}

/// Answers a path that is no route: as the route that it means, if it means one.
async fn respell(routes: Router, mut request: Request) -> Response {
    if let Some(path) = routes::respelled(request.uri().path())
        && let Ok(uri) = with_path(request.uri(), &path)
    {
        *request.uri_mut() = uri;
    }
    routes.oneshot(request).await.unwrap_or_else(|never| match never {})
}

/// The same target with another path.
fn with_path(uri: &Uri, path: &str) -> Result<Uri, InvalidUri> {
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(format!("{path}{query}"))?);
    Ok(Uri::from_parts(parts).unwrap_or_else(|_| uri.clone()))
}

/// Answers a path that is no route.
async fn route_not_found(request: Request) -> Response {
    let path = request.uri().path();
    routes::family_of(path).refuse(&match path.strip_prefix("/v1/responses/") {
        // OpenAI's SDKs have methods for these paths.
        Some(id) if !id.is_empty() => ApiError::ResponseNotFound { id: id.split('/').next().unwrap_or_default().to_owned() },
        Some(_) | None => ApiError::RouteNotFound { method: request.method().to_string(), path: path.to_owned() },
    })
}

/// Answers a route that has other methods; axum adds `Allow`. Clients that try a WebSocket (Codex on `/v1/responses`)
/// go on without one only after a 426.
async fn method_not_allowed(request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let wants_websocket = request.headers().get(header::UPGRADE).is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(b"websocket"));
    // Of a route for POST only, since only there an upgrade, which is a GET, comes here.
    routes::family_of(&path).refuse(&if wants_websocket && request.method() == Method::GET {
        ApiError::NoWebSocket { path }
    } else {
        ApiError::MethodNotAllowed { method: request.method().to_string(), path }
    })
}

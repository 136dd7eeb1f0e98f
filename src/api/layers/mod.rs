//! The layers around every request. In this order, outermost first ([`wrap`], [`pass`]):
//!
//! 1. `identify`: request id, and a span with the client's address, so that the log shows which request its lines
//!    belong to
//! 2. CORS: pre-flights; a page of an allowed origin must be able to read refusals too
//! 3. `stamp`: `openai-version`, `openai-processing-ms`, not for Anthropic's clients
//! 4. `recover`: a panic below is a 500 and not a broken connection
//! 5. `hosts`: one sound `Host`; on loopback without keys, only requests that were meant for this machine
//! 6. `authenticate`: everything but the open routes, unknown paths included
//! 7. `quota`: requests per minute, before a body is read
//! 8. `body`: read whole, decoded (`decode`), bounded in size, in time and in the memory of all bodies together;
//!    handlers get it from memory
//! 9. `heavy`: a long body is read and answered on threads of their own, where callers take turns
//!
//! Facts that differ from route to route are read from its row in `routes.rs`; errors have the shape of its family.

mod authenticate;
mod body;
mod cors;
mod decode;
mod heavy;
mod hosts;
mod identify;
mod quota;
mod recover;
mod stamp;

pub(in crate::api) use body::announced_length;
pub use hosts::HostPolicy;

use super::{body_budget::BodyBudget, caller, route::Verb, routes::Rules, state::AppState};
use crate::gateway::keys::Principal;
use authenticate::authenticate;
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use recover::recover;
use stamp::Stamp;
use std::sync::Arc;

/// Puts all layers around the routes.
pub(super) fn wrap(routes: Router<AppState>, state: &AppState, hosts: HostPolicy) -> Router<AppState> {
    let cors = cors::layer(&state.config.now().allowed_origins, &hosts);
    routes
        // The layer `body` bounds the body; axum's own 2 MB would cut a larger configured limit.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(Around { state: state.clone(), hosts, bodies: Arc::default() }, pass))
        .layer(cors)
        .layer(from_fn_with_state(state.clone(), identify::identify))
}

/// State that the layers share.
#[derive(Debug, Clone)]
struct Around {
    state: AppState,
    hosts: HostPolicy,
    bodies: Arc<BodyBudget>,
}

/// Layers 3 to 9 as one layer of axum. Each layer of axum boxes its data of a request, and a thousand requests that
/// wait for their turn keep that data a thousand times.
async fn pass(State(around): State<Around>, request: Request, next: Next) -> Response {
    let rules = Rules::of(request.method(), request.uri().path());
    Stamp::new(&rules, request.method()).write_headers(recover(rules.family, admit(&around, rules, request, next)).await)
}

/// Layers 5 to 9, and the routes.
async fn admit(around: &Around, rules: Rules, mut request: Request, next: Next) -> Response {
    let Around { state, hosts, bodies } = around;
    let family = rules.family;
    let is_probe = rules.route.is_some_and(|route| route.verb == Verb::Probe);
    let checked = hosts::check(hosts, is_probe, &request).and_then(|()| authenticate(state, rules.access, &mut request));
    let quota = match checked.and_then(|()| if rules.counts { quota::count(state, &mut request) } else { Ok(None) }) {
        Ok(quota) => quota,
        Err(error) => return family.refuse(&error),
    };
    let mut response = match quota.as_ref().and_then(|quota| quota.refusal.as_ref()) {
        Some(error) => family.refuse(error),
        None => {
            let caller = request.extensions().get().map_or(0, |principal: &Principal| principal.id.namespace());
            if let Some(route) = rules.route {
                request.extensions_mut().insert(route);
            }
            let mut part = bodies.part(caller);
            match body::buffer(state, &rules, request, &mut part).await {
                Ok(request) => caller::scope(caller, heavy::run(next, request, part)).await,
                Err(refusal) => refusal,
            }
        }
    };
    if let Some(quota) = quota {
        quota.write_headers(&mut response);
    }
    response
}

#[cfg(test)]
mod tests;

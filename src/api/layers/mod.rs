//! What happens around every request. In this order, outermost first ([`wrap`], [`pass`]):
//!
//! 1. `identify`: request id and span, so that everything below is found in the log
//! 2. CORS: also refusals must be readable by an allowed page
//! 3. `stamp`: `openai-version`, `openai-processing-ms`, not for Anthropic's clients
//! 4. `recover`: a panic below is a 500 and not a broken connection
//! 5. `hosts`: one sound `Host`; on loopback without keys, only requests that were meant for this machine
//! 6. `authenticate`: everything but the open paths, unknown routes included
//! 7. `quota`: requests per minute, before a body is read
//! 8. `body`: read whole, bounded in size, time and what all take together; handlers get it from memory
//! 9. `heavy`: a long body is read and answered on threads of their own, where callers take turns
//!
//! Errors have the shape of the route's [`Family`](super::family::Family).

mod authenticate;
mod body;
mod cors;
mod heavy;
mod hosts;
mod identify;
mod quota;
mod recover;
mod stamp;

pub(in crate::api) use body::announced_length;
pub use hosts::HostPolicy;
pub use identify::RequestId;

use super::{body_budget::BodyBudget, caller, family::Family, state::AppState};
use crate::gateway::keys::Principal;
use authenticate::authenticate;
use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    middleware::{Next, from_fn, from_fn_with_state},
    response::Response,
};
use recover::recover;
use stamp::Stamp;
use std::sync::Arc;

/// Puts all layers around the routes.
pub(super) fn wrap(routes: Router<AppState>, state: &AppState, hosts: HostPolicy) -> Router<AppState> {
    routes
        // `body` bounds it; axum's own 2 MB would cut a larger configured limit.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(Around { state: state.clone(), hosts, bodies: Arc::default() }, pass))
        .layer(tower::util::option_layer(cors::layer(&state.config.allowed_origins)))
        .layer(from_fn(identify::identify))
}

/// State that the layers share.
#[derive(Debug, Clone)]
struct Around {
    state: AppState,
    hosts: HostPolicy,
    bodies: Arc<BodyBudget>,
}

/// Numbers 3 to 9 as one layer of axum's: each boxes what it keeps of a request, and a thousand requests that wait for their turn keep
/// it a thousand times.
async fn pass(State(around): State<Around>, request: Request, next: Next) -> Response {
    let stamp = Stamp::new(&request);
    let family = Family::of(request.uri().path());
    stamp.put(recover(family, admit(&around, family, request, next)).await)
}

/// Numbers 5 to 9, and the routes.
async fn admit(around: &Around, family: Family, mut request: Request, next: Next) -> Response {
    let Around { state, hosts, bodies } = around;
    let checked = hosts::check(hosts, &request).and_then(|()| authenticate(state, &mut request));
    let quota = match checked.and_then(|()| quota::count(state, &mut request)) {
        Ok(quota) => quota,
        Err(error) => return family.refuse(&error),
    };
    let mut response = match quota.as_ref().and_then(|quota| quota.refusal.as_ref()) {
        Some(error) => family.refuse(error),
        None => {
            let caller = request.extensions().get().map_or(0, |principal: &Principal| principal.id.namespace());
            let mut part = bodies.part(caller);
            match body::buffer(state, family, request, &mut part).await {
                Ok(request) => caller::scope(caller, heavy::run(next, request, part)).await,
                Err(refusal) => refusal,
            }
        }
    };
    if let Some(quota) = quota {
        quota.tell(&mut response);
    }
    response
}

#[cfg(test)]
mod tests;

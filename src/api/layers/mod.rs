//! What happens around every request. The order, outermost first, is that of [`wrap`] read from the bottom:
//!
//! 1. `identify`: request id and span, so that everything below is found in the log
//! 2. CORS: also refusals must be readable by an allowed page
//! 3. `stamp`: `openai-version`, `openai-processing-ms`, not for Anthropic's clients
//! 4. `recover`: a panic below is a 500 and not a broken connection
//! 5. `hosts`: on loopback without keys, only requests that were meant for this machine
//! 6. `authenticate`: everything but the open paths, unknown routes included
//! 7. `quota`: requests per minute, before a body is read
//! 8. `body`: read whole, bounded in size and time; handlers get it from memory
//!
//! Errors have the shape of the route's [`Family`](super::family::Family).

mod authenticate;
mod body;
mod cors;
mod hosts;
mod identify;
mod quota;
mod recover;
mod stamp;

pub use hosts::HostPolicy;
pub use identify::RequestId;

use super::state::AppState;
use axum::{
    Router,
    extract::DefaultBodyLimit,
    middleware::{from_fn, from_fn_with_state},
};

/// Puts all layers around the routes.
pub(super) fn wrap(routes: Router<AppState>, state: &AppState, hosts: HostPolicy) -> Router<AppState> {
    routes
        // `body` bounds it; axum's own 2 MB would cut a larger configured limit.
        .layer(DefaultBodyLimit::disable())
        .layer(from_fn_with_state(state.clone(), body::buffer))
        .layer(from_fn_with_state(state.clone(), quota::count))
        .layer(from_fn_with_state(state.clone(), authenticate::authenticate))
        .layer(from_fn_with_state(hosts, hosts::check))
        .layer(from_fn(recover::recover))
        .layer(from_fn(stamp::stamp))
        .layer(tower::util::option_layer(cors::layer(&state.config.allowed_origins)))
        .layer(from_fn(identify::identify))
}

#[cfg(test)]
mod tests;

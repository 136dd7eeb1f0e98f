//! Authenticates the caller. Once keys are configured, every path needs one, unknown paths too, except open routes.

use crate::{
    api::{error::ApiError, route::Access, state::AppState},
    gateway::keys::AuthError,
};
use axum::{
    extract::Request,
    http::{HeaderMap, HeaderValue, header},
};

/// The headers in which SDKs other than OpenAI's send the key: Anthropic's, and Azure's.
const KEY_HEADERS: [&str; 2] = ["x-api-key", "api-key"];

/// Puts a [`Principal`](crate::gateway::keys::Principal) into the request's extensions, or refuses.
pub(super) fn authenticate(state: &AppState, access: Access, request: &mut Request) -> Result<(), ApiError> {
    if access == Access::Open {
        return Ok(());
    }
    let principal = state.keys.authenticate(presented_key(request.headers())).map_err(|error| match error {
        AuthError::Missing => ApiError::MissingKey,
        AuthError::Wrong => ApiError::WrongKey,
    })?;
    if access == Access::Admin {
        // No key grants administration.
        return Err(ApiError::WrongKey);
    }
    tracing::Span::current().record("key", tracing::field::display(principal.id));
    request.extensions_mut().insert(principal);
    Ok(())
}

/// The key of the first header that has one. A header sent twice does not count at all: a proxy may have checked either
/// value.
fn presented_key(headers: &HeaderMap) -> Option<&[u8]> {
    let single = |name: &str| {
        let mut values = headers.get_all(name).iter();
        values.next().filter(|_| values.next().is_none()).map(HeaderValue::as_bytes)
    };
    let bearer = single(header::AUTHORIZATION.as_str()).and_then(|value| {
        let (scheme, key) = value.split_at_checked("Bearer ".len())?;
        scheme.eq_ignore_ascii_case(b"Bearer ").then(|| key.trim_ascii())
    });
    bearer.or_else(|| KEY_HEADERS.iter().find_map(|name| single(name))).filter(|key| !key.is_empty())
}

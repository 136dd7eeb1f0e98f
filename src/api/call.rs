//! A request in the form that handlers get: its caller, its time, its route, and the fields of its body.
//!
//! A handler takes a [`Call`] and, where the route has a body, its [`Fields`] beside it: the first goes on to the
//! driver, the other is consumed by the reader of the route. Neither keeps the bytes of the body or the request's
//! headers: a thousand requests that wait for the engine would keep them a thousand times. Refusals have the shape of
//! the route's family.

use super::{
    error::ApiError,
    family::Family,
    fields::Fields,
    route::Route,
    state::AppState,
    warning_log::WarningGate,
    warnings::{Reported, WarningPolicy, Warnings},
};
use crate::gateway::{
    keys::Principal,
    limits::Allowance,
    models::{Model, Models},
};
use axum::{
    body::Bytes,
    extract::{FromRequest, FromRequestParts, Request},
    http::{Extensions, request::Parts},
    response::{IntoResponse as _, Response},
};
use tokio::time::Instant;

/// A request without its body.
#[derive(Debug)]
pub(super) struct Call {
    /// The route that the request was sent to.
    pub(super) route: &'static Route,
    /// The caller who sent the request.
    pub(super) principal: Principal,
    /// The way in which warnings are reported.
    pub(super) policy: WarningPolicy,
    /// The time at which the handler was entered; the body was in memory by then.
    pub(super) received: Instant,
    /// The caller's remaining quota after this request; `None` if requests are not limited or this one does not count.
    pub(super) allowance: Option<Allowance>,
    /// The state that all requests share.
    pub(super) state: AppState,
}

impl Call {
    /// The model that is served under this name.
    pub(super) fn model(&self, name: &str) -> Option<Model> {
        self.models().get(name).map(|model| model.of_caller(self.principal.id))
    }

    /// The model of a request that names none.
    pub(super) fn first_model(&self) -> Model {
        self.models().first().of_caller(self.principal.id)
    }

    /// The model that may answer in place of one that is not served; none in a strict request.
    pub(super) fn stand_in(&self) -> Option<Model> {
        (!self.policy.is_strict()).then(|| self.first_model())
    }

    /// Accepts these warnings, unless the request is strict, and shows them to the operator.
    ///
    /// # Errors
    /// As [`Warnings::enforce`].
    pub(super) fn enforce(&self, warnings: Warnings) -> Result<Reported, ApiError> {
        self.gate().enforce(warnings)
    }

    /// The gate for warnings of this call, for work that outlives it.
    pub(super) fn gate(&self) -> WarningGate {
        let (caller, endpoint) = (self.principal.id, self.route.label);
        WarningGate { policy: self.policy, caller, endpoint, log: self.state.warning_log.clone() }
    }

    fn models(&self) -> &Models {
        &self.state.models
    }
}

impl FromRequestParts<AppState> for Call {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Response> {
        let received = Instant::now();
        let (Some(route), Some(principal)) = (parts.extensions.get::<&'static Route>(), parts.extensions.get::<Principal>()) else {
            tracing::error!("a handler was reached past the table of routes, or without authentication");
            return Err(family_of(&parts.extensions).refuse(&ApiError::Internal));
        };
        Ok(Self {
            route,
            principal: *principal,
            policy: WarningPolicy::of(&parts.headers, &state.config.now()),
            received,
            allowance: parts.extensions.get::<Allowance>().copied(),
            state: state.clone(),
        })
    }
}

impl FromRequest<AppState> for Fields {
    type Rejection = Response;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, Response> {
        let family = family_of(request.extensions());
        let body = Bytes::from_request(request, state).await.map_err(|refusal| refusal.into_response())?;
        Self::parse(&body).map_err(|error| family.refuse(&error.into()))
    }
}

/// The family of the request's route, which `layers` puts into its extensions.
fn family_of(extensions: &Extensions) -> Family {
    extensions.get::<&'static Route>().map_or(Family::OpenAi, |route| route.family)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{api::routes::ROUTES, gateway::keys::KeyId};

    /// A call without a key.
    pub(in crate::api) fn call_of(state: &AppState) -> Call {
        Call {
            route: &ROUTES[0],
            principal: Principal { id: KeyId::Anonymous },
            policy: WarningPolicy::default(),
            received: Instant::now(),
            allowance: None,
            state: state.clone(),
        }
    }
}

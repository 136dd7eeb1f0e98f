//! Probes: `GET /livez`, `GET /readyz`, `GET /metrics`.
//!
//! Alive means that this process answers; killing it would not help a model that loads or an engine that restarts.
//! Ready means that a request sent now would be served, and that the server is not about to stop. The log says why an
//! engine died; the probes do not.

use super::state::AppState;
use crate::{
    gateway::{
        death::DeathCause,
        error::RETRY_LOADING,
        models::{ModelState, Models},
    },
    telemetry::{
        engine_process::ProcessReading,
        metrics::{self, CacheFacts, EngineReading},
    },
};
use axum::{
    Json,
    extract::{Request, State},
    handler::Handler,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header},
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::{MethodRouter, get},
};
use serde::Serialize;
use std::collections::BTreeMap;

/// The format of Prometheus' text pages.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A route that answers OPTIONS as it answers GET.
pub(super) fn probe<H: Handler<T, AppState>, T: 'static>(handler: H) -> MethodRouter<AppState> {
    async fn name_methods(request: Request, next: Next) -> Response {
        let asks = request.method() == Method::OPTIONS;
        let mut response = next.run(request).await;
        if asks {
            response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET,HEAD,OPTIONS"));
        }
        response
    }
    get(handler.clone()).options(handler).layer(from_fn(name_methods))
}

/// The public part of the server's state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Readiness {
    /// The state of the server in one word.
    pub(super) status: &'static str,
    /// True if the model is in memory.
    pub(super) model_loaded: bool,
    /// The part of the model that is loaded, percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) load_percent: Option<u8>,
    /// The reason why requests are refused now.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

impl Readiness {
    /// The present state of the server.
    pub(super) fn now(models: &Models) -> Self {
        Self::of(models.first().state(), models.is_leaving()).told(models.is_preempted(), models.is_failing())
    }

    /// The same, for a server that stops because the cloud takes the machine back, or whose idle engine failed in a
    /// test.
    fn told(self, is_preempted: bool, is_failing: bool) -> Self {
        if is_preempted {
            return Self { reason: Some("the cloud takes this machine back, and the server shuts down"), ..self };
        }
        if self.reason.is_none() && is_failing {
            return Self { status: "failing", reason: Some("a test of the idle engine failed; the log says why"), ..self };
        }
        self
    }

    /// The state of a server whose model is in `state`; `is_leaving` is true if the server is about to stop.
    fn of(state: ModelState, is_leaving: bool) -> Self {
        let (status, model_loaded, reason) = match state {
            ModelState::Ready if is_leaving => ("leaving", true, Some("the server is about to shut down, and still serves")),
            ModelState::Unloaded => ("preparing", false, Some("the model file is being fetched or checked")),
            ModelState::Ready => ("ready", true, None),
            ModelState::Loading(_) => ("loading", false, Some("the model is being loaded")),
            ModelState::Restarting(_) => ("restarting", false, Some("the engine stopped and is being started again")),
            ModelState::Failed => ("failed", false, Some("the engine is given up; the log says why")),
            ModelState::Evicting => ("draining", true, Some("the server is shutting down")),
        };
        let share = match state {
            ModelState::Loading(share) => Some(share),
            ModelState::Restarting(share) => share,
            _ => None,
        };
        // The product is in range, and a percentage needs no more precision.
        let load_percent = share.map(|share| (share.clamp(0.0, 1.0) * 100.0) as u8);
        Self { status, model_loaded, load_percent, reason }
    }

    /// 200 or 503.
    pub(super) fn status_code(&self) -> StatusCode {
        if self.reason.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
    }

    /// `Retry-After` where waiting helps.
    pub(super) fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if self.reason.is_some() && self.status != "failed" {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_LOADING.as_secs()));
        }
        headers
    }
}

pub(super) async fn livez() -> Response {
    Json(serde_json::json!({"status": "alive"})).into_response()
}

pub(super) async fn readyz(State(state): State<AppState>) -> Response {
    let readiness = Readiness::now(&state.models);
    (readiness.status_code(), readiness.headers(), Json(readiness)).into_response()
}

pub(super) async fn scrape(State(state): State<AppState>) -> Response {
    let model = state.models.first();
    let handle = &model.handle;
    let mut deaths: BTreeMap<&'static str, u64> = DeathCause::COUNTED.map(|cause| (cause, 0)).into();
    for (cause, count) in handle.engine_deaths() {
        *deaths.entry(cause.counted_as()).or_default() += count;
    }
    let info = handle.model();
    let cache = info.as_ref().and_then(|info| info.generation()).map(|generation| CacheFacts {
        kv_cells: generation.kv_cells,
        kv_type: generation.kv_type.name().to_owned(),
        swap_bytes: generation.swap_bytes,
    });
    let (up, process) = (model.state() == ModelState::Ready, ProcessReading::read(handle.pid()));
    let reading = EngineReading { up, still: handle.pulse().still, stats: handle.stats(), deaths, process, cache };
    ([(header::CONTENT_TYPE, METRICS_TYPE)], metrics::render(&reading)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_ready_model_is_ready() {
        let cases = [
            (ModelState::Ready, 200, r#"{"status":"ready","model_loaded":true}"#),
            (
                ModelState::Unloaded,
                503,
                r#"{"status":"preparing","model_loaded":false,"reason":"the model file is being fetched or checked"}"#,
            ),
            (
                ModelState::Loading(0.429),
                503,
                r#"{"status":"loading","model_loaded":false,"load_percent":42,"reason":"the model is being loaded"}"#,
            ),
            (
                ModelState::Restarting(None),
                503,
                r#"{"status":"restarting","model_loaded":false,"reason":"the engine stopped and is being started again"}"#,
            ),
            (ModelState::Failed, 503, r#"{"status":"failed","model_loaded":false,"reason":"the engine is given up; the log says why"}"#),
            (ModelState::Evicting, 503, r#"{"status":"draining","model_loaded":true,"reason":"the server is shutting down"}"#),
        ];
        for (state, status, body) in cases {
            let readiness = Readiness::of(state, false);

            assert_eq!(readiness.status_code(), status, "{state:?}");
            assert_eq!(serde_json::to_string(&readiness).unwrap(), body, "{state:?}");
        }
    }

    #[test]
    fn a_server_about_to_stop_is_not_ready_and_says_that_it_serves() {
        let leaving = Readiness::of(ModelState::Ready, true);

        let body = r#"{"status":"leaving","model_loaded":true,"reason":"the server is about to shut down, and still serves"}"#;
        assert_eq!((leaving.status_code().as_u16(), serde_json::to_string(&leaving).unwrap().as_str()), (503, body));
        assert_eq!(Readiness::of(ModelState::Evicting, true), Readiness::of(ModelState::Evicting, false));
    }

    #[test]
    fn a_failing_engine_is_not_ready_and_a_preempted_server_says_why_it_stops() {
        let told = |state, is_preempted, is_failing| {
            let readiness = Readiness::of(state, false).told(is_preempted, is_failing);
            (readiness.status_code().as_u16(), readiness.status, readiness.reason.unwrap_or("").split(',').next().unwrap_or(""))
        };

        assert_eq!(told(ModelState::Ready, false, true), (503, "failing", "a test of the idle engine failed; the log says why"));
        assert_eq!(told(ModelState::Evicting, true, true), (503, "draining", "the cloud takes this machine back"));
        assert_eq!(told(ModelState::Loading(0.0), false, true), (503, "loading", "the model is being loaded"), "a test of the last engine");
        assert_eq!(told(ModelState::Ready, false, false), (200, "ready", ""));
    }

    #[test]
    fn a_load_after_a_death_says_how_far_it_is_too() {
        let percent = |share| Readiness::of(ModelState::Restarting(share), false).load_percent;

        assert_eq!((percent(Some(0.5)), percent(None)), (Some(50), None));
    }

    #[test]
    fn a_wait_is_suggested_while_it_may_help() {
        let wait = |state: ModelState| Readiness::of(state, false).headers().get(header::RETRY_AFTER).cloned();

        assert_eq!(wait(ModelState::Loading(0.0)), Some(HeaderValue::from(2)));
        assert_eq!(wait(ModelState::Restarting(None)), Some(HeaderValue::from(2)));
        assert_eq!(wait(ModelState::Evicting), Some(HeaderValue::from(2)));
        assert_eq!(wait(ModelState::Failed), None);
        assert_eq!(wait(ModelState::Ready), None);
    }

    #[test]
    fn a_share_outside_its_range_is_still_a_percentage() {
        for (share, percent) in [(-1.0, 0), (0.0, 0), (1.0, 100), (7.0, 100), (f32::NAN, 0)] {
            assert_eq!(Readiness::of(ModelState::Loading(share), false).load_percent, Some(percent), "{share}");
        }
    }
}

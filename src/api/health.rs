//! Probes: `GET /livez`, `GET /readyz`, `GET /metrics`.
//!
//! Alive means that this process answers; killing it would not help a model that loads or an engine that restarts.
//! Ready means that a request sent now would be served, and that the server is not about to stop. Why an engine died is for the
//! log and is not told here.

use super::state::AppState;
use crate::{
    gateway::{engine_state::EngineState, error::RETRY_LOADING, handle::EngineHandle},
    telemetry::metrics::{self, EngineReading},
};
use axum::{
    Json, Router,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::get,
};
use serde::Serialize;

/// The format of Prometheus' text pages.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// `/livez`, `/readyz` and `/metrics`.
pub(super) fn routes() -> Router<AppState> {
    Router::new().route("/livez", get(livez)).route("/readyz", get(readyz)).route("/metrics", get(scrape))
}

/// What may be said in public about the state of the engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Readiness {
    /// One word.
    pub(super) status: &'static str,
    /// Whether the model is in memory.
    pub(super) model_loaded: bool,
    /// The part of the model that is loaded, percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) load_percent: Option<u8>,
    /// Why requests are not welcome.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

impl Readiness {
    /// For the engine as it is now.
    pub(super) fn now(engine: &EngineHandle) -> Self {
        Self::of(&engine.state(), engine.load_share(), engine.is_leaving())
    }

    /// For a state of the engine, which has loaded this share of the model if it loads, of a server that `is_leaving` or not.
    fn of(state: &EngineState, load_share: Option<f32>, is_leaving: bool) -> Self {
        let (status, model_loaded, reason) = match state {
            EngineState::Ready if is_leaving => ("leaving", true, Some("the server is about to shut down, and still serves")),
            EngineState::Preparing => ("preparing", false, Some("the model file is being fetched or checked")),
            EngineState::Ready => ("ready", true, None),
            EngineState::Loading(_) => ("loading", false, Some("the model is being loaded")),
            EngineState::Restarting(_) => ("restarting", false, Some("the engine stopped and is being started again")),
            EngineState::Failed(_) => ("failed", false, Some("the engine is given up; the log says why")),
            EngineState::Draining => ("draining", true, Some("the server is shutting down")),
        };
        let share = match state {
            EngineState::Loading(share) => Some(*share),
            EngineState::Restarting(_) => load_share,
            _ => None,
        };
        // In range, and a percentage needs no more precision.
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

async fn livez() -> Response {
    Json(serde_json::json!({"status": "alive"})).into_response()
}

async fn readyz(State(state): State<AppState>) -> Response {
    let readiness = Readiness::now(&state.engine);
    (readiness.status_code(), readiness.headers(), Json(readiness)).into_response()
}

async fn scrape(State(AppState { engine, .. }): State<AppState>) -> Response {
    let deaths = engine.engine_deaths().iter().map(|(cause, &count)| (cause.label(), count)).collect();
    let reading = EngineReading { up: engine.state() == EngineState::Ready, stats: engine.stats(), deaths };
    ([(header::CONTENT_TYPE, METRICS_TYPE)], metrics::render(&reading)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_ready_engine_is_ready() {
        let cases = [
            (EngineState::Ready, 200, r#"{"status":"ready","model_loaded":true}"#),
            (
                EngineState::Preparing,
                503,
                r#"{"status":"preparing","model_loaded":false,"reason":"the model file is being fetched or checked"}"#,
            ),
            (
                EngineState::Loading(0.429),
                503,
                r#"{"status":"loading","model_loaded":false,"load_percent":42,"reason":"the model is being loaded"}"#,
            ),
            (
                EngineState::Restarting("/secret/path".to_owned()),
                503,
                r#"{"status":"restarting","model_loaded":false,"reason":"the engine stopped and is being started again"}"#,
            ),
            (
                EngineState::Failed("/secret/path".to_owned()),
                503,
                r#"{"status":"failed","model_loaded":false,"reason":"the engine is given up; the log says why"}"#,
            ),
            (EngineState::Draining, 503, r#"{"status":"draining","model_loaded":true,"reason":"the server is shutting down"}"#),
        ];
        for (state, status, body) in cases {
            let readiness = Readiness::of(&state, None, false);

            assert_eq!(readiness.status_code(), status, "{state:?}");
            assert_eq!(serde_json::to_string(&readiness).unwrap(), body, "{state:?}");
        }
    }

    #[test]
    fn a_server_about_to_stop_is_not_ready_and_says_that_it_serves() {
        let leaving = Readiness::of(&EngineState::Ready, None, true);

        let body = r#"{"status":"leaving","model_loaded":true,"reason":"the server is about to shut down, and still serves"}"#;
        assert_eq!((leaving.status_code().as_u16(), serde_json::to_string(&leaving).unwrap().as_str()), (503, body));
        assert_eq!(Readiness::of(&EngineState::Draining, None, true), Readiness::of(&EngineState::Draining, None, false));
    }

    #[test]
    fn a_load_after_a_death_says_how_far_it_is_too() {
        let percent = |state, share| Readiness::of(&state, share, false).load_percent;

        assert_eq!(percent(EngineState::Restarting(String::new()), Some(0.5)), Some(50));
        assert_eq!(percent(EngineState::Ready, Some(0.5)), None);
    }

    #[test]
    fn a_wait_is_suggested_while_it_may_help() {
        let wait = |state: EngineState| Readiness::of(&state, None, false).headers().get(header::RETRY_AFTER).cloned();

        assert_eq!(wait(EngineState::Loading(0.0)), Some(HeaderValue::from(2)));
        assert_eq!(wait(EngineState::Restarting(String::new())), Some(HeaderValue::from(2)));
        assert_eq!(wait(EngineState::Draining), Some(HeaderValue::from(2)));
        assert_eq!(wait(EngineState::Failed(String::new())), None);
        assert_eq!(wait(EngineState::Ready), None);
    }

    #[test]
    fn a_share_outside_its_range_is_still_a_percentage() {
        for (share, percent) in [(-1.0, 0), (0.0, 0), (1.0, 100), (7.0, 100), (f32::NAN, 0)] {
            assert_eq!(Readiness::of(&EngineState::Loading(share), None, false).load_percent, Some(percent), "{share}");
        }
    }
}

//! `GET /version` and `GET /get_load`: facts about the server for routers, as vLLM has them and its router asks for
//! them.

use super::{call::Call, health::Readiness};
use axum::Json;
use serde::Serialize;

/// The answer of `/version`, as vLLM writes it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Version {
    version: &'static str,
}

/// The handler of `GET /version`.
pub(super) async fn version() -> Json<Version> {
    Json(Version { version: env!("CARGO_PKG_VERSION") })
}

/// The answer of `/get_load`. The policy `power_of_two` of vllm-router 0.1.17 compares `load`
/// (`src/routers/http/router.rs`, `get_worker_load`).
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Load {
    /// Sequences that run or wait.
    load: u32,
    num_running_reqs: u32,
    num_waiting_reqs: u32,
    /// KV cells that running sequences hold, tokens.
    num_tokens: u32,
    /// False if requests sent now would be refused.
    ready: bool,
}

/// The handler of `GET /get_load`.
pub(super) async fn load(call: Call) -> Json<Load> {
    let gauges = call.first_model().handle.stats().gauges;
    let is_ready = Readiness::now(&call.state.models).status_code().is_success();
    Json(Load {
        load: gauges.running.saturating_add(gauges.waiting),
        num_running_reqs: gauges.running,
        num_waiting_reqs: gauges.waiting,
        num_tokens: gauges.kv_cells_used,
        ready: is_ready,
    })
}

#[cfg(test)]
mod tests {
    use crate::api::testing::{Setup, TestApp};
    use serde_json::{Value, json};

    #[tokio::test]
    async fn routers_learn_the_version_and_the_load() {
        let app = TestApp::start(Setup::default()).await;

        let version: Value = serde_json::from_str(&app.get("/version").await.body).unwrap();
        let load: Value = serde_json::from_str(&app.get("/get_load").await.body).unwrap();

        assert_eq!(version, json!({"version": env!("CARGO_PKG_VERSION")}));
        assert_eq!(load, json!({"load": 0, "num_running_reqs": 0, "num_waiting_reqs": 0, "num_tokens": 0, "ready": true}));
    }

    #[tokio::test]
    async fn health_has_the_names_that_routers_and_clouds_ask_for() {
        let app = TestApp::start(Setup::default()).await;
        let expected = app.get("/health").await.body;

        for path in ["/ping", "/v1/health"] {
            let answer = app.get(path).await;
            assert_eq!((answer.status.as_u16(), answer.body), (200, expected.clone()), "{path}");
        }
    }
}

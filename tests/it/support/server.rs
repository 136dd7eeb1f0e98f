//! The whole server without sockets: the real router, gateway and engine worker over a fake model.

use super::{
    driver::limits,
    fake_runner::swap,
    thread_engine::{Gate, ThreadLauncher},
};
use axum::{
    Router,
    body::{Body, BodyDataStream},
    http::{HeaderMap, Request, StatusCode},
};
use futures_util::StreamExt;
use http_body_util::BodyExt;
use llamero::{
    api::{layers::HostPolicy, router::router, state::AppState},
    config::{Environment, Flags, ListenConfig, ServeConfig, load},
    engine::runner::{Limits, SwapLimits},
    gateway::{
        engine_state::EngineState,
        handle::EngineHandle,
        keys::KeyRing,
        live_config::LiveConfig,
        models::Models,
        supervisor::{self, Supervisor},
        templates::TemplateCache,
    },
    protocol::PrefixCacheFolder,
    telemetry::metrics,
};
use serde_json::Value;
use std::{path::Path, sync::Arc, time::Duration};
use tower::ServiceExt;

/// Maximum wait: everything here is quick, so a longer wait means a hang.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server over the fake model: `TestServer::with(&[("rpm", "2")]).await`.
pub(crate) struct TestServer {
    router: Router,
    pub(crate) engine: EngineHandle,
    pub(crate) supervisor: Supervisor,
    /// The endpoint: a free port of loopback.
    pub(crate) listen: ListenConfig,
    launcher: ThreadLauncher,
}

/// An answer read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {:?}", self.text))
    }

    /// The JSON objects of an event stream, whose end is checked.
    pub(crate) fn chunks(&self) -> Vec<Value> {
        let frames: Vec<&str> = self.text.split_terminator("\n\n").filter(|frame| !frame.starts_with(':')).collect();
        assert_eq!(frames.last(), Some(&"data: [DONE]"), "{:?}", self.text);
        frames[..frames.len() - 1].iter().map(|frame| serde_json::from_str(frame.strip_prefix("data: ").unwrap()).unwrap()).collect()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

impl TestServer {
    /// Starts a server with the default configuration: model `fake`, four places, 4096 positions each.
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// Starts a server with these keys of the configuration file.
    pub(crate) async fn with(settings: &[(&'static str, &str)]) -> Self {
        Self::of(Self::config(settings)).await
    }

    fn config(settings: &[(&'static str, &str)]) -> ServeConfig {
        let mut values: Vec<(&'static str, Vec<String>)> = settings.iter().map(|(key, value)| (*key, vec![(*value).to_owned()])).collect();
        values.push(("served_model_name", vec!["fake".to_owned()]));
        let flags = Flags { values, ..Flags::default() };
        metrics::install("fake").unwrap();
        load(&flags, &Environment::of(Vec::<(String, String)>::new())).unwrap().config
    }

    /// Starts a server with a folder for the prefixes of a model with this checksum.
    pub(crate) async fn keeping(folder: &Path, model_checksum: &str) -> Self {
        let mut config = Self::config(&[]);
        let (path, model_checksum) = (folder.to_owned(), model_checksum.to_owned());
        config.engine.prefix_cache = Some(PrefixCacheFolder { path, model_checksum, discard: false });
        Self::of(config).await
    }

    /// Stops the engine in order and waits for its end.
    pub(crate) async fn stop(self) {
        within(self.supervisor.drain_and_stop(PATIENCE)).await;
    }

    async fn of(config: ServeConfig) -> Self {
        let room = if config.engine.prefix_cache.is_some() { swap(10_000) } else { SwapLimits::default() };
        let launcher = ThreadLauncher::new(Limits { swap: room, ..limits(config.engine.max_num_seqs().min(4), 64, 4096) });
        let (engine, supervisor) = supervisor::start(launcher.clone(), config.engine.clone(), config.supervision.clone());
        let keys = KeyRing::load(&config.keys).unwrap();
        let hosts = HostPolicy::new(Some(config.listen.host), &keys, &config.api);
        let api = LiveConfig::new(config.api);
        let models = Models::of_one(engine.clone(), TemplateCache::default(), api.clone());
        let state = AppState::new(models, Arc::new(keys), api);
        let mut ready = engine.watch_state();
        within(ready.wait_for(|state| *state == EngineState::Ready)).await.unwrap();
        let listen = ListenConfig { port: 0, ..config.listen };
        Self { router: router(state, hosts), engine, supervisor, listen, launcher }
    }

    pub(crate) fn router(&self) -> Router {
        self.router.clone()
    }

    pub(crate) fn gate(&self) -> &Gate {
        &self.launcher.gate
    }

    /// Kills the engine and opens the gate.
    pub(crate) fn kill_engine(&self) {
        self.launcher.kill(None);
    }

    /// Kills the engine, lets the next one take about `steps` steps, and waits until that one is ready.
    pub(crate) async fn kill_engine_and_hold(&self, steps: u32) {
        let restarts = self.engine.restarts();
        self.launcher.kill(Some(steps));
        self.until(|_| self.engine.restarts() > restarts && self.engine.state() == EngineState::Ready).await;
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.read(Request::get(path).header("host", "localhost").body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.read(request(path, body)).await
    }

    pub(crate) async fn post_as(&self, key: &str, path: &str, body: &Value) -> Answer {
        let mut request = request(path, body);
        request.headers_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
        self.read(request).await
    }

    async fn read(&self, request: Request<Body>) -> Answer {
        let response = within(self.router.clone().oneshot(request)).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = within(body.collect()).await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }

    /// Opens a stream whose frames the test reads one by one; dropping it plays a client that disconnects.
    pub(crate) async fn stream(&self, path: &str, body: &Value) -> BodyDataStream {
        let response = within(self.router.clone().oneshot(request(path, body))).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        response.into_body().into_data_stream()
    }

    /// Waits until `wanted` is true for the engine's statistics.
    pub(crate) async fn until(&self, wanted: impl Fn(&llamero::protocol::EngineStats) -> bool) {
        self.until_labelled("", wanted).await;
    }

    /// The same, with a label for the failure.
    pub(crate) async fn until_labelled(&self, label: &str, wanted: impl Fn(&llamero::protocol::EngineStats) -> bool) {
        let waited = tokio::time::timeout(PATIENCE, async {
            while !wanted(&self.engine.stats()) {
                tokio::task::yield_now().await;
            }
        });
        assert!(waited.await.is_ok(), "the server hangs: {label}");
    }
}

/// The next frame, as text.
pub(crate) async fn frame(stream: &mut BodyDataStream) -> String {
    let bytes = within(stream.next()).await.expect("the stream goes on").unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The remaining text of a stream.
pub(crate) async fn rest(mut stream: BodyDataStream) -> String {
    let mut text = String::new();
    while let Some(bytes) = within(stream.next()).await {
        text.push_str(str::from_utf8(&bytes.unwrap()).unwrap());
    }
    text
}

fn request(path: &str, body: &Value) -> Request<Body> {
    Request::post(path).header("host", "localhost").header("content-type", "application/json").body(Body::from(body.to_string())).unwrap()
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("the server hangs")
}

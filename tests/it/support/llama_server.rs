//! The whole server without sockets and without a process: the real router, gateway, engine and llama.cpp, over a toy
//! model.

use super::{gguf, server::Answer};
use axum::{Router, body::Body, http::Request};
use http_body_util::BodyExt;
use llamero::{
    api::{layers::HostPolicy, router::router, state::AppState},
    config::{Environment, Flags, load},
    engine::serve::{EngineModel, Host, Opened, serve},
    gateway::{
        death::DeathCause,
        engine_state::EngineState,
        keys::KeyRing,
        launcher::{EngineChild, Launched, Launcher},
        live_config::LiveConfig,
        models::Models,
        supervisor::{self, Supervisor},
        templates::TemplateCache,
    },
    llama,
    protocol::{EngineOptions, LoadError},
    telemetry::metrics,
};
use serde_json::Value;
use std::{
    io,
    net::Shutdown,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::sync::watch;
use tower::ServiceExt;

/// Maximum wait: everything here is quick, so a longer wait means a hang.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that runs a GGUF file on a thread of this process. Not for tests that end an engine: that would end this
/// process.
pub(crate) struct LlamaServer {
    router: Router,
    /// Stops the engine when dropped.
    _supervisor: Supervisor,
}

impl LlamaServer {
    /// Opens `model` with [`gguf::engine_options`] and waits until it is ready.
    pub(crate) async fn start(model: &Path) -> Self {
        let flags = Flags { values: vec![("served_model_name", vec!["toy".to_owned()])], ..Flags::default() };
        let config = load(&flags, &Environment::of(Vec::<(String, String)>::new())).unwrap().config;
        metrics::install("toy").unwrap();
        let (engine, supervisor) = supervisor::start(LlamaLauncher, gguf::engine_options(model), config.supervision.clone());
        let keys = KeyRing::load(&config.keys).unwrap();
        let hosts = HostPolicy::new(Some(config.listen.host), &keys, &config.api);
        let api = LiveConfig::new(config.api);
        let models = Models::of_one(engine.clone(), TemplateCache::default(), api.clone());
        let state = AppState::new(models, Arc::new(keys), api);
        let mut ready = engine.watch_state();
        within(ready.wait_for(|state| *state == EngineState::Ready)).await.unwrap();
        Self { router: router(state, hosts), _supervisor: supervisor }
    }

    /// Posts a JSON body and reads the answer to its end.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        let request = Request::post(path).header("host", "localhost").header("content-type", "application/json");
        let request = request.body(Body::from(body.to_string())).unwrap();
        let response = within(self.router.clone().oneshot(request)).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = within(body.collect()).await.unwrap().to_bytes();
        Answer { status: parts.status, headers: parts.headers, text: String::from_utf8(bytes.to_vec()).unwrap() }
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("the server hangs")
}

/// Starts engines with llama.cpp on threads.
struct LlamaLauncher;

impl Launcher for LlamaLauncher {
    type Child = LlamaEngine;

    async fn launch(&mut self) -> io::Result<Launched<LlamaEngine>> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let (ended, watched) = watch::channel(false);
        let child = LlamaEngine { stream: theirs.try_clone()?, ended: watched };
        std::thread::spawn(move || {
            // An engine whose connection was closed reports an error; its gateway knows.
            let _ = serve(theirs, LlamaHost);
            ended.send_replace(true);
        });
        Ok(Launched { stream: tokio::net::UnixStream::from_std(ours)?, child })
    }
}

/// An engine thread, seen from the gateway.
struct LlamaEngine {
    stream: UnixStream,
    ended: watch::Receiver<bool>,
}

impl EngineChild for LlamaEngine {
    fn pid(&self) -> Option<u32> {
        None
    }

    async fn wait(&mut self) -> DeathCause {
        // A dropped sender means the same: the thread has ended.
        let _ = self.ended.wait_for(|ended| *ended).await;
        DeathCause::Signal(9)
    }

    fn kill(&mut self) {
        // Closing fails if the gateway closed the connection first.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    fn last_lines(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Opens models in the same way as the engine process.
struct LlamaHost;

impl Host for LlamaHost {
    fn open(self, options: &EngineOptions, progress: Box<dyn FnMut(f32)>, body: &mut dyn FnMut(Opened<'_>)) -> Result<(), LoadError> {
        let loaded = llama::load_generating(options, progress)?;
        let mut runner = loaded.runner()?;
        let info = loaded.info(&runner);
        body(Opened { model: EngineModel::Generates { runner: &mut runner, draft: None }, tokenizer: loaded.tokenizer(), info });
        Ok(())
    }

    fn program(&self) -> PathBuf {
        PathBuf::from(env!("CARGO_BIN_EXE_llamero"))
    }
}

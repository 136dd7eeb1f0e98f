//! `llamero serve`: from a configuration to a server that runs until it is told to stop.
//!
//! Owns the order of things: a wrong option, key or address fails before a model is fetched, and a wrong model before an
//! engine is started. While the engine loads, the server answers already, that it is loading. Everything else is done
//! elsewhere.

use super::{args::Mode, logging, print, signals::StopSignals, summary::summary};
use crate::telemetry::metrics;
use crate::{
    api::{layers::HostPolicy, router::router, server::Server, state::AppState, templates::TemplateCache},
    config::{ConfigErrors, Environment, Flags, Problem, ServeConfig, load},
    gateway::{
        handle::{EngineHandle, EngineState},
        keys::KeyRing,
        limits::RequestLimiter,
        process::ProcessLauncher,
        supervisor::{self, Supervisor},
    },
    models::{Catalog, ModelsFolder, Store, model_checksum},
    protocol::PrefixCacheFolder,
};
use anyhow::{Context, anyhow, bail, ensure};
use rustix::process::geteuid;
use std::{
    fs::DirBuilder,
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    process,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

/// Threads of the gateway's runtime. Two, because parsing and writing JSON for many streams needs more than one, and
/// every core beyond is the engine's: a decode step is as slow as its slowest thread.
const WORKER_THREADS: usize = 2;
/// Samples wait this long at most, so few are kept (the exporter's documentation advises seconds).
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

pub(super) fn run(flags: &Flags, mode: Mode, environment: &Environment) -> anyhow::Result<()> {
    let loaded = load(flags, environment)?;
    let keys = KeyRing::load(&loaded.config.keys)
        .map_err(|error| ConfigErrors { problems: vec![Problem { at: "keys".to_owned(), message: error.to_string() }] })?;
    let templates = TemplateCache::load(loaded.config.api.chat_template.as_deref())
        .map_err(|error| ConfigErrors { problems: vec![Problem { at: "chat_template".to_owned(), message: error.to_string() }] })?;
    match mode {
        Mode::Print => return print(&loaded.toml),
        Mode::Check => return print("the configuration is fine\n"),
        Mode::Run => {}
    }
    let mut config = loaded.config;
    config.keys.forget();
    logging::start(config.log_format, &config.log_level)?;
    for note in loaded.notes {
        tracing::info!("{note}");
    }
    // An address that cannot be had is known before a download. It is let go meanwhile: a port that accepts and does not
    // answer looks like a server that hangs.
    drop(Server::bind(&config.listen, &keys)?);
    let store = Store::new(ModelsFolder::locate(config.models_dir.as_deref(), environment)?, environment);
    let model = store.resolve(&config.model, Catalog::embedded())?;
    tracing::info!(path = %model.path.display(), quantization = model.summary.quantization(), "loading the model");
    config.engine.model_path = model.path;
    if let Some(name) = &config.draft_model {
        let draft = store.resolve(name, Catalog::embedded()).context("the draft model")?;
        tracing::info!(path = %draft.path.display(), quantization = draft.summary.quantization(), "a draft model guesses ahead");
        config.engine.draft_model = Some(draft.path);
    }
    if let Some(folder) = config.prefix_cache_dir.take() {
        config.engine.prefix_cache = Some(prefix_cache(folder, &config.engine.model_path)?);
    }
    let server = Server::bind(&config.listen, &keys)?;

    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKER_THREADS).enable_all().build();
    runtime.context("the runtime cannot be started")?.block_on(serve(config, keys, templates, server))
}

/// Makes the folder of the prefix cache, and finds out whose it is to be. What is in it is believed, so nobody else may write there.
fn prefix_cache(path: PathBuf, model: &Path) -> anyhow::Result<PrefixCacheFolder> {
    let unusable = || format!("--prefix-cache-dir {} cannot be used", path.display());
    DirBuilder::new().recursive(true).mode(0o700).create(&path).with_context(unusable)?;
    let metadata = path.metadata().with_context(unusable)?;
    let is_safe = metadata.mode() & 0o022 == 0 && [geteuid().as_raw(), 0].contains(&metadata.uid());
    ensure!(is_safe, "--prefix-cache-dir {}: others may write there; give a folder that is the server's user's alone", path.display());
    let model_checksum = model_checksum(model, &path).with_context(unusable)?;
    Ok(PrefixCacheFolder { path, model_checksum, discard: false })
}

/// Serves until a signal or until the engine is given up, then drains.
async fn serve(config: ServeConfig, keys: KeyRing, templates: TemplateCache, server: Server) -> anyhow::Result<()> {
    let mut signals = StopSignals::catch().context("signals cannot be caught")?;
    metrics::install(config.api.served_model_names.first().map_or("", String::as_str)).context("metrics cannot be recorded")?;
    let _upkeep = AbortOnDropHandle::new(tokio::spawn(keep_metrics()));
    let launcher = ProcessLauncher::of_this_binary().context("the engine cannot be started")?;
    let (engine, mut supervisor) = supervisor::start(launcher, config.engine.clone(), config.supervision.clone());
    let hosts = HostPolicy::new(config.listen.host, &keys, &config.api.allowed_origins);
    let state = AppState {
        engine: engine.clone(),
        keys: Arc::new(keys),
        limiter: Arc::new(RequestLimiter::new(config.api.requests_per_minute)),
        config: Arc::new(config.api.clone()),
        templates: Arc::new(templates),
    };
    let address = server.address();
    let announcement = tokio::spawn(announce(engine, config.clone(), address));
    let (stop, mut stopped) = watch::channel(None);
    let shutdown = async move {
        // The sender lives until the end of this function; were it dropped, that would be a reason to stop as well.
        stopped.wait_for(Option::is_some).await.ok().and_then(|left| *left).unwrap_or_default()
    };
    let mut serving = tokio::spawn(server.serve(router(state, hosts), shutdown));

    let failure = tokio::select! {
        signal = signals.next() => {
            tracing::info!("{signal}: no new requests; running ones get {:?} to finish", config.listen.drain_timeout);
            None
        }
        reason = supervisor.failed() => Some(reason),
        ended = &mut serving => {
            ended.context("the server's task ended early")?.context("the server ended early")?;
            bail!("the server ended by itself");
        }
    };
    announcement.abort();
    tokio::select! {
        result = drain(supervisor, stop, serving, config.listen.drain_timeout) => result?,
        signal = signals.next() => end_at_once(signal),
    }
    failure.map_or(Ok(()), |reason| Err(anyhow!("the engine was given up: {reason}")))
}

/// Ends the engine, then the server, which answers meanwhile: new requests hear 503 with the wait, and probes that it is
/// not ready. Clients that are slow to read get what is left of the drain time.
async fn drain(
    supervisor: Supervisor,
    stop: watch::Sender<Option<Duration>>,
    serving: tokio::task::JoinHandle<std::io::Result<()>>,
    drain_timeout: Duration,
) -> anyhow::Result<()> {
    let begun = Instant::now();
    supervisor.drain_and_stop(drain_timeout).await;
    // Nobody listens if the server ended just now; joining it says why.
    let _ = stop.send(Some(drain_timeout.saturating_sub(begun.elapsed())));
    let served = serving.await;
    served.context("the server's task ended early")?.context("the server ended early")?;
    tracing::info!("stopped");
    Ok(())
}

/// The user does not want to wait. The engine dies with this process.
fn end_at_once(signal: &str) -> ! {
    tracing::warn!("{signal} again: ending at once");
    logging::finish();
    process::exit(1)
}

/// Folds metric samples into their buckets for as long as the server runs.
async fn keep_metrics() {
    let mut interval = tokio::time::interval(METRICS_UPKEEP);
    loop {
        interval.tick().await;
        metrics::run_upkeep();
    }
}

/// Prints the summary once the model is loaded.
async fn announce(engine: EngineHandle, config: ServeConfig, address: SocketAddr) {
    let mut state = engine.watch_state();
    let ready = state.wait_for(|state| matches!(state, EngineState::Ready)).await.is_ok();
    if let (true, Some(model)) = (ready, engine.model()) {
        // Said on standard error and not in the log: it is for whoever sits at the terminal, in any log format.
        logging::say(&summary(&model, &config, address, None));
        tracing::info!(%address, model = %model.name, "ready");
    }
}

//! `llamero serve`: reads a configuration and runs a server until a signal stops it.
//!
//! Owns the order of the start: first signals are caught, then wrong options, keys or addresses make it fail, and then
//! the server answers that it is not ready while the model is fetched, checked and loaded.

mod calibrate;
mod check;
mod inherited_socket;
mod model;
mod reload;
mod stop;
mod stop_causes;
mod surroundings;

use super::{
    args::ServeMode,
    logging, print,
    service_manager::{self, Phase, ServiceManager},
    signals::Signals,
    status_line,
    summary::summary,
};
use crate::{
    api::{
        layers::HostPolicy,
        router::router,
        server::{Endpoint, OpenSocket, Server, tls::Certificate},
        state::AppState,
    },
    config::{ConfigErrors, Environment, Flags, LoadedConfig, ServeConfig, load},
    gateway::{
        canary,
        engine_state::EngineState,
        handle::EngineHandle,
        keys::KeyRing,
        live_config::LiveConfig,
        models::{Model, Models},
        process::ProcessLauncher,
        supervisor::{self, UnstartedEngine},
        templates::TemplateCache,
    },
    telemetry::{metrics, traces},
};
use anyhow::{Context, anyhow, bail};
use model::Found;
use reload::Reload;
use std::{sync::Arc, time::Duration};
use stop::{Haste, Serving};
use stop_causes::StopCauses;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;
use tracing::Level;

/// Threads of the gateway's runtime. Two, because parsing and writing JSON for many streams needs more than one, and
/// all other cores are for the engine: a decode step is as slow as its slowest thread.
const WORKER_THREADS: usize = 2;
/// Maximum age of metric samples before they are folded, so that few are kept (the exporter's documentation advises
/// seconds).
const METRICS_UPKEEP: Duration = Duration::from_secs(5);

pub(super) fn run(flags: &Flags, mode: ServeMode, environment: &Environment) -> anyhow::Result<()> {
    if mode != ServeMode::Run {
        let setup = Setup::read(flags, environment)?;
        return print(&match mode {
            ServeMode::Print => setup.loaded.toml,
            ServeMode::Calibrate => calibrate::calibrate(&setup.loaded.config, environment)?,
            ServeMode::Check | ServeMode::Run => check::check(&setup.loaded, environment)?,
        });
    }
    let inherited = inherited_socket::take()?;
    surroundings::check()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKER_THREADS).enable_all().build();
    let runtime = runtime.context("the runtime cannot be started")?;
    let read = runtime.block_on(async {
        let mut signals = Signals::catch().context("signals cannot be caught")?;
        let (flags, environment) = (flags.clone(), environment.clone());
        // A file may be a pipe that nobody writes to, or on a disk that does not respond.
        let setup = tokio::task::spawn_blocking(move || Setup::read(&flags, &environment));
        tokio::select! {
            setup = setup => Ok((setup.context("reading the configuration ended early")??, signals)),
            signal = signals.stop.next() => Err(anyhow!("{signal}: stopped while the configuration was read")),
        }
    });
    let (mut setup, signals) = match read {
        Ok(read) => read,
        Err(error) => {
            runtime.shutdown_background();
            return Err(error);
        }
    };
    setup.loaded.config.keys.forget();
    logging::start(&setup.loaded.config.logs)?;
    for note in setup.loaded.notes.drain(..) {
        tracing::info!("{note}");
    }
    // Not within the runtime: the exporter's client has one of its own.
    let traces = setup.loaded.config.logs.otlp_endpoint.as_deref().map(traces::install).transpose();
    let traces = traces.map_err(|error| ConfigErrors::one("otlp_endpoint", error))?;
    let ended = runtime.block_on(serve(setup, environment, signals, inherited));
    if let Some(traces) = traces {
        traces.finish();
    }
    // A file on a disk that does not respond must not keep the process alive.
    runtime.shutdown_background();
    ended
}

/// The configuration and the contents of the files that it names.
struct Setup {
    flags: Flags,
    loaded: LoadedConfig,
    keys: KeyRing,
    certificate: Option<Certificate>,
    templates: TemplateCache,
}

impl Setup {
    /// Reads the configuration and the files. A certificate that cannot be used counts as a failure, not as a wrong
    /// configuration: it may be in the middle of its renewal, so a service manager should try again.
    fn read(flags: &Flags, environment: &Environment) -> anyhow::Result<Self> {
        let problem = |at: &str, message: String| ConfigErrors::one(at, message);
        let loaded = load(flags, environment)?;
        logging::expect(loaded.config.logs.format);
        let keys = KeyRing::load(&loaded.config.keys).map_err(|error| problem("keys", error.to_string()))?;
        let certificate = loaded.config.tls.as_ref().map(Certificate::load).transpose();
        let certificate = certificate.context("TLS")?;
        let templates = TemplateCache::load(loaded.config.api.chat_template.as_deref());
        let templates = templates.map_err(|error| problem("chat_template", error.to_string()))?;
        Ok(Self { flags: flags.clone(), loaded, keys, certificate, templates })
    }
}

/// Serves until a signal or until the engine is given up, then drains.
async fn serve(setup: Setup, environment: &Environment, signals: Signals, inherited: Option<OpenSocket>) -> anyhow::Result<()> {
    let Setup { flags, loaded: LoadedConfig { config, given, .. }, keys, certificate, templates } = setup;
    let Signals { stop: signals, hangup, user1 } = signals;
    let server = match inherited {
        Some(socket) => Server::take_over(socket, &config.listen, &keys)?,
        None => Server::bind(&config.listen, &keys)?,
    };
    let server = server.with_certificate(certificate.clone());
    let endpoint = server.endpoint().clone();
    let (engine, prepared) = supervisor::prepare(config.engine.max_num_seqs(), config.supervision.clone());
    let api = LiveConfig::new(config.api.clone());
    let models = Models::of_one(engine.clone(), templates, api.clone());
    let model = models.first();
    metrics::install(&model.name).context("metrics cannot be recorded")?;
    let _upkeep = AbortOnDropHandle::new(tokio::spawn(keep_metrics()));
    let keys = Arc::new(keys);
    let (manager, reports) = service_manager::start(engine.clone(), config.supervision.stall_timeout);
    let hosts = HostPolicy::new(endpoint.ip(), &keys, &config.api);
    let state = AppState::new(models, keys, api);
    let reload = Reload::new(flags, environment.clone(), given, &state, certificate);
    let reload = AbortOnDropHandle::new(tokio::spawn(reload.run(hangup, manager.clone())));
    let _log_file = AbortOnDropHandle::new(tokio::spawn(user1.reopen()));
    let status = config.logs.status_interval.map(|interval| tokio::spawn(status_line::report(engine.clone(), interval)));
    let _status = status.map(AbortOnDropHandle::new);
    let canary = config.supervision.canary_interval.map(|interval| tokio::spawn(canary::watch(engine.clone(), interval)));
    let _canary = canary.map(AbortOnDropHandle::new);
    let serving = start(server, state, hosts);

    let causes = StopCauses::watch(signals, config.supervision.preemption, environment, engine.clone());
    let ended = Starting { engine, prepared, model, serving, causes, manager }.run(config, environment, endpoint).await;
    // The last sender of messages to the service manager.
    drop(reload);
    reports.finish().await;
    ended
}

/// A server that answers, and an engine that is not there yet.
struct Starting {
    engine: EngineHandle,
    prepared: UnstartedEngine,
    model: Model,
    serving: Serving,
    causes: StopCauses,
    manager: ServiceManager,
}

impl Starting {
    /// Finds the model, starts the engine, and drains after a signal or when the engine is given up.
    async fn run(self, config: ServeConfig, environment: &Environment, endpoint: Endpoint) -> anyhow::Result<()> {
        let Self { engine, prepared, model, mut serving, mut causes, manager } = self;
        let found = tokio::select! {
            found = model::find(config.clone(), environment.clone()) => found,
            cause = causes.next() => {
                tracing::info!("{cause}: stopped before the model was found");
                manager.tell(Phase::Stopping);
                return serving.close(Duration::ZERO).await;
            }
            ended = serving.ended() => return by_itself(ended),
        };
        let Found { options, _held } = match found {
            Ok(found) => found,
            Err(error) => {
                // The error to report is the reason why there is no model; an error of closing the server adds nothing.
                let _ = serving.close(Duration::ZERO).await;
                return Err(error);
            }
        };
        let config = ServeConfig { engine: options.clone(), ..config };
        let launcher = ProcessLauncher::of_this_binary().context("the engine cannot be started")?;
        let mut supervisor = prepared.start(launcher, options);
        let announcement = AbortOnDropHandle::new(tokio::spawn(announce(model, config.clone(), endpoint)));

        let (failure, haste) = tokio::select! {
            cause = causes.next() => {
                manager.tell(Phase::Stopping);
                stop::delay(cause, &engine, &mut supervisor, &mut causes, &config).await
            }
            reason = supervisor.failed() => {
                manager.tell(Phase::Stopping);
                (Some(reason), Haste::Ordinary)
            }
            ended = serving.ended() => return by_itself(ended),
        };
        drop(announcement);
        stop::drain(supervisor, serving, &mut causes, &config, haste).await?;
        failure.map_or(Ok(()), |reason| Err(anyhow!("the engine was given up: {reason}")))
    }
}

fn start(server: Server, state: AppState, hosts: HostPolicy) -> Serving {
    let (stop, mut stopped) = watch::channel(None);
    let shutdown = async move {
        // `Serving` has the sender. If it were dropped, the server should stop as well.
        stopped.wait_for(Option::is_some).await.ok().and_then(|left| *left).unwrap_or_default()
    };
    Serving { task: tokio::spawn(server.serve(router(state, hosts), shutdown)), stop }
}

fn by_itself(ended: anyhow::Result<()>) -> anyhow::Result<()> {
    ended?;
    bail!("the server ended by itself")
}

/// Folds metric samples into their buckets for as long as the server runs.
async fn keep_metrics() {
    let mut interval = tokio::time::interval(METRICS_UPKEEP);
    loop {
        interval.tick().await;
        metrics::run_upkeep();
    }
}

/// Prints the summary after the model is loaded.
async fn announce(model: Model, config: ServeConfig, endpoint: Endpoint) {
    let Model { handle, templates, .. } = model;
    let mut state = handle.watch_state();
    let ready = state.wait_for(|state| matches!(state, EngineState::Ready)).await.is_ok();
    if let (true, Some(model)) = (ready, handle.model()) {
        // Not a log line of a module, so that no `--log-level` hides it from a person at the terminal.
        let chat = templates.facts(&model, config.api.generic_tools).await;
        logging::write_text(Level::INFO, &summary(&model, &config, &endpoint, &chat));
        tracing::info!(address = %endpoint, model = %model.name, "ready");
    }
}

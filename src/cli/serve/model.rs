//! Finds the files that the engine opens: the model (fetched and checked if necessary), its draft model, and the prefix
//! cache's folder.
//!
//! That takes from milliseconds to hours and blocks all the while, so it has a thread of its own, which ends with the
//! process. Owns the files that it opened, until [`Found`] is dropped.

use super::super::rpc_worker::is_private;
use crate::{
    config::{Environment, RpcConfig, ServeConfig},
    models::{Catalog, ModelSearch, Resolved, model_checksum, opened::OpenedModel},
    protocol::{EngineOptions, PrefixCacheFolder},
};
use anyhow::{Context, anyhow, ensure};
use rustix::process::geteuid;
use std::{
    fs::DirBuilder,
    net::{SocketAddr, ToSocketAddrs as _},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
    thread,
};
use tokio::sync::oneshot;

/// The files that were found, open.
pub(super) struct Found {
    /// Options with which the engine is started.
    pub(super) options: EngineOptions,
    /// The open files. While they are held, every engine loads these files, even if others take their names.
    pub(super) _held: Vec<OpenedModel>,
}

/// Fills in the paths and files of the engine's options. If the future is dropped, the thread continues.
pub(super) async fn find(config: ServeConfig, environment: Environment) -> anyhow::Result<Found> {
    let (reply, found) = oneshot::channel();
    let work = move || {
        // Sending fails if the server is stopping already.
        let _ = reply.send(engine_options(config, &environment));
    };
    let _detached = thread::Builder::new().name("find-model".to_owned()).spawn(work).context("no thread to find the model with")?;
    found.await.unwrap_or_else(|_| Err(anyhow!("the search for the model ended early; the log says why")))
}

fn engine_options(config: ServeConfig, environment: &Environment) -> anyhow::Result<Found> {
    let mut options = config.engine;
    let search = ModelSearch { models_dir: config.models_dir.as_deref(), environment, catalog: Catalog::embedded() };
    let model = search.resolve(&config.model)?;
    tracing::info!(path = %model.path.display(), quantization = model.summary.quantization(), "loading the model");
    let opened = open(&model.path)?;
    options.model_files = opened.files.clone();
    options.model_path = model.path;
    options.rpc_workers = workers(&config.rpc)?;
    let mut held = Vec::new();
    if let Some(name) = &config.draft_model {
        let Resolved { path, summary } = search.resolve(name).context("the draft model")?;
        tracing::info!(path = %path.display(), quantization = summary.quantization(), "loading the draft model");
        let draft = open(&path)?;
        options.draft_files = draft.files.clone();
        options.draft_model = Some(path);
        held.push(draft);
    }
    if let Some(folder) = config.prefix_cache_dir {
        options.prefix_cache = Some(prefix_cache(folder, &opened)?);
    }
    held.push(opened);
    Ok(Found { options, _held: held })
}

fn open(path: &Path) -> anyhow::Result<OpenedModel> {
    OpenedModel::open(path).with_context(|| format!("{} cannot be opened", path.display()))
}

/// The addresses of the RPC workers. ggml's RPC client knows only IPv4.
///
/// # Errors
/// A name has no such address, or the address is not private.
fn workers(config: &RpcConfig) -> anyhow::Result<Vec<SocketAddr>> {
    config
        .workers
        .iter()
        .map(|worker| {
            let found = worker.to_socket_addrs().with_context(|| format!("--rpc: the RPC worker {worker} cannot be found"))?;
            let address = found.into_iter().find(SocketAddr::is_ipv4);
            let address = address.with_context(|| format!("--rpc: the RPC worker {worker} has no IPv4 address"))?;
            ensure!(
                config.insecure || is_private(address.ip()),
                "--rpc: {worker} is not at a private address, and the protocol has neither keys nor encryption; use a private network, or \
                 insist with --insecure-rpc"
            );
            Ok(address)
        })
        .collect()
}

/// Creates the folder of the prefix cache. Its contents are trusted, so only the server's user may write there.
fn prefix_cache(path: PathBuf, model: &OpenedModel) -> anyhow::Result<PrefixCacheFolder> {
    let unusable = || format!("--prefix-cache-dir {} cannot be used", path.display());
    DirBuilder::new().recursive(true).mode(0o700).create(&path).with_context(unusable)?;
    let metadata = path.metadata().with_context(unusable)?;
    let is_safe = metadata.mode() & 0o022 == 0 && [geteuid().as_raw(), 0].contains(&metadata.uid());
    ensure!(
        is_safe,
        "--prefix-cache-dir {}: other users can write there; give a folder that only the server's user can write to",
        path.display()
    );
    let model_checksum = model_checksum(model, &path).with_context(unusable)?;
    Ok(PrefixCacheFolder { path, model_checksum, discard: false })
}

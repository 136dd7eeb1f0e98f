//! `llamero pull NAME`: fetches a model of the catalog and prints its path.

use super::{logging, print};
use crate::{
    config::{Environment, LogConfig, LogFormat, closest},
    models::{Catalog, ModelsFolder, Store, StoredModel},
};
use anyhow::{Context, bail};
use std::path::Path;

pub(super) fn run(name: &str, models_dir: Option<&Path>, environment: &Environment) -> anyhow::Result<()> {
    let level = environment.text("RUST_LOG").unwrap_or("info").to_owned();
    logging::start(&LogConfig { format: LogFormat::Text, level, file: None, status_interval: None, otlp_endpoint: None })?;
    let catalog = Catalog::embedded();
    let Some(model) = catalog.get(name) else {
        let meant = closest(name, catalog.models.iter().map(|model| model.name.as_str()));
        let meant = meant.map_or(String::new(), |meant| format!(" (did you mean {meant}?)"));
        bail!("the catalog has no model {name:?}{meant}; `llamero models` lists them");
    };
    let store = Store::new(ModelsFolder::locate(models_dir, environment)?, environment);
    if let StoredModel::Verified(_) = store.stored(model) {
        tracing::info!("{name} is here already, and verified");
    }
    let path = store.pull(model).with_context(|| format!("{name} could not be fetched"))?;
    print(&format!("{}\n", path.display()))
}

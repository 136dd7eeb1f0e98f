//! The notice that the cloud takes this machine back: a preemptible or spot VM of Google Compute Engine has 30 seconds
//! from it. The server then drains at once, for as long as is left.
//!
//! Asks the metadata server, which answers when a value changes (`wait_for_change`,
//! cloud.google.com/compute/docs/metadata/querying-metadata), so nothing is polled. A metadata server that does not
//! answer is asked again after a pause, and said once.

use crate::config::{Environment, Preemption};
use reqwest::{Client, header::ETAG};
use std::{fs, future::pending, time::Duration};
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

/// The metadata server, unless `GCE_METADATA_HOST` names another, as Google's libraries have it.
const HOST: &str = "metadata.google.internal";
/// The product's name of a VM of Google Compute Engine.
const PRODUCT: &str = "/sys/class/dmi/id/product_name";
/// Time after which the metadata server answers even if nothing has changed, s.
const WAIT_S: u64 = 300;
/// Longest wait for any answer.
const PATIENCE: Duration = Duration::from_secs(WAIT_S + 30);
const CONNECT: Duration = Duration::from_secs(5);
/// Pause after an answer.
const LEAST_PAUSE: Duration = Duration::from_secs(1);
/// Pause after a question that failed.
const PAUSE: Duration = Duration::from_secs(10);

/// Time that running requests get after the notice. Of the machine's 30 s, some pass before the notice is here, and
/// some are for the end of the server, which takes about 15 s if it writes its prefix cache
/// (`Supervisor::drain_and_stop`).
pub(super) fn time_left(has_prefix_cache: bool) -> Duration {
    Duration::from_secs(if has_prefix_cache { 13 } else { 20 })
}

/// Waits for the notice.
#[derive(Debug)]
pub(super) struct PreemptionNotice(Option<AbortOnDropHandle<()>>);

impl PreemptionNotice {
    /// Begins to ask, if this is a machine to ask on.
    pub(super) fn watch(preemption: Preemption, environment: &Environment) -> Self {
        let named = environment.text("GCE_METADATA_HOST");
        let is_gcp = || named.is_some() || fs::read_to_string(PRODUCT).is_ok_and(|product| product.starts_with("Google"));
        let asks = match preemption {
            Preemption::None => false,
            Preemption::Gcp => true,
            Preemption::Auto => is_gcp(),
        };
        let base = format!("http://{}/computeMetadata/v1/instance", named.unwrap_or(HOST));
        Self(asks.then(|| AbortOnDropHandle::new(tokio::spawn(reclaimed(base)))))
    }

    /// Waits until the machine is being taken back; for ever on one that is not asked about. Cancel-safe.
    pub(super) async fn arrived(&mut self) {
        match &mut self.0 {
            Some(task) => match task.await {
                Ok(()) => self.0 = None,
                Err(error) => {
                    tracing::error!("the watch for preemption ended early: {error}");
                    self.0 = None;
                    pending::<()>().await;
                }
            },
            None => pending().await,
        }
    }
}

/// Returns when the machine is being taken back. Announced maintenance is only said.
async fn reclaimed(base: String) {
    // The metadata server is on this machine's own network, so no proxy leads there.
    let client = match Client::builder().no_proxy().connect_timeout(CONNECT).timeout(PATIENCE).build() {
        Ok(client) => client,
        Err(error) => {
            tracing::error!("no client for the metadata server: {error}; preemption is not noticed");
            return pending().await;
        }
    };
    let watched =
        |name, is_vital| Watched { client: client.clone(), url: format!("{base}/{name}"), etag: None, is_vital, is_silent: false };
    let (mut preempted, maintenance) = (watched("preempted", true), watched("maintenance-event", false));
    tokio::select! {
        () = preempted.until(|value| value == "TRUE") => {}
        () = announce(maintenance) => {}
    }
}

/// Says, for ever, when the machine will be stopped for maintenance, as machines with a GPU are told an hour before.
async fn announce(mut event: Watched) {
    loop {
        event.until(|value| value.starts_with("TERMINATE")).await;
        tracing::warn!("the cloud will stop this machine for maintenance soon; the server drains when the system stops it");
        event.until(|value| value == "NONE").await;
    }
}

/// A value of the metadata server.
struct Watched {
    client: Client,
    url: String,
    /// The version of the value that was seen last.
    etag: Option<String>,
    /// True if somebody should know when it cannot be read.
    is_vital: bool,
    /// True if the last question failed.
    is_silent: bool,
}

impl Watched {
    /// Waits until the value is as wanted.
    async fn until(&mut self, wanted: impl Fn(&str) -> bool) {
        loop {
            match self.next().await {
                Ok(value) if wanted(value.trim()) => return,
                Ok(_) => {
                    self.is_silent = false;
                    // A server that names no version is not asked to wait, and answers at once.
                    sleep(LEAST_PAUSE).await;
                }
                Err(error) => {
                    if !std::mem::replace(&mut self.is_silent, true) && self.is_vital {
                        tracing::warn!("the metadata server does not answer, so preemption is not noticed: {error}");
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// The value: at first the present one, then each time it has changed, and after [`WAIT_S`] without a change.
    async fn next(&mut self) -> reqwest::Result<String> {
        let mut request = self.client.get(&self.url).header("Metadata-Flavor", "Google");
        if let Some(etag) = &self.etag {
            let wait = WAIT_S.to_string();
            request = request.query(&[("wait_for_change", "true"), ("timeout_sec", &wait), ("last_etag", etag)]);
        }
        let answer = request.send().await?.error_for_status()?;
        let etag = answer.headers().get(ETAG).and_then(|etag| etag.to_str().ok()).map(str::to_owned);
        let value = answer.text().await?;
        self.etag = etag;
        Ok(value)
    }
}

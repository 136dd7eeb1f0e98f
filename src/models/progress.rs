//! Shows the progress of a download or a check: a bar on a terminal, else a log line for each quarter.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use rustix::stdio::stderr;
use std::{
    io::IsTerminal,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// The progress in bytes. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    bar: ProgressBar,
    what: Arc<str>,
    /// Number of quarters reported so far, if there is no bar.
    quarters: Arc<AtomicU64>,
}

impl Progress {
    /// Starts to show the progress of `what`, such as "Checking tiny.gguf", which has `total` bytes.
    pub(super) fn new(what: &str, total: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(8));
        let style = ProgressStyle::with_template("{msg} [{bar:30}] {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left");
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.set_message(what.to_owned());
        Self { bar, what: what.into(), quarters: Arc::default() }
    }

    /// Sets the total number of bytes, once it is known.
    pub(super) fn set_total(&self, bytes: u64) {
        self.bar.set_length(bytes);
    }

    /// Adds to the bytes that are done.
    pub(super) fn add(&self, bytes: u64) {
        self.bar.inc(bytes);
        let total = self.bar.length().unwrap_or(0).max(1);
        let quarters = (self.bar.position().saturating_mul(4) / total).min(4);
        if self.quarters.fetch_max(quarters, Ordering::Relaxed) < quarters && !stderr().is_terminal() {
            tracing::info!("{}: {} %", self.what, quarters * 25);
        }
    }

    /// Ends the display: removes the bar.
    pub(super) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

// hf-hub calls these functions while it downloads.
impl hf_hub::api::tokio::Progress for Progress {
    async fn init(&mut self, size: usize, _filename: &str) {
        self.set_total(u64::try_from(size).unwrap_or(u64::MAX));
    }

    async fn update(&mut self, size: usize) {
        self.add(u64::try_from(size).unwrap_or(u64::MAX));
    }

    async fn finish(&mut self) {
        Self::finish(self);
    }
}

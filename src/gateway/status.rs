//! The status board: state, facts and counters, which the run loop writes and others read.
//!
//! Written by the run loop alone (and by `Supervisor` when it starts to drain); readers never wait for the run loop.

use super::{
    admission::{Admission, ReturnTimes},
    calls::{MAX_BYTES, MAX_CALLS},
    death::DeathCause,
    embeds::MAX_REQUESTS,
    engine_state::EngineState,
    error::SubmitError,
    fingerprint::Fingerprints,
    pulse::Pulse,
};
use crate::protocol::{EngineStats, ModelInfo};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Semaphore, watch},
    time::Instant,
};

/// Time between the retries that refused texts are told, for each key: about as long as a text of middle size takes.
const TEXT_PACE: Duration = Duration::from_millis(100);
/// Longest wait told to a refused text: hundreds of short ones are done in less time.
const MAX_TEXT_RETRY: Duration = Duration::from_secs(10);

/// Facts about the engines of this gateway.
#[derive(Debug, Clone, Default)]
pub(super) struct Facts {
    /// Facts about the model; `None` until it was loaded once.
    pub(super) model: Option<Arc<ModelInfo>>,
    /// The process id of the present engine.
    pub(super) pid: Option<u32>,
    /// Share of the model that the present engine has loaded, 0–1; `None` when it serves.
    pub(super) load_share: Option<f32>,
    /// True if an engine that was killed is still there, so that no other one can be started.
    pub(super) is_stuck: bool,
    /// Number of engines started after the first.
    pub(super) restarts: u64,
    /// Number of deaths by cause.
    pub(super) deaths: BTreeMap<DeathCause, u64>,
    /// The report on why the engine was given up, for operators.
    pub(super) failure: Option<String>,
}

/// The board itself, shared by handles, supervisor and run loop.
#[derive(Debug)]
pub(super) struct StatusBoard {
    pub(super) state: watch::Sender<EngineState>,
    /// True if the server is about to stop but still serves.
    pub(super) leaving: AtomicBool,
    /// True if the cloud takes the machine back.
    pub(super) preempted: AtomicBool,
    /// True if the last test of the idle engine failed.
    pub(super) failing: AtomicBool,
    pub(super) facts: watch::Sender<Facts>,
    pub(super) stats: watch::Sender<EngineStats>,
    pub(super) pulse: Pulse,
    /// Number of tests of the idle engine, each of one prompt row and one token.
    pub(super) tests: AtomicU64,
    /// Tokens that all engines generated, those of tests included.
    pub(super) generated: AtomicU64,
    /// Gives out the places of sequences.
    pub(super) admission: Admission,
    /// Permits of open calls, one for each.
    pub(super) text_calls: Arc<Semaphore>,
    /// Permits of the calls' texts, one for each KiB begun.
    pub(super) text_kib: Arc<Semaphore>,
    /// Permits of requests for vectors, one for each.
    pub(super) embeds: Arc<Semaphore>,
    /// The waits of refused texts and requests for vectors; written by whoever refuses.
    text_returns: Mutex<ReturnTimes>,
    pub(super) fingerprints: Fingerprints,
    next_sequence: AtomicU64,
}

impl StatusBoard {
    /// Creates the board of an engine whose model is not known yet.
    pub(super) fn new(admission: Admission) -> Self {
        Self {
            state: watch::Sender::new(EngineState::Preparing),
            leaving: AtomicBool::new(false),
            preempted: AtomicBool::new(false),
            failing: AtomicBool::new(false),
            facts: watch::Sender::default(),
            stats: watch::Sender::default(),
            pulse: Pulse::default(),
            tests: AtomicU64::new(0),
            generated: AtomicU64::new(0),
            admission,
            text_calls: Arc::new(Semaphore::new(MAX_CALLS)),
            text_kib: Arc::new(Semaphore::new(MAX_BYTES >> 10)),
            embeds: Arc::new(Semaphore::new(MAX_REQUESTS)),
            text_returns: Mutex::new(ReturnTimes::up_to(MAX_TEXT_RETRY)),
            fingerprints: Fingerprints::default(),
            next_sequence: AtomicU64::new(1),
        }
    }

    /// The refusal of a text, or of a request for vectors, of this key.
    pub(super) fn too_much_text(&self, key: u64) -> SubmitError {
        // A panic leaves no half change behind: there is one insertion.
        let mut returns = self.text_returns.lock().unwrap_or_else(PoisonError::into_inner);
        SubmitError::TooMuchText { retry_after: returns.next(key, 1, TEXT_PACE, Instant::now()) }
    }

    /// Publishes a new state. `Draining` and `Failed` are final.
    pub(super) fn set_state(&self, new: EngineState) {
        self.state.send_if_modified(|state| {
            let is_final = matches!(state, EngineState::Draining | EngineState::Failed(_));
            let changes = !is_final && *state != new;
            if changes {
                *state = new;
            }
            changes
        });
    }

    /// Draws an id that no sequence of this process had before.
    pub(super) fn next_sequence(&self) -> u64 {
        self.next_sequence.fetch_add(1, Ordering::Relaxed)
    }
}

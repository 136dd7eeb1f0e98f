//! What the disk tier (`engine/disk`) asks of the scheduler: to save more, to take in what was read, and what is parked.

use super::{
    ParkedContent, Scheduler,
    in_flight::InFlight,
    kv::{COPIED_PER_OWN, PARKED_PER_OWN},
};
use crate::engine::runner::{Parked, Step};

impl Scheduler {
    /// Saves a free slot's content that host memory lacks: a step without rows, to be executed and completed like any. `None`
    /// if there is none, or some sequence is live. Of what continues a saved content a quarter must be new, so that
    /// a growing one is not written again and again; `at_last`, when nothing comes any more, a sixteenth.
    pub fn park_idle(&mut self, at_last: bool) -> Option<Step> {
        if !self.sequences.is_empty() {
            return None;
        }
        self.cache.park_next(if at_last { COPIED_PER_OWN } else { PARKED_PER_OWN });
        let moved_bytes = self.cache.moved_bytes();
        let kv = self.cache.take_ops();
        if kv.is_empty() {
            return None;
        }
        self.in_flight = Some(InFlight { moved_bytes, ..InFlight::default() });
        Some(Step { kv, rows: Vec::new() })
    }

    /// Takes what an earlier engine parked as parked here, if the runner takes its state under that number. `None` if not, or it
    /// does not fit, or is there already, or is no content.
    pub fn adopt(&mut self, content: ParkedContent, take: impl FnOnce(Parked) -> bool) -> Option<Parked> {
        self.cache.host.adopt(content, self.limits.max_model_len, take)
    }

    /// What is parked under a number, if it still is.
    #[must_use]
    pub fn parked(&self, parked: Parked) -> Option<ParkedContent> {
        self.cache.host.content(parked)
    }
}

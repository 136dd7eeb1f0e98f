//! The scheduler's side of the disk tier (`engine/disk`): saving idle slots, taking in contents that were read, naming
//! parked ones.

use super::{
    ParkedContent, Scheduler,
    in_flight::StepInFlight,
    kv::{COPIED_PER_OWN, PARKED_PER_OWN},
};
use crate::engine::runner::{Parked, Step};

impl Scheduler {
    /// Saves a free slot's content that host memory lacks: a step without rows, to be executed and completed like any.
    /// `None` if there is none, or some sequence is live. A quarter of a content that continues a saved one must be
    /// new, so that a growing one is not written again and again; a sixteenth if `at_last`, when no more work comes.
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
        self.in_flight = Some(StepInFlight { moved_bytes, ..StepInFlight::default() });
        Some(Step { kv, rows: Vec::new() })
    }

    /// Adds a content that an earlier engine parked, if the runner takes its state under the number that `take` gets.
    /// `None` if not, or if it does not fit, is there already, or is no content.
    pub fn adopt(&mut self, content: ParkedContent, take: impl FnOnce(Parked) -> bool) -> Option<Parked> {
        self.cache.host.adopt(content, self.limits.max_model_len, take)
    }

    /// The content that is parked under a number, if it still is.
    #[must_use]
    pub fn parked(&self, parked: Parked) -> Option<ParkedContent> {
        self.cache.host.content(parked)
    }
}

//! The scheduler's side of the disk tier (`engine/disk`): it saves idle slots, takes in contents that were read, and
//! gives the tokens of parked ones.

use super::{
    ParkedContent, Scheduler,
    in_flight::StepInFlight,
    kv::{COPIED_PER_OWN, PARKED_PER_OWN},
};
use crate::engine::runner::{Parked, Step};

impl Scheduler {
    /// Saves a free slot's content that host memory lacks, by a step without rows, which must be executed and completed
    /// like any. `None` if there is no such content, or a sequence is live. At least a quarter of a content that
    /// continues a saved one must be new, so that a growing one is not written again and again; a sixteenth if
    /// `at_last`, when no more work comes.
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
    /// `None` if the runner does not, or if the content does not fit, is there already, or is invalid.
    pub fn adopt(&mut self, content: ParkedContent, take: impl FnOnce(Parked) -> bool) -> Option<Parked> {
        self.cache.host.adopt(content, self.limits.max_model_len, take)
    }

    /// The content that is parked under a number, if it is still there.
    #[must_use]
    pub fn parked(&self, parked: Parked) -> Option<ParkedContent> {
        self.cache.host.content(parked)
    }
}

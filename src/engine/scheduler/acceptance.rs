//! The rate of right drafts, and the pauses without drafts.
//!
//! Owned twice: by each sequence for its own drafts, and by the scheduler over all sequences, as the assumption for a
//! sequence that has had no drafts yet. `drafts` decides which drafts are made.

/// The share of drafted tokens that are assumed to be right, before any were judged.
pub(super) const FIRST_RATE: f64 = 0.6;
/// The weight of the rate over all sequences in the rate of one, in judged tokens.
const PRIOR_WEIGHT: f64 = 2.0;
/// Factor of the earlier counts when a draft is judged.
const FADE: f64 = 0.9;
/// Factor of the counts when drafts pause: the text may be of another kind after the pause.
const FADE_IN_PAUSE: f64 = 0.3;
/// Length of the first pause and of the longest, steps.
const FIRST_PAUSE: u32 = 16;
const LONGEST_PAUSE: u32 = 512;

/// The counts of right and judged draft tokens, and the pause that drafts are in.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Acceptance {
    accepted: f64,
    judged: f64,
    /// Remaining steps of the pause.
    paused: u32,
    /// Length of the next pause, steps.
    next_pause: u32,
    /// True from the start of a pause: the first draft after it is made to learn from it, whatever the rate promises.
    pub(super) on_trial: bool,
}

impl Default for Acceptance {
    fn default() -> Self {
        Self { accepted: 0.0, judged: 0.0, paused: 0, next_pause: FIRST_PAUSE, on_trial: false }
    }
}

impl Acceptance {
    /// The probability that a draft's next token is right if all before it were, between 0 and 1. `usual` is the rate
    /// over all sequences.
    pub(super) fn rate(&self, usual: f64) -> f64 {
        ((self.accepted + PRIOR_WEIGHT * usual) / (self.judged + PRIOR_WEIGHT)).clamp(0.01, 0.99)
    }

    /// Learns that the first `accepted` of a draft's `drafted` tokens were right. The tokens after the first wrong one
    /// prove nothing.
    pub(super) fn observe(&mut self, accepted: u32, drafted: u32) {
        self.accepted = FADE * self.accepted + f64::from(accepted);
        self.judged = FADE * self.judged + f64::from(drafted.min(accepted + 1));
        // In a pause, a draft is judged that was made before it.
        if self.paused == 0 && std::mem::take(&mut self.on_trial) && accepted == drafted {
            self.next_pause = FIRST_PAUSE;
        }
    }

    /// Pauses drafts, because they do not pay; each pause is longer than the last.
    pub(super) fn pause(&mut self) {
        self.accepted *= FADE_IN_PAUSE;
        self.judged *= FADE_IN_PAUSE;
        self.paused = self.next_pause;
        self.next_pause = (2 * self.next_pause).min(LONGEST_PAUSE);
        self.on_trial = true;
    }

    /// Counts a step. Returns true if the step is part of a pause.
    pub(super) fn pass_step(&mut self) -> bool {
        let pauses = self.paused > 0;
        self.paused = self.paused.saturating_sub(1);
        pauses
    }
}

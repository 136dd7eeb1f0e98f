//! How often drafts are right, and when they pause.
//!
//! Owned twice: by each sequence for its own drafts, and by the scheduler over all sequences, which is the assumption
//! for a sequence that has had none yet. Which drafts are made is decided in `drafts`.

/// The assumed share of drafted tokens that are right, before any were judged.
pub(super) const FIRST_RATE: f64 = 0.6;
/// The weight of the rate over all sequences in the rate of one, in judged tokens of its own.
const PRIOR_WEIGHT: f64 = 2.0;
/// Factor of the earlier counts when a draft is judged.
const FADE: f64 = 0.9;
/// Factor of the counts when drafts pause: the text may be of another kind afterwards.
const FADE_IN_PAUSE: f64 = 0.3;
/// Steps of the first pause, and of the longest.
const FIRST_PAUSE: u32 = 16;
const LONGEST_PAUSE: u32 = 512;

/// How often drafts are right, and whether they are made at present.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Acceptance {
    accepted: f64,
    judged: f64,
    /// Steps to go without drafts.
    paused: u32,
    /// Steps of the next pause.
    next_pause: u32,
    /// The next draft is made to measure it, whatever it promises.
    pub(super) on_trial: bool,
}

impl Default for Acceptance {
    fn default() -> Self {
        Self { accepted: 0.0, judged: 0.0, paused: 0, next_pause: FIRST_PAUSE, on_trial: false }
    }
}

impl Acceptance {
    /// The chance that a draft's next token is right if all before it were, 0–1 exclusive. `usual` is the rate over all
    /// sequences.
    pub(super) fn rate(&self, usual: f64) -> f64 {
        ((self.accepted + PRIOR_WEIGHT * usual) / (self.judged + PRIOR_WEIGHT)).clamp(0.01, 0.99)
    }

    /// Of a draft's `drafted` tokens the first `accepted` were right; those after the first wrong one prove nothing.
    pub(super) fn observe(&mut self, accepted: u32, drafted: u32) {
        self.accepted = FADE * self.accepted + f64::from(accepted);
        self.judged = FADE * self.judged + f64::from(drafted.min(accepted + 1));
        if std::mem::take(&mut self.on_trial) && accepted == drafted {
            self.next_pause = FIRST_PAUSE;
        }
    }

    /// Drafts do not pay: none are made for a while, longer each time.
    pub(super) fn pause(&mut self) {
        self.accepted *= FADE_IN_PAUSE;
        self.judged *= FADE_IN_PAUSE;
        self.paused = self.next_pause;
        self.next_pause = (2 * self.next_pause).min(LONGEST_PAUSE);
        self.on_trial = true;
    }

    /// Counts a step, and whether it is part of a pause.
    pub(super) fn pass_step(&mut self) -> bool {
        let pauses = self.paused > 0;
        self.paused = self.paused.saturating_sub(1);
        pauses
    }
}

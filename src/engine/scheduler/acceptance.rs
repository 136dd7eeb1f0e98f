//! How often drafts come true, and when they pause.
//!
//! Owned twice: by each sequence for its own drafts, and by the scheduler over all sequences, as what is assumed of a sequence that
//! has had none yet. Which drafts are made is decided in `drafts`.

/// What is assumed of drafts before any were judged, in tokens that came true of those that were judged.
pub(super) const FIRST_RATE: f64 = 0.6;
/// How many judged tokens of its own outweigh, in a sequence's rate, what drafts of other sequences were worth.
const PRIOR_WEIGHT: f64 = 2.0;
/// What remains of earlier judgements when a draft is judged.
const FADE: f64 = 0.9;
/// What remains of them when drafts pause: the text may be another by then.
const FADE_IN_PAUSE: f64 = 0.3;
/// Steps of the first pause, and of the longest.
const FIRST_PAUSE: u32 = 16;
const LONGEST_PAUSE: u32 = 512;

/// How often drafts come true, and whether they are made at present.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Acceptance {
    accepted: f64,
    judged: f64,
    /// Steps to go without drafts.
    paused: u32,
    /// Steps of the next pause.
    next_pause: u32,
    /// The next draft is made to learn from, whatever it promises.
    pub(super) on_trial: bool,
}

impl Default for Acceptance {
    fn default() -> Self {
        Self { accepted: 0.0, judged: 0.0, paused: 0, next_pause: FIRST_PAUSE, on_trial: false }
    }
}

impl Acceptance {
    /// The chance that a draft's next token comes true after all before it did, 0–1 exclusive.
    pub(super) fn rate(&self, usual: f64) -> f64 {
        ((self.accepted + PRIOR_WEIGHT * usual) / (self.judged + PRIOR_WEIGHT)).clamp(0.01, 0.99)
    }

    /// Of a draft's `drafted` tokens the first `accepted` came true; those after the first wrong one prove nothing.
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

//! Decides which work may have ended an engine, and which work the next engine may compute at the same time.
//!
//! ```text
//! Held ─── sent ───▶ Waiting ─ the engine begins ─▶ Touched ─ a few steps later ─▶ Proved ─▶ finished
//!  ▲                    └────────────────┴──────── the engine dies ───┴── judge() ────┐
//!  └─────────────────── again, unless it may have caused two deaths ◀─────────────────┘
//! ```
//!
//! Plain data without a clock. After a death, the work that was in progress is suspected. A [`Gate`] lets one suspect
//! at a time into the engine, beside nothing else, until that suspect has proved itself; the work of the dead engine
//! comes first, the oldest of it first. So the next death has one possible cause, and a content that ends engines as
//! soon as they begin with it is found at the second death, however much other work there is. A kill from outside
//! proves less: an operator may have killed the engine, or the kernel for memory that other processes took.

use super::{
    death::DeathCause,
    fingerprint::Fingerprint,
    quarantine::{DeathVerdict, QUARANTINE, Quarantine},
};
use std::collections::BTreeSet;
use tokio::time::Instant;

/// Reports with tokens after which a sequence has proved itself. With the first one or two of them the engine has only
/// reached the point at which its predecessor died.
const PROOF: u32 = 4;
/// The same for a sequence that was in [`LATE`] deaths of unknown cause: something ends engines later than [`PROOF`]
/// reports.
const LATE_PROOF: u32 = 64;
/// Deaths of unknown cause after which [`LATE_PROOF`] holds.
const LATE: u32 = 2;
/// Deaths of unknown cause after which work that was computed in all of them is given up, so that there is an end.
const MAX_UNDECIDED: u32 = 4;

/// Progress of an engine with a piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// No engine has the work.
    Held,
    /// The engine has the work and, as far as the gateway has heard, has done nothing with it.
    Waiting,
    /// The same for work under a constraint, which the engine compiles at once. The work may wait for a slot for long
    /// after that.
    Compiling,
    /// The engine works on it: tokenizes, compiles, computes the prompt or the first tokens.
    Touched,
    /// The work has gone on for so long that it does not end an engine right away.
    Proved,
}

/// The facts about a piece of work that decide its fate when an engine dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Work {
    pub(super) content: Fingerprint,
    pub(super) stage: Stage,
    /// Deaths of unknown cause that this work may have caused. Counted anew once it was in no death for [`QUARANTINE`].
    undecided: u32,
    /// Time of the last death of an engine that had this work.
    last_death: Option<Instant>,
    /// True if an engine that died had this work.
    is_replay: bool,
    /// Reports with tokens of this work by the present engine.
    reports: u32,
}

/// The decision on a piece of work whose engine died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// The next engine gets the work, or the death did not concern it.
    Again,
    /// Engines died of the work: no other engine gets it.
    Refused,
    /// The work was computed in many engines that died of unknown causes.
    GivenUp,
}

impl Work {
    /// Creates a piece of work that no engine has.
    pub(super) fn new(content: Fingerprint) -> Self {
        Self { content, stage: Stage::Held, undecided: 0, last_death: None, is_replay: false, reports: 0 }
    }

    /// True if the engine has the work.
    pub(super) fn is_sent(&self) -> bool {
        self.stage != Stage::Held
    }

    /// Records that the engine begins with the work, if it had not begun.
    pub(super) fn begin(&mut self) {
        if matches!(self.stage, Stage::Waiting | Stage::Compiling) {
            self.stage = Stage::Touched;
        }
    }

    /// Records that the engine generated tokens of the work.
    pub(super) fn on_tokens(&mut self) {
        self.begin();
        self.reports += 1;
        let proof = if self.undecided < LATE { PROOF } else { LATE_PROOF };
        if self.stage == Stage::Touched && self.reports >= proof {
            self.stage = Stage::Proved;
        }
    }

    /// Records that the engine died, and returns what happens to the work.
    pub(super) fn on_death(&mut self, after: &Aftermath<'_>) -> Fate {
        let had_it = self.is_sent();
        (self.stage, self.reports) = (Stage::Held, 0);
        self.is_replay |= had_it;
        if self.last_death.is_some_and(|last| after.now >= last + QUARANTINE) {
            self.undecided = 0;
        }
        if had_it {
            self.last_death = Some(after.now);
        }
        if after.quarantine.is_refused(self.content, after.now) {
            return Fate::Refused;
        }
        self.undecided += u32::from(had_it && after.verdict.blamed.is_none() && after.verdict.causes.contains(&self.content));
        if self.undecided >= MAX_UNDECIDED { Fate::GivenUp } else { Fate::Again }
    }
}

/// The facts about the death of an engine by which [`Fate`]s are decided.
#[derive(Debug, Clone, Copy)]
pub(super) struct Aftermath<'a> {
    /// The cause of the death, worded for clients.
    pub(super) reason: &'a str,
    /// The judgement, which the quarantine has recorded already.
    pub(super) verdict: &'a DeathVerdict,
    pub(super) quarantine: &'a Quarantine,
    pub(super) now: Instant,
}

/// Judges which of `works` may have ended the engine that had them and died of `cause`.
///
/// 1. Work that was in progress and had not proved itself may be the cause; work that had proved itself is a bystander.
/// 2. If there is no such work, work that had proved itself may be the cause. It is not blamed if other work waited,
///    because the engine's report that it began with waiting work may be lost.
/// 3. If there is no such work either, waiting work may be the cause.
pub(super) fn judge(works: impl IntoIterator<Item = Work>, cause: DeathCause) -> DeathVerdict {
    let works: Vec<Work> = works.into_iter().filter(Work::is_sent).collect();
    let of = |stages: &[Stage]| works.iter().filter(|work| stages.contains(&work.stage)).map(|work| work.content).collect();
    let touched: BTreeSet<Fingerprint> = of(&[Stage::Compiling, Stage::Touched]);
    let proved: BTreeSet<Fingerprint> = of(&[Stage::Proved]);
    let all: BTreeSet<Fingerprint> = works.iter().map(|work| work.content).collect();
    let only = |contents: &BTreeSet<Fingerprint>| contents.first().copied().filter(|_| contents.len() == 1);
    let (is_alone, blamed) = (all.len() == 1, only(if touched.is_empty() { &all } else { &touched }));
    let (causes, bystanders) = match (touched.is_empty(), proved.is_empty()) {
        (false, _) => (touched.clone(), proved.difference(&touched).copied().collect()),
        (true, false) => (proved, BTreeSet::new()),
        (true, true) => (all, BTreeSet::new()),
    };
    DeathVerdict { causes, bystanders, blamed, is_alone, is_kill: cause.is_from_outside() }
}

/// Decides which work may be sent to the present engine. Made anew for each round of sending. A round has turns: in
/// each turn [`Gate::admits`] is asked about all held work, in order of arrival; [`Gate::next_turn`] begins the next
/// turn.
///
/// The gate is closed only while a suspect is in the engine or can be sent now: a suspect that waits for a slot holds
/// up nobody.
#[derive(Debug)]
pub(super) struct Gate<'a> {
    quarantine: &'a Quarantine,
    now: Instant,
    state: GateState,
    owes_others: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GateState {
    /// No suspect is in the engine or can be sent now: all other work is let in.
    Open,
    /// A suspect can be sent, and everything in the engine has proved itself.
    Free(GateTurn),
    /// Nothing is let in before everything in the engine has proved itself.
    Closed,
}

/// The kind of work that is let in during a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GateTurn {
    /// One suspect that a dead engine had: its stream may have begun already.
    Lost,
    /// All work that is no suspect. This turn comes only after a suspect was preferred, so that a client who sends one
    /// suspect after the other cannot keep the gate to itself.
    Others,
    /// One suspect of any kind.
    Suspects,
}

impl<'a> Gate<'a> {
    /// Makes a gate for an engine that has `works`, or can be sent them now. `owes_others` is [`Self::owes_others`] of
    /// the last gate.
    pub(super) fn new(works: impl FnOnce() -> Vec<Work>, quarantine: &'a Quarantine, now: Instant, owes_others: bool) -> Self {
        let works = if quarantine.is_empty() { Vec::new() } else { works() };
        let suspected = |work: &&Work| work.stage != Stage::Proved && needs_care(quarantine, **work, now);
        // Work that waits for a slot of the engine harms nobody yet; but a suspect that waits is about to get a slot.
        let is_unproved = |work: &Work| match work.stage {
            Stage::Touched => true,
            Stage::Waiting | Stage::Compiling => suspected(&work),
            Stage::Held | Stage::Proved => false,
        };
        let state = if !works.iter().any(|work| suspected(&work)) {
            GateState::Open
        } else if works.iter().any(is_unproved) {
            GateState::Closed
        } else {
            GateState::Free(GateTurn::Lost)
        };
        Self { quarantine, now, state, owes_others }
    }

    /// True if all work but suspects is sent as it comes.
    pub(super) fn is_open(&self) -> bool {
        self.state == GateState::Open
    }

    /// True if work that is no suspect has a turn before the next suspect.
    pub(super) fn owes_others(&self) -> bool {
        self.owes_others
    }

    /// True if `work` is a suspect, to be sent only with care.
    pub(super) fn suspects(&self, work: Work) -> bool {
        needs_care(self.quarantine, work, self.now)
    }

    /// Begins the next turn of this round; false if the round is over.
    pub(super) fn next_turn(&mut self) -> bool {
        self.state = match self.state {
            GateState::Free(GateTurn::Lost) if self.owes_others => GateState::Free(GateTurn::Others),
            GateState::Free(GateTurn::Lost) => GateState::Free(GateTurn::Suspects),
            // There was no work but suspects.
            GateState::Free(GateTurn::Others) if self.owes_others => GateState::Free(GateTurn::Suspects),
            GateState::Open | GateState::Closed | GateState::Free(GateTurn::Others | GateTurn::Suspects) => return false,
        };
        true
    }

    /// True if the engine may get `work` now. The caller must then send it.
    pub(super) fn admits(&mut self, work: Work) -> bool {
        let is_suspected = self.suspects(work);
        match self.state {
            GateState::Open => !is_suspected,
            GateState::Closed => false,
            GateState::Free(GateTurn::Lost) => self.admits_one(is_suspected && work.is_replay),
            GateState::Free(GateTurn::Others) => {
                self.owes_others &= is_suspected;
                !is_suspected
            }
            GateState::Free(GateTurn::Suspects) => {
                self.owes_others |= is_suspected;
                self.admits_one(is_suspected)
            }
        }
    }

    /// Closes the gate if the work `is_let_in`, and returns `is_let_in`.
    fn admits_one(&mut self, is_let_in: bool) -> bool {
        if is_let_in {
            self.state = GateState::Closed;
        }
        is_let_in
    }
}

/// True if `work` is a suspect. Work that a dead engine had remains one until it has proved itself, even if a copy of
/// it has: otherwise it would begin beside new work and make that a possible cause of the next death.
fn needs_care(quarantine: &Quarantine, work: Work, now: Instant) -> bool {
    quarantine.is_suspected(work.content, now) || (work.is_replay && quarantine.is_remembered(work.content, now))
}

#[cfg(test)]
mod tests;

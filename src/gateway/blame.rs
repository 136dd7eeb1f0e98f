//! Decides which work may have ended an engine, and which work the next one may get at the same time.
//!
//! ```text
//! Held ─ handed out ─▶ Waiting ─ the engine begins ─▶ Touched ─ a few steps later ─▶ Proved ─▶ finished
//!  ▲                      └────────────────┴──────── the engine dies ───┴── judge() ──┐
//!  └────────────────────────── again, if it is not the second death of its own ◀──────┘
//! ```
//!
//! Plain data without a clock. After a death the work that was in progress is suspected; a [`Gate`] lets one suspect at
//! a time into the engine, beside nothing else, until it has proved itself: first the work of the dead engine, the
//! oldest first. So the next death has one possible cause, and a content that ends engines as soon as they begin with
//! it is found with the second one, however much else is there. A kill from outside proves less: the operator may have
//! killed it, or the kernel for the memory that others took.

use super::{
    death::DeathCause,
    fingerprint::Fingerprint,
    quarantine::{DeathVerdict, QUARANTINE, Quarantine},
};
use std::collections::BTreeSet;
use tokio::time::Instant;

/// Reports with tokens after which a sequence has proved itself. The engine computes a sequence up to where it died
/// with the first one or two.
const PROOF: u32 = 4;
/// The same for one that was in [`LATE`] deaths of which nobody knows
/// the cause: something ends engines later than that.
const LATE_PROOF: u32 = 64;
/// See [`LATE_PROOF`].
const LATE: u32 = 2;
/// Deaths without a known cause after which work that was computed in all of them is given up, so that there is an end.
const MAX_UNDECIDED: u32 = 4;

/// Progress of an engine with a piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// No engine has it.
    Held,
    /// The engine has it and, as far as we heard, has done nothing with it.
    Waiting,
    /// The same for one under a constraint, which the engine compiles
    /// at once. It may wait for a slot for long after that.
    Compiling,
    /// The engine works on it: tokenizes, compiles, computes the prompt or the first tokens.
    Touched,
    /// It has gone on for so long that it does not end an engine right away.
    Proved,
}

/// A piece of work as far as deaths concern it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Work {
    pub(super) content: Fingerprint,
    pub(super) stage: Stage,
    /// Deaths without a known cause in which it may have been the cause,
    /// since the last time that it was in none for [`QUARANTINE`].
    undecided: u32,
    /// Moment of the last death of an engine that had it.
    last_death: Option<Instant>,
    /// True if an engine that died had it.
    is_replay: bool,
    /// Reports with tokens by the present engine.
    reports: u32,
}

/// The next step for a piece of work whose engine died.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// The next engine gets it, or it was not concerned.
    Again,
    /// Engines died of it: no other one gets it.
    Refused,
    /// It was computed in many engines that died of unknown causes.
    GivenUp,
}

impl Work {
    /// Work that no engine has.
    pub(super) fn new(content: Fingerprint) -> Self {
        Self { content, stage: Stage::Held, undecided: 0, last_death: None, is_replay: false, reports: 0 }
    }

    /// True if the engine has it.
    pub(super) fn is_sent(&self) -> bool {
        self.stage != Stage::Held
    }

    /// The engine begins with it, if it had not.
    pub(super) fn begin(&mut self) {
        if matches!(self.stage, Stage::Waiting | Stage::Compiling) {
            self.stage = Stage::Touched;
        }
    }

    /// The engine generated tokens of it.
    pub(super) fn on_tokens(&mut self) {
        self.begin();
        self.reports += 1;
        let proof = if self.undecided < LATE { PROOF } else { LATE_PROOF };
        if self.stage == Stage::Touched && self.reports >= proof {
            self.stage = Stage::Proved;
        }
    }

    /// Its engine is gone.
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

/// The facts after the death of an engine by which [`Fate`]s are decided.
#[derive(Debug, Clone, Copy)]
pub(super) struct Aftermath<'a> {
    /// The cause of the death, for clients.
    pub(super) reason: &'a str,
    /// The judgement, which is in the quarantine already.
    pub(super) verdict: &'a DeathVerdict,
    pub(super) quarantine: &'a Quarantine,
    pub(super) now: Instant,
}

/// Finds out who may have ended an engine that had this work and died of `cause`.
///
/// 1. Work that was in progress and had not proved itself may be the cause; work that had is a bystander.
/// 2. If there is none of that, work that had proved itself may be the cause. It is not blamed if anything waited,
///    because the engine's word that it began with that may be lost.
/// 3. If there is none of that either, waiting work may be the cause.
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

/// Decides which work the present engine may be handed. Made anew for each round of
/// handing out: in each turn of it [`Gate::admits`] is asked for all that is held,
/// in the order in which it came, and [`Gate::next_turn`] begins the next one.
///
/// It is closed only while a suspect is in the engine or can be handed
/// out now: one that waits for a slot holds up nobody.
#[derive(Debug)]
pub(super) struct Gate<'a> {
    quarantine: &'a Quarantine,
    now: Instant,
    state: GateState,
    owes_others: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GateState {
    /// There is no suspect to be careful with: everything else is let in.
    Open,
    /// A suspect can be handed out, and everything in the engine has proved itself.
    Free(GateTurn),
    /// Nothing is let in before everything in the engine has proved itself.
    Closed,
}

/// The kind of work that has its turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GateTurn {
    /// One suspect that an engine lost: these streams have begun.
    Lost,
    /// All that is no suspect. Only after another suspect had a turn, so that no client who sends one again and again
    /// keeps the gate.
    Others,
    /// One suspect.
    Suspects,
}

impl<'a> Gate<'a> {
    /// A gate for an engine that has `works`, or can be handed them
    /// now. It `owes_others` a turn if the last one said so.
    pub(super) fn new(works: impl FnOnce() -> Vec<Work>, quarantine: &'a Quarantine, now: Instant, owes_others: bool) -> Self {
        let works = if quarantine.is_empty() { Vec::new() } else { works() };
        let suspected = |work: &&Work| work.stage != Stage::Proved && needs_care(quarantine, **work, now);
        // Work that waits for a slot of the engine harms nobody yet; a suspect that waits is about to get one.
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

    /// True if everything but suspects is handed out as it comes.
    pub(super) fn is_open(&self) -> bool {
        self.state == GateState::Open
    }

    /// True if the others are to have a turn before the next suspect.
    pub(super) fn owes_others(&self) -> bool {
        self.owes_others
    }

    /// True if this is handed out with care only.
    pub(super) fn suspects(&self, work: Work) -> bool {
        needs_care(self.quarantine, work, self.now)
    }

    /// Begins the next turn of this round, if there is one.
    pub(super) fn next_turn(&mut self) -> bool {
        self.state = match self.state {
            GateState::Free(GateTurn::Lost) if self.owes_others => GateState::Free(GateTurn::Others),
            GateState::Free(GateTurn::Lost) => GateState::Free(GateTurn::Suspects),
            // None was there.
            GateState::Free(GateTurn::Others) if self.owes_others => GateState::Free(GateTurn::Suspects),
            GateState::Open | GateState::Closed | GateState::Free(GateTurn::Others | GateTurn::Suspects) => return false,
        };
        true
    }

    /// True if the engine may get this now. It must then be handed out.
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

    /// Closes the gate after one that is let in.
    fn admits_one(&mut self, is_let_in: bool) -> bool {
        if is_let_in {
            self.state = GateState::Closed;
        }
        is_let_in
    }
}

/// True if work is a suspect. Work that an engine lost stays one until it has proved itself, even if a copy of it has:
/// else it would begin beside others that are new, and be a cause of their deaths.
fn needs_care(quarantine: &Quarantine, work: Work, now: Instant) -> bool {
    quarantine.is_suspected(work.content, now) || (work.is_replay && quarantine.is_remembered(work.content, now))
}

#[cfg(test)]
mod tests;

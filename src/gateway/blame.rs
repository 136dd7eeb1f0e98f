//! Decides which work may have ended an engine, and which work the next one may get at the same time.
//!
//! ```text
//! Held ─ handed out ─▶ Waiting ─ the engine begins ─▶ Touched ─ a few steps later ─▶ Proved ─▶ finished
//!  ▲                      └────────────────┴──────── the engine dies ───┴── judge() ──┐
//!  └────────────────────────── again, if it is not the second death of its own ◀──────┘
//! ```
//!
//! Plain data without a clock. After a death what was being worked on is suspected; while there are suspects a [`Gate`] lets one
//! content at a time into the engine until it has proved itself, suspects first, the oldest of them first. So the next death has
//! one possible cause, and a content that ends engines as soon as they begin with it is found with the second one, however much
//! else is there. A kill from outside proves less: the operator may have killed it, or the kernel for the memory that others took.

use super::{death::DeathCause, fingerprint::Fingerprint, quarantine::Quarantine};
use std::collections::BTreeSet;
use tokio::time::Instant;

/// Reports with tokens after which a sequence has proved itself. The engine computes a sequence up to where it died with the first
/// one or two.
const PROOF: u32 = 4;
/// The same for one that was in [`LATE`] deaths of which nobody knows the cause: something ends engines later than that.
const LATE_PROOF: u32 = 64;
/// See [`LATE_PROOF`].
const LATE: u32 = 2;
/// Deaths without a known cause after which what was computed in all of them is given up, so that there is an end.
const MAX_UNDECIDED: u32 = 4;

/// Progress of an engine with a piece of work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// No engine has it.
    Held,
    /// The engine has it and, as far as we heard, has done nothing with it.
    Waiting,
    /// The engine works on it: tokenizes, compiles, computes the prompt or the first tokens.
    Touched,
    /// It has gone on for so long that it is not what ends an engine right away.
    Proved,
}

/// A piece of work as far as deaths concern it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Work {
    pub(super) content: Fingerprint,
    pub(super) stage: Stage,
    /// Deaths without a known cause in which it may have been the cause.
    undecided: u32,
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
    /// It was computed in many engines that died, and nobody knows of what.
    GivenUp,
}

impl Work {
    /// Work that no engine has.
    pub(super) fn new(content: Fingerprint) -> Self {
        Self { content, stage: Stage::Held, undecided: 0, reports: 0 }
    }

    /// Whether the engine has it.
    pub(super) fn is_sent(&self) -> bool {
        self.stage != Stage::Held
    }

    /// The engine begins with it, if it had not.
    pub(super) fn begin(&mut self) {
        if self.stage == Stage::Waiting {
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
        self.stage = Stage::Held;
        self.reports = 0;
        if after.quarantine.is_refused(self.content, after.now) {
            return Fate::Refused;
        }
        self.undecided += u32::from(had_it && after.verdict.blamed.is_none() && after.verdict.causes.contains(&self.content));
        if self.undecided >= MAX_UNDECIDED { Fate::GivenUp } else { Fate::Again }
    }
}

/// The judgement on the death of an engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// Contents that may have been the cause.
    pub(super) causes: BTreeSet<Fingerprint>,
    /// Contents that the engine had besides and had gone on with for a while: they may end an engine late.
    pub(super) bystanders: BTreeSet<Fingerprint>,
    /// The only content that can have been the cause, as far as we know.
    pub(super) blamed: Option<Fingerprint>,
    /// Whether the engine had no other content.
    pub(super) is_alone: bool,
    /// Whether the engine was killed from outside, so that all of them may be innocent.
    pub(super) is_kill: bool,
}

/// The facts after the death of an engine by which [`Fate`]s are decided.
#[derive(Debug, Clone, Copy)]
pub(super) struct Aftermath<'a> {
    /// Of what it died, for clients.
    pub(super) reason: &'a str,
    /// The judgement, which is in the quarantine already.
    pub(super) verdict: &'a Verdict,
    pub(super) quarantine: &'a Quarantine,
    pub(super) now: Instant,
}

/// Finds out who may have ended an engine that had this work and died of `cause`.
///
/// 1. What it worked on and had not proved itself may be the cause, and what had is a bystander.
/// 2. If there is none of that, what had proved itself may be the cause. It is not blamed if anything waited, because the engine's
///    word that it began may be lost with it.
/// 3. If there is none of that either, what waited may be the cause.
pub(super) fn judge(works: impl IntoIterator<Item = Work>, cause: DeathCause) -> Verdict {
    let works: Vec<Work> = works.into_iter().filter(Work::is_sent).collect();
    let of = |stage| works.iter().filter(move |work| work.stage == stage).map(|work| work.content).collect();
    let (touched, proved): (BTreeSet<Fingerprint>, BTreeSet<Fingerprint>) = (of(Stage::Touched), of(Stage::Proved));
    let all: BTreeSet<Fingerprint> = works.iter().map(|work| work.content).collect();
    let only = |contents: &BTreeSet<Fingerprint>| contents.first().copied().filter(|_| contents.len() == 1);
    let (is_alone, blamed) = (all.len() == 1, only(if touched.is_empty() { &all } else { &touched }));
    let (causes, bystanders) = match (touched.is_empty(), proved.is_empty()) {
        (false, _) => (touched.clone(), proved.difference(&touched).copied().collect()),
        (true, false) => (proved, BTreeSet::new()),
        (true, true) => (all, BTreeSet::new()),
    };
    Verdict { causes, bystanders, blamed, is_alone, is_kill: cause.is_from_outside() }
}

/// Decides what the present engine may be handed. Made anew for each round of handing out: [`Gate::admits`] is asked for all that is
/// held, in the order in which it came, first for suspects, then, after [`Gate::turn_to_others`], for the rest.
#[derive(Debug)]
pub(super) struct Gate<'a> {
    quarantine: &'a Quarantine,
    now: Instant,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nobody is suspected.
    Open,
    /// One content at a time, and nothing has not proved itself in the engine.
    Free { suspects_only: bool },
    /// One content at a time: this one.
    Taken(Fingerprint),
    /// One content at a time, and several have not proved themselves yet: they came before there was a suspect.
    Closed,
}

impl<'a> Gate<'a> {
    /// A gate for an engine that has, or is to get, `works`.
    pub(super) fn new(works: impl Iterator<Item = Work> + Clone, quarantine: &'a Quarantine, now: Instant) -> Self {
        let suspected = |work: &Work| work.stage != Stage::Proved && quarantine.is_suspected(work.content, now);
        let state = if quarantine.is_empty() || !works.clone().any(|work| suspected(&work)) {
            State::Open
        } else {
            // Work that waits for a slot of the engine harms nobody yet; a suspect that waits is about to get one.
            let unproved = works.filter(|work| work.stage == Stage::Touched || (work.stage == Stage::Waiting && suspected(work)));
            let mut contents = unproved.map(|work| work.content);
            match contents.next() {
                None => State::Free { suspects_only: true },
                Some(first) if contents.all(|content| content == first) => State::Taken(first),
                Some(_) => State::Closed,
            }
        };
        Self { quarantine, now, state }
    }

    /// Whether everything is handed out as it comes.
    pub(super) fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// From now on what is not suspected is let in too, if no suspect was.
    pub(super) fn turn_to_others(&mut self) {
        if let State::Free { suspects_only } = &mut self.state {
            *suspects_only = false;
        }
    }

    /// Whether the engine may get this now. It must then be handed out.
    pub(super) fn admits(&mut self, content: Fingerprint) -> bool {
        match self.state {
            State::Open => true,
            State::Taken(present) => present == content,
            State::Closed => false,
            State::Free { suspects_only } => {
                let admitted = !suspects_only || self.quarantine.is_suspected(content, self.now);
                if admitted {
                    self.state = State::Taken(content);
                }
                admitted
            }
        }
    }
}

#[cfg(test)]
mod tests;

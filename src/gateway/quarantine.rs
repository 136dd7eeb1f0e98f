//! Remembers the contents that engines had when they died. A content is suspected after one death and refused after the
//! second, or after the third kill from outside.
//!
//! A plain table; time is an argument. Owned by the run loop. A content is forgotten after [`QUARANTINE`], and a
//! suspected one as soon as work with it has finished well. At most [`MAX_CONTENTS`] are remembered.
//!
//! A content is refused after a death that only it can have caused, if it may have caused an earlier one as well. A
//! content that had gone on for long in the engine that died first gets another try, unless it was alone in the second.
//! Kills from outside are counted apart from these deaths: they refuse a content after [`MAX_KILLS`] of which only it
//! can have been the cause, so that a content for which the kernel has no memory has an end too.

use super::fingerprint::Fingerprint;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};
use tokio::time::Instant;

/// Time for which a content is remembered after the last death that involved it.
pub(super) const QUARANTINE: Duration = Duration::from_secs(600);

/// Maximum number of remembered contents, 24 bytes each. Every refused one has cost two engines.
const MAX_CONTENTS: usize = 4096;

/// Kills from outside after which a content is refused, each of an engine in which nothing else can have been the
/// cause.
const MAX_KILLS: u32 = 3;

/// The judgement on the death of an engine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct DeathVerdict {
    /// Contents that may have been the cause.
    pub(super) causes: BTreeSet<Fingerprint>,
    /// Contents that the engine had besides the causes and had gone on with for a while: they may end an engine late.
    pub(super) bystanders: BTreeSet<Fingerprint>,
    /// The only content that can have been the cause, as far as is known.
    pub(super) blamed: Option<Fingerprint>,
    /// True if the engine had no other content.
    pub(super) is_alone: bool,
    /// True if the engine was killed from outside, so that all contents may be innocent.
    pub(super) is_kill: bool,
}

/// The part that a content had in the death of an engine, least suspicious first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Suspicion {
    /// An engine that had the content was killed from outside.
    Killed,
    /// An engine that had gone on with the content for long died while it began with another one.
    Bystander,
    /// An engine may have died of the content.
    Cause,
    /// Two engines died of the content, or too many that had it were killed.
    Refused,
}

/// The record of one content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ContentRecord {
    until: Instant,
    suspicion: Suspicion,
    /// Kills from outside of which only this content can have been the cause.
    kills: u32,
    /// True if the content has gone on for a while in an engine since: it is remembered for the next death, but needs
    /// no care now.
    is_proved: bool,
}

/// The contents that engines had when they died.
#[derive(Debug, Default)]
pub(super) struct Quarantine {
    contents: BTreeMap<Fingerprint, ContentRecord>,
}

impl Quarantine {
    /// True if nothing is remembered.
    pub(super) fn is_empty(&self) -> bool {
        self.contents.is_empty()
    }

    /// True if engines died of `content`, so that no other engine gets it.
    pub(super) fn is_refused(&self, content: Fingerprint, now: Instant) -> bool {
        self.contents.get(&content).is_some_and(|record| record.suspicion == Suspicion::Refused && now < record.until)
    }

    /// True if an engine that had `content` died, so that the next try needs care.
    pub(super) fn is_suspected(&self, content: Fingerprint, now: Instant) -> bool {
        self.is_remembered(content, now) && self.contents.get(&content).is_some_and(|record| !record.is_proved)
    }

    /// Forgets contents whose time is over.
    pub(super) fn purge(&mut self, now: Instant) {
        self.contents.retain(|_, record| now < record.until);
    }

    /// Records that work with this content has gone on for a while in an engine: the content is remembered, but is no
    /// suspect until the next death.
    pub(super) fn on_proof(&mut self, content: Fingerprint) {
        if let Some(record) = self.contents.get_mut(&content) {
            record.is_proved = true;
        }
    }

    /// True if an engine that had `content` died, even if the content has proved itself since.
    pub(super) fn is_remembered(&self, content: Fingerprint, now: Instant) -> bool {
        self.contents.get(&content).is_some_and(|record| record.suspicion < Suspicion::Refused && now < record.until)
    }

    /// Records a death. True if it makes a content refused that was not refused before.
    pub(super) fn on_death(&mut self, verdict: &DeathVerdict, now: Instant) -> bool {
        let until = now + QUARANTINE;
        self.purge(now);
        let convicted = verdict.blamed.filter(|content| self.convicts(verdict, content));
        let (cause, bystander) =
            if verdict.is_kill { (Suspicion::Killed, Suspicion::Killed) } else { (Suspicion::Cause, Suspicion::Bystander) };
        let causes = verdict.causes.iter().map(|content| (*content, cause));
        let others = verdict.bystanders.iter().map(|content| (*content, bystander));
        for (content, suspicion) in causes.chain(others).chain(convicted.map(|content| (content, Suspicion::Refused))) {
            let record = self.contents.entry(content).or_insert(ContentRecord { until, suspicion, kills: 0, is_proved: false });
            *record = ContentRecord { until, suspicion: record.suspicion.max(suspicion), is_proved: false, ..*record };
        }
        if let Some(record) = verdict.blamed.filter(|_| verdict.is_kill).and_then(|content| self.contents.get_mut(&content)) {
            record.kills += 1;
        }
        self.shrink();
        convicted.is_some()
    }

    /// True if this death, of which only `content` can have been the cause, is one too many.
    fn convicts(&self, verdict: &DeathVerdict, content: &Fingerprint) -> bool {
        match self.contents.get(content) {
            Some(ContentRecord { suspicion: Suspicion::Refused, .. }) | None => false,
            Some(record) if verdict.is_kill => record.kills + 1 >= MAX_KILLS,
            Some(ContentRecord { suspicion: Suspicion::Cause, .. }) => true,
            Some(ContentRecord { suspicion: Suspicion::Bystander, .. }) => verdict.is_alone,
            Some(ContentRecord { suspicion: Suspicion::Killed, .. }) => false,
        }
    }

    /// Records that work with this content has finished well.
    pub(super) fn acquit(&mut self, content: Fingerprint) {
        if self.contents.get(&content).is_some_and(|record| record.suspicion < Suspicion::Refused) {
            self.contents.remove(&content);
        }
    }

    /// Forgets the oldest suspected contents, then the oldest refused ones, until the number is within the limit.
    fn shrink(&mut self) {
        let excess = self.contents.len().saturating_sub(MAX_CONTENTS);
        if excess > 0 {
            let mut oldest: Vec<_> = self.contents.iter().map(|(content, record)| (record.suspicion, record.until, *content)).collect();
            oldest.sort_unstable();
            for (_, _, content) in &oldest[..excess] {
                self.contents.remove(content);
            }
        }
    }
}

/// Logs the refusal of work: its kind, its number if it has one, and the fingerprint of its content, but nothing of the
/// content itself.
pub(super) fn log_refusal(kind: &str, id: Option<u64>, content: Fingerprint) {
    tracing::warn!(kind, id, %content, "refused, because engines died of the same content");
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A death that one of `causes` caused, with `bystanders`.
    fn verdict(causes: &[u64], bystanders: &[u64]) -> DeathVerdict {
        let set = |contents: &[u64]| contents.iter().copied().map(Fingerprint).collect();
        let blamed = causes.first().copied().filter(|_| causes.len() == 1).map(Fingerprint);
        let is_alone = causes.len() == 1 && bystanders.is_empty();
        DeathVerdict { causes: set(causes), bystanders: set(bystanders), blamed, is_alone, is_kill: false }
    }

    fn kill(causes: &[u64], bystanders: &[u64]) -> DeathVerdict {
        DeathVerdict { is_kill: true, ..verdict(causes, bystanders) }
    }

    #[test]
    fn a_content_is_suspected_after_one_death_and_refused_after_a_second_that_is_its_own() {
        let (mut quarantine, now) = (Quarantine::default(), Instant::now());

        assert!(!quarantine.on_death(&verdict(&[1, 2], &[]), now));
        assert!(quarantine.is_suspected(Fingerprint(1), now) && quarantine.is_suspected(Fingerprint(2), now));
        assert!(!quarantine.on_death(&verdict(&[1, 2], &[]), now), "nobody knows whose death it was");
        assert!(quarantine.on_death(&verdict(&[1], &[2]), now));

        assert!(quarantine.is_refused(Fingerprint(1), now) && !quarantine.is_suspected(Fingerprint(1), now));
        assert!(quarantine.is_suspected(Fingerprint(2), now) && !quarantine.is_refused(Fingerprint(2), now));
    }

    #[test]
    fn a_bystander_is_refused_after_a_second_death_only_if_it_was_alone_there() {
        let (mut quarantine, now) = (Quarantine::default(), Instant::now());
        quarantine.on_death(&verdict(&[9], &[1, 2]), now);

        assert!(quarantine.on_death(&verdict(&[1], &[]), now));
        assert!(!quarantine.on_death(&verdict(&[2], &[3]), now), "it may have been the other one, late");
        assert!(quarantine.on_death(&verdict(&[2], &[3]), now));

        assert!([1, 2].map(|content| quarantine.is_refused(Fingerprint(content), now)) == [true; 2]);
        assert!(quarantine.is_suspected(Fingerprint(3), now));
    }

    #[test]
    fn a_death_of_its_own_is_a_suspicion_only_if_it_is_the_first() {
        let (mut quarantine, now) = (Quarantine::default(), Instant::now());

        assert!(!quarantine.on_death(&verdict(&[1], &[]), now));

        assert!(quarantine.is_suspected(Fingerprint(1), now));
    }

    #[test]
    fn kills_from_outside_refuse_a_content_with_the_third_that_is_its_own() {
        let (mut quarantine, now) = (Quarantine::default(), Instant::now());
        assert!(!quarantine.on_death(&kill(&[1, 2], &[]), now), "it may have been for the other one");

        assert!(!quarantine.on_death(&kill(&[1], &[]), now));
        assert!(!quarantine.on_death(&kill(&[1], &[2]), now));
        assert!(quarantine.is_suspected(Fingerprint(1), now));
        assert!(quarantine.on_death(&kill(&[1], &[2]), now));

        assert!(quarantine.is_refused(Fingerprint(1), now) && !quarantine.is_refused(Fingerprint(2), now));
    }

    #[test]
    fn a_bystander_is_not_refused_because_an_engine_was_killed_in_which_it_was_alone() {
        let (mut quarantine, now) = (Quarantine::default(), Instant::now());
        quarantine.on_death(&verdict(&[9], &[1]), now);

        assert!(![0, 1].map(|_| quarantine.on_death(&kill(&[1], &[]), now)).contains(&true));
    }

    #[test]
    fn kills_and_other_deaths_are_counted_apart() {
        let (mut quarantine, now) = (Quarantine::default(), Instant::now());

        for death in [kill(&[1], &[]), verdict(&[1], &[]), kill(&[1], &[])] {
            assert!(!quarantine.on_death(&death, now), "{death:?}");
        }
        assert!(quarantine.on_death(&verdict(&[1], &[]), now), "the second of its own that was no kill");
    }

    #[test]
    fn ten_minutes_after_the_last_death_a_content_is_forgotten_and_not_before() {
        let (mut quarantine, now) = (Quarantine::default(), Instant::now());
        quarantine.on_death(&verdict(&[1], &[]), now);
        quarantine.on_death(&verdict(&[1], &[]), now);
        let almost = now + QUARANTINE - Duration::from_millis(1);

        assert!(quarantine.is_refused(Fingerprint(1), almost));
        assert!(!quarantine.is_refused(Fingerprint(1), now + QUARANTINE));
        quarantine.on_death(&verdict(&[], &[]), now + QUARANTINE);
        assert!(quarantine.is_empty());
    }

    #[test]
    fn what_finishes_well_is_no_suspect_any_more_and_what_is_refused_stays_so() {
        let (mut quarantine, now) = (Quarantine::default(), Instant::now());
        quarantine.on_death(&verdict(&[1, 2], &[]), now);
        quarantine.on_death(&verdict(&[2], &[]), now);

        quarantine.acquit(Fingerprint(1));
        quarantine.acquit(Fingerprint(2));

        assert!(!quarantine.is_suspected(Fingerprint(1), now) && quarantine.is_refused(Fingerprint(2), now));
    }

    #[test]
    fn what_has_proved_itself_is_no_suspect_until_the_next_death_and_remembered_for_it() {
        let (mut quarantine, now) = (Quarantine::default(), Instant::now());
        quarantine.on_death(&verdict(&[1, 2], &[]), now);

        quarantine.on_proof(Fingerprint(1));

        assert!(!quarantine.is_suspected(Fingerprint(1), now) && quarantine.is_suspected(Fingerprint(2), now));
        quarantine.on_death(&verdict(&[2, 3], &[1]), now);
        assert!(quarantine.is_suspected(Fingerprint(1), now));
        quarantine.on_proof(Fingerprint(1));
        assert!(quarantine.on_death(&verdict(&[1], &[]), now));
        quarantine.on_proof(Fingerprint(1));
        assert!(quarantine.is_refused(Fingerprint(1), now), "a refused content stays refused");
    }

    #[test]
    fn old_contents_are_forgotten_without_a_death() {
        let (mut quarantine, now) = (Quarantine::default(), Instant::now());
        quarantine.on_death(&verdict(&[1], &[]), now);

        quarantine.purge(now + QUARANTINE - Duration::from_millis(1));
        assert!(!quarantine.is_empty());
        quarantine.purge(now + QUARANTINE);
        assert!(quarantine.is_empty());
    }

    #[test]
    fn the_table_is_bounded_and_forgets_suspects_before_what_it_refuses() {
        let (mut quarantine, now) = (Quarantine::default(), Instant::now());
        quarantine.on_death(&verdict(&[0], &[]), now);
        quarantine.on_death(&verdict(&[0], &[]), now);
        let all: Vec<u64> = (1..=MAX_CONTENTS as u64).collect();

        quarantine.on_death(&verdict(&all[1..], &[]), now + Duration::from_secs(1));
        assert_eq!(quarantine.contents.len(), MAX_CONTENTS);
        quarantine.on_death(&verdict(&all[..1], &[]), now + Duration::from_secs(2));

        assert_eq!(quarantine.contents.len(), MAX_CONTENTS);
        assert!(quarantine.is_refused(Fingerprint(0), now), "the oldest, and refused");
        assert!(quarantine.is_suspected(Fingerprint(1), now), "the newest");
        assert!(!quarantine.is_suspected(Fingerprint(2), now), "among the oldest suspects");
    }
}

//! Tests of the blame for a death, of the gate, and of both together in a simulated server.

use super::*;
use Stage::{Held, Proved, Touched, Waiting};
use proptest::prelude::*;

/// A death by a fault in the engine itself.
const FAULT: DeathCause = DeathCause::Signal(11);
/// A kill by an operator, or by the kernel.
const KILL: DeathCause = DeathCause::Signal(9);

fn work(content: u64, stage: Stage) -> Work {
    Work { stage, ..Work::new(Fingerprint(content)) }
}

fn set(contents: &[u64]) -> BTreeSet<Fingerprint> {
    contents.iter().copied().map(Fingerprint).collect()
}

/// The verdict on `works`: causes, bystanders, the blamed content, and true if the engine had no other content.
fn judged(works: &[(u64, Stage)]) -> (BTreeSet<Fingerprint>, BTreeSet<Fingerprint>, Option<u64>, bool) {
    let works = works.iter().map(|(content, stage)| work(*content, *stage));
    let DeathVerdict { causes, bystanders, blamed, is_alone, is_kill: _ } = judge(works, FAULT);
    (causes, bystanders, blamed.map(|Fingerprint(content)| content), is_alone)
}

#[test]
fn what_had_not_proved_itself_is_the_cause_and_what_had_stood_by() {
    let mixed = [(1, Proved), (2, Touched), (3, Waiting), (4, Held)];

    assert_eq!(judged(&mixed), (set(&[2]), set(&[1]), Some(2), false));
    assert_eq!(judged(&[(1, Touched), (2, Touched), (3, Proved)]), (set(&[1, 2]), set(&[3]), None, false));
}

#[test]
fn without_anything_new_what_went_on_may_be_the_cause_but_is_not_blamed_beside_what_waited() {
    assert_eq!(judged(&[(1, Proved), (2, Proved)]), (set(&[1, 2]), set(&[]), None, false));
    assert_eq!(judged(&[(1, Proved)]), (set(&[1]), set(&[]), Some(1), true));
    assert_eq!(judged(&[(1, Proved), (2, Waiting)]), (set(&[1]), set(&[]), None, false));
    assert_eq!(judged(&[(1, Waiting), (2, Waiting)]), (set(&[1, 2]), set(&[]), None, false));
    assert_eq!(judged(&[(1, Held)]), (set(&[]), set(&[]), None, false));
}

#[test]
fn several_works_of_one_content_are_one_cause() {
    assert_eq!(judged(&[(1, Touched), (1, Touched), (1, Proved)]), (set(&[1]), set(&[]), Some(1), true));
}

#[test]
fn four_reports_with_tokens_are_a_proof_and_three_are_not() {
    let mut work = work(1, Waiting);
    work.begin();
    (0..3).for_each(|_| work.on_tokens());

    assert_eq!(work.stage, Touched);
    work.on_tokens();
    assert_eq!(work.stage, Proved);
}

/// A quarantine that remembers these contents as causes of a death.
fn suspecting(contents: &[u64]) -> Quarantine {
    let mut quarantine = Quarantine::default();
    quarantine.on_death(&DeathVerdict { causes: set(contents), ..DeathVerdict::default() }, Instant::now());
    quarantine
}

/// Contents of the held works that are let in, in one round.
fn let_in(works: &[(u64, Stage)], quarantine: &Quarantine) -> Vec<u64> {
    let works: Vec<Work> = works.iter().map(|(content, stage)| work(*content, *stage)).collect();
    let_in_of(&works, quarantine, false).0
}

/// The same where `owes_others` may be set; also returns it as it is after the round.
fn let_in_of(works: &[Work], quarantine: &Quarantine, owes_others: bool) -> (Vec<u64>, bool) {
    let mut gate = Gate::new(|| works.to_vec(), quarantine, Instant::now(), owes_others);
    let mut admitted = vec![false; works.len()];
    loop {
        for (work, is_admitted) in works.iter().zip(&mut admitted).filter(|(work, _)| work.stage == Held) {
            *is_admitted = *is_admitted || gate.admits(*work);
        }
        if !gate.next_turn() {
            let contents = works.iter().zip(admitted).filter(|(_, is_admitted)| *is_admitted);
            return (contents.map(|(work, _)| work.content.0).collect(), gate.owes_others());
        }
    }
}

#[test]
fn without_a_suspect_everything_is_let_in() {
    assert_eq!(let_in(&[(1, Held), (2, Touched), (3, Held)], &suspecting(&[])), [1, 3]);
    assert_eq!(let_in(&[(1, Held), (2, Touched), (3, Held)], &suspecting(&[9])), [1, 3], "the suspect is not here");
    assert_eq!(let_in(&[(1, Held), (2, Proved)], &suspecting(&[2])), [1], "the suspect has proved itself");
}

#[test]
fn suspects_go_first_and_one_at_a_time() {
    let quarantine = suspecting(&[2, 3]);

    assert_eq!(let_in(&[(1, Held), (2, Held), (3, Held)], &quarantine), [2]);
    assert_eq!(let_in(&[(1, Held), (2, Waiting), (3, Held)], &quarantine), [0; 0]);
    assert_eq!(let_in(&[(1, Held), (2, Touched), (3, Held)], &quarantine), [0; 0]);
    assert_eq!(let_in(&[(1, Held), (2, Proved), (3, Held)], &quarantine), [3]);
    assert_eq!(let_in(&[(1, Held), (2, Proved), (3, Proved)], &quarantine), [1]);
}

#[test]
fn a_suspect_waits_for_what_began_before_it_came() {
    let quarantine = suspecting(&[2]);

    assert_eq!(let_in(&[(1, Touched), (2, Held), (3, Touched), (4, Held)], &quarantine), [0; 0]);
    assert_eq!(let_in(&[(1, Proved), (2, Held), (3, Waiting), (4, Held)], &quarantine), [2]);
}

#[test]
fn copies_of_a_suspect_wait_for_the_first() {
    assert_eq!(let_in(&[(2, Held), (2, Held), (1, Held)], &suspecting(&[2])), [2]);
    assert_eq!(let_in(&[(2, Touched), (2, Held), (1, Held)], &suspecting(&[2])), [0; 0]);
}

#[test]
fn a_suspicion_ends_for_copies_too_when_one_has_proved_itself() {
    let mut quarantine = suspecting(&[2]);

    quarantine.on_proof(Fingerprint(2));

    assert_eq!(let_in(&[(2, Proved), (2, Held), (2, Held), (1, Held)], &quarantine), [2, 2, 1]);
}

#[test]
fn a_copy_that_an_engine_lost_proves_itself_too_before_others_begin() {
    let mut quarantine = suspecting(&[2]);
    quarantine.on_proof(Fingerprint(2));
    let lost = Work { is_replay: true, ..work(2, Held) };

    assert_eq!(let_in_of(&[work(2, Proved), work(1, Held), lost], &quarantine, false), (vec![2], false));
}

#[test]
fn after_the_turn_of_a_suspect_all_others_have_one() {
    let quarantine = suspecting(&[2]);
    let [first, second, suspect] = [(1, Held), (3, Held), (2, Held)].map(|(content, stage)| work(content, stage));

    assert_eq!(let_in_of(&[suspect, first, second], &quarantine, false), (vec![2], true));
    assert_eq!(let_in_of(&[suspect, first, second], &quarantine, true), (vec![1, 3], false));
    assert_eq!(let_in_of(&[suspect], &quarantine, true), (vec![2], true), "nobody else is there");
}

#[test]
fn what_an_engine_lost_goes_before_others_in_any_case() {
    let lost = Work { is_replay: true, ..work(2, Held) };

    assert_eq!(let_in_of(&[work(1, Held), lost], &suspecting(&[2]), true), (vec![2], true));
}

#[test]
fn a_constraint_that_may_be_compiled_is_a_cause_and_holds_up_no_suspect_while_it_waits_for_a_slot() {
    assert_eq!(judged(&[(1, Stage::Compiling), (2, Proved)]), (set(&[1]), set(&[2]), Some(1), false));
    assert_eq!(let_in(&[(1, Stage::Compiling), (2, Held)], &suspecting(&[2])), [2]);
    assert_eq!(let_in(&[(2, Stage::Compiling), (1, Held)], &suspecting(&[2])), [0; 0]);
}

#[test]
fn deaths_without_a_known_cause_count_no_more_after_ten_minutes_without_any() {
    let verdict = DeathVerdict { causes: set(&[1, 2]), ..DeathVerdict::default() };
    let (quarantine, start) = (Quarantine::default(), Instant::now());
    let second = std::time::Duration::from_secs(1);
    for (pause, fate) in [(second, Fate::GivenUp), (QUARANTINE - second, Fate::GivenUp), (QUARANTINE, Fate::Again)] {
        let mut work = work(1, Held);
        let mut die = |now| {
            work.stage = Proved;
            work.on_death(&Aftermath { reason: "x", verdict: &verdict, quarantine: &quarantine, now })
        };

        assert_eq!([start; 3].map(&mut die), [Fate::Again; 3]);

        assert_eq!(die(start + pause), fate, "{pause:?}");
    }
}

// === A simulated server ===

/// The effect of a content on engines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nature {
    /// No effect; the work ends after this many tokens.
    Good(u32),
    /// Ends an engine that begins with it.
    EndsAtOnce,
    /// Ends an engine that computes this token of the content.
    EndsAt(u32),
    /// The kernel kills an engine that begins with the content, for the memory that it takes.
    Killed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Finished,
    Refused,
    GivenUp,
}

#[derive(Debug)]
struct Played {
    work: Work,
    nature: Nature,
    tokens: u32,
    end: Option<End>,
}

/// The works that came, the quarantine, and the number of deaths that each content caused.
#[derive(Debug, Default)]
struct Server {
    works: Vec<Played>,
    quarantine: Quarantine,
    owes_others: bool,
    deaths: std::collections::BTreeMap<u64, u32>,
}

impl Server {
    fn come(&mut self, content: u64, nature: Nature, now: Instant) {
        let work = Work::new(Fingerprint(content));
        let end = self.quarantine.is_refused(work.content, now).then_some(End::Refused);
        self.works.push(Played { work, nature, tokens: 0, end });
    }

    fn live(&mut self) -> impl Iterator<Item = &mut Played> {
        self.works.iter_mut().filter(|played| played.end.is_none())
    }

    fn hand_out(&mut self, now: Instant) {
        let live = || self.works.iter().filter(|played| played.end.is_none()).map(|played| played.work).collect();
        let mut gate = Gate::new(live, &self.quarantine, now, self.owes_others);
        loop {
            for played in self.works.iter_mut().filter(|played| played.end.is_none() && !played.work.is_sent()) {
                if gate.admits(played.work) {
                    played.work.stage = Waiting;
                }
            }
            if !gate.next_turn() {
                break;
            }
        }
        self.owes_others = gate.owes_others();
    }

    /// Computes one step of the engine. A content may end the engine; if `is_killed`, it is killed from outside in
    /// mid-step.
    fn step(&mut self, now: Instant, is_killed: bool) {
        let mut culprit = None;
        self.live().filter(|played| played.work.is_sent()).for_each(|played| played.work.begin());
        if is_killed {
            return self.die(KILL, now);
        }
        for played in self.live().filter(|played| played.work.is_sent()) {
            let dies = match played.nature {
                Nature::EndsAtOnce | Nature::Killed => true,
                Nature::EndsAt(token) => played.tokens + 1 == token,
                Nature::Good(_) => false,
            };
            if dies {
                culprit = Some((played.work.content, if played.nature == Nature::Killed { KILL } else { FAULT }));
                break;
            }
        }
        let Some((Fingerprint(culprit), cause)) = culprit else { return self.tokens() };
        *self.deaths.entry(culprit).or_default() += 1;
        self.die(cause, now);
    }

    fn die(&mut self, cause: DeathCause, now: Instant) {
        let verdict = judge(self.live().map(|played| played.work), cause);
        self.quarantine.on_death(&verdict, now);
        let Self { works, quarantine, .. } = self;
        let after = Aftermath { reason: "x", verdict: &verdict, quarantine, now };
        for played in works.iter_mut().filter(|played| played.end.is_none()) {
            played.end = match played.work.on_death(&after) {
                Fate::Again => None,
                Fate::Refused => Some(End::Refused),
                Fate::GivenUp => Some(End::GivenUp),
            };
        }
    }

    fn tokens(&mut self) {
        let Self { works, quarantine, .. } = self;
        for played in works.iter_mut().filter(|played| played.end.is_none() && played.work.is_sent()) {
            played.tokens += 1;
            played.work.on_tokens();
            if played.work.stage == Proved {
                quarantine.on_proof(played.work.content);
            }
            if matches!(played.nature, Nature::Good(length) if played.tokens >= length) {
                played.end = Some(End::Finished);
                quarantine.acquit(played.work.content);
            }
        }
    }
}

/// Plays arrivals of (steps since the arrival before, content, effect). Bad arrivals with the same number are one
/// content.
fn play(arrivals: &[(u32, u64, Nature)]) -> Server {
    play_with_kills(arrivals, &[])
}

/// The same, with kills from outside in the steps `kills`.
fn play_with_kills(arrivals: &[(u32, u64, Nature)], kills: &[u32]) -> Server {
    let (mut server, now) = (Server::default(), Instant::now());
    let mut coming = arrivals.iter().peekable();
    let (mut since, mut steps) = (0, 0);
    while coming.peek().is_some() || server.live().next().is_some() {
        while coming.peek().is_some_and(|(after, ..)| since >= *after) {
            let Some((_, content, nature)) = coming.next() else { break };
            server.come(*content, *nature, now);
            since = 0;
        }
        server.hand_out(now);
        server.step(now, kills.contains(&steps));
        since += 1;
        steps += 1;
        assert!(steps < 100_000, "it never ends: {server:?}");
    }
    server
}

fn good() -> impl Strategy<Value = Nature> {
    (1_u32..60).prop_map(Nature::Good)
}

/// Good contents, all different, and bad contents, some of which come several times.
fn arrivals(bad: impl Strategy<Value = Nature> + 'static) -> impl Strategy<Value = Vec<(u32, u64, Nature)>> {
    let good = (0_u32..12, good()).prop_map(|(after, nature)| (after, None, nature));
    let bad = (0_u32..12, bad, 0_u64..4).prop_map(|(after, nature, content)| (after, Some(content), nature));
    prop::collection::vec(prop_oneof![good, bad], 1..24).prop_map(|arrivals| {
        let mut natures = std::collections::BTreeMap::new();
        let number = |(index, (after, content, nature)): (usize, (u32, Option<u64>, Nature))| match content {
            None => (after, 1000 + index as u64, nature),
            Some(content) => (after, content, *natures.entry(content).or_insert(nature)),
        };
        arrivals.into_iter().enumerate().map(number).collect()
    })
}

proptest! {
    /// A content that ends engines at once ends two of them and is
    /// refused, however often it comes; everything else finishes.
    #[test]
    fn what_ends_engines_at_once_costs_two_of_them_and_nobody_else_anything(arrivals in arrivals(Just(Nature::EndsAtOnce))) {
        let server = play(&arrivals);

        for played in &server.works {
            let expected = if played.nature == Nature::EndsAtOnce { End::Refused } else { End::Finished };
            prop_assert_eq!(played.end, Some(expected), "{:?}", played);
        }
        prop_assert!(server.deaths.values().all(|deaths| *deaths <= 2), "{:?}", server.deaths);
    }

    /// A content that ends engines at a later token ends at most three, and other work is not affected.
    #[test]
    fn what_ends_engines_at_a_token_costs_three_of_them_and_nobody_else_anything(
        goods in prop::collection::vec((0_u32..12, good()), 1..24), bad in (0_u32..12, 1_u32..40), at in any::<prop::sample::Index>(),
    ) {
        let mut arrivals: Vec<_> = (1000..).zip(&goods).map(|(content, (after, nature))| (*after, content, *nature)).collect();
        arrivals.insert(at.index(arrivals.len() + 1), (bad.0, 99, Nature::EndsAt(bad.1)));
        let server = play(&arrivals);

        for played in &server.works {
            let expected = if matches!(played.nature, Nature::Good(_)) { End::Finished } else { End::Refused };
            prop_assert_eq!(played.end, Some(expected), "{:?}", played);
        }
        prop_assert!(server.deaths.values().all(|deaths| *deaths <= 3), "{:?}", server.deaths);
    }

    /// Two kills from outside, whenever they happen, make no innocent refused, and a content that ends engines ends no
    /// more of them than it would without the kills.
    #[test]
    fn up_to_two_kills_from_outside_refuse_no_innocent(
        arrivals in arrivals(Just(Nature::EndsAtOnce)), kills in prop::collection::vec(0_u32..300, 1..3),
    ) {
        let server = play_with_kills(&arrivals, &kills);

        let innocent = |played: &&Played| matches!(played.nature, Nature::Good(_));
        prop_assert!(server.works.iter().filter(innocent).all(|played| played.end != Some(End::Refused)), "{:?}", server.works);
        prop_assert!(server.works.iter().all(|played| innocent(&played) || played.end == Some(End::Refused)), "{:?}", server.works);
        prop_assert!(server.deaths.values().all(|deaths| *deaths <= 2), "{:?}", server.deaths);
    }

    /// Two kills from outside end no work if all contents are innocent.
    #[test]
    fn up_to_two_kills_from_outside_end_no_innocent(
        goods in prop::collection::vec((0_u32..12, 0_u64..6, good()), 1..24), kills in prop::collection::vec(0_u32..300, 1..3),
    ) {
        let server = play_with_kills(&goods, &kills);

        prop_assert!(server.works.iter().all(|played| played.end == Some(End::Finished)), "{:?}", server.works);
    }

    /// A content for which the kernel kills an engine as soon as it begins with it costs at most four engines: one in
    /// which it was beside others, three in which it was alone.
    #[test]
    fn what_engines_are_killed_for_is_refused_in_the_end_and_everything_else_finishes(arrivals in arrivals(Just(Nature::Killed))) {
        let server = play(&arrivals);

        for played in &server.works {
            let expected = if played.nature == Nature::Killed { End::Refused } else { End::Finished };
            prop_assert_eq!(played.end, Some(expected), "{:?}", played);
        }
        prop_assert!(server.deaths.values().all(|deaths| *deaths <= 4), "{:?}", server.deaths);
    }

    /// Any number of contents that end engines at any token: each costs few engines, and everything has an end.
    #[test]
    fn everything_has_an_end(arrivals in arrivals((1_u32..40).prop_map(Nature::EndsAt))) {
        let server = play(&arrivals);

        prop_assert!(server.works.iter().all(|played| played.end.is_some()));
        prop_assert!(server.deaths.values().all(|deaths| *deaths <= 3), "{:?}", server.deaths);
    }
}

#[test]
fn many_bad_contents_one_after_the_other_do_not_end_a_good_one_that_goes_on_beside_them() {
    let bad = (0..200).map(|content| (7, content, Nature::EndsAtOnce));
    let arrivals: Vec<_> = [(0, 1000, Nature::Good(1500)), (0, 1001, Nature::Good(1500))].into_iter().chain(bad).collect();

    let server = play(&arrivals);

    assert_eq!(server.works[..2].iter().map(|played| played.end).collect::<Vec<_>>(), [Some(End::Finished); 2]);
    assert!(server.works[2..].iter().all(|played| played.end == Some(End::Refused)));
    assert!(server.deaths.values().all(|deaths| *deaths <= 2), "{:?}", server.deaths);
}

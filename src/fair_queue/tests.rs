//! The queue after any order of events, and its rules one by one.

use super::*;
use proptest::prelude::*;

/// An event in a queue of few callers.
#[derive(Debug, Clone, Copy)]
enum Event {
    Push(u64),
    /// The n-th caller that has a place gives it back.
    Leave(usize),
    /// The n-th entry that waits is forgotten.
    Forget(usize),
    /// Every entry whose number is a multiple of this is taken out.
    TakeOut(u64),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        6 => (0..4_u64).prop_map(Event::Push),
        4 => (0..16_usize).prop_map(Event::Leave),
        2 => (0..16_usize).prop_map(Event::Forget),
        1 => (2..6_u64).prop_map(Event::TakeOut),
    ];
    prop::collection::vec(event, 0..200)
}

fn shares() -> impl Strategy<Value = Share> {
    prop_oneof![(1..4_usize).prop_map(Share::AtMost), (1..4_usize).prop_map(Share::AtMostBesideOthers)]
}

/// A queue, and a model of its contents. The entries are numbers in the order in which they came.
struct Watched {
    queue: FairQueue<u64>,
    places: usize,
    share: Share,
    pushed: u64,
    /// Callers and their entries, in the order in which they came.
    waiting: Vec<(u64, u64, Ticket)>,
    holders: Vec<u64>,
    /// For each caller that waits and might have a place if one were free: the number of times that each other caller
    /// was served since then, or since the caller was last served.
    passed: BTreeMap<u64, BTreeMap<u64, usize>>,
}

impl Watched {
    fn new(places: usize, share: Share) -> Self {
        let (queue, waiting, holders) = (FairQueue::new(places, share), Vec::new(), Vec::new());
        Self { queue, places, share, pushed: 0, waiting, holders, passed: BTreeMap::new() }
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Push(caller) => {
                let entry = self.pushed;
                self.pushed += 1;
                let ticket = self.queue.push(caller, entry);
                self.waiting.push((caller, entry, ticket));
            }
            Event::Leave(at) if !self.holders.is_empty() => {
                let caller = self.holders.remove(at % self.holders.len());
                self.queue.leave(caller);
            }
            Event::Forget(at) if !self.waiting.is_empty() => {
                let (caller, _, ticket) = self.waiting.remove(at % self.waiting.len());
                self.queue.forget(caller, ticket);
            }
            Event::TakeOut(divisor) => {
                let mut taken = self.queue.take_out(|entry| entry % divisor == 0);
                taken.sort_unstable();
                let due: Vec<u64> = self.waiting.iter().map(|(_, entry, _)| *entry).filter(|entry| entry % divisor == 0).collect();
                assert_eq!(taken, due);
                self.waiting.retain(|(_, entry, _)| entry % divisor != 0);
            }
            Event::Leave(_) | Event::Forget(_) => {}
        }
        self.watch();
        self.take_all();
    }

    fn held(&self, caller: u64) -> usize {
        self.holders.iter().filter(|holder| **holder == caller).count()
    }

    fn waits(&self, caller: u64) -> bool {
        self.waiting.iter().any(|(other, ..)| *other == caller)
    }

    fn others_wait(&self, caller: u64) -> bool {
        self.waiting.iter().any(|(other, ..)| *other != caller)
    }

    fn may_have_one(&self, caller: u64) -> bool {
        match self.share {
            Share::AtMost(share) => self.held(caller) < share,
            Share::AtMostBesideOthers(share) => self.held(caller) < share || !self.others_wait(caller),
        }
    }

    /// Starts the counts of callers that now wait and might have a place, and drops those of the others.
    fn watch(&mut self) {
        for caller in 0..4 {
            if self.waits(caller) && self.may_have_one(caller) {
                self.passed.entry(caller).or_default();
            } else {
                self.passed.remove(&caller);
            }
        }
    }

    fn take_all(&mut self) {
        while let Some((caller, entry)) = self.queue.take() {
            assert!(self.may_have_one(caller), "{caller} has more than its share");
            let first = self.waiting.iter().position(|(other, ..)| *other == caller).expect("only what waits is taken");
            assert_eq!(self.waiting.remove(first).1, entry, "entries of a caller keep their order");
            self.holders.push(caller);
            for (other, passed) in &mut self.passed {
                *passed.entry(caller).or_default() += usize::from(*other != caller);
            }
            self.passed.remove(&caller);
            self.watch();
            for (other, passed) in &self.passed {
                assert!(passed.values().all(|times| *times <= self.places + 1), "{other} was passed over: {passed:?}");
            }
        }
        assert!(self.holders.len() <= self.places);
        let is_idle = self.holders.len() < self.places && self.waiting.iter().any(|(caller, ..)| self.may_have_one(*caller));
        assert!(!is_idle, "a place is free, and somebody waits who may have it");
        assert!((0..4).all(|caller| (self.queue.waiting(caller) > 0) == self.waits(caller)));
    }
}

proptest! {
    #[test]
    fn places_are_shared_and_none_is_free_while_somebody_waits_who_may_have_it(
        places in 1..5_usize, share in shares(), events in events(),
    ) {
        let mut watched = Watched::new(places, share);

        events.into_iter().for_each(|event| watched.apply(event));

        // Each entry that waits is served when those before it leave.
        while !watched.waiting.is_empty() || !watched.holders.is_empty() {
            watched.apply(Event::Leave(0));
        }
        prop_assert!(watched.queue.is_empty() && watched.queue.held.is_empty() && watched.queue.waiting.is_empty());
        prop_assert_eq!(watched.queue.free(), places);
    }
}

fn queue(share: Share, entries: &[(u64, &'static str)]) -> FairQueue<&'static str> {
    let mut queue = FairQueue::new(3, share);
    for (caller, entry) in entries {
        queue.push(*caller, *entry);
    }
    queue
}

#[test]
fn callers_take_turns_and_each_one_s_entries_keep_their_order() {
    let mut queue = queue(Share::AtMost(1), &[(1, "a"), (1, "b"), (1, "c"), (2, "x"), (3, "y")]);

    let mut order = Vec::new();
    while let Some((caller, entry)) = queue.take() {
        order.push(entry);
        queue.leave(caller);
    }

    assert_eq!(order, ["a", "x", "y", "b", "c"]);
}

#[test]
fn a_caller_has_no_more_than_its_share_of_the_places() {
    let mut strict = queue(Share::AtMost(1), &[(1, "a"), (1, "b")]);
    assert_eq!((strict.take(), strict.take()), (Some((1, "a")), None));
    strict.push(2, "x");
    assert_eq!((strict.take(), strict.waiting(1), strict.waiting(2)), (Some((2, "x")), 1, 0));
    strict.leave(1);
    assert_eq!(strict.take(), Some((1, "b")));

    let mut generous = queue(Share::AtMostBesideOthers(1), &[(1, "a"), (1, "b"), (1, "c")]);
    assert_eq!((generous.take(), generous.take()), (Some((1, "a")), Some((1, "b"))));
    generous.push(2, "x");
    assert_eq!((generous.take(), generous.free()), (Some((2, "x")), 0));
}

#[test]
fn an_entry_that_is_taken_out_has_no_turn_and_no_place() {
    let mut queue = queue(Share::AtMost(1), &[(1, "a"), (1, "b"), (2, "a"), (3, "c")]);

    assert_eq!(queue.take_out(|entry| *entry == "a"), ["a", "a"]);

    assert_eq!((queue.take(), queue.take(), queue.take()), (Some((1, "b")), Some((3, "c")), None));
}

#[test]
fn a_queue_that_was_cleared_is_empty_and_its_places_stay_taken() {
    let mut queue = queue(Share::AtMost(1), &[(1, "a"), (2, "b")]);
    let taken = queue.take();

    queue.clear();

    assert_eq!((taken, queue.take(), queue.waiting(2), queue.free()), (Some((1, "a")), None, 0, 2));
}

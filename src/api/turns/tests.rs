//! The line under any order of events, and the waiting for it.

use super::*;
use futures_util::FutureExt as _;
use proptest::prelude::*;

/// An event in a line of few callers.
#[derive(Debug, Clone, Copy)]
enum Event {
    Push(u64),
    /// The n-th of those who have a place gives it back.
    Leave(usize),
    /// The n-th of those who wait goes away.
    Forget(usize),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        3 => (0..4_u64).prop_map(Event::Push),
        2 => (0..16_usize).prop_map(Event::Leave),
        1 => (0..16_usize).prop_map(Event::Forget),
    ];
    prop::collection::vec(event, 0..200)
}

/// A line, and what is known of it from outside: the entries are their tickets.
struct Watched {
    line: Line<u64>,
    places: usize,
    waiting: Vec<(u64, u64)>,
    holders: Vec<u64>,
    /// By caller that waits: how often each other caller was served since it began to wait or was served last.
    passed: BTreeMap<u64, BTreeMap<u64, usize>>,
}

impl Watched {
    fn apply(&mut self, event: Event) {
        match event {
            Event::Push(caller) => {
                let ticket = self.line.next_ticket;
                assert_eq!(self.line.push(caller, ticket), ticket);
                self.waiting.push((caller, ticket));
                self.passed.entry(caller).or_default();
            }
            Event::Leave(at) if !self.holders.is_empty() => {
                let caller = self.holders.remove(at % self.holders.len());
                self.line.leave(caller);
            }
            Event::Forget(at) if !self.waiting.is_empty() => {
                let (caller, ticket) = self.waiting.remove(at % self.waiting.len());
                self.line.forget(caller, ticket);
                self.note_absent(caller);
            }
            Event::Leave(_) | Event::Forget(_) => {}
        }
        self.take_all();
    }

    fn held(&self, caller: u64) -> usize {
        self.holders.iter().filter(|holder| **holder == caller).count()
    }

    fn note_absent(&mut self, caller: u64) {
        if self.waiting.iter().all(|(other, _)| *other != caller) {
            self.passed.remove(&caller);
        }
    }

    fn take_all(&mut self) {
        while let Some((caller, ticket)) = self.line.take() {
            let others_wait = self.waiting.iter().any(|(other, _)| *other != caller);
            assert!(!others_wait || self.held(caller) < self.places.saturating_sub(1).max(1), "{caller} has more than its share");
            let first = self.waiting.iter().find(|(other, _)| *other == caller).copied();
            assert_eq!(first, Some((caller, ticket)), "entries of a caller keep their order, and none is served twice");
            self.waiting.retain(|entry| *entry != (caller, ticket));
            self.holders.push(caller);
            for (other, passed) in &mut self.passed {
                *passed.entry(caller).or_default() += usize::from(*other != caller);
            }
            self.passed.insert(caller, BTreeMap::new());
            self.note_absent(caller);
            for (&other, passed) in &self.passed {
                let is_full = self.held(other) >= self.places.saturating_sub(1).max(1);
                assert!(is_full || passed.values().all(|times| *times <= self.places + 1), "{other} was passed over: {passed:?}");
            }
        }
        assert!(self.holders.len() <= self.places);
        assert!(self.waiting.is_empty() || self.holders.len() == self.places, "a place is free and somebody waits");
    }
}

proptest! {
    #[test]
    fn places_are_shared_and_none_is_free_while_somebody_waits(places in 1..5_usize, events in events()) {
        let (waiting, holders, passed) = (Vec::new(), Vec::new(), BTreeMap::new());
        let mut watched = Watched { line: Line::new(places), places, waiting, holders, passed };

        events.into_iter().for_each(|event| watched.apply(event));

        // Whoever waits is served when those before it leave.
        while !watched.waiting.is_empty() {
            watched.apply(Event::Leave(0));
        }
        while !watched.holders.is_empty() {
            watched.apply(Event::Leave(0));
        }
        prop_assert_eq!((watched.line.free, watched.line.held.len(), watched.line.waiting.len(), watched.line.callers.len()), (places, 0, 0, 0));
    }
}

#[tokio::test]
async fn a_caller_that_comes_later_is_served_before_all_that_another_one_has_brought() {
    let turns = Turns::new(2);
    let taken = [Arc::clone(&turns).wait(1).await, Arc::clone(&turns).wait(1).await];
    let mut many: Vec<_> = (0..1000).map(|_| Box::pin(Arc::clone(&turns).wait(1))).collect();
    assert!(many.iter_mut().all(|wait| wait.now_or_never().is_none()));
    let mut other = Box::pin(Arc::clone(&turns).wait(2));
    assert!((&mut other).now_or_never().is_none());

    let [first, second] = taken;
    drop(first);
    let place = (&mut other).now_or_never();

    assert!(place.is_some());
    assert!(many.iter_mut().all(|wait| wait.now_or_never().is_none()), "one of them has a place, and another caller the other one");
    drop(second);
    assert!(many[0].as_mut().now_or_never().is_some());
}

#[tokio::test]
async fn whoever_goes_away_leaves_the_line_or_gives_its_place_to_the_next() {
    let turns = Turns::new(1);
    let place = Arc::clone(&turns).wait(1).await;
    let mut waits: Vec<_> = (0..3).map(|caller| Box::pin(Arc::clone(&turns).wait(caller))).collect();
    assert!(waits.iter_mut().all(|wait| wait.now_or_never().is_none()));
    let mut last = waits.pop().unwrap();

    // One before it has its turn, the next one has not.
    drop(waits.pop());
    drop(place);
    drop(waits);

    assert!((&mut last).now_or_never().is_some());
    drop(last);
    let line = turns.line();
    assert_eq!((line.free, line.callers.len()), (1, 0));
}

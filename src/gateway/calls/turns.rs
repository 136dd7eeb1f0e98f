//! Decides which call is sent to the engine next: lanes by kind and size, and within a lane one key after the other.
//!
//! A plain table of numbers: it knows neither the questions nor their callers. The oldest call of a key goes first. A
//! call never waits for a call of another lane, so a short text passes long ones; the engine has a thread for each lane
//! of texts.

use crate::protocol::TextSize;
use std::collections::{BTreeMap, VecDeque};

/// Calls of a lane that the engine has at once, if they are short: enough that its threads never wait for the next
/// call.
const MANY: usize = 16;

/// Calls that the same threads of the engine work on, for about the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::gateway) enum Lane {
    /// Texts of one size class.
    Text(TextSize),
    /// Calls that the engine thread answers between two steps.
    Forecast,
    /// Constraints to be compiled.
    Constraint,
}

impl Lane {
    const ALL: [Self; 5] =
        [Self::Text(TextSize::Short), Self::Text(TextSize::Middle), Self::Text(TextSize::Long), Self::Forecast, Self::Constraint];

    /// The lane of a text, or of a list of tokens, of `bytes` bytes.
    pub(in crate::gateway) fn of_text(bytes: usize) -> Self {
        Self::Text(TextSize::of(bytes))
    }

    /// Maximum number of calls of this lane that the engine has at once.
    pub(super) fn places(self) -> usize {
        match self {
            Self::Text(TextSize::Short) | Self::Forecast | Self::Constraint => MANY,
            Self::Text(TextSize::Middle | TextSize::Long) => 1,
        }
    }

    /// Maximum number of these places that one key may have, so that a call of another key finds a place.
    pub(super) fn share(self) -> usize {
        self.places().div_ceil(2)
    }
}

/// The lane and key of a call, which decide when its turn comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CallTicket {
    pub(super) lane: Lane,
    /// The caller's key.
    pub(super) key: u64,
}

/// Calls that wait and calls that the engine has, counted by lane.
#[derive(Debug, Default)]
pub(super) struct CallTurns {
    lanes: BTreeMap<Lane, LaneQueue>,
}

#[derive(Debug, Default)]
struct LaneQueue {
    /// Numbers of waiting calls by key, oldest first; no list is empty.
    waiting: BTreeMap<u64, VecDeque<u64>>,
    /// Number of calls that the engine has, by key; none is zero.
    out: BTreeMap<u64, usize>,
    /// The key that had the last turn in this lane.
    last: u64,
}

impl CallTurns {
    /// Adds a waiting call, after the others of its key.
    pub(super) fn push(&mut self, id: u64, ticket: CallTicket) {
        self.lanes.entry(ticket.lane).or_default().waiting.entry(ticket.key).or_default().push_back(id);
    }

    /// Makes a call that the engine had wait again, before the others of its key.
    pub(super) fn give_back(&mut self, id: u64, ticket: CallTicket) {
        self.done(ticket);
        self.lanes.entry(ticket.lane).or_default().waiting.entry(ticket.key).or_default().push_front(id);
    }

    /// True if a call with this ticket has a place in the engine now.
    pub(super) fn has_place(&self, ticket: CallTicket) -> bool {
        self.lanes.get(&ticket.lane).is_none_or(|queue| queue.has_place(ticket.lane) && queue.has_share(ticket.lane, ticket.key))
    }

    /// Takes the next call that has a place in the engine and is admitted. The call has that place until
    /// [`Self::done`].
    pub(super) fn next(&mut self, mut admits: impl FnMut(u64) -> bool) -> Option<u64> {
        Lane::ALL.iter().find_map(|lane| self.lanes.get_mut(lane)?.next(*lane, &mut admits))
    }

    /// Records that a call with this ticket was answered: its place is free.
    pub(super) fn done(&mut self, ticket: CallTicket) {
        let Some(queue) = self.lanes.get_mut(&ticket.lane) else { return };
        if let Some(out) = queue.out.get_mut(&ticket.key) {
            *out -= 1;
            if *out == 0 {
                queue.out.remove(&ticket.key);
            }
        }
    }

    /// Keeps only those waiting calls for which `wanted` is true.
    pub(super) fn retain(&mut self, mut wanted: impl FnMut(u64) -> bool) {
        for queue in self.lanes.values_mut() {
            queue.waiting.retain(|_, ids| {
                ids.retain(|id| wanted(*id));
                !ids.is_empty()
            });
        }
    }
}

impl LaneQueue {
    fn has_place(&self, lane: Lane) -> bool {
        self.out.values().sum::<usize>() < lane.places()
    }

    fn has_share(&self, lane: Lane, key: u64) -> bool {
        self.out.get(&key).is_none_or(|out| *out < lane.share())
    }

    fn next(&mut self, lane: Lane, admits: &mut impl FnMut(u64) -> bool) -> Option<u64> {
        if !self.has_place(lane) {
            return None;
        }
        let (after, up_to) = (self.waiting.range(self.last.saturating_add(1)..), self.waiting.range(..=self.last));
        let in_turn = after.chain(up_to).filter(|(key, _)| self.has_share(lane, **key));
        let mut found = in_turn.filter_map(|(key, ids)| Some((*key, ids.iter().position(|id| admits(*id))?)));
        let (key, index) = found.next()?;
        let ids = self.waiting.get_mut(&key)?;
        let id = ids.remove(index);
        if ids.is_empty() {
            self.waiting.remove(&key);
        }
        *self.out.entry(key).or_default() += 1;
        self.last = key;
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SHORT: Lane = Lane::Text(TextSize::Short);
    const MIDDLE: Lane = Lane::Text(TextSize::Middle);
    const LONG: Lane = Lane::Text(TextSize::Long);

    fn ticket(key: u64, lane: Lane) -> CallTicket {
        CallTicket { lane, key }
    }

    fn all(turns: &mut CallTurns) -> Vec<u64> {
        std::iter::from_fn(|| turns.next(|_| true)).collect()
    }

    #[test]
    fn the_size_of_a_text_says_its_lane_up_to_the_limit_and_one_byte_past_it() {
        let sizes = [0, TextSize::SHORT_BYTES, TextSize::SHORT_BYTES + 1, TextSize::MIDDLE_BYTES, TextSize::MIDDLE_BYTES + 1];

        assert_eq!(sizes.map(Lane::of_text), [SHORT, SHORT, MIDDLE, MIDDLE, LONG]);
    }

    #[test]
    fn keys_take_turns_and_a_key_s_own_calls_go_in_order() {
        let mut turns = CallTurns::default();
        (0..5).for_each(|id| turns.push(id, ticket(1, SHORT)));
        (5..7).for_each(|id| turns.push(id, ticket(2, SHORT)));
        turns.push(7, ticket(u64::MAX, SHORT));

        assert_eq!(all(&mut turns), [0, 5, 7, 1, 6, 2, 3, 4]);
    }

    #[test]
    fn short_calls_pass_long_ones_of_the_same_key() {
        let mut turns = CallTurns::default();
        (0..12).for_each(|id| turns.push(id, ticket(0, LONG)));
        turns.push(12, ticket(0, MIDDLE));
        turns.push(13, ticket(0, SHORT));

        assert_eq!(all(&mut turns), [13, 12, 0], "one long one is in the engine at a time");
        turns.done(ticket(0, LONG));
        assert_eq!(all(&mut turns), [1]);
    }

    #[test]
    fn a_key_has_half_of_the_places_and_another_one_finds_the_rest() {
        let mut turns = CallTurns::default();
        (0..20).for_each(|id| turns.push(id, ticket(1, Lane::Constraint)));

        assert_eq!(all(&mut turns).len(), Lane::Constraint.share());
        (20..40).for_each(|id| turns.push(id, ticket(2, Lane::Constraint)));
        assert_eq!(all(&mut turns), (20..28).collect::<Vec<u64>>());
        turns.push(40, ticket(3, Lane::Constraint));
        assert_eq!(all(&mut turns), [0; 0], "all places are taken");
        turns.done(ticket(1, Lane::Constraint));
        assert_eq!(all(&mut turns), [40], "after the key that was last");
    }

    #[test]
    fn a_call_has_a_place_if_its_lane_has_one_and_its_key_a_share_left() {
        let mut turns = CallTurns::default();
        let has_place = |turns: &CallTurns| [1, 2].map(|key| turns.has_place(ticket(key, Lane::Constraint)));
        assert_eq!(has_place(&turns), [true, true]);

        (0..8).for_each(|id| turns.push(id, ticket(1, Lane::Constraint)));
        assert_eq!(all(&mut turns).len(), 8);
        assert_eq!(has_place(&turns), [false, true]);
        (8..16).for_each(|id| turns.push(id, ticket(2, Lane::Constraint)));
        assert_eq!(all(&mut turns).len(), 8);
        turns.done(ticket(1, Lane::Constraint));

        assert_eq!(has_place(&turns), [true, false]);
    }

    #[test]
    fn what_is_not_admitted_stays_in_its_place() {
        let mut turns = CallTurns::default();
        (0..4).for_each(|id| turns.push(id, ticket(0, SHORT)));

        assert_eq!(turns.next(|id| id == 2), Some(2));
        assert_eq!(turns.next(|_| false), None);
        assert_eq!(all(&mut turns), [0, 1, 3]);
    }

    #[test]
    fn what_an_engine_lost_goes_first_again() {
        let mut turns = CallTurns::default();
        (0..3).for_each(|id| turns.push(id, ticket(0, LONG)));
        assert_eq!(all(&mut turns), [0]);

        turns.give_back(0, ticket(0, LONG));

        assert_eq!(all(&mut turns), [0]);
    }

    #[test]
    fn what_nobody_wants_any_more_has_no_turn() {
        let mut turns = CallTurns::default();
        (0..4).for_each(|id| turns.push(id, ticket(id % 2, SHORT)));

        turns.retain(|id| id == 3);

        assert_eq!(all(&mut turns), [3]);
    }

    proptest! {
        /// However many calls of one key wait, a call of another key waits for at most one of them after a place is
        /// free.
        #[test]
        fn nobody_waits_for_two_calls_of_another_key(first in 1_usize..60, lane in 0_usize..5, second in 1_usize..8) {
            let lane = Lane::ALL[lane];
            let mut turns = CallTurns::default();
            (0..first as u64).for_each(|id| turns.push(id, ticket(1, lane)));
            let _full = all(&mut turns);
            (0..second as u64).for_each(|id| turns.push(1000 + id, ticket(2, lane)));
            let mut order = all(&mut turns);
            let mut out: Vec<u64> = (0..first.min(lane.share()) as u64).chain(order.clone()).collect();
            while let Some(done) = (!out.is_empty()).then(|| out.remove(0)) {
                turns.done(ticket(if done < 1000 { 1 } else { 2 }, lane));
                let next = all(&mut turns);
                order.extend(&next);
                out.extend(next);
            }

            let last = order.iter().rposition(|id| *id >= 1000).unwrap();
            let of_the_first = order[..last].iter().filter(|id| **id < 1000).count();
            prop_assert!(of_the_first <= second, "{order:?}");
            prop_assert_eq!(order.iter().filter(|id| **id >= 1000).count(), second);
            prop_assert!(order.iter().filter(|id| **id >= 1000).is_sorted());
        }
    }
}

//! A queue for a number of places, in which callers take turns (round robin): no caller waits for all entries of
//! another one, and while others wait no caller gets more than its share of the places. A caller keeps the places that
//! it has already.
//!
//! Uses no clock and no threads. Has no bound of its own: its owner bounds the entries.

use std::collections::{BTreeMap, VecDeque};

/// The number of places that one caller may have at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// At most this many places, also while no other caller waits.
    AtMost(usize),
    /// At most this many places while other callers wait, else all.
    AtMostBesideOthers(usize),
}

/// Identifies an entry. Unique in its queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket(u64);

/// Entries that wait for a place, by caller. A caller is known by a number.
#[derive(Debug)]
pub struct FairQueue<T> {
    /// Callers with entries that wait, in the order of their turns.
    callers: VecDeque<u64>,
    /// The entries of each caller that wait, oldest first; no caller's are empty.
    waiting: BTreeMap<u64, BTreeMap<Ticket, T>>,
    /// The number of places that each caller has; none is zero.
    held: BTreeMap<u64, usize>,
    free: usize,
    share: Share,
    next_ticket: u64,
}

impl<T> FairQueue<T> {
    /// An empty queue; all of `places` are free.
    #[must_use]
    pub fn new(places: usize, share: Share) -> Self {
        let (callers, waiting, held) = (VecDeque::new(), BTreeMap::new(), BTreeMap::new());
        Self { callers, waiting, held, free: places, share, next_ticket: 0 }
    }

    /// Puts an entry after those of its caller.
    pub fn push(&mut self, caller: u64, entry: T) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        let entries = self.waiting.entry(caller).or_default();
        if entries.is_empty() {
            self.callers.push_back(caller);
        }
        entries.insert(ticket, entry);
        ticket
    }

    /// The number of a caller's entries that wait.
    #[must_use]
    pub fn waiting(&self, caller: u64) -> usize {
        self.waiting.get(&caller).map_or(0, BTreeMap::len)
    }

    /// Gives a free place to the first entry of the next caller that may have one. [`Self::leave`] takes the place
    /// back.
    pub fn take(&mut self) -> Option<(u64, T)> {
        if self.free == 0 {
            return None;
        }
        let at = self.callers.iter().position(|caller| self.may_have_one(*caller))?;
        let caller = self.callers.remove(at)?;
        let entries = self.waiting.get_mut(&caller)?;
        let (_, entry) = entries.pop_first()?;
        if entries.is_empty() {
            self.waiting.remove(&caller);
        } else {
            self.callers.push_back(caller);
        }
        self.free -= 1;
        *self.held.entry(caller).or_default() += 1;
        Some((caller, entry))
    }

    fn may_have_one(&self, caller: u64) -> bool {
        let held = self.held.get(&caller).copied().unwrap_or(0);
        match self.share {
            Share::AtMost(share) => held < share,
            Share::AtMostBesideOthers(share) => held < share || self.callers.len() == 1,
        }
    }

    /// Takes back a place of `caller`.
    pub fn leave(&mut self, caller: u64) {
        let Some(held) = self.held.get_mut(&caller) else { return };
        *held -= 1;
        if *held == 0 {
            self.held.remove(&caller);
        }
        self.free += 1;
    }

    /// Takes out an entry that has no place yet, if it still waits.
    pub fn forget(&mut self, caller: u64, ticket: Ticket) {
        let Some(entries) = self.waiting.get_mut(&caller) else { return };
        entries.remove(&ticket);
        if entries.is_empty() {
            self.drop_idle_callers();
        }
    }

    /// Takes out the waiting entries for which `which` returns true, in no order between callers. They get no place.
    pub fn take_out(&mut self, which: impl Fn(&T) -> bool) -> Vec<T> {
        let mut out = Vec::new();
        for entries in self.waiting.values_mut() {
            let (taken, left): (BTreeMap<_, _>, BTreeMap<_, _>) = std::mem::take(entries).into_iter().partition(|(_, entry)| which(entry));
            *entries = left;
            out.extend(taken.into_values());
        }
        self.drop_idle_callers();
        out
    }

    /// Drops all entries that wait. Places stay taken.
    pub fn clear(&mut self) {
        self.callers.clear();
        self.waiting.clear();
    }

    /// Removes callers without entries: they have no turn.
    fn drop_idle_callers(&mut self) {
        self.waiting.retain(|_, entries| !entries.is_empty());
        self.callers.retain(|caller| self.waiting.contains_key(caller));
    }

    /// True if no entry waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.callers.is_empty()
    }

    /// The number of free places.
    #[must_use]
    pub fn free(&self) -> usize {
        self.free
    }
}

#[cfg(test)]
mod tests;

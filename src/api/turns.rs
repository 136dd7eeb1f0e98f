//! Places for work that waits, which callers take in turns: nobody waits for all that another one has brought.
//!
//! [`Line`] is the order, plain and without a clock; [`Turns`] waits for it. Has no bound of its own: who waits here is a request,
//! and connections are bounded.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::oneshot;

/// Entries that wait for a place, by caller.
#[derive(Debug)]
struct Line<T> {
    /// Callers with something that waits, whose turn it is first.
    callers: VecDeque<u64>,
    /// By caller and ticket; none is empty.
    waiting: BTreeMap<u64, BTreeMap<u64, T>>,
    /// Places that callers have; none is zero.
    held: BTreeMap<u64, usize>,
    free: usize,
    /// Places that one caller may have while others wait.
    share: usize,
    next_ticket: u64,
}

impl<T> Line<T> {
    /// Nobody waits, and all of `places` are free.
    fn new(places: usize) -> Self {
        let (callers, waiting, held) = (VecDeque::new(), BTreeMap::new(), BTreeMap::new());
        Self { callers, waiting, held, free: places, share: places.saturating_sub(1).max(1), next_ticket: 0 }
    }

    /// Puts an entry behind those of its caller. Returns its ticket.
    fn push(&mut self, caller: u64, entry: T) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let entries = self.waiting.entry(caller).or_default();
        if entries.is_empty() {
            self.callers.push_back(caller);
        }
        entries.insert(ticket, entry);
        ticket
    }

    /// Gives a free place to the first entry of the next caller that may have one.
    fn take(&mut self) -> Option<(u64, T)> {
        if self.free == 0 {
            return None;
        }
        let alone = self.callers.len() == 1;
        let may_have = |caller: &u64| alone || self.held.get(caller).is_none_or(|held| *held < self.share);
        let at = self.callers.iter().position(may_have)?;
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

    /// Takes a place back.
    fn leave(&mut self, caller: u64) {
        let Some(held) = self.held.get_mut(&caller) else { return };
        *held -= 1;
        if *held == 0 {
            self.held.remove(&caller);
        }
        self.free += 1;
    }

    /// Takes an entry out that has no place yet, if it still waits.
    fn forget(&mut self, caller: u64, ticket: u64) {
        let Some(entries) = self.waiting.get_mut(&caller) else { return };
        entries.remove(&ticket);
        if entries.is_empty() {
            self.waiting.remove(&caller);
            self.callers.retain(|other| *other != caller);
        }
    }
}

/// A number of places, and the line before them.
#[derive(Debug)]
pub(super) struct Turns {
    line: Mutex<Line<oneshot::Sender<Place>>>,
}

impl Turns {
    /// All of `places` are free.
    pub(super) fn new(places: usize) -> Arc<Self> {
        Arc::new(Self { line: Mutex::new(Line::new(places)) })
    }

    /// Waits for a place. Of one caller's places at most all but one are taken while others wait. Dropping the future leaves the line.
    pub(super) async fn wait(self: Arc<Self>, caller: u64) -> Place {
        let (grant, granted) = oneshot::channel();
        let ticket = self.line().push(caller, grant);
        let _entry = Entry { turns: &self, caller, ticket };
        self.hand_out();
        match granted.await {
            Ok(place) => place,
            // The line keeps the sender for as long as the entry is there.
            Err(_) => unreachable!("an entry leaves the line with a place"),
        }
    }

    /// Gives free places to those whose turn it is.
    fn hand_out(self: &Arc<Self>) {
        loop {
            let Some((caller, grant)) = self.line().take() else { return };
            if let Err(mut refused) = grant.send(Place { turns: Some(Arc::clone(self)), caller }) {
                // It is given back here and not by its drop, which would come back to this loop.
                refused.turns = None;
                self.line().leave(caller);
            }
        }
    }

    fn line(&self) -> MutexGuard<'_, Line<oneshot::Sender<Place>>> {
        // Nothing panics while it is held.
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    /// `None` if it has been given back already.
    turns: Option<Arc<Turns>>,
    caller: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(turns) = self.turns.take() {
            turns.line().leave(self.caller);
            turns.hand_out();
        }
    }
}

/// Somebody in the line. Leaves it when dropped.
struct Entry<'a> {
    turns: &'a Arc<Turns>,
    caller: u64,
    ticket: u64,
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.turns.line().forget(self.caller, self.ticket);
        // One that is alone now may have what it could not have beside others.
        self.turns.hand_out();
    }
}

#[cfg(test)]
mod tests;

//! Permits for heavy work, which callers get in turns: no caller waits for all requests of another.
//!
//! [`FairQueue`] decides the order; this module waits. The queue has no bound of its own, because only requests wait in
//! it and connections are bounded.

use crate::fair_queue::{FairQueue, Share, Ticket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// A number of permits, and the queue before them.
#[derive(Debug)]
pub(super) struct Turns {
    queue: Mutex<FairQueue<oneshot::Sender<TurnPermit>>>,
}

impl Turns {
    /// A set of `permits` permits, all of them free.
    pub(super) fn new(permits: usize) -> Arc<Self> {
        let share = Share::AtMostBesideOthers(permits.saturating_sub(1).max(1));
        Arc::new(Self { queue: Mutex::new(FairQueue::new(permits, share)) })
    }

    /// Waits for a permit. While other callers wait, one caller has at most all permits but one. Dropping the future
    /// removes the request from the queue.
    pub(super) async fn wait(self: Arc<Self>, caller: u64) -> TurnPermit {
        let (grant, granted) = oneshot::channel();
        let ticket = self.queue().push(caller, grant);
        let _entry = QueueEntry { turns: &self, caller, ticket };
        self.admit_waiting();
        match granted.await {
            Ok(permit) => permit,
            // The queue keeps the sender for as long as the entry is there.
            Err(_) => unreachable!("an entry leaves the queue with a permit"),
        }
    }

    /// Gives free permits to the requests whose turn it is.
    fn admit_waiting(self: &Arc<Self>) {
        loop {
            let Some((caller, grant)) = self.queue().take() else { return };
            if let Err(mut refused) = grant.send(TurnPermit { turns: Some(Arc::clone(self)), caller }) {
                // The permit is given back here and not by its drop, which would call this function again.
                refused.turns = None;
                self.queue().leave(caller);
            }
        }
    }

    fn queue(&self) -> MutexGuard<'_, FairQueue<oneshot::Sender<TurnPermit>>> {
        // Nothing panics while the lock is held.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A permit, given back when it is dropped.
#[derive(Debug)]
pub(super) struct TurnPermit {
    /// `None` if it has been given back already.
    turns: Option<Arc<Turns>>,
    caller: u64,
}

impl Drop for TurnPermit {
    fn drop(&mut self) {
        if let Some(turns) = self.turns.take() {
            turns.queue().leave(self.caller);
            turns.admit_waiting();
        }
    }
}

/// A request in the queue, which it leaves when this is dropped.
struct QueueEntry<'a> {
    turns: &'a Arc<Turns>,
    caller: u64,
    ticket: Ticket,
}

impl Drop for QueueEntry<'_> {
    fn drop(&mut self) {
        self.turns.queue().forget(self.caller, self.ticket);
        // A caller that is alone now may have the last permit too.
        self.turns.admit_waiting();
    }
}

#[cfg(test)]
mod tests;

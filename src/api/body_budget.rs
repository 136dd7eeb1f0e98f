//! Limits the memory that request bodies may take at once: their bytes while they arrive, and the JSON values read from
//! them.
//!
//! All callers together may take [`TOTAL`] bytes, one caller half of that. A body beyond it is refused at once; no
//! request waits. A request holds its share from before its body is read until it was submitted to the engine
//! ([`release`]) or answered.

use super::error::ApiError;
use std::{
    cell::RefCell,
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

/// The budget of all bodies together, bytes.
const TOTAL: usize = 512 << 20;
/// A body that needs at most this number of bytes is always accepted: all connections together hold at most 256 MiB of
/// such bodies.
const FREE: usize = 64 * 1024;
/// The memory assumed for each JSON mark that begins a value (see [`need`]), bytes: a `serde_json::Value` in a list
/// whose memory has just been doubled. A field of an object has two marks, which cover its name, its value and its
/// entries in the object's tables.
const MARK: usize = 2 * size_of::<serde_json::Value>();
/// `Retry-After` of a refusal: most bodies are read and submitted in less time.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// An estimate of the memory that a body needs until it was read as JSON, bytes: for its bytes, its texts and its
/// values. Commas, colons and brackets inside texts count too, because only a parser could tell them apart.
pub(super) fn need(body: &[u8]) -> usize {
    let marks = body.iter().filter(|byte| matches!(byte, b',' | b':' | b'[' | b'{')).count();
    body.len().saturating_mul(2).saturating_add(marks.saturating_mul(MARK))
}

/// The bytes in use.
#[derive(Debug, Default)]
struct BytesInUse {
    total: usize,
    /// The bytes of each caller that has any.
    by_caller: BTreeMap<u64, usize>,
}

/// The budget that all callers share.
#[derive(Debug)]
pub(super) struct BodyBudget {
    total: usize,
    taken: Mutex<BytesInUse>,
}

impl Default for BodyBudget {
    fn default() -> Self {
        Self::of(TOTAL)
    }
}

impl BodyBudget {
    /// A budget of `total` bytes.
    pub(super) fn of(total: usize) -> Self {
        Self { total, taken: Mutex::default() }
    }

    /// An empty share for a caller's next body; [`BudgetShare::grow`] enlarges it.
    pub(super) fn part(self: &Arc<Self>, caller: u64) -> BudgetShare {
        BudgetShare { budget: Arc::clone(self), caller, bytes: 0 }
    }

    fn taken(&self) -> MutexGuard<'_, BytesInUse> {
        // Nothing panics while the lock is held.
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes `more` bytes for a caller. True if they are within the limits.
    fn take(&self, caller: u64, more: usize) -> bool {
        let mut taken = self.taken();
        let of_caller = taken.by_caller.get(&caller).copied().unwrap_or(0).saturating_add(more);
        let total = taken.total.saturating_add(more);
        if total > self.total || of_caller > self.total / 2 {
            return false;
        }
        taken.total = total;
        taken.by_caller.insert(caller, of_caller);
        true
    }

    fn give_back(&self, caller: u64, bytes: usize) {
        let mut taken = self.taken();
        taken.total -= bytes;
        if let Some(of_caller) = taken.by_caller.get_mut(&caller) {
            *of_caller -= bytes;
            if *of_caller == 0 {
                taken.by_caller.remove(&caller);
            }
        }
    }
}

/// The share of the budget that one request has, bytes; given back when it is dropped.
#[derive(Debug)]
pub(super) struct BudgetShare {
    budget: Arc<BodyBudget>,
    caller: u64,
    bytes: usize,
}

impl BudgetShare {
    /// An empty share of the same caller.
    pub(super) fn another(&self) -> Self {
        self.budget.part(self.caller)
    }

    /// Grows the share to `bytes`, unless it is larger already. Half of the budget is the maximum, so that any body is
    /// accepted when there is no other.
    ///
    /// # Errors
    /// `Overloaded` if too much is taken already; the share stays as it is.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), ApiError> {
        let bytes = bytes.min(self.budget.total / 2);
        let more = bytes.saturating_sub(self.bytes);
        if bytes <= FREE || more == 0 {
            return Ok(());
        }
        if !self.budget.take(self.caller, more) {
            let message = "The server has too many long requests in work; please try again.".to_owned();
            return Err(ApiError::Overloaded { message, retry_after: RETRY_AFTER });
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for BudgetShare {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.budget.give_back(self.caller, self.bytes);
        }
    }
}

tokio::task_local! {
    /// The share of the request that this task answers.
    static PART: RefCell<Option<BudgetShare>>;
}

/// Runs `work`, which answers the request that holds this share.
pub(super) async fn scope<T>(part: BudgetShare, work: impl Future<Output = T>) -> T {
    PART.scope(RefCell::new(Some(part)), work).await
}

/// Gives back the share of the current request: its body is dropped, and the engine has the values read from it.
pub(super) fn release() {
    // Outside of a request there is nothing to give back.
    let _ = PART.try_with(|part| part.take());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_bodies_have_a_bound_and_one_caller_half_of_it() {
        let budget = Arc::new(BodyBudget::of(1_000_000));
        let part = |caller: u64, bytes: usize| {
            let mut part = budget.part(caller);
            part.grow(bytes).map(|()| part)
        };

        let first = part(1, 300_000).unwrap();
        assert!(matches!(part(1, 200_001), Err(ApiError::Overloaded { .. })));
        let second = part(1, 200_000).unwrap();
        let third = part(2, 450_000).unwrap();
        assert!(part(3, FREE + 1).is_err());
        assert!(part(3, FREE).is_ok(), "a small one is always taken");

        drop((first, second));
        assert!(part(3, 500_000).is_ok());
        drop(third);
        let taken = budget.taken();
        assert_eq!((taken.total, taken.by_caller.len()), (0, 0));
    }

    #[test]
    fn a_body_that_needs_more_than_a_caller_may_have_is_taken_alone() {
        let budget = Arc::new(BodyBudget::of(1_000_000));
        let (mut small, mut large) = (budget.part(1), budget.part(1));

        small.grow(FREE + 1).unwrap();
        assert!(large.grow(usize::MAX).is_err());
        drop(small);
        large.grow(usize::MAX).unwrap();

        assert_eq!(budget.taken().total, 500_000);
    }

    #[test]
    fn a_part_that_cannot_grow_keeps_what_it_has() {
        let budget = Arc::new(BodyBudget::of(1_000_000));
        let mut part = budget.part(1);

        part.grow(400_000).unwrap();
        part.grow(300_000).unwrap();
        let mut other = budget.part(1);
        assert!(other.grow(100_001).is_err());

        other.grow(100_000).unwrap();
        assert!(part.grow(400_001).is_err());
        assert_eq!(budget.taken().total, 500_000);
        drop((part, other));
        assert_eq!(budget.taken().total, 0);
    }

    #[tokio::test]
    async fn what_was_submitted_is_given_back_while_its_answer_goes_on() {
        let budget = Arc::new(BodyBudget::of(1_000_000));
        let mut part = budget.part(1);
        part.grow(400_000).unwrap();

        let seen = scope(part, async {
            let before = budget.taken().total;
            release();
            (before, budget.taken().total)
        })
        .await;

        assert_eq!(seen, (400_000, 0));
    }

    #[test]
    fn many_small_values_need_more_than_one_long_text() {
        assert_eq!(need(b"abc"), 6);
        assert_eq!(need(b"{\"a\":[1,2]}"), 22 + 4 * MARK);
        // The fields of an object: hash, name and value in the table, whose memory may have just been doubled, the
        // place in the index, and the text of the name.
        let field = 2 * (size_of::<(u64, String, serde_json::Value)>() + 2 * size_of::<usize>()) + 32;
        assert!(2 * MARK + 2 * "\"a\":0,".len() >= field, "{} {field}", 2 * MARK);
    }
}

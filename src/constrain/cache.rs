//! The constraints that were compiled last, so that a client that repeats its schema pays for it once.

use super::compiled::Compiled;
use crate::protocol::{Constraint, ConstraintError};
use std::collections::VecDeque;

/// Largest number of constraints kept.
const MAX_ENTRIES: usize = 64;
/// Largest memory of all kept constraints, bytes: of their texts and of their compiled forms.
const MAX_BYTES: u64 = 256 << 20;

/// The kept constraints, least recently used first. Refusals are kept too: a client that repeats one must not cause
/// work.
#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: VecDeque<CachedConstraint>,
    bytes: u64,
}

#[derive(Debug)]
struct CachedConstraint {
    constraint: Constraint,
    result: Result<Compiled, ConstraintError>,
    bytes: u64,
}

impl Cache {
    /// The result for a constraint, if it is kept.
    pub(super) fn get(&mut self, constraint: &Constraint) -> Option<Result<Compiled, ConstraintError>> {
        let at = self.entries.iter().rposition(|known| known.constraint == *constraint)?;
        let entry = self.entries.remove(at)?;
        let result = entry.result.clone();
        self.entries.push_back(entry);
        Some(result)
    }

    /// Keeps a result. `bytes` is the memory of the compiled form. The least recently used ones are dropped until all
    /// fit.
    pub(super) fn insert(&mut self, constraint: Constraint, result: Result<Compiled, ConstraintError>, bytes: u64) {
        let bytes = bytes.saturating_add(u64::try_from(constraint.text_bytes()).unwrap_or(u64::MAX));
        if bytes > MAX_BYTES || self.get(&constraint).is_some() {
            return;
        }
        self.bytes += bytes;
        self.entries.push_back(CachedConstraint { constraint, result, bytes });
        while self.entries.len() > MAX_ENTRIES || self.bytes > MAX_BYTES {
            let Some(forgotten) = self.entries.pop_front() else { return };
            self.bytes -= forgotten.bytes;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ConstraintErrorKind;

    fn regex(n: usize) -> Constraint {
        Constraint::Regex(format!("{n}"))
    }

    fn refusal(text: &str) -> Result<Compiled, ConstraintError> {
        Err(ConstraintError::new(ConstraintErrorKind::Invalid, text))
    }

    #[test]
    fn the_least_recently_used_is_forgotten_first() {
        let mut cache = Cache::default();
        for n in 0..MAX_ENTRIES {
            cache.insert(regex(n), refusal("known"), 0);
        }
        assert!(cache.get(&regex(0)).is_some());

        cache.insert(regex(MAX_ENTRIES), refusal("known"), 0);

        assert!(cache.get(&regex(0)).is_some());
        assert!(cache.get(&regex(1)).is_none());
        assert_eq!(cache.entries.len(), MAX_ENTRIES);
    }

    #[test]
    fn constraints_that_take_much_memory_push_out_others() {
        let mut cache = Cache::default();
        for n in 0..3 {
            cache.insert(regex(n), refusal("known"), MAX_BYTES / 2 - 1);
        }
        cache.insert(regex(3), refusal("known"), MAX_BYTES);

        assert!(cache.get(&regex(0)).is_none());
        assert!(cache.get(&regex(1)).is_some() && cache.get(&regex(2)).is_some());
        assert!(cache.get(&regex(3)).is_none(), "with its text it is more than all may be");
        assert_eq!(cache.bytes, MAX_BYTES);
    }

    #[test]
    fn a_constraint_is_kept_once() {
        let mut cache = Cache::default();
        cache.insert(regex(1), refusal("first"), 0);
        cache.insert(regex(1), refusal("second"), 0);

        assert_eq!(cache.get(&regex(1)).unwrap().unwrap_err().message, "first");
        assert_eq!(cache.bytes, 1);
    }
}

//! The constraints compiled last, so that a client that repeats its schema pays for it once.

use super::compiler::Compiled;
use crate::protocol::Constraint;
use std::collections::VecDeque;

/// Constraints kept at most.
const MAX_ENTRIES: usize = 64;
/// Text of all kept constraints at most, bytes.
const MAX_BYTES: usize = 8 << 20;

/// Least recently used first. Refusals are kept too: whoever repeats one must not make us work.
#[derive(Debug, Default)]
pub(super) struct Cache {
    entries: VecDeque<(Constraint, Result<Compiled, String>)>,
    bytes: usize,
}

impl Cache {
    /// What is known about a constraint.
    pub(super) fn get(&mut self, constraint: &Constraint) -> Option<Result<Compiled, String>> {
        let at = self.entries.iter().rposition(|(known, _)| known == constraint)?;
        let entry = self.entries.remove(at)?;
        let result = entry.1.clone();
        self.entries.push_back(entry);
        Some(result)
    }

    /// Takes note of one; forgets as many others as that needs.
    pub(super) fn insert(&mut self, constraint: Constraint, result: Result<Compiled, String>) {
        let bytes = constraint.text_bytes();
        if bytes > MAX_BYTES || self.get(&constraint).is_some() {
            return;
        }
        self.bytes += bytes;
        self.entries.push_back((constraint, result));
        while self.entries.len() > MAX_ENTRIES || self.bytes > MAX_BYTES {
            let Some((forgotten, _)) = self.entries.pop_front() else { return };
            self.bytes -= forgotten.text_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regex(n: usize) -> Constraint {
        Constraint::Regex(format!("{n}"))
    }

    fn refusal(text: &str) -> Result<Compiled, String> {
        Err(text.to_owned())
    }

    #[test]
    fn the_least_recently_used_is_forgotten_first() {
        let mut cache = Cache::default();
        for n in 0..MAX_ENTRIES {
            cache.insert(regex(n), refusal("known"));
        }
        assert!(cache.get(&regex(0)).is_some());

        cache.insert(regex(MAX_ENTRIES), refusal("known"));

        assert!(cache.get(&regex(0)).is_some());
        assert!(cache.get(&regex(1)).is_none());
        assert_eq!(cache.entries.len(), MAX_ENTRIES);
    }

    #[test]
    fn long_constraints_push_out_others_by_their_bytes() {
        let mut cache = Cache::default();
        let long = |c: char| Constraint::Grammar(c.to_string().repeat(MAX_BYTES / 2));
        for c in ['a', 'b', 'c'] {
            cache.insert(long(c), refusal("known"));
        }

        assert!(cache.get(&long('a')).is_none());
        assert!(cache.get(&long('b')).is_some() && cache.get(&long('c')).is_some());
        assert_eq!(cache.bytes, MAX_BYTES / 2 * 2);
    }

    #[test]
    fn a_constraint_is_kept_once() {
        let mut cache = Cache::default();
        cache.insert(regex(1), refusal("first"));
        cache.insert(regex(1), refusal("second"));

        assert_eq!(cache.get(&regex(1)).unwrap().unwrap_err(), "first");
        assert_eq!(cache.bytes, 1);
    }
}

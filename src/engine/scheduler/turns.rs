//! The order in which keys take turns for slots: the key that runs the fewest sequences goes first; among equals, the
//! key whose last start is longest ago.
//!
//! So one key has all slots only while no other key waits, and a key that runs nothing waits for at most one start of
//! each other key. Owns, for each key, the number of its running sequences and the number of its last start. A key is
//! known by its namespace. Only `queue` knows which keys wait.

use std::collections::HashMap;

/// Number of keys above which keys that neither run nor wait are forgotten.
const MAX_KEYS: usize = 1024;

/// The place of a key in the order; the smallest one has the next turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank {
    running: u32,
    last_start: u64,
    pub(super) key: u64,
}

#[derive(Debug, Clone, Copy)]
struct KeyState {
    /// Number of the key's sequences that run.
    running: u32,
    /// Number of the key's last start among all starts.
    last_start: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct KeyTurns {
    keys: HashMap<u64, KeyState>,
    /// Number of starts so far.
    starts: u64,
    /// The latest start of a key that was forgotten. An unknown key counts as having started then, so that it cannot
    /// pass a known one again and again.
    forgotten: u64,
}

impl KeyTurns {
    /// The present place of a key.
    pub(super) fn rank(&self, key: u64) -> Rank {
        let KeyState { running, last_start } = self.state(key);
        Rank { running, last_start, key }
    }

    fn state(&self, key: u64) -> KeyState {
        self.keys.get(&key).copied().unwrap_or(KeyState { running: 0, last_start: self.forgotten })
    }

    /// Counts a start of a sequence.
    pub(super) fn on_start(&mut self, key: u64) {
        self.starts += 1;
        let running = self.state(key).running + 1;
        self.keys.insert(key, KeyState { running, last_start: self.starts });
    }

    /// Forgets keys that neither run nor wait if there are too many. Not within a pass over the queue: it changes the
    /// ranks of unknown keys.
    pub(super) fn forget_idle(&mut self, waits: impl Fn(u64) -> bool) {
        if self.keys.len() <= MAX_KEYS {
            return;
        }
        let forgotten = &mut self.forgotten;
        self.keys.retain(|key, state| {
            let stays = state.running > 0 || waits(*key);
            if !stays {
                *forgotten = state.last_start.max(*forgotten);
            }
            stays
        });
    }

    /// Counts the end of a running sequence.
    pub(super) fn on_end(&mut self, key: u64) {
        if let Some(state) = self.keys.get_mut(&key) {
            state.running = state.running.saturating_sub(1);
        }
    }

    /// Keys that run sequences, with the numbers of these.
    pub(super) fn running(&self) -> HashMap<u64, u32> {
        self.keys.iter().filter(|(_, state)| state.running > 0).map(|(key, state)| (*key, state.running)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_beyond_the_bound_are_forgotten_unless_they_run_or_wait_and_come_after_those_that_are_known() {
        let mut turns = KeyTurns::default();
        for key in [1, 2] {
            turns.on_start(key);
            turns.on_end(key);
        }
        turns.on_start(3);
        for key in 0..MAX_KEYS as u64 {
            turns.on_start(100 + key);
            turns.on_end(100 + key);
            turns.forget_idle(|key| key == 2);
        }

        assert!(turns.keys.len() <= MAX_KEYS, "{}", turns.keys.len());
        assert_eq!(turns.running(), HashMap::from([(3, 1)]));
        assert!(turns.rank(2) < turns.rank(1), "key 2 waits and was not forgotten");
    }
}

//! Limits how many sequences are admitted, in all and of one key, and says when a refused request should come again.
//!
//! A place is a value that a sequence holds: dropping the sequence gives the place back, so that the count cannot go
//! wrong. This module knows nothing of the engine.

mod retry;

pub(super) use retry::{Pace, PaceReading, ReturnTimes};

use super::error::SubmitError;
use retry::{ABOUT, MAX_RETRY};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Gives out places: as many as sequences run at once, plus as many as may wait.
///
/// A key alone may have all of them. While other keys hold places, or asked for some within [`ABOUT`], a key may have
/// at most half of those that the others leave: so the keys that ask get about equal numbers, and one more key finds
/// free places.
#[derive(Debug)]
pub(super) struct Admission {
    places: Arc<Mutex<Places>>,
    capacity: usize,
    running: usize,
}

#[derive(Debug)]
struct Places {
    free: usize,
    /// The keys that hold places or asked lately.
    keys: BTreeMap<u64, KeyPlaces>,
    /// When keys that are no longer about were last forgotten.
    tidied: Instant,
    pace: PaceReading,
    returns: ReturnTimes,
}

#[derive(Debug)]
struct KeyPlaces {
    /// Number of places that the key holds.
    held: usize,
    /// When the key last asked for places.
    asked: Instant,
}

/// A sequence's right to be in the gateway; held while the sequence is admitted.
#[derive(Debug)]
pub(super) struct SequencePlace {
    places: Arc<Mutex<Places>>,
    key: u64,
}

impl Drop for SequencePlace {
    fn drop(&mut self) {
        let mut places = lock(&self.places);
        places.free += 1;
        if let Some(key) = places.keys.get_mut(&self.key) {
            key.held = key.held.saturating_sub(1);
        }
    }
}

/// A panic leaves no half change behind, because each one is a few additions.
fn lock(places: &Mutex<Places>) -> MutexGuard<'_, Places> {
    places.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Admission {
    /// Places for `running` sequences in a step and `waiting` that wait for them.
    pub(super) fn new(running: usize, waiting: usize) -> Self {
        let capacity = running.saturating_add(waiting);
        let (tidied, pace, returns) = (Instant::now(), PaceReading::default(), ReturnTimes::up_to(MAX_RETRY));
        let places = Places { free: capacity, keys: BTreeMap::new(), tidied, pace, returns };
        Self { places: Arc::new(Mutex::new(places)), capacity, running }
    }

    /// The number of all places.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// The number of places that a key would get now.
    pub(super) fn free(&self, key: u64, now: Instant) -> usize {
        lock(&self.places).free_for(key, now)
    }

    /// Number of places that sequences have.
    pub(super) fn taken(&self) -> usize {
        self.capacity.saturating_sub(lock(&self.places).free)
    }

    /// Smoothed time between two completions; `None` before the first.
    pub(super) fn pace(&self) -> Option<Duration> {
        lock(&self.places).pace.smoothed
    }

    /// Publishes the measurements of the run loop.
    pub(super) fn set_pace(&self, pace: PaceReading) {
        lock(&self.places).pace = pace;
    }

    /// Places for `count` sequences of a key, or none at all.
    pub(super) fn take(&self, key: u64, count: usize, now: Instant) -> Result<Vec<SequencePlace>, SubmitError> {
        if count > self.capacity {
            return Err(SubmitError::TooMany { count, capacity: self.capacity });
        }
        let mut places = lock(&self.places);
        places.note_asking(key, now);
        let free = places.free_for(key, now);
        if count > free {
            return Err(self.refusal(&mut places, key, (count, free), now));
        }
        places.free -= count;
        if let Some(key) = places.keys.get_mut(&key) {
            key.held += count;
        }
        drop(places);
        Ok((0..count).map(|_| SequencePlace { places: Arc::clone(&self.places), key }).collect())
    }

    /// The refusal of `count` sequences of a key that may have `free` more.
    fn refusal(&self, places: &mut Places, key: u64, (count, free): (usize, usize), now: Instant) -> SubmitError {
        let pace = places.pace.present(now);
        let retry_after = places.returns.next(key, count - free, pace, now);
        if places.free >= count {
            let held = places.keys.get(&key).map_or(0, |key| key.held);
            return SubmitError::KeyFull { count, held, share: held + free, retry_after };
        }
        let waiting = self.capacity.saturating_sub(places.free).saturating_sub(self.running);
        SubmitError::QueueFull { waiting, retry_after }
    }
}

impl Places {
    /// The number of places that a key may take now.
    fn free_for(&self, key: u64, now: Instant) -> usize {
        let held = self.keys.get(&key).map_or(0, |key| key.held);
        let others = || self.keys.iter().filter(|(other, _)| **other != key);
        let is_alone = others().all(|(_, other)| other.held == 0 && !other.is_about(now));
        // A key without places may take all that are free: else a request of many sequences would never be accepted
        // beside a key that uses its share. The key then has to give way until it is within its own share.
        if is_alone || held == 0 {
            return self.free;
        }
        let share = (self.free + held).div_ceil(2);
        share.saturating_sub(held).min(self.free)
    }

    fn note_asking(&mut self, key: u64, now: Instant) {
        if now.saturating_duration_since(self.tidied) >= ABOUT {
            self.tidied = now;
            self.keys.retain(|_, key| key.held > 0 || key.is_about(now));
        }
        self.keys.entry(key).or_insert(KeyPlaces { held: 0, asked: now }).asked = now;
    }
}

impl KeyPlaces {
    /// True if the key asked for places so lately that it may be about to come again.
    fn is_about(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.asked) < ABOUT
    }
}

#[cfg(test)]
mod tests;

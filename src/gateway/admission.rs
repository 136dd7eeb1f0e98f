//! Limits how many sequences are admitted, and estimates how long the next one would have to wait.
//!
//! A place is a value that a sequence holds: dropping the sequence gives the place back, so that the count cannot go
//! wrong. This module knows nothing of the engine.

use super::error::SubmitError;
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

/// Shortest wait ever suggested: clients back off by about as much anyway.
const MIN_RETRY: Duration = Duration::from_secs(1);
/// Longest wait suggested: OpenAI's SDKs ignore a larger `Retry-After`.
const MAX_RETRY: Duration = Duration::from_secs(120);
/// Weight of the newest sample in the smoothed time between completions.
const NEWEST: f64 = 0.2;

/// A sequence's right to be in the gateway; held while the sequence is admitted.
pub(super) type SequencePlace = OwnedSemaphorePermit;

/// Gives out places: as many as sequences run at once, plus as many as may wait.
#[derive(Debug)]
pub(super) struct Admission {
    places: Arc<Semaphore>,
    capacity: usize,
    running: usize,
    /// Smoothed time between two completions, µs; 0 while nothing has completed. Written by the run loop.
    pace_us: AtomicU64,
}

impl Admission {
    /// Places for `running` sequences in a step and `waiting` that wait for them.
    pub(super) fn new(running: usize, waiting: usize) -> Self {
        let capacity = running.saturating_add(waiting).min(Semaphore::MAX_PERMITS);
        Self { places: Arc::new(Semaphore::new(capacity)), capacity, running, pace_us: AtomicU64::new(0) }
    }

    /// Number of places, taken or free.
    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Number of places that are free now.
    pub(super) fn free(&self) -> usize {
        self.places.available_permits()
    }

    /// Smoothed time between two completions, as last published by [`Self::set_pace`].
    pub(super) fn pace(&self) -> Option<Duration> {
        Some(Duration::from_micros(self.pace_us.load(Ordering::Relaxed))).filter(|pace| !pace.is_zero())
    }

    /// Takes places for `count` sequences, or none at all.
    pub(super) fn take(&self, count: usize) -> Result<Vec<SequencePlace>, SubmitError> {
        let permits = u32::try_from(count).ok().and_then(|count| Arc::clone(&self.places).try_acquire_many_owned(count).ok());
        let mut all = permits.ok_or_else(|| self.refusal(count))?;
        let places: Vec<SequencePlace> = (0..count).filter_map(|_| all.split(1)).collect();
        Ok(places)
    }

    fn refusal(&self, count: usize) -> SubmitError {
        if count > self.capacity {
            return SubmitError::TooMany { count, capacity: self.capacity };
        }
        let free = self.places.available_permits();
        let missing = u32::try_from(count.saturating_sub(free).max(1)).unwrap_or(u32::MAX);
        let pace = Duration::from_micros(self.pace_us.load(Ordering::Relaxed));
        let waiting = self.capacity.saturating_sub(free).saturating_sub(self.running);
        SubmitError::QueueFull { waiting, retry_after: pace.saturating_mul(missing).clamp(MIN_RETRY, MAX_RETRY) }
    }

    /// Publishes a new value of [`Pace`].
    pub(super) fn set_pace(&self, pace: Duration) {
        self.pace_us.store(u64::try_from(pace.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// Measures the time between completions while there is something to complete. Owned by the run loop.
#[derive(Debug, Default)]
pub(super) struct Pace {
    since: Option<Instant>,
    smoothed: Option<f64>,
}

impl Pace {
    /// Records `finished` completions by `now` that left `remaining` sequences. Returns the new pace if it changed.
    pub(super) fn update(&mut self, now: Instant, finished: u32, remaining: usize) -> Option<Duration> {
        // Idle time does not count: the clock runs only while there are sequences.
        let since = *self.since.get_or_insert(now);
        if finished > 0 {
            let sample = now.duration_since(since).as_secs_f64() / f64::from(finished);
            let smoothed = self.smoothed.map_or(sample, |old| old + NEWEST * (sample - old));
            self.smoothed = Some(smoothed);
            self.since = Some(now);
        }
        if remaining == 0 {
            self.since = None;
        }
        self.smoothed.filter(|_| finished > 0).map(Duration::from_secs_f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_place_is_given_and_the_next_request_is_refused() {
        let admission = Admission::new(1, 2);

        let places = admission.take(3).unwrap();
        let refused = admission.take(1).unwrap_err();

        assert_eq!(places.len(), 3);
        assert_eq!(refused, SubmitError::QueueFull { waiting: 2, retry_after: MIN_RETRY });
        drop(places);
        assert_eq!(admission.take(3).unwrap().len(), 3);
    }

    #[test]
    fn a_request_gets_all_of_its_places_or_none() {
        let admission = Admission::new(2, 0);

        assert!(admission.take(3).is_err());

        assert_eq!(admission.take(2).unwrap().len(), 2);
    }

    #[test]
    fn the_suggested_wait_is_the_missing_places_times_the_pace_within_bounds() {
        let admission = Admission::new(4, 0);
        let _places = admission.take(4).unwrap();
        let wait = |pace_ms, count| {
            admission.set_pace(Duration::from_millis(pace_ms));
            match admission.take(count) {
                Err(SubmitError::QueueFull { retry_after, .. }) => retry_after,
                other => panic!("{other:?}"),
            }
        };

        assert_eq!(wait(2_500, 2), Duration::from_secs(5));
        assert_eq!(wait(10, 1), MIN_RETRY);
        assert_eq!(wait(100_000, 4), MAX_RETRY);
    }

    #[test]
    fn the_pace_counts_completions_and_leaves_idle_time_out() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut pace = Pace::default();

        assert_eq!(pace.update(at(0), 0, 4), None);
        assert_eq!(pace.update(at(4), 2, 2), Some(Duration::from_secs(2)));
        assert_eq!(pace.update(at(8), 2, 0), Some(Duration::from_secs(2)));
        // After a hundred idle seconds.
        assert_eq!(pace.update(at(108), 0, 1), None);
        assert_eq!(pace.update(at(110), 1, 0), Some(Duration::from_secs(2)));
    }
}

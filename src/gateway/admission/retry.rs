//! The wait to suggest to a request that found no place.
//!
//! Each refused request gets a time of its own, one pace after the one before, so that those who come again find the
//! places that have become free by then, and a crowd does not come again all at once. Keys are counted apart: a key
//! does not wait for all that another one has coming. Without a clock: times are arguments.

use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// Shortest wait ever suggested: clients back off by about as much anyway.
pub(in crate::gateway) const MIN_RETRY: Duration = Duration::from_secs(1);
/// Longest wait suggested for a place: OpenAI's SDKs before 2.52 ignore a larger `Retry-After`.
pub(in crate::gateway) const MAX_RETRY: Duration = Duration::from_secs(60);
/// Time for which a key that asked for places counts as about: until a refused request of it has come again.
pub(super) const ABOUT: Duration = Duration::from_secs(120);
/// Assumed time between completions before the first one.
const UNKNOWN_PACE: Duration = Duration::from_secs(1);
/// Weight of the newest sample in the smoothed time between completions.
const NEWEST: f64 = 0.2;

/// Until when each key has requests that were told to come again.
#[derive(Debug)]
pub(in crate::gateway) struct ReturnTimes {
    /// The longest wait to tell.
    max: Duration,
    /// By key, the latest time that was told. Keys whose time has come are forgotten.
    latest: BTreeMap<u64, Instant>,
}

impl ReturnTimes {
    /// No times yet; waits will be from [`MIN_RETRY`] to `max`.
    pub(in crate::gateway) fn up_to(max: Duration) -> Self {
        Self { max, latest: BTreeMap::new() }
    }

    /// The wait of a request of `key` for which `missing` places must become free, one each `pace`.
    pub(in crate::gateway) fn next(&mut self, key: u64, missing: usize, pace: Duration, now: Instant) -> Duration {
        self.latest.retain(|_, latest| *latest > now);
        let ahead = self.latest.get(&key).map_or(Duration::ZERO, |latest| latest.saturating_duration_since(now));
        // Other keys whose requests come again take their part of the places.
        let others = self.latest.keys().filter(|other| **other != key).count();
        let turns = u32::try_from(missing.saturating_mul(others + 1)).unwrap_or(u32::MAX);
        let mut wait = ahead.saturating_add(pace.saturating_mul(turns));
        let beyond = wait.saturating_sub(self.max).as_secs_f64();
        if beyond > 0.0 {
            // Longer waits cannot be told. Those who would have them come over the second half of the longest one, not
            // all at its end.
            let half = self.max / 2;
            wait = half + Duration::from_secs_f64(beyond % half.as_secs_f64());
        }
        self.latest.insert(key, now + wait);
        wait.clamp(MIN_RETRY, self.max)
    }
}

/// The measured time between completions, as the run loop publishes it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(in crate::gateway) struct PaceReading {
    /// Smoothed time between two completions; `None` before the first.
    pub(in crate::gateway) smoothed: Option<Duration>,
    /// The last completion, or the time at which there was something to complete again; `None` while there is nothing.
    pub(in crate::gateway) since: Option<Instant>,
}

impl PaceReading {
    /// The time between completions to expect now: if none has come for longer than usual, as long as that.
    pub(super) fn present(&self, now: Instant) -> Duration {
        let silence = self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        self.smoothed.unwrap_or(UNKNOWN_PACE).max(silence)
    }
}

/// Measures the time between completions while there is something to complete. Owned by the run loop.
#[derive(Debug, Default)]
pub(in crate::gateway) struct Pace {
    since: Option<Instant>,
    smoothed: Option<f64>,
}

impl Pace {
    /// Takes note of `finished` completions by `now` that left `remaining` sequences.
    pub(in crate::gateway) fn update(&mut self, now: Instant, finished: u32, remaining: usize) -> PaceReading {
        // Idle time is no part of the pace: the clock runs only while there are sequences.
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
        PaceReading { smoothed: self.smoothed.map(Duration::from_secs_f64), since: self.since }
    }
}

//! Limits the requests per minute of each key: GCRA by `governor`, which neither counts in windows nor needs a
//! background task.
//!
//! A caller may use the whole minute's quota at once; it then refills evenly. The map of states holds one entry per
//! configured key (or one for all anonymous callers), since only authenticated principals are ever looked up.

use super::keys::{KeyId, Principal};
use arc_swap::ArcSwapOption;
use governor::{
    Quota, RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::StateInformationMiddleware,
    state::keyed::DashMapStateStore,
};
use std::{num::NonZeroU32, sync::Arc, time::Duration};

/// The quota that a caller has left after a request was let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Limit of requests per minute.
    pub limit: u32,
    /// Requests that could follow at once.
    pub remaining: u32,
    /// Time until the whole quota is available again.
    pub reset: Duration,
}

/// The error for a caller whose quota is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{limit} requests per minute are used up")]
pub struct Limited {
    /// Limit of requests per minute.
    pub limit: u32,
    /// Time until the next request will be let through.
    pub retry_after: Duration,
    /// Time until the whole quota is available again.
    pub reset: Duration,
}

type Limiter<C> = RateLimiter<KeyId, DashMapStateStore<KeyId>, C, StateInformationMiddleware>;

/// Counts requests per principal. The clock is a type parameter for the sake of tests.
#[derive(Debug)]
pub struct RequestLimiter<C: Clock = DefaultClock> {
    quota: ArcSwapOption<PerMinute<C>>,
    clock: C,
}

#[derive(Debug)]
struct PerMinute<C: Clock> {
    limit: NonZeroU32,
    limiter: Limiter<C>,
}

impl RequestLimiter {
    /// Allows this many requests per minute and key; `None` or 0 is unlimited.
    #[must_use]
    pub fn new(requests_per_minute: Option<u32>) -> Self {
        Self::with_clock(requests_per_minute, DefaultClock::default())
    }
}

impl<C: Clock + Clone> RequestLimiter<C> {
    fn with_clock(requests_per_minute: Option<u32>, clock: C) -> Self {
        let limiter = Self { quota: ArcSwapOption::empty(), clock };
        limiter.limit(requests_per_minute);
        limiter
    }

    /// From now on allows this many requests per minute and key; `None` or 0 is unlimited. Each key begins with its
    /// whole quota.
    pub fn limit(&self, requests_per_minute: Option<u32>) {
        let quota = requests_per_minute.and_then(NonZeroU32::new).map(|limit| {
            let limiter = RateLimiter::new(Quota::per_minute(limit), DashMapStateStore::default(), self.clock.clone());
            Arc::new(PerMinute { limit, limiter })
        });
        self.quota.store(quota);
    }

    /// Counts one request. `None` if requests are not limited.
    ///
    /// # Errors
    /// [`Limited`] if the quota is used up; the request was not counted in that case.
    pub fn check(&self, principal: &Principal) -> Result<Option<Allowance>, Limited> {
        self.quota.load().as_ref().map(|quota| quota.check(principal.id)).transpose()
    }
}

impl<C: Clock> PerMinute<C> {
    fn check(&self, id: KeyId) -> Result<Allowance, Limited> {
        let limit = self.limit.get();
        let interval = Duration::from_secs(60) / limit;
        match self.limiter.check_key(&id) {
            Ok(state) => {
                let remaining = state.remaining_burst_capacity();
                Ok(Allowance { limit, remaining, reset: interval * limit.saturating_sub(remaining) })
            }
            Err(not_until) => {
                let retry_after = not_until.wait_time_from(self.limiter.clock().now());
                Err(Limited { limit, retry_after, reset: retry_after + interval * (limit - 1) })
            }
        }
    }
}

/// A duration as OpenAI writes it in `x-ratelimit-reset-*`: Go's
/// notation, whole milliseconds. `12ms`, `1s`, `1.5s`, `6m0s`, `1h0m0s`.
#[must_use]
pub fn go_duration(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    if milliseconds < 1000 {
        return if milliseconds == 0 { "0s".to_owned() } else { format!("{milliseconds}ms") };
    }
    let (total_seconds, fraction) = (milliseconds / 1000, milliseconds % 1000);
    let (hours, minutes, seconds) = (total_seconds / 3600, total_seconds / 60 % 60, total_seconds % 60);
    let mut text = String::new();
    if hours > 0 {
        text += &format!("{hours}h");
    }
    if total_seconds >= 60 {
        text += &format!("{minutes}m");
    }
    text += &seconds.to_string();
    if fraction > 0 {
        text += format!(".{fraction:03}").trim_end_matches('0');
    }
    text + "s"
}

#[cfg(test)]
mod tests;

//! Shows the warnings of requests to the operator: each distinct one is a log line once per key and hour, and each
//! counts in the metrics by its name.
//!
//! No client shows the header `x-llamero-warnings` to anybody, so a warning would otherwise be seen by nobody. Owns the
//! table of warnings that were logged, which has a bound on keys and on the warnings of each.

use super::{
    error::ApiError,
    warnings::{Reported, WarningPolicy, Warnings},
};
use crate::{gateway::keys::KeyId, telemetry};
use std::{
    collections::HashMap,
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Time after which a warning is logged again.
const PERIOD: Duration = Duration::from_secs(3600);
/// Maximum number of distinct warnings that are logged for a key in a period; the others share one line.
const MAX_WARNINGS: usize = 32;
/// Maximum number of keys in the table; warnings of more keys are counted and not logged.
const MAX_KEYS: usize = 1024;
/// The line for all warnings of a key beyond [`MAX_WARNINGS`].
const OTHERS: &str = "more different warnings than are logged for one key and hour";

/// The warnings that were logged; all requests share it.
#[derive(Debug, Clone, Default)]
pub(super) struct WarningLog(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    digests: RandomState,
    /// The warnings of each key, by the digest of their texts without digits: a limit that was reduced to another
    /// number, or the same field of another message, is no other warning.
    keys: HashMap<KeyId, HashMap<u64, Logged>>,
}

/// The last line about a warning.
#[derive(Debug, Clone, Copy)]
struct Logged {
    at: Instant,
    /// Number of requests with this warning since then.
    since: u64,
}

impl WarningLog {
    /// The lines to write for these warnings of a request that came `now`: the text, and the number of requests with it
    /// since its last line, this one included.
    fn lines<'a>(&self, key: KeyId, texts: &'a [String], now: Instant) -> Vec<(&'a str, u64)> {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Table { digests, keys } = &mut *table;
        if !keys.contains_key(&key) && keys.len() >= MAX_KEYS {
            keys.retain(|_, logged| logged.values().any(|logged| logged.is_recent(now)));
            if keys.len() >= MAX_KEYS {
                return Vec::new();
            }
        }
        let logged = keys.entry(key).or_default();
        texts.iter().filter_map(|text| line(logged, text, |text| digest(digests, text), now)).collect()
    }
}

/// The digest of a text without its ASCII digits.
fn digest(digests: &RandomState, text: &str) -> u64 {
    digests.hash_one(text.replace(|c: char| c.is_ascii_digit(), ""))
}

/// The line for a warning, unless there was one within the period.
fn line<'a>(logged: &mut HashMap<u64, Logged>, text: &'a str, digest: impl Fn(&str) -> u64, now: Instant) -> Option<(&'a str, u64)> {
    let (mut text, mut of) = (text, digest(text));
    if !logged.contains_key(&of) && logged.len() >= MAX_WARNINGS {
        logged.retain(|_, logged| logged.is_recent(now));
        if logged.len() >= MAX_WARNINGS {
            (text, of) = (OTHERS, digest(OTHERS));
        }
    }
    match logged.get_mut(&of) {
        Some(entry) if entry.is_recent(now) => {
            entry.since += 1;
            None
        }
        earlier => {
            let since = earlier.map_or(0, |entry| entry.since);
            logged.insert(of, Logged { at: now, since: 0 });
            Some((text, since + 1))
        }
    }
}

impl Logged {
    fn is_recent(&self, now: Instant) -> bool {
        now.duration_since(self.at) < PERIOD
    }
}

/// Accepts the warnings of a caller's requests to one route.
#[derive(Debug, Clone)]
pub(super) struct WarningGate {
    /// The way in which warnings are reported.
    pub(super) policy: WarningPolicy,
    /// The caller's key.
    pub(super) caller: KeyId,
    /// The route, as log lines name it.
    pub(super) endpoint: &'static str,
    /// The warnings that were logged.
    pub(super) log: WarningLog,
}

impl WarningGate {
    /// Accepts these warnings, unless the request is strict. Counts them, and logs those that were not logged lately.
    ///
    /// # Errors
    /// As [`Warnings::enforce`].
    pub(super) fn enforce(&self, warnings: Warnings) -> Result<Reported, ApiError> {
        let reported = warnings.enforce(self.policy)?;
        if !reported.all().is_empty() {
            telemetry::record_warnings(reported.names());
            let (key, endpoint) = (self.caller, self.endpoint);
            for (warning, requests) in self.log.lines(key, reported.all(), Instant::now()) {
                tracing::warn!(%key, endpoint, requests, warning, "a request was not done as asked");
            }
        }
        Ok(reported)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_warning_is_logged_once_per_key_and_hour_with_the_number_of_requests() {
        let (log, start) = (WarningLog::default(), Instant::now());
        let both = texts(&["a", "b"]);
        let lines = |key, texts, seconds| log.lines(key, texts, start + Duration::from_secs(seconds));

        assert_eq!(lines(KeyId::Anonymous, &both[..1], 0), [("a", 1)]);
        assert_eq!(lines(KeyId::Anonymous, &both, 1), [("b", 1)]);
        assert_eq!(lines(KeyId::Key(7), &both, 2), [("a", 1), ("b", 1)]);
        assert_eq!(lines(KeyId::Anonymous, &both[..1], 3599), []);
        assert_eq!(lines(KeyId::Anonymous, &both[..1], 3600), [("a", 3)]);
        assert_eq!(lines(KeyId::Anonymous, &both[..1], 3601), []);
        assert_eq!(lines(KeyId::Anonymous, &both[..1], 7200), [("a", 2)]);
    }

    #[test]
    fn warnings_that_differ_only_in_their_numbers_are_one() {
        let (log, now) = (WarningLog::default(), Instant::now());
        let lines = |text: &str| log.lines(KeyId::Anonymous, &texts(&[text]), now).len();

        assert_eq!((lines("max_tokens was reduced to 5"), lines("max_tokens was reduced to 6")), (1, 0));
        assert_eq!((lines("messages[2].x"), lines("messages[17].x"), lines("messages[2].y")), (1, 0, 1));
    }

    #[test]
    fn a_client_with_ever_new_warnings_gets_a_bounded_number_of_lines() {
        let (log, now) = (WarningLog::default(), Instant::now());
        let many: Vec<String> = ('\u{4e00}'..'\u{7000}').map(String::from).collect();

        let lines = log.lines(KeyId::Anonymous, &many, now);

        assert_eq!((lines.len(), lines.last()), (MAX_WARNINGS + 1, Some(&(OTHERS, 1))));
        assert_eq!(log.lines(KeyId::Anonymous, &many, now + PERIOD).len(), MAX_WARNINGS + 1, "an hour later");
        let size = log.0.lock().unwrap().keys[&KeyId::Anonymous].len();
        assert!(size <= MAX_WARNINGS + 1, "{size}");
    }

    #[test]
    fn ever_new_keys_do_not_fill_the_memory() {
        let (log, now) = (WarningLog::default(), Instant::now());
        let one = texts(&["a"]);
        let most = u64::try_from(MAX_KEYS).unwrap();

        let logged = (0..most + 5).filter(|key| !log.lines(KeyId::Key(*key), &one, now).is_empty()).count();

        assert_eq!(logged, MAX_KEYS);
        assert_eq!(log.lines(KeyId::Key(most + 1), &one, now + PERIOD), [("a", 1)], "those of an hour ago make room");
        assert_eq!(log.0.lock().unwrap().keys.len(), 1);
    }
}

//! Tests of the request quota with a clock that moves only when told to, and of Go's notation of durations.

use super::*;
use governor::clock::FakeRelativeClock;

const ALICE: Principal = Principal { id: KeyId::Key(1) };
const BOB: Principal = Principal { id: KeyId::Key(2) };

fn limiter(requests_per_minute: u32) -> (RequestLimiter<FakeRelativeClock>, FakeRelativeClock) {
    let clock = FakeRelativeClock::default();
    (RequestLimiter::with_clock(Some(requests_per_minute), clock.clone()), clock)
}

#[test]
fn the_whole_quota_may_be_used_at_once_and_not_one_request_more() {
    let (limiter, _clock) = limiter(6);

    let remaining: Vec<u32> = (0..6).map(|_| limiter.check(&ALICE).unwrap().unwrap().remaining).collect();
    let refused = limiter.check(&ALICE).unwrap_err();

    assert_eq!(remaining, [5, 4, 3, 2, 1, 0]);
    assert_eq!(refused, Limited { limit: 6, retry_after: Duration::from_secs(10), reset: Duration::from_secs(60) });
}

#[test]
fn a_request_is_let_through_again_exactly_after_the_suggested_wait() {
    let (limiter, clock) = limiter(2);
    limiter.check(&ALICE).unwrap();
    limiter.check(&ALICE).unwrap();
    let wait = limiter.check(&ALICE).unwrap_err().retry_after;

    clock.advance(wait - Duration::from_millis(1));
    let too_early = limiter.check(&ALICE);
    clock.advance(Duration::from_millis(1));
    let in_time = limiter.check(&ALICE);

    assert_eq!(too_early.unwrap_err().retry_after, Duration::from_millis(1));
    assert_eq!(in_time.unwrap().unwrap().remaining, 0);
}

#[test]
fn reset_is_the_time_until_the_whole_quota_is_back() {
    let (limiter, clock) = limiter(60);

    let first = limiter.check(&ALICE).unwrap().unwrap();
    let second = limiter.check(&ALICE).unwrap().unwrap();
    clock.advance(second.reset);
    let after_reset = limiter.check(&ALICE).unwrap().unwrap();

    assert_eq!(first, Allowance { limit: 60, remaining: 59, reset: Duration::from_secs(1) });
    assert_eq!(second, Allowance { limit: 60, remaining: 58, reset: Duration::from_secs(2) });
    assert_eq!(after_reset, first);
}

#[test]
fn each_key_has_a_quota_of_its_own() {
    let (limiter, _clock) = limiter(1);
    limiter.check(&ALICE).unwrap();

    assert!(limiter.check(&ALICE).is_err());
    assert!(limiter.check(&BOB).is_ok());
    assert!(limiter.check(&Principal { id: KeyId::Anonymous }).is_ok());
}

#[test]
fn without_a_limit_nothing_is_counted() {
    for unlimited in [None, Some(0)] {
        let limiter = RequestLimiter::new(unlimited);

        assert!((0..1000).all(|_| limiter.check(&ALICE) == Ok(None)), "{unlimited:?}");
    }
}

#[test]
fn durations_are_written_as_go_writes_them() {
    let cases = [
        (0, "0s"),
        (1, "1ms"),
        (12, "12ms"),
        (999, "999ms"),
        (1000, "1s"),
        (1001, "1.001s"),
        (1500, "1.5s"),
        (59_999, "59.999s"),
        (60_000, "1m0s"),
        (61_250, "1m1.25s"),
        (360_000, "6m0s"),
        (3_599_000, "59m59s"),
        (3_600_000, "1h0m0s"),
        (90_061_000, "25h1m1s"),
    ];
    for (milliseconds, expected) in cases {
        assert_eq!(go_duration(Duration::from_millis(milliseconds)), expected);
    }
    assert_eq!(go_duration(Duration::from_micros(999)), "0s");
}

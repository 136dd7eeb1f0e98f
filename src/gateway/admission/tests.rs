//! Places: all of them for a key alone, shares beside others, and waits that bring refused requests back one by one.

use super::{
    retry::{MAX_RETRY, MIN_RETRY},
    *,
};

const A: u64 = 1;
const B: u64 = 2;
const C: u64 = 3;

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

fn wait(refused: Result<Vec<SequencePlace>, SubmitError>) -> Duration {
    match refused {
        Err(SubmitError::QueueFull { retry_after, .. } | SubmitError::KeyFull { retry_after, .. }) => retry_after,
        other => panic!("{other:?}"),
    }
}

fn paced(admission: Admission, smoothed: Duration) -> Admission {
    admission.set_pace(PaceReading { smoothed: Some(smoothed), since: None });
    admission
}

#[test]
fn the_last_place_is_given_and_the_next_request_is_refused() {
    let (admission, now) = (Admission::new(1, 2), Instant::now());

    let places = admission.take(A, 3, now).unwrap();
    let refused = admission.take(A, 1, now).unwrap_err();

    assert_eq!(places.len(), 3);
    assert_eq!(refused, SubmitError::QueueFull { waiting: 2, retry_after: MIN_RETRY });
    drop(places);
    assert_eq!(admission.take(A, 3, now).unwrap().len(), 3);
}

#[test]
fn a_request_gets_all_of_its_places_or_none() {
    let (admission, now) = (Admission::new(2, 0), Instant::now());

    assert_eq!(admission.take(A, 3, now).unwrap_err(), SubmitError::TooMany { count: 3, capacity: 2 });

    assert_eq!(admission.take(A, 2, now).unwrap().len(), 2);
}

#[test]
fn beside_others_a_key_has_at_most_half_of_what_they_leave() {
    let (admission, now) = (Admission::new(16, 512), Instant::now());
    let of_c = admission.take(C, 1, now).unwrap();

    let of_a = admission.take(A, 263, now).unwrap();

    let refused = admission.take(A, 2, now).unwrap_err();
    assert!(matches!(refused, SubmitError::KeyFull { count: 2, held: 263, share: 264, .. }), "{refused:?}");
    assert_eq!((admission.free(A, now), admission.free(B, now), admission.free(C, now)), (1, 264, 132));
    assert_eq!(admission.take(B, 32, now).unwrap().len(), 32);
    drop((of_a, of_c));
}

#[test]
fn a_key_alone_has_all_places_until_another_one_asks_and_then_gives_way_as_its_sequences_end() {
    let (admission, now) = (Admission::new(2, 8), Instant::now());
    let mut of_a = admission.take(A, 10, now).unwrap();
    assert!(admission.take(B, 1, now).is_err());

    of_a.pop();

    assert!(admission.take(A, 1, now).is_err(), "the place is kept for the key that was refused");
    let of_b = admission.take(B, 1, now).unwrap();
    of_a.truncate(4);
    assert_eq!((admission.free(A, now), admission.free(B, now)), (1, 2));
    drop(of_b);
    assert_eq!(admission.free(A, now + ABOUT), 6, "it has not asked for two minutes");
}

#[test]
fn a_key_without_places_gets_the_last_one() {
    let (admission, now) = (Admission::new(2, 0), Instant::now());
    let _of_a = admission.take(A, 1, now).unwrap();

    let _of_b = admission.take(B, 1, now).unwrap();

    assert!(admission.take(A, 1, now).is_err());
}

#[test]
fn a_key_without_places_gets_a_request_of_many_sequences_beside_a_key_that_uses_its_share() {
    let (admission, now) = (Admission::new(16, 512), Instant::now());
    let mut of_a = admission.take(A, 264, now).unwrap();

    let of_b = admission.take(B, 256, now).unwrap();

    of_a.truncate(200);
    assert!(admission.take(A, 1, now).is_err(), "it gives way until it is within its share");
    assert_eq!(admission.take(C, 64, now).unwrap().len(), 64);
    drop(of_b);
}

#[test]
fn keys_that_are_no_longer_about_are_forgotten() {
    let (admission, now) = (Admission::new(4, 0), Instant::now());
    let _of_a = admission.take(A, 1, now).unwrap();
    (100..200).for_each(|key| drop(admission.take(key, 1, now)));

    drop(admission.take(B, 1, now + ABOUT));

    assert_eq!(lock(&admission.places).keys.keys().copied().collect::<Vec<_>>(), [A, B]);
}

#[test]
fn the_suggested_wait_is_the_missing_places_times_the_pace_within_bounds() {
    let now = Instant::now();
    let of = |pace_ms: u64, count| {
        let admission = paced(Admission::new(4, 0), Duration::from_millis(pace_ms));
        let _places = admission.take(A, 4, now).unwrap();
        wait(admission.take(A, count, now))
    };

    assert_eq!(of(2_500, 2), seconds(5));
    assert_eq!(of(10, 1), MIN_RETRY);
    assert_eq!(of(59_000, 1), seconds(59));
    assert_eq!(of(70_000, 2), seconds(50), "more than can be told");
}

#[test]
fn refused_requests_are_told_to_come_one_after_the_other() {
    let (admission, now) = (paced(Admission::new(1, 0), seconds(2)), Instant::now());
    let _place = admission.take(A, 1, now).unwrap();

    let waits: Vec<u64> = (0..80).map(|_| wait(admission.take(A, 1, now)).as_secs()).collect();

    assert_eq!(waits[..3], [2, 4, 6]);
    assert_eq!(waits[28..34], [58, 60, 32, 34, 36, 38], "over the second half of the longest wait");
    assert_eq!(wait(admission.take(B, 1, now)), seconds(4), "a key does not wait for all of another one");
    assert_eq!(wait(admission.take(A, 1, now + MAX_RETRY)), seconds(2), "all have come by then");
}

#[test]
fn a_crowd_that_comes_when_it_is_told_is_refused_about_once_each() {
    // 300 clients, room for 20, and a completion every half second: with one second for everybody, each of the 280 is
    // refused some 25 times in 30 s.
    let pace = Duration::from_millis(500);
    let (admission, start) = (paced(Admission::new(2, 18), pace), Instant::now());
    let mut arrivals: Vec<(Duration, u32)> = (0..300).map(|client| (Duration::ZERO, client)).collect();
    let (mut held, mut refused, mut completed) = (Vec::new(), 0, 0);
    for half_second in 0..60 {
        let at = pace * half_second;
        let due: Vec<_> = arrivals.extract_if(.., |(when, _)| *when <= at).collect();
        for (_, client) in due {
            match admission.take(A, 1, start + at) {
                Ok(places) => held.extend(places),
                Err(SubmitError::QueueFull { retry_after, .. }) => {
                    refused += 1;
                    arrivals.push((at + retry_after, client));
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert!(!held.is_empty(), "the server is idle after {at:?}");
        held.remove(0);
        completed += 1;
    }

    assert!(refused <= 350, "{refused} refusals");
    assert_eq!(completed, 60);
}

#[test]
fn the_pace_counts_completions_and_leaves_idle_time_out() {
    let start = Instant::now();
    let at = |number| start + seconds(number);
    let mut pace = Pace::default();
    let reading = |smoothed: Option<u64>, since: Option<u64>| PaceReading { smoothed: smoothed.map(seconds), since: since.map(at) };

    assert_eq!(pace.update(at(0), 0, 4), reading(None, Some(0)));
    assert_eq!(pace.update(at(4), 2, 2), reading(Some(2), Some(4)));
    assert_eq!(pace.update(at(8), 2, 0), reading(Some(2), None));
    // A hundred idle seconds later.
    assert_eq!(pace.update(at(108), 0, 1), reading(Some(2), Some(108)));
    assert_eq!(pace.update(at(110), 1, 0), reading(Some(2), None));
}

#[test]
fn a_long_silence_is_the_pace_to_expect() {
    let start = Instant::now();
    let reading = PaceReading { smoothed: Some(seconds(2)), since: Some(start) };

    assert_eq!((reading.present(start + seconds(1)), reading.present(start + seconds(9))), (seconds(2), seconds(9)));
    assert_eq!(PaceReading::default().present(start), seconds(1));
}

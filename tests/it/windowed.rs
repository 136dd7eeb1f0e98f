//! Windowed caches: some layers release positions that a sliding window has passed, so a slot can often be continued
//! only at its end. Texts stay the same, and the number of tokens computed again is bounded.
//!
//! The fake runner releases positions as early as it may, and panics when a released one is used.

use crate::support::driver::{Driver, Outcome, limits, prompt};
use crate::support::fake_runner::{Cost, FakeRunner, continuation, swap};
use llamero::engine::runner::{Limits, StepError, SwapLimits};
use llamero::protocol::Token;
use proptest::prelude::*;

const WINDOW: u32 = 40;

/// Limits with slots of 1024 positions, some layers with a window, and swap space for `parked` positions.
fn windowed(slots: u32, max_rows: u32, parked: u32) -> Limits {
    let swap = SwapLimits { window: WINDOW, passed_cell_bytes: 500, ..swap(parked) };
    Limits { windowed: true, swap, ..limits(slots, max_rows, 1024) }
}

fn driver(slots: u32, max_rows: u32, parked: u32) -> Driver {
    Driver::new(FakeRunner::new(windowed(slots, max_rows, parked)), 3.0)
}

/// A prompt with a common beginning of `common` tokens and a tail of its own.
fn sharing(common: u32, id: u32, tail: u32) -> Vec<Token> {
    [prompt(200, common), prompt(id, tail)].concat()
}

#[test]
fn the_next_turn_of_a_conversation_computes_only_what_is_new() {
    let mut driver = driver(2, 512, 0);
    let mut turn = prompt(1, 300);
    for id in 0..4 {
        driver.submit(id, &turn, 20, 0);
        driver.run(100);
        if id > 0 {
            assert_eq!(driver.cached(id), u32::try_from(turn.len()).unwrap() - 41, "the last token of the answer, and the question");
        }
        turn.extend(driver.tokens(id));
        turn.extend(prompt(90 + u32::try_from(id).unwrap(), 40));
    }
}

#[test]
fn more_conversations_than_slots_go_on_from_host_memory_however_long_they_are() {
    let mut driver = driver(1, 512, 20_000);
    let mut turns: Vec<Vec<Token>> = (0..4).map(|n| prompt(20 + n, 200)).collect();
    let mut id = 0;
    for round in 0..3 {
        for turn in &mut turns {
            let before = u32::try_from(turn.len()).unwrap();
            driver.submit(id, turn, 10, 0);
            driver.run(100);
            if round > 0 {
                assert_eq!(driver.cached(id), before - 91, "request {id} of round {round}");
            }
            turn.extend(driver.tokens(id));
            turn.extend(prompt(100 + round, 90));
            id += 1;
        }
    }
}

#[test]
fn prompts_in_flight_with_a_common_prefix_compute_it_once() {
    let cost = Cost { step: 4000, decode_row: 1000, prompt_row: 2000, mixed: 3000 };
    for (stagger, max_rows) in [(0, 512), (0, 64), (1, 128)] {
        let mut driver = Driver::new(FakeRunner::new(windowed(8, max_rows, 20_000)).cost(cost), 3.0);
        for id in 0..8 {
            driver.submit(id, &sharing(620, u32::try_from(id).unwrap(), 30), 32, 0);
            (0..stagger).for_each(|_| drop(driver.step()));
        }
        driver.run(2_000);

        let (distinct, computed) = (620 + 8 * 30, driver.scheduler.stats().totals.prefill_rows);
        // A leader that was past the prefix before any other request came has released it: one more request computes
        // it.
        assert!(computed <= distinct + 620 + 100, "{computed} rows for {distinct} tokens, stagger {stagger}, {max_rows} rows");
        for id in 0..8 {
            assert_eq!(driver.tokens(id), continuation(&sharing(620, u32::try_from(id).unwrap(), 30), 32), "request {id}");
        }
    }
}

#[test]
fn a_beginning_that_was_missed_once_is_found_from_then_on() {
    let mut driver = driver(2, 512, 20_000);
    for id in 0..5 {
        driver.submit(id, &sharing(300, u32::try_from(id).unwrap(), 100), 10, 0);
        driver.run(100);
    }

    let cached: Vec<u32> = (0..5).map(|id| driver.cached(id)).collect();
    // The first computes the prefix; the second finds that the first has released it, and saves it on its way.
    assert_eq!(cached, [0, 0, 300, 300, 300]);
    for id in 0..5 {
        assert_eq!(driver.tokens(id), continuation(&sharing(300, u32::try_from(id).unwrap(), 100), 10));
    }
}

#[test]
fn a_prompt_that_is_sent_again_is_found_the_third_time() {
    let mut driver = driver(1, 512, 20_000);
    for id in 0..3 {
        driver.submit(id, &prompt(1, 300), 60, 0);
        driver.run(200);
    }

    assert_eq!((0..3).map(|id| driver.cached(id)).collect::<Vec<_>>(), [0, 0, 299]);
}

#[test]
fn a_failed_step_is_computed_again_from_what_is_still_there() {
    for step in 1..12 {
        for error in [StepError::Decode { code: -3 }, StepError::NoKvSpace] {
            let runner = FakeRunner::new(windowed(3, 64, 5_000)).fail_step(step, error.clone());
            let mut driver = Driver::new(runner, 3.0);
            (0..3).for_each(|id| driver.submit(id, &prompt(u32::try_from(id).unwrap(), 150), 20, 0));
            driver.run(2_000);

            for id in 0..3 {
                let whole = continuation(&prompt(u32::try_from(id).unwrap(), 150), 20);
                assert_eq!((driver.outcome(id), driver.tokens(id)), (&Outcome::Finished, &whole[..]), "{error:?} in step {step}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn texts_are_those_of_a_full_cache_whatever_is_let_go_of(
        requests in proptest::collection::vec((0u64..2, 1u32..160, 0u32..60, 0u32..4), 1..25),
        slots in 1u32..6, parked in 0u32..1_500, lost in 0u64..4, draft in 0u32..9, forced in 0u32..5,
    ) {
        let mut driver = Driver::new(FakeRunner::new(windowed(slots, 48, parked)).lose_saves(lost), 3.0);
        (driver.draft, driver.forced) = (draft, forced);
        let prompts: Vec<Vec<Token>> = (0..).zip(&requests).map(|(id, (_, common, tail, _))| sharing(*common, id % 5, *tail)).collect();
        for (id, ((namespace, _, _, pause), prompt)) in (0..).zip(requests.iter().zip(&prompts)) {
            driver.submit(id, prompt, 12, *namespace);
            (0..*pause).for_each(|_| drop(driver.step()));
        }
        driver.run(5_000);

        for (id, prompt) in (0..).zip(&prompts) {
            prop_assert_eq!(driver.tokens(id), continuation(prompt, 12), "request {}", id);
        }
        driver.assert_idle();
    }
}

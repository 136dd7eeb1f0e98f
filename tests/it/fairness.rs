//! No sequence starves, running streams keep their pace, and a cancelled sequence is gone within one step.

use crate::support::driver::{Driver, Outcome, limits, prompt};
use crate::support::fake_runner::{Cost, FakeRunner, continuation, shape};
use llamero::engine::runner::Limits;
use llamero::protocol::SequenceId;
use proptest::prelude::*;
use std::collections::BTreeSet;

const COST: Cost = Cost { step: 4000, decode_row: 1000, prompt_row: 2000, mixed: 3000 };
const RATIO: f32 = 3.0;

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_running_stream_gets_a_row_in_every_step(
        requests in proptest::collection::vec((1u32..150, 1u32..40, 0u32..4), 1..25),
        slots in 1u32..8, more_rows in 0u32..60, kv_share in 1u32..4, tile in 1u32..33,
    ) {
        let limits = Limits { kv_cells: (slots * 200 / kv_share).max(200), tile, ..limits(slots, slots + more_rows, 200) };
        let mut driver = Driver::new(FakeRunner::new(limits).cost(COST), RATIO);
        let mut requests = (0u64..).zip(requests).peekable();
        let mut streaming: BTreeSet<SequenceId> = BTreeSet::new();
        loop {
            if let Some((id, (len, max_tokens, pause))) = requests.next() {
                driver.submit(id, &prompt(u32::try_from(id).unwrap(), len), max_tokens, 0);
                if pause > 0 && requests.peek().is_some() {
                    continue;
                }
            }
            let preempted = driver.scheduler.stats().totals.preemptions;
            let Some(executed) = driver.step() else { break };
            let rows: BTreeSet<SequenceId> = executed.rows.iter().map(|row| row.seq).collect();
            let left_out = streaming.difference(&rows).count();
            let preempted = driver.scheduler.stats().totals.preemptions - preempted;
            prop_assert!(u64::try_from(left_out).unwrap() <= preempted, "{} left out of {:?}", left_out, executed);
            let sampled = executed.rows.iter().filter(|row| row.sample).map(|row| row.seq);
            streaming = sampled.filter(|id| *driver.outcome(id.0) == Outcome::Live).collect();
        }
        driver.assert_idle();
    }

    #[test]
    fn prompt_rows_stay_within_the_budget_that_the_measured_times_allow(
        streams in 1u32..8, step in 1000u32..20_000, decode_row in 0u32..3000, prompt_row in 100u32..4000, graph in 0.5f32..1.5, ratio in 1.5f32..5.0,
    ) {
        // Beside decode rows, chunks are graphs of their own, about as expensive as a step without any row.
        let mixed = (step as f32 * graph) as u32;
        let cost = Cost { step, decode_row, prompt_row, mixed };
        let mut driver = Driver::new(FakeRunner::new(limits(12, 256, 8192)).cost(cost), ratio);
        for id in 0..u64::from(streams) {
            driver.submit(id, &prompt(u32::try_from(id).unwrap(), 3), 8_000, 0);
        }
        for _ in 0..5 {
            driver.step();
        }
        driver.submit(100, &prompt(100, 8000), 1, 0);
        driver.submit(101, &prompt(101, 8000), 1, 0);

        let mut over = Vec::new();
        while driver.requests.range(SequenceId(100)..).any(|(_, request)| request.outcome == Outcome::Live) {
            let executed = driver.step().unwrap();
            let (decode, prompt) = shape(&executed);
            if decode == 0 || prompt <= 4 {
                continue;
            }
            let pure = cost.of(decode, 0).as_secs_f64();
            let share = (pure * f64::from(ratio - 1.0)).max(0.06 - pure);
            let both_wait = (1.0 + 1.0 / f64::from(decode)).powi(2);
            let burst = (19.0 * pure).clamp(0.25, 2.0).max(share);
            // A tile, and rows at 85 % of the highest rate, are always allowed.
            let (fixed, tile) = (f64::from(mixed) / 1e6, 32.0 * f64::from(prompt_row) / 1e6);
            let least = fixed + (5.67 * fixed).max(tile).min(burst);
            let allowed = pure + (share * both_wait).min(burst).max(least);
            over.push(cost.of(decode, prompt).as_secs_f64() / allowed);
        }
        // The scheduler learns gradually, and again whenever the number of streams changes.
        let too_long = over.iter().filter(|over| **over > 1.3).count();
        prop_assert!(too_long <= 12 + over.len() / 50, "{} of {} steps too long: {:?}", too_long, over.len(), over);
        prop_assert!(over.iter().skip(12).all(|over| *over < 2.0), "{:?}", over);
    }

    #[test]
    fn a_sequence_cancelled_in_any_phase_is_gone_from_the_next_step_and_disturbs_nobody(
        cancelled in proptest::collection::vec((0u64..12, 0usize..60, any::<bool>()), 1..8), slots in 1u32..6,
    ) {
        let mut driver = Driver::new(FakeRunner::new(limits(slots, 24, 200)).cost(COST), RATIO);
        let text = |id: u64| {
            let mut tokens = prompt(150, 40 * u32::try_from(id % 3).unwrap());
            tokens.extend(prompt(u32::try_from(id).unwrap(), 30));
            tokens
        };
        for id in 0..12 {
            driver.submit(id, &text(id), 20, 0);
        }
        for step in 0.. {
            let now = |in_flight: bool| cancelled.iter().filter(move |(_, at, how)| *at == step && *how == in_flight).map(|(id, ..)| *id);
            now(false).for_each(|id| driver.cancel(id));
            // The driver asserts that no later step has a row of a cancelled sequence.
            if driver.step_cancelling(&now(true).collect::<Vec<_>>()).is_none() {
                break;
            }
        }

        driver.assert_idle();
        for id in 0..12 {
            let expected = continuation(&text(id), 20);
            if *driver.outcome(id) == Outcome::Finished {
                prop_assert_eq!(driver.tokens(id), &expected[..], "request {}", id);
            } else {
                prop_assert_eq!(driver.outcome(id), &Outcome::Cancelled);
                prop_assert!(expected.starts_with(driver.tokens(id)), "request {}", id);
            }
        }
    }
}

#[test]
fn sequences_start_in_the_order_of_their_arrival() {
    let mut driver = Driver::new(FakeRunner::new(limits(3, 16, 200)).cost(COST), RATIO);
    for id in 0..20 {
        driver.submit(id, &prompt(u32::try_from(id).unwrap(), 10 + 37 * u32::try_from(id % 4).unwrap()), 10, 0);
    }

    driver.run(2_000);

    let starts: Vec<u64> = driver.requests.values().map(|request| request.started.unwrap().0).collect();
    assert!(starts.is_sorted(), "{starts:?}");
}

#[test]
fn a_long_prompt_is_not_kept_waiting_by_short_ones_behind_it() {
    // 150 positions in 200 cells: shorter prompts, which fit beside the others, must not overtake this one for ever.
    let narrow = Limits { kv_cells: 200, ..limits(4, 32, 200) };
    let mut driver = Driver::new(FakeRunner::new(narrow).cost(COST), RATIO);
    for id in 0..4 {
        driver.submit(id, &prompt(u32::try_from(id).unwrap(), 40), 8, 0);
    }
    driver.step();
    driver.submit(50, &prompt(50, 150), 5, 0);
    for id in 100..140 {
        driver.submit(id, &prompt(u32::try_from(id).unwrap(), 5), 20, 0);
    }

    driver.run(2_000);

    let start = |id| driver.requests[&SequenceId(id)].started.unwrap().0;
    assert!(start(50) < start(100), "started at {} and {}", start(50), start(100));
}

#[test]
fn a_sequence_that_is_held_back_starts_however_leaders_come_and_go() {
    let mut driver = Driver::new(FakeRunner::new(limits(8, 64, 4096)).cost(COST), RATIO);
    driver.submit(0, &prompt(9, 3000), 4, 0);
    driver.submit(1, &prompt(9, 3001), 4, 0);
    // Each leader is cancelled before it is finished, and the next one has been submitted already.
    let mut next = 2;
    while driver.requests[&SequenceId(1)].started.is_none() {
        driver.step();
        let leader = if next == 2 { 0 } else { next - 1 };
        driver.submit(next, &prompt(9, 3002 + u32::try_from(next).unwrap()), 4, 0);
        driver.step();
        driver.cancel(leader);
        next += 1;
        assert!(next < 40, "starved");
    }
}

#[test]
fn a_short_request_of_another_key_waits_for_one_end_and_not_for_all_long_requests_before_it() {
    let (a, b) = (1, 2);
    let mut driver = Driver::new(FakeRunner::new(limits(2, 64, 400)).cost(COST), RATIO);
    for id in 0..16 {
        driver.submit(id, &prompt(u32::try_from(id).unwrap(), 40), 60 + 5 * u32::try_from(id).unwrap(), a);
    }
    for _ in 0..5 {
        driver.step();
    }
    driver.submit(100, &prompt(100, 10), 3, b);

    driver.run(5_000);

    let start = |id| driver.requests[&SequenceId(id)].started.unwrap().0;
    let started_before = (0..16).filter(|id| start(*id) < start(100)).count();
    assert_eq!(started_before, 2, "only those that had the two slots when it came");
    driver.assert_idle();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 80, failure_persistence: None, ..ProptestConfig::default() })]

    /// A key that comes with few requests waits for about as many of another key, however many that has sent before.
    #[test]
    fn a_key_is_done_after_its_own_share_of_the_work(own in 1u32..5, others in 5u32..30, slots in 1u32..5) {
        let mut driver = Driver::new(FakeRunner::new(limits(slots, 64, 200)).cost(COST), RATIO);
        for id in 0..others {
            driver.submit(id.into(), &prompt(id, 10), 20, 1);
        }
        driver.step();
        for id in 100..100 + own {
            driver.submit(id.into(), &prompt(id, 10), 20, 2);
        }

        driver.run(5_000);

        let start = |id: u32| driver.requests[&SequenceId(id.into())].started.unwrap().0;
        let last = (100..100 + own).map(start).max().unwrap();
        let passed = (0..others).filter(|id| start(*id) < last).count();
        // Those that ran before, then turn by turn.
        prop_assert!(passed <= usize::try_from(slots + own).unwrap(), "{} of {} passed {}", passed, others, own);
        driver.assert_idle();
    }
}

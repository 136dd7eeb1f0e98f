//! The tokens of a request do not depend on other requests, its chunks, the cache, preemption or failed steps.
//!
//! The oracle is computed from the prompt alone, without a scheduler.

use crate::support::driver::{Driver, Outcome, limits, prompt};
use crate::support::fake_runner::{Cost, FakeRunner, RARE, continuation, swap};
use llamero::engine::runner::{Limits, StepError};
use llamero::protocol::{GenerationError, Token};
use proptest::prelude::*;

/// One request of a scenario.
#[derive(Debug, Clone)]
struct Arrival {
    /// Step before which the request is submitted.
    at: u64,
    /// Prompts of one group have a common beginning.
    group: u32,
    common: u32,
    tail: u32,
    max_tokens: u32,
    namespace: u64,
}

impl Arrival {
    fn prompt(&self, id: u64) -> Vec<Token> {
        let mut tokens = prompt(self.group, self.common);
        tokens.extend(prompt(10 + u32::try_from(id).unwrap(), self.tail));
        tokens
    }
}

/// A machine, its load and its faults.
#[derive(Debug, Clone)]
struct Scenario {
    limits: Limits,
    cost: Cost,
    ratio: f32,
    arrivals: Vec<Arrival>,
    /// Steps that fail; true if they fail for lack of cells.
    faults: Vec<(u64, bool)>,
    /// Number of promised cells that the runner lacks, if the others are enough for one sequence.
    missing_cells: u32,
    /// Number of tokens after every third one that are known before they are computed.
    forced: u32,
    /// Maximum number of tokens guessed ahead of each sequence.
    draft: u32,
    /// True if drafts come from a draft model, so that those that fail pause.
    drafts_cost_time: bool,
    /// Interval of contents that cannot be saved to host memory: every n-th one; 0 for none.
    lost_saves: u64,
}

const MAX_LEN: u32 = 260;

fn arrivals() -> impl Strategy<Value = Vec<Arrival>> {
    let arrival = (0u64..60, 0u32..3, prop_oneof![Just(0u32), 1u32..60, Just(150)], 1u32..80, 1u32..28, 0u64..2)
        .prop_map(|(at, group, common, tail, max_tokens, namespace)| Arrival { at, group, common, tail, max_tokens, namespace });
    proptest::collection::vec(arrival, 1..31)
}

fn scenarios() -> impl Strategy<Value = Scenario> {
    let parked = prop_oneof![Just(0u32), 60u32..2000];
    let machine = (1u32..9, 0u32..64, prop_oneof![Just(100u32), 0u32..100], prop::bool::weighted(0.75), parked, 1u32..33).prop_map(
        |(slots, more_rows, full, can_truncate, parked, tile)| {
            let spare = (slots - 1) * MAX_LEN * full / 100;
            let kv_cells = MAX_LEN + spare;
            Limits { kv_cells, can_truncate, tile, swap: swap(parked), ..limits(slots, slots + more_rows, MAX_LEN) }
        },
    );
    let cost = (0u32..5000, 0u32..2000, 0u32..3000, 0u32..5000).prop_map(|(step, decode_row, prompt_row, mixed)| Cost {
        step,
        decode_row,
        prompt_row,
        mixed,
    });
    let faults = proptest::collection::vec((0u64..150, any::<bool>()), 0..5);
    let ahead = (prop_oneof![2 => Just(0u32), 1 => 1u32..12], prop_oneof![1 => Just(0u32), 1 => 1u32..12], any::<bool>());
    let lost_saves = prop_oneof![3 => Just(0u64), 1 => 1u64..5];
    (machine, cost, 1.0f32..5.0, arrivals(), faults, prop_oneof![3 => Just(0u32), 1 => 0u32..200], ahead, lost_saves).prop_map(
        |(limits, cost, ratio, arrivals, faults, missing_cells, (forced, draft, drafts_cost_time), lost_saves)| Scenario {
            limits,
            cost,
            ratio,
            arrivals,
            faults,
            missing_cells,
            forced,
            draft,
            drafts_cost_time,
            lost_saves,
        },
    )
}

impl Scenario {
    fn runner(&self) -> FakeRunner {
        let cells = self.limits.kv_cells.saturating_sub(self.missing_cells).max(MAX_LEN);
        let runner = FakeRunner::new(self.limits).cost(self.cost).hidden_cells(cells).lose_saves(self.lost_saves);
        self.faults.iter().fold(runner, |runner, (step, room)| {
            runner.fail_step(*step, if *room { StepError::NoKvSpace } else { StepError::Decode { code: -1 } })
        })
    }

    /// Runs the scenario to its end and returns the driver, idle.
    fn run(&self, runner: FakeRunner) -> Driver {
        let mut driver = Driver { forced: self.forced, draft: self.draft, ..Driver::new(runner, self.ratio) };
        if self.drafts_cost_time {
            driver = driver.with_draft_model();
        }
        let work: u32 = self.arrivals.iter().map(|a| a.common + a.tail + a.max_tokens).sum();
        let bound = 500 + 10 * usize::try_from(work).unwrap();
        let mut pending: Vec<(u64, &Arrival)> = (0..).zip(&self.arrivals).collect();
        pending.sort_by_key(|(_, arrival)| arrival.at);
        let mut steps = 0;
        loop {
            // If the engine is idle, the next request arrives now, so that the test goes on.
            let idle = driver.scheduler.stats().gauges.running + driver.scheduler.stats().gauges.waiting == 0;
            let due = pending.partition_point(|(_, arrival)| arrival.at <= driver.runner.steps());
            for (id, arrival) in pending.drain(..due.max(usize::from(idle && !pending.is_empty()))) {
                driver.submit(id, &arrival.prompt(id), arrival.max_tokens, arrival.namespace);
            }
            if driver.step().is_none() {
                assert!(pending.is_empty(), "nothing was planned though {} wait", pending.len());
                driver.assert_idle();
                return driver;
            }
            steps += 1;
            assert!(steps <= bound, "not done after {bound} steps: {:?}", driver.scheduler.stats());
        }
    }

    fn expected(&self, id: u64) -> Vec<Token> {
        let arrival = &self.arrivals[usize::try_from(id).unwrap()];
        continuation(&arrival.prompt(id), arrival.max_tokens)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 160, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_request_gets_the_tokens_of_its_prompt_in_any_company(scenario in scenarios()) {
        let driver = scenario.run(scenario.runner());

        let mut failed = 0;
        for id in 0..u64::try_from(scenario.arrivals.len()).unwrap() {
            let expected = scenario.expected(id);
            match driver.outcome(id) {
                Outcome::Finished => prop_assert_eq!(driver.tokens(id), &expected[..], "request {}", id),
                Outcome::Failed(_) => {
                    failed += 1;
                    prop_assert!(expected.starts_with(driver.tokens(id)), "request {}", id);
                }
                other => prop_assert!(false, "request {} is {:?}", id, other),
            }
        }
        // Only a fault that hits a sequence while it runs alone can end it.
        prop_assert!(failed <= scenario.faults.len(), "{} failed", failed);
    }

    #[test]
    fn less_room_than_promised_fails_nobody(scenario in scenarios(), missing in 1u32..2000) {
        let scenario = Scenario { missing_cells: missing, faults: Vec::new(), ..scenario };

        let driver = scenario.run(scenario.runner());

        for id in 0..u64::try_from(scenario.arrivals.len()).unwrap() {
            prop_assert_eq!(driver.outcome(id), &Outcome::Finished, "request {}", id);
            prop_assert_eq!(driver.tokens(id), &scenario.expected(id)[..], "request {}", id);
        }
    }

    #[test]
    fn only_the_guilty_sequence_of_a_failing_step_fails(scenario in scenarios(), guilty in any::<prop::sample::Index>(), at in 0u32..300) {
        let scenario = Scenario { faults: Vec::new(), missing_cells: 0, ..scenario };
        let guilty = u64::try_from(guilty.index(scenario.arrivals.len())).unwrap();
        let (forced, draft) = (scenario.forced, scenario.draft);
        let mut driver = Driver { forced, draft, ..Driver::new(scenario.runner().poison(RARE), scenario.ratio) };

        for (id, arrival) in (0..).zip(&scenario.arrivals) {
            let mut tokens = arrival.prompt(id);
            if id == guilty {
                let at = usize::try_from(at).unwrap() % tokens.len();
                tokens[at] = RARE;
            }
            driver.submit(id, &tokens, arrival.max_tokens, arrival.namespace);
        }
        driver.run(20_000);

        driver.assert_idle();
        for id in 0..u64::try_from(scenario.arrivals.len()).unwrap() {
            if id == guilty {
                prop_assert_eq!(driver.outcome(id), &Outcome::Failed(GenerationError::Decode { code: -3 }));
            } else {
                prop_assert_eq!(driver.outcome(id), &Outcome::Finished, "request {}", id);
                prop_assert_eq!(driver.tokens(id), &scenario.expected(id)[..], "request {}", id);
            }
        }
    }
}

#[test]
fn a_request_alone_and_among_thirty_others_gets_the_same_tokens() {
    let run = |others: u64| {
        let mut driver = Driver::new(FakeRunner::new(limits(16, 64, 400)), 3.0);
        for id in 1..=others {
            driver.submit(id, &prompt(u32::try_from(id).unwrap(), 90), 40, 0);
        }
        driver.submit(0, &prompt(0, 120), 200, 0);
        driver.run(2_000);
        driver.tokens(0).to_vec()
    };

    let alone = run(0);

    assert_eq!(alone, continuation(&prompt(0, 120), 200));
    assert_eq!(run(30), alone);
}

#[test]
fn preempted_sequences_go_on_as_if_nothing_had_happened() {
    // Four sequences of up to 100 positions in 220 cells.
    let narrow = Limits { kv_cells: 220, ..limits(4, 256, 100) };
    let mut driver = Driver::new(FakeRunner::new(narrow), 3.0);
    for id in 0..4 {
        driver.submit(id, &prompt(u32::try_from(id).unwrap() + 40, 50), 50, 0);
    }

    driver.run(2_000);

    driver.assert_idle();
    assert!(driver.scheduler.stats().totals.preemptions > 0);
    for id in 0..4 {
        assert_eq!(driver.tokens(id), continuation(&prompt(u32::try_from(id).unwrap() + 40, 50), 50), "request {id}");
    }
}

#[test]
fn preempted_sequences_are_loaded_from_host_memory_and_go_on() {
    // Four sequences of up to 180 positions in 400 cells.
    let narrow = Limits { kv_cells: 400, swap: swap(1000), ..limits(4, 256, 180) };
    let run = |runner: FakeRunner| {
        let mut driver = Driver::new(runner, 3.0);
        for id in 0..4 {
            driver.submit(id, &prompt(u32::try_from(id).unwrap() + 40, 90), 90, 0);
        }
        driver.run(2_000);
        driver.assert_idle();
        for id in 0..4 {
            assert_eq!(driver.tokens(id), continuation(&prompt(u32::try_from(id).unwrap() + 40, 90), 90), "request {id}");
        }
        driver.scheduler.stats()
    };

    let with = run(FakeRunner::new(narrow));
    let unsaved = run(FakeRunner::new(narrow).lose_saves(1));
    let without = run(FakeRunner::new(Limits { swap: swap(0), ..narrow }));

    assert!(with.totals.preemptions > 0 && with.totals.loaded_tokens > 0, "{with:?}");
    assert!(with.totals.prefill_rows < without.totals.prefill_rows, "{with:?} against {without:?}");
    assert!(unsaved.totals.prefill_rows > with.totals.prefill_rows, "{unsaved:?} against {with:?}");
}

#[test]
fn a_step_that_fails_once_costs_nobody_a_token() {
    for error in [StepError::Decode { code: 2 }, StepError::NoKvSpace] {
        for step in 0..12 {
            let runner = FakeRunner::new(limits(4, 16, 100)).fail_step(step, error.clone());
            let mut driver = Driver::new(runner, 3.0);
            for id in 0..4 {
                driver.submit(id, &prompt(u32::try_from(id).unwrap(), 20), 12, 0);
            }

            driver.run(500);

            driver.assert_idle();
            for id in 0..4 {
                let expected = continuation(&prompt(u32::try_from(id).unwrap(), 20), 12);
                assert_eq!(driver.tokens(id), expected, "request {id}, step {step}: {error}");
            }
        }
    }
}

#[test]
fn a_sequence_that_finds_no_room_even_alone_fails_and_the_next_one_is_served() {
    let runner = FakeRunner::new(limits(2, 32, 100)).hidden_cells(40);
    let mut driver = Driver::new(runner, 3.0);
    driver.submit(0, &prompt(1, 60), 5, 0);
    driver.submit(1, &prompt(2, 20), 5, 0);

    driver.run(100);

    driver.assert_idle();
    assert_eq!(driver.outcome(0), &Outcome::Failed(GenerationError::KvExhausted));
    assert_eq!(driver.tokens(1), continuation(&prompt(2, 20), 5));
}

#[test]
fn drafts_right_or_wrong_change_no_token_and_save_steps_where_they_are_right() {
    let run = |draft: u32| {
        let cost = Cost { step: 5000, decode_row: 100, prompt_row: 100, mixed: 0 };
        let mut driver = Driver { draft, ..Driver::new(FakeRunner::new(limits(4, 64, 400)).cost(cost), 3.0) };
        for id in 0..3 {
            driver.submit(id, &prompt(u32::try_from(id).unwrap() + 70, 20), 300, 0);
        }
        let steps = driver.run(2_000).len();
        for id in 0..3 {
            assert_eq!(driver.tokens(id), continuation(&prompt(u32::try_from(id).unwrap() + 70, 20), 300), "request {id}");
        }
        (steps, driver.scheduler.stats())
    };

    let (alone, without) = run(0);
    let (fewer, stats) = run(6);

    assert_eq!((without.totals.draft_rows, without.totals.drafts_accepted), (0, 0));
    assert!(0 < stats.totals.drafts_accepted && stats.totals.drafts_accepted < stats.totals.draft_rows, "{stats:?}");
    assert!(fewer < alone, "{fewer} steps instead of {alone}");
}

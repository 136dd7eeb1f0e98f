//! A request gets what its forecast says, and a forecast changes nothing.

use super::*;
use crate::protocol::{Forecast, Prospect};

fn forecast_for(bench: &Bench, prompts: &[&[Token]], choices: u32) -> Forecast {
    let prompts = prompts.iter().map(|prompt| prompt.to_vec()).collect();
    bench.0.forecast(&Prospect { prompts, choices, namespace: 0, scored: false })
}

/// Submits a sequence, and returns the number of tokens that the cache supplied.
fn cached(bench: &mut Bench, id: u64, prompt: &[Token]) -> u32 {
    bench.submit(id, prompt);
    bench.plan();
    bench.0.take_started().into_iter().find(|(started, _)| *started == SequenceId(id)).map(|(_, cached)| cached).unwrap()
}

#[test]
fn the_cached_tokens_of_a_forecast_are_those_that_the_request_then_gets() {
    let long = text(1, 100);
    let prompts = [
        long.clone(),
        joined(&[&long[..80], &text(2, 10)]),
        // The common beginning is too short to be worth a copy.
        joined(&[&long[..20], &text(3, 50)]),
        text(4, 30),
        long[..50].to_vec(),
    ];
    for prompt in prompts {
        let mut bench = Bench::new(limits(2, 256, 200));
        bench.compute_and_finish(1, &long);
        bench.0.take_started();

        let cached_tokens = forecast_for(&bench, &[&prompt], 1).cached_tokens;

        assert_eq!(cached_tokens, [cached(&mut bench, 2, &prompt)], "{prompt:?}");
    }
}

#[test]
fn a_prefix_in_another_slot_is_in_the_forecast_when_it_is_worth_a_copy() {
    for common in [31, 32, 60] {
        let mut bench = Bench::new(limits(2, 256, 200));
        let (running, prompt) = (text(1, 80), joined(&[&text(1, 80)[..common], &text(2, 10)]));
        bench.submit(1, &running);
        bench.step(&[]);
        bench.0.take_started();

        let cached_tokens = forecast_for(&bench, &[&prompt], 1).cached_tokens;

        assert_eq!(cached_tokens, [cached(&mut bench, 2, &prompt)], "{common}");
    }
}

#[test]
fn the_forecast_for_another_namespace_finds_nothing() {
    let mut bench = Bench::new(limits(2, 256, 200));
    bench.compute_and_finish(1, &text(1, 100));

    let forecast = bench.0.forecast(&Prospect { prompts: vec![text(1, 100)], choices: 1, namespace: 7, scored: false });

    assert_eq!(forecast.cached_tokens, [0]);
}

#[test]
fn a_prompt_whose_log_probabilities_are_wanted_is_computed_in_full() {
    let mut bench = Bench::new(limits(2, 256, 200));
    bench.compute_and_finish(1, &text(1, 100));

    let forecast = bench.0.forecast(&Prospect { prompts: vec![text(1, 100)], choices: 1, namespace: 0, scored: true });

    assert_eq!(forecast.cached_tokens, [0]);
}

#[test]
fn a_forecast_changes_nothing() {
    let mut bench = Bench::new(limits(2, 16, 200));
    bench.compute_and_finish(1, &text(1, 100));
    bench.submit(2, &text(2, 50));
    bench.step(&[]);
    bench.submit(3, &text(3, 50));
    let before = format!("{:?}", bench.0.cache.slots);

    forecast_for(&bench, &[&text(1, 100), &text(5, 60)], 3);

    assert_eq!(format!("{:?}", bench.0.cache.slots), before);
    assert_eq!((bench.0.queue.len(), bench.0.running.len()), (1, 1));
    assert_eq!(bench.0.check_invariants(), Ok(()));
}

#[test]
fn rows_of_those_before_are_counted_and_nothing_is_timed_before_it_was_measured() {
    let mut bench = Bench::new(limits(2, 16, 200));
    let unmeasured = forecast_for(&bench, &[&text(1, 40)], 1);
    assert_eq!((unmeasured.rows_ahead, unmeasured.first_prompt_seconds, unmeasured.step_seconds), (0, None, None));

    bench.submit(1, &text(1, 40));
    bench.step(&[]);
    bench.submit(2, &text(2, 30));
    bench.submit(3, &text(3, 7));
    let forecast = forecast_for(&bench, &[&text(4, 20)], 2);

    assert_eq!((forecast.running, forecast.waiting, forecast.slots), (1, 2, 2));
    assert_eq!(forecast.rows_ahead, (40 - 16) + 30 + 7);
    assert!(forecast.first_prompt_seconds < forecast.prompts_seconds, "the second choice computes its last token: {forecast:?}");
}

#[test]
fn an_idle_engine_computes_a_prompt_at_the_measured_rate_and_then_a_token_a_step() {
    let mut bench = Bench::new(limits(2, 10, 500));
    bench.submit(1, &text(1, 100));
    // Ten steps of ten rows take 10 ms each; decode steps then take as long.
    for _ in 0..10 {
        bench.step(&[]);
    }
    bench.step(&[]);
    bench.step(&[1]);

    let forecast = forecast_for(&bench, &[&text(2, 200)], 1);

    let prompt = forecast.first_prompt_seconds.unwrap();
    assert!((prompt - 0.2).abs() < 0.01, "20 steps of 10 ms: {prompt}");
    assert_eq!(forecast.step_seconds, Some(0.01));
}

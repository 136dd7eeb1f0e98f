//! Tokens that were computed are not computed again, by the callers that may share them, and for no others.

use crate::support::driver::{Driver, Outcome, limits, prompt};
use crate::support::fake_runner::{Cost, FakeRunner, continuation, swap};
use llamero::engine::{
    runner::{KvOp, Limits, ModelRunner, Parked, ParkedState, Slot},
    scheduler::ParkedContent,
};
use llamero::protocol::Token;
use proptest::prelude::*;
use std::{sync::Arc, time::Duration};

/// A prompt with a common beginning of `common` tokens and a tail of its own.
fn sharing(common: u32, id: u64, tail: u32) -> Vec<Token> {
    let mut tokens = prompt(200, common);
    tokens.extend(prompt(u32::try_from(id).unwrap(), tail));
    tokens
}

fn driver(slots: u32, max_rows: u32) -> Driver {
    let cost = Cost { step: 4000, decode_row: 1000, prompt_row: 2000, mixed: 3000 };
    Driver::new(FakeRunner::new(limits(slots, max_rows, 1024)).cost(cost), 3.0)
}

#[test]
fn prompts_in_flight_with_a_common_prefix_compute_it_once() {
    for (stagger, max_rows) in [(0, 512), (0, 64), (1, 128), (3, 64)] {
        let mut driver = driver(8, max_rows);
        for id in 0..8 {
            driver.submit(id, &sharing(620, id, 30), 32, 0);
            for _ in 0..stagger {
                driver.step();
            }
        }
        driver.run(2_000);

        let distinct = 620 + 8 * 30;
        let computed = driver.scheduler.stats().totals.prefill_rows;
        assert!(computed * 100 <= distinct * 115, "{computed} rows for {distinct} tokens, stagger {stagger}, {max_rows} rows");
        for id in 0..8 {
            assert_eq!(driver.tokens(id), continuation(&sharing(620, id, 30), 32), "request {id}");
        }
    }
}

#[test]
fn a_follower_goes_on_by_itself_when_its_leader_is_cancelled() {
    let mut driver = driver(4, 64);
    driver.submit(0, &sharing(620, 0, 30), 8, 0);
    driver.submit(1, &sharing(620, 1, 30), 8, 0);
    driver.step();
    driver.step();
    assert_eq!(driver.scheduler.stats().gauges.waiting, 1, "the second waits for the first");

    driver.cancel(0);
    driver.run(500);

    assert_eq!(driver.cached(1), 128, "what the first had computed");
    assert_eq!(driver.tokens(1), continuation(&sharing(620, 1, 30), 8));
}

#[test]
fn others_pass_a_sequence_that_is_held_back() {
    let mut driver = driver(4, 64);
    // The eighth step computes 54 tokens of the first prompt and has room for ten more.
    driver.submit(0, &sharing(500, 0, 2), 8, 0);
    driver.submit(1, &sharing(500, 1, 30), 8, 0);
    driver.submit(2, &prompt(7, 10), 8, 0);
    for _ in 0..8 {
        driver.step();
    }

    assert_eq!(driver.scheduler.stats().gauges.waiting, 1);
    assert!(driver.requests[&llamero::protocol::SequenceId(2)].started.is_some());
    driver.run(500);
    assert!(driver.cached(1) >= 500);
}

#[test]
fn the_next_turn_of_a_conversation_computes_only_what_is_new() {
    let mut driver = driver(4, 512);
    driver.submit(0, &prompt(1, 300), 20, 0);
    driver.run(100);

    let mut turn = prompt(1, 300);
    turn.extend(driver.tokens(0));
    let held = u32::try_from(turn.len()).unwrap() - 1;
    turn.extend(prompt(2, 40));
    driver.submit(1, &turn, 20, 0);
    driver.run(100);

    assert_eq!(driver.cached(1), held, "the last token of the answer was never computed");
    assert_eq!(driver.tokens(1), continuation(&turn, 20));
}

#[test]
fn conversations_that_take_turns_keep_their_caches_though_each_uses_the_lowest_slot() {
    let mut driver = driver(4, 512);
    let mut turns: Vec<Vec<Token>> = (0..3).map(|n| prompt(20 + n, 200)).collect();
    let mut id = 0;
    for round in 0..4 {
        for turn in &mut turns {
            let before = u32::try_from(turn.len()).unwrap();
            driver.submit(id, turn, 10, 0);
            let steps = driver.run(100);

            assert!(steps.iter().flat_map(|step| &step.rows).all(|row| row.slot == Slot(0)), "active slots stay packed");
            if round > 0 {
                assert_eq!(driver.cached(id), before - 31, "request {id} of round {round}");
            }
            // Thirty-one tokens are new each time: the last sampled one and thirty of the user's.
            turn.extend(driver.tokens(id));
            turn.extend(prompt(100 + round, 30));
            id += 1;
        }
    }
}

#[test]
fn more_conversations_than_slots_keep_their_caches_in_host_memory() {
    for can_truncate in [true, false] {
        let two = Limits { can_truncate, swap: swap(20_000), ..limits(2, 512, 1024) };
        let mut driver = Driver::new(FakeRunner::new(two), 3.0);
        let mut turns: Vec<Vec<Token>> = (0..6).map(|n| prompt(20 + n, 200)).collect();
        let mut id = 0;
        for round in 0..4 {
            for turn in &mut turns {
                let before = u32::try_from(turn.len()).unwrap();
                driver.submit(id, turn, 10, 0);
                driver.run(100);
                if round > 0 {
                    assert_eq!(driver.cached(id), before - 91, "request {id} of round {round}, can_truncate {can_truncate}");
                }
                assert_eq!(driver.tokens(id), continuation(turn, 10));
                turn.extend(driver.tokens(id));
                // This growth is large enough to be worth saving.
                turn.extend(prompt(100 + round, 90));
                id += 1;
            }
        }
    }
}

#[test]
fn a_prompt_that_is_cached_entirely_still_computes_its_last_token() {
    let mut driver = driver(2, 64);
    driver.submit(0, &prompt(1, 100), 5, 0);
    driver.run(100);

    driver.submit(1, &prompt(1, 100), 5, 0);
    driver.run(100);

    assert_eq!(driver.cached(1), 99);
    assert_eq!(driver.tokens(1), driver.tokens(0));
}

#[test]
fn a_cancelled_sequence_leaves_its_computed_tokens_as_cache() {
    let mut driver = driver(2, 64);
    driver.submit(0, &prompt(1, 200), 5, 0);
    driver.step();
    driver.step_cancelling(&[0]);

    driver.submit(1, &prompt(1, 200), 5, 0);
    driver.run(100);

    assert_eq!(driver.cached(1), 128);
    assert_eq!(driver.tokens(1), continuation(&prompt(1, 200), 5));
}

#[test]
fn a_model_that_cannot_be_cut_reuses_whole_slots_only() {
    let whole = Limits { can_truncate: false, ..limits(3, 64, 512) };
    let mut driver = Driver::new(FakeRunner::new(whole), 3.0);
    driver.submit(0, &prompt(1, 100), 10, 0);
    driver.run(100);
    let mut turn = prompt(1, 100);
    turn.extend(driver.tokens(0));
    let held = u32::try_from(turn.len()).unwrap() - 1;
    turn.push(Token(5));

    // The same prompt again is shorter than the slot's content, and so of no use.
    driver.submit(1, &prompt(1, 100), 10, 0);
    driver.run(100);
    assert_eq!(driver.cached(1), 0);
    driver.submit(2, &turn, 10, 0);
    let steps = driver.run(100);

    assert_eq!(driver.cached(2), held);
    assert_eq!(driver.tokens(2), continuation(&turn, 10));
    assert!(steps.iter().all(|step| step.kv.is_empty()));
}

#[test]
fn cached_slots_give_way_to_running_sequences_least_recently_used_first() {
    let narrow = Limits { kv_cells: 300, ..limits(3, 64, 300) };
    let mut driver = Driver::new(FakeRunner::new(narrow), 3.0);
    for id in 0..2 {
        driver.submit(id, &prompt(u32::try_from(id).unwrap(), 120), 1, 0);
        driver.run(100);
    }

    driver.submit(2, &prompt(2, 120), 1, 0);
    let steps = driver.run(100);

    let ops: Vec<KvOp> = steps.iter().flat_map(|step| step.kv.clone()).collect();
    assert_eq!(driver.outcome(2), &Outcome::Finished);
    assert_eq!(driver.scheduler.stats().totals.preemptions, 0);
    driver.submit(3, &prompt(1, 120), 1, 0);
    driver.run(100);
    assert!(driver.cached(3) >= 100, "the younger one is still there after {ops:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_sequence_takes_from_the_cache_only_what_its_own_namespace_computed(
        requests in proptest::collection::vec((0u64..3, 1u32..120, 0u32..40, 0u32..3), 1..25),
        slots in 1u32..6, parked in 0u32..600,
    ) {
        let limits = Limits { swap: swap(parked), ..limits(slots, 48, 1024) };
        let mut driver = Driver::new(FakeRunner::new(limits), 3.0);
        let mut seen: Vec<(u64, Vec<Token>)> = Vec::new();
        for (id, (namespace, common, tail, pause)) in (0..).zip(requests) {
            let tokens = sharing(common, id % 5, tail);
            driver.submit(id, &tokens, 6, namespace);
            seen.push((namespace, tokens));
            for _ in 0..pause {
                driver.step();
            }
        }
        driver.run(5_000);

        for (id, (namespace, tokens)) in (0..).zip(&seen) {
            // Generated tokens may match too, so other sequences count with their generated tokens.
            let shared = (0..).zip(&seen).filter(|(other, (theirs, _))| *other != id && theirs == namespace).map(|(other, (_, prompt))| {
                let whole = prompt.iter().chain(driver.tokens(other));
                whole.zip(tokens).take_while(|(a, b)| a == b).count()
            });
            let most = shared.max().unwrap_or(0).min(tokens.len() - 1);
            let cached = usize::try_from(driver.cached(id)).unwrap();
            prop_assert!(cached <= most, "request {} took {} tokens, {} were its namespace's", id, cached, most);
        }
    }

    #[test]
    fn what_one_engine_kept_serves_the_next_within_its_namespace_and_changes_no_text(
        lives in proptest::collection::vec(proptest::collection::vec((0u64..2, 1u32..120, 0u32..40, 0u32..3), 1..8), 2..4),
        slots in 1u32..5, parked in 64u32..900, lost in 0u64..4,
    ) {
        let limits = Limits { swap: swap(parked), ..limits(slots, 48, 1024) };
        let mut kept: Vec<(ParkedContent, Arc<ParkedState>)> = Vec::new();
        let mut said: Vec<(u64, Vec<Token>)> = Vec::new();
        for requests in lives {
            let mut driver = Driver::new(FakeRunner::new(limits).lose_saves(lost), 3.0);
            for (content, state) in kept.drain(..) {
                let Driver { scheduler, runner, .. } = &mut driver;
                scheduler.adopt(content, |parked| runner.adopt(parked, state));
            }
            for (id, (namespace, common, tail, pause)) in (0..).zip(&requests) {
                driver.submit(id, &sharing(*common, id % 5, *tail), 6, *namespace);
                (0..*pause).for_each(|_| drop(driver.step()));
            }
            driver.run(5_000);
            for (id, (namespace, common, tail, _)) in (0..).zip(&requests) {
                let prompt = sharing(*common, id % 5, *tail);
                prop_assert_eq!(driver.tokens(id), continuation(&prompt, 6));
                said.push((*namespace, [&prompt, driver.tokens(id)].concat()));
            }
            for (id, (namespace, common, tail, _)) in (0..).zip(&requests) {
                let prompt = sharing(*common, id % 5, *tail);
                let own = said.len() - requests.len() + usize::try_from(id).unwrap();
                let others = said.iter().enumerate().filter(|(index, (theirs, _))| *index != own && theirs == namespace);
                let most = others.map(|(_, (_, text))| text.iter().zip(&prompt).take_while(|(a, b)| a == b).count()).max().unwrap_or(0);
                prop_assert!(usize::try_from(driver.cached(id)).unwrap() <= most);
            }
            kept = keep(&mut driver);
            for (content, _) in &kept {
                let theirs = |(namespace, text): &(u64, Vec<Token>)| *namespace == content.namespace && text.starts_with(&content.tokens);
                prop_assert!(said.iter().any(theirs), "{:?} was never said", content);
            }
        }
    }
}

#[test]
fn the_next_engine_computes_only_what_the_last_did_not_keep() {
    let limits = Limits { swap: swap(2_000), ..limits(2, 64, 1024) };
    let mut first = Driver::new(FakeRunner::new(limits), 3.0);
    first.submit(0, &sharing(300, 0, 20), 6, 7);
    first.run(100);
    let kept = keep(&mut first);
    assert_eq!(kept.len(), 1);

    let mut next = Driver::new(FakeRunner::new(limits), 3.0);
    for (content, state) in kept {
        let Driver { scheduler, runner, .. } = &mut next;
        assert!(scheduler.adopt(content, |parked| runner.adopt(parked, state)).is_some());
    }
    next.submit(0, &sharing(300, 1, 20), 6, 8);
    next.submit(1, &sharing(300, 2, 20), 6, 7);
    next.run(200);

    assert_eq!((next.cached(0), next.cached(1)), (0, 300), "to each what is its own namespace's");
}

/// Parks the contents of slots, as an engine does at its end; returns everything that is parked then.
fn keep(driver: &mut Driver) -> Vec<(ParkedContent, Arc<ParkedState>)> {
    let mut numbers = 0;
    while let Some(step) = driver.scheduler.park_idle(true) {
        driver.runner.execute(&step).unwrap();
        driver.scheduler.complete(&step, &[], Duration::ZERO);
        assert_eq!(driver.scheduler.check_invariants(), Ok(()));
        numbers += 1;
        assert!(numbers <= driver.runner.limits().slots, "a slot is saved once");
    }
    let all = (0..1000).map(Parked);
    all.filter_map(|parked| Some((driver.scheduler.parked(parked)?, driver.runner.parked(parked)?))).collect()
}

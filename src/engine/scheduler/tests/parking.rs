//! Contents that are parked in host memory, the entries that are dropped for them, and the ways they come back.

use super::*;
use crate::protocol::Prospect;

/// Limits with `slots` slots of 200 positions, and host memory for `positions` positions of a byte each.
pub(super) fn swapping(slots: u32, positions: u64) -> Limits {
    Limits {
        swap: SwapLimits { bytes: positions, entry_bytes: 0, cell_bytes: 1, window: u32::MAX, passed_cell_bytes: 0 },
        ..limits(slots, 256, 200)
    }
}

pub(super) fn save(slot: u32, parked: u64) -> KvOp {
    KvOp::Save { slot: Slot(slot), to: Parked(parked) }
}

pub(super) fn load(parked: u64, slot: u32, len: u32) -> KvOp {
    KvOp::Load { from: Parked(parked), slot: Slot(slot), len }
}

pub(super) fn drop_of(parked: u64) -> KvOp {
    KvOp::Drop { parked: Parked(parked) }
}

/// Computes a prompt to its end. Returns the KV operations of its first step.
fn kv_of(bench: &mut Bench, id: u64, prompt: &[Token]) -> Vec<KvOp> {
    bench.submit(id, prompt);
    let kv = bench.step(&[id]).kv;
    assert!(!bench.0.sequences.contains_key(&SequenceId(id)), "more than a step");
    kv
}

#[test]
fn what_must_give_way_is_saved_and_loaded_for_whoever_begins_with_it() {
    let mut bench = Bench::new(swapping(1, 1000));
    bench.compute_and_finish(1, &text(1, 100));
    assert_eq!(kv_of(&mut bench, 2, &text(2, 80)), [save(0, 0), truncate(0, 0)]);
    let stats = bench.0.stats();
    assert_eq!((stats.gauges.parked_bytes, stats.totals.parked_tokens, stats.totals.loaded_tokens), (100, 100, 0));

    let prompt = joined(&[&text(1, 90), &text(3, 5)]);
    bench.submit(3, &prompt);

    let kv = [save(0, 1), truncate(0, 0), load(0, 0, 90)];
    assert_eq!(bench.step(&[3]), step(&kv, &[chunk(3, 0, &prompt, 90..95)]));
    let stats = bench.0.stats();
    assert_eq!((stats.gauges.parked_bytes, stats.totals.loaded_tokens, stats.totals.prefix_hits), (180, 90, 90));
}

#[test]
fn too_little_and_what_another_slot_holds_are_not_saved() {
    for (len, ops) in [(63, vec![truncate(0, 0)]), (64, vec![save(0, 0), truncate(0, 0)])] {
        let mut bench = Bench::new(swapping(1, 1000));
        bench.compute_and_finish(1, &text(1, len));
        assert_eq!(kv_of(&mut bench, 2, &text(2, 5)), ops, "{len} tokens");
    }

    let mut bench = Bench::new(swapping(2, 1000));
    bench.submit(1, &text(1, 100));
    bench.step(&[]);
    bench.submit(2, &joined(&[&text(1, 100), &text(3, 20)]));
    bench.step(&[1]);
    bench.submit(4, &text(4, 5));
    assert_eq!(bench.plan().kv, [truncate(0, 0)], "the other still holds it");
}

/// Limits with room for long contents in `slots` slots, and for parked contents of 4,000 positions.
fn long_texts(slots: u32) -> Limits {
    Limits { swap: swapping(slots, 4000).swap, ..limits(slots, 2048, 2048) }
}

#[test]
fn of_what_is_saved_a_quarter_must_be_nowhere_else() {
    for (own, ops) in [(99, vec![truncate(1, 0)]), (100, vec![save(1, 0), truncate(1, 0)])] {
        let mut bench = Bench::new(long_texts(2));
        bench.submit(1, &text(1, 300));
        bench.step(&[]);
        bench.compute_and_finish(2, &joined(&[&text(1, 300), &text(2, own)]));

        bench.submit(3, &text(3, 5));
        assert_eq!(bench.plan().kv, ops, "{own}");
    }
}

#[test]
fn of_what_continues_a_saved_content_a_sixteenth_is_enough() {
    for (more, ops) in [(99, vec![truncate(0, 0)]), (100, vec![drop_of(0), save(0, 1), truncate(0, 0)])] {
        let mut bench = Bench::new(long_texts(1));
        let turn = text(1, 1500);
        bench.compute_and_finish(1, &turn);
        kv_of(&mut bench, 2, &text(2, 5));
        bench.compute_and_finish(3, &joined(&[&turn, &text(3, more)]));

        assert_eq!(kv_of(&mut bench, 4, &text(4, 5)), ops, "{more}");
    }
}

#[test]
fn beside_a_stream_a_step_that_saves_has_fewer_prompt_rows() {
    let rows_of_admission = |bytes| {
        let swap = SwapLimits { bytes, entry_bytes: 0, cell_bytes: 1_000_000, window: u32::MAX, passed_cell_bytes: 0 };
        let mut bench = Bench::new(Limits { swap, ..limits(2, 256, 400) });
        bench.submit(1, &text(1, 5));
        bench.step(&[]);
        bench.compute_and_finish(2, &text(2, 100));
        bench.submit(3, &text(3, 200));
        let step = bench.plan();
        assert_eq!(step.kv.contains(&save(1, 0)), bytes > 0);
        step.rows.len() - 1
    };

    assert_eq!(rows_of_admission(1_000_000_000), 4, "a tenth of a second goes to the 100 MB");
    assert!(rows_of_admission(0) >= 8);
}

#[test]
fn of_what_is_longer_than_a_sliding_window_only_all_is_loaded() {
    let whole = swapping(1, 1000);
    for (window, cached) in [(100, [0, 100]), (101, [90, 100])] {
        let limits = Limits { swap: SwapLimits { window, passed_cell_bytes: 1, ..whole.swap }, ..whole };
        let loaded = [90, 100].map(|len| {
            let mut bench = Bench::new(limits);
            bench.compute_and_finish(1, &text(1, 100));
            assert_eq!(kv_of(&mut bench, 2, &text(2, 5)), [save(0, 0), truncate(0, 0)]);
            bench.compute_and_finish(3, &joined(&[&text(1, len), &text(3, 5)]));
            bench.0.stats().totals.loaded_tokens
        });
        assert_eq!(loaded, cached, "a window of {window}");
    }
}

#[test]
fn the_bytes_of_a_content_are_those_of_its_window_and_of_what_it_passed() {
    let swap = SwapLimits { bytes: 0, entry_bytes: 5, cell_bytes: 10, window: 100, passed_cell_bytes: 3 };

    assert_eq!([0, 100, 101].map(|len| swap.bytes_of(len)), [5, 1005, 1008]);
}

#[test]
fn without_swap_space_and_beyond_it_nothing_is_saved() {
    for (positions, saved) in [(0, false), (99, false), (100, true)] {
        let mut bench = Bench::new(swapping(1, positions));
        bench.compute_and_finish(1, &text(1, 100));
        assert_eq!(kv_of(&mut bench, 2, &text(2, 5)).contains(&save(0, 0)), saved, "{positions}");
    }
}

#[test]
fn content_that_is_parked_is_not_saved_again_and_its_continuation_takes_its_place() {
    let mut bench = Bench::new(swapping(1, 1000));
    let turn = text(1, 100);
    bench.compute_and_finish(1, &turn);
    kv_of(&mut bench, 2, &text(2, 5));
    kv_of(&mut bench, 3, &joined(&[&turn, &text(3, 10)]));

    assert_eq!(kv_of(&mut bench, 4, &text(4, 5)), [truncate(0, 0)], "ten tokens more are not worth it");
    kv_of(&mut bench, 5, &joined(&[&turn, &text(5, 90)]));
    assert_eq!(kv_of(&mut bench, 6, &text(6, 5)), [drop_of(0), save(0, 1), truncate(0, 0)]);
    assert_eq!(bench.0.stats().gauges.parked_bytes, 190);
}

#[test]
fn when_the_swap_space_is_full_what_is_worth_the_least_goes_and_nothing_goes_for_less() {
    let mut bench = Bench::new(swapping(1, 250));
    bench.compute_and_finish(1, &text(1, 100));
    kv_of(&mut bench, 2, &text(2, 100));
    for id in 3..6 {
        // The first content is asked for again and again, each time after something short.
        kv_of(&mut bench, id, &joined(&[&text(1, 100), &text(3, 3)]));
        kv_of(&mut bench, id + 10, &text(9, 5));
    }

    kv_of(&mut bench, 20, &text(6, 120));
    assert_eq!(kv_of(&mut bench, 21, &text(7, 5)), [drop_of(1), save(0, 2), truncate(0, 0)], "the other, though it is younger");

    kv_of(&mut bench, 22, &text(8, 160));
    let kv = kv_of(&mut bench, 23, &text(7, 5));
    assert_eq!(kv, [truncate(0, 0)], "one long content is worth less than the first, which would have to go for it");
}

#[test]
fn a_preempted_sequence_is_loaded_and_not_computed_again() {
    let mut bench = Bench::new(Limits { kv_cells: 250, ..swapping(2, 1000) });
    let (a, b) = (text(1, 100), text(2, 100));
    bench.submit(1, &a);
    bench.submit(2, &b);
    let mut latest = bench.step(&[]);
    while bench.0.stats().totals.preemptions == 0 {
        latest = bench.step(&[]);
    }
    assert_eq!(latest.kv[0], save(1, 0));
    let parked = bench.0.stats().totals.parked_tokens;
    bench.step(&[1]);

    let resumed = bench.step(&[]);

    assert!(resumed.kv.iter().any(|op| matches!(op, KvOp::Load { from: Parked(0), .. })), "{resumed:?}");
    assert_eq!((resumed.rows[0].seq, u64::from(resumed.rows[0].pos)), (SequenceId(2), parked));
    assert_eq!(resumed.rows.len(), 1, "but for the token that was sampled last");
}

/// Parks these contents in this order, and empties all slots.
fn park_all(bench: &mut Bench, contents: &[&[Token]]) {
    for (id, content) in (1000..).zip(contents) {
        bench.compute_and_finish(id, content);
        for slot in bench.0.cache.slots.iter() {
            bench.0.cache.park(slot);
            bench.0.cache.take_ops();
            bench.0.cache.truncate(slot, 0);
        }
    }
    bench.0.cache.take_ops();
    bench.0.take_started();
}

#[test]
fn sequences_that_share_parked_content_start_together() {
    let mut bench = Bench::new(swapping(2, 1000));
    park_all(&mut bench, &[&text(1, 100)]);
    let prompts = [2, 3].map(|seed| joined(&[&text(1, 100), &text(seed, 40)]));
    bench.submit(1, &prompts[0]);
    bench.submit(2, &prompts[1]);

    let rows = [chunk(1, 0, &prompts[0], 100..140), chunk(2, 1, &prompts[1], 100..140)];
    assert_eq!(bench.step(&[]), step(&[load(0, 0, 100), copy(0, 1, 100)], &rows));
}

#[test]
fn what_others_copy_from_is_not_loaded_into_in_the_same_step() {
    let mut bench = Bench::new(swapping(2, 1000));
    park_all(&mut bench, &[&text(1, 100)]);
    bench.submit(4, &text(4, 5));
    bench.submit(5, &text(5, 80));
    bench.step(&[4, 5]);
    let (continued, loaded) = (joined(&[&text(5, 80), &text(6, 5)]), joined(&[&text(1, 100), &text(7, 5)]));
    bench.submit(6, &continued);
    bench.submit(7, &loaded);

    let kv = [copy(1, 0, 80), truncate(1, 0)];
    assert_eq!(bench.step(&[]), step(&kv, &[chunk(6, 0, &continued, 80..85)]));
    let rows = [vec![decode(6, 0, 85)], chunk(7, 1, &loaded, 100..105)];
    assert_eq!(bench.step(&[]), step(&[load(0, 1, 100)], &rows));
}

#[test]
fn what_is_to_be_loaded_does_not_go_for_what_its_slot_held() {
    let mut bench = Bench::new(swapping(1, 150));
    park_all(&mut bench, &[&text(1, 100)]);
    bench.compute_and_finish(1, &text(2, 140));
    let prompt = joined(&[&text(1, 100), &text(3, 5)]);
    bench.submit(2, &prompt);

    assert_eq!(bench.plan(), step(&[truncate(0, 0), load(0, 0, 100)], &[chunk(2, 0, &prompt, 100..105)]));
}

#[test]
fn another_namespace_does_not_get_what_is_parked() {
    let mut bench = Bench::new(swapping(1, 1000));
    bench.compute_and_finish(1, &text(1, 100));
    kv_of(&mut bench, 2, &text(2, 5));

    let other = NewSequence { id: SequenceId(3), tokens: text(1, 100), max_len: 200, scored: 0..0, namespace: 1, repeatable: false };
    bench.0.submit(other).unwrap();

    assert_eq!(bench.plan().rows, chunk(3, 0, &text(1, 100), 0..100));
}

#[test]
fn a_forecast_for_parked_content_is_what_then_happens() {
    for (shared, tail) in [(100, 5), (90, 20), (31, 50), (32, 50)] {
        let mut bench = Bench::new(swapping(1, 1000));
        bench.compute_and_finish(1, &text(1, 100));
        kv_of(&mut bench, 2, &text(2, 5));
        bench.0.take_started();
        let prompt = joined(&[&text(1, shared), &text(3, tail)]);

        let prospect = Prospect { prompts: vec![prompt.clone()], choices: 1, namespace: 0, scored: false };
        let forecast = bench.0.forecast(&prospect).cached_tokens;
        bench.submit(3, &prompt);
        bench.plan();

        let started = bench.0.take_started();
        assert_eq!(forecast, [started[0].1], "{shared}");
        assert_eq!(forecast, [if shared < 32 { 0 } else { shared }], "{shared}");
    }
}

#[test]
fn who_cannot_get_parked_content_computes_it_and_nobody_tries_again() {
    let mut bench = Bench::new(swapping(1, 1000));
    bench.compute_and_finish(1, &text(1, 100));
    kv_of(&mut bench, 2, &text(2, 5));
    let prompt = joined(&[&text(1, 100), &text(3, 5)]);
    bench.submit(3, &prompt);
    let planned = bench.plan();
    assert!(planned.kv.contains(&load(0, 0, 100)), "{planned:?}");

    assert_eq!(bench.fail(&planned, &StepError::NotLoaded(vec![Slot(0)])), []);

    assert_eq!(bench.plan(), step(&[drop_of(0), truncate(0, 0)], &[chunk(3, 0, &prompt, 0..105)]));
    assert_eq!(bench.0.stats().gauges.parked_bytes, 0);
}

#[test]
fn only_the_first_content_of_a_step_may_be_large() {
    // A hundred positions of one MiB each are more than a step moves.
    let swap = SwapLimits { bytes: 1 << 40, entry_bytes: 0, cell_bytes: 1 << 20, window: u32::MAX, passed_cell_bytes: 0 };
    let mut bench = Bench::new(Limits { swap, ..swapping(2, 0) });
    bench.submit(1, &text(1, 100));
    bench.submit(2, &text(2, 100));
    bench.step(&[1, 2]);

    bench.submit(3, &text(3, 5));
    bench.submit(4, &text(4, 5));

    let kv = bench.step(&[3, 4]).kv;
    let saves = kv.iter().filter(|op| matches!(op, KvOp::Save { .. })).count();
    assert_eq!(saves, 1, "{kv:?}");
}

#[test]
fn a_large_content_is_loaded_in_a_step_of_its_own_while_others_run() {
    let swap = SwapLimits { bytes: 1 << 40, entry_bytes: 0, cell_bytes: 1 << 20, window: u32::MAX, passed_cell_bytes: 0 };
    let mut bench = Bench::new(Limits { swap, ..swapping(3, 0) });
    park_all(&mut bench, &[&text(1, 100), &text(2, 100)]);
    bench.submit(3, &joined(&[&text(1, 100), &text(3, 5)]));
    bench.submit(4, &joined(&[&text(2, 100), &text(4, 5)]));

    let loads = |step: &Step| step.kv.iter().filter(|op| matches!(op, KvOp::Load { .. })).count();
    let (first, second) = (bench.step(&[]), bench.step(&[]));

    assert_eq!((loads(&first), loads(&second)), (1, 1));
}

#[test]
fn what_cannot_be_cut_is_saved_and_loaded_as_a_whole() {
    let mut bench = Bench::new(Limits { can_truncate: false, ..swapping(1, 1000) });
    bench.compute_and_finish(1, &text(1, 100));
    assert_eq!(kv_of(&mut bench, 2, &text(2, 70)), [save(0, 0), truncate(0, 0)]);

    let shorter = joined(&[&text(1, 99), &text(3, 3)]);
    assert_eq!(kv_of(&mut bench, 3, &shorter), [save(0, 1), truncate(0, 0)], "no part of it");
    let longer = joined(&[&text(1, 100), &text(3, 3)]);
    bench.submit(4, &longer);
    let kv = [save(0, 2), truncate(0, 0), load(0, 0, 100)];
    assert_eq!(bench.plan(), step(&kv, &[chunk(4, 0, &longer, 100..103)]));
}

#[test]
fn a_record_that_contradicts_itself_costs_the_cache_and_nothing_else() {
    let mut bench = Bench::new(swapping(2, 1000));
    bench.compute_and_finish(1, &text(1, 100));
    kv_of(&mut bench, 2, &text(2, 5));
    assert_eq!(bench.0.check_idle(), Ok(()));
    bench.0.cache.slots.corrupt(Slot(1));

    assert!(bench.0.check_idle().is_err());

    assert_eq!(bench.0.check_idle(), Ok(()));
    assert_eq!((bench.0.stats().totals.cache_resets, bench.0.stats().gauges.parked_bytes), (1, 0));
    bench.submit(3, &text(1, 100));
    assert_eq!(bench.plan(), step(&[truncate(0, 0), truncate(1, 0)], &[chunk(3, 0, &text(1, 100), 0..100)]));
}

//! Running sequences that are moved into consecutive slots.

use super::*;

/// Three sequences in slots 0 to 2, each with a computed prompt of `prompt` tokens.
fn three_running(limits: Limits, prompt: u32) -> Bench {
    let mut bench = Bench::new(limits);
    for id in 1..=3 {
        bench.submit(id, &text(u32::try_from(id).unwrap(), prompt));
    }
    bench.step(&[]);
    bench
}

#[test]
fn the_sequence_in_the_highest_slot_moves_into_a_gap_and_goes_on_there() {
    let mut bench = three_running(limits(3, 32, 64), 4);
    bench.step(&[2]);

    let kv = [copy(2, 1, 5), truncate(2, 0)];
    assert_eq!(bench.step(&[]), step(&kv, &[vec![decode(1, 0, 5)], vec![decode(3, 1, 5)]]));
    assert_eq!(bench.step(&[]), step(&[], &[vec![decode(1, 0, 6)], vec![decode(3, 1, 6)]]));
}

#[test]
fn sequences_in_consecutive_slots_stay_where_they_are() {
    let mut bench = three_running(limits(3, 32, 64), 4);
    bench.step(&[3]);

    assert_eq!(bench.step(&[]).kv, []);
    assert_eq!(bench.step(&[]).kv, []);
}

#[test]
fn a_long_sequence_moves_only_after_a_gap_has_lasted() {
    let mut bench = three_running(limits(3, 512, 256), 130);
    bench.step(&[2]);

    let moved_after = (0..10).find(|_| bench.step(&[]).kv.contains(&copy(2, 1, 133))).unwrap();

    assert_eq!(moved_after, 2, "a step for every 64 of 131 positions, then the move");
}

#[test]
fn a_cached_prefix_in_the_gap_is_moved_aside_first() {
    let mut bench = three_running(limits(4, 512, 128), 100);
    bench.step(&[2]);

    let steps: Vec<Step> = (0..4).map(|_| bench.step(&[])).collect();

    let kv: Vec<KvOp> = steps.iter().flat_map(|step| step.kv.clone()).collect();
    assert_eq!(kv, [copy(1, 3, 101), copy(2, 1, 102), truncate(2, 0)]);
}

#[test]
fn a_gap_that_somebody_waits_for_is_left_to_them() {
    let mut bench = three_running(limits(3, 32, 64), 4);
    let step_in_flight = bench.plan();
    bench.submit(4, &text(4, 4));
    bench.complete(&step_in_flight, &[1]);

    let prompt = text(4, 4);
    let rows = [chunk(4, 0, &prompt, 0..4), vec![decode(2, 1, 5)], vec![decode(3, 2, 5)]];
    assert_eq!(bench.step(&[]), step(&[truncate(0, 0)], &rows));
}

#[test]
fn a_free_slot_below_all_sequences_is_no_gap() {
    let mut bench = three_running(limits(3, 32, 64), 4);
    bench.step(&[1]);

    assert_eq!(bench.step(&[]).kv, []);
    assert_eq!(bench.step(&[]).kv, []);
}

#[test]
fn where_gaps_cost_nothing_nobody_moves() {
    let mut bench = three_running(Limits { consecutive_slots: false, ..limits(3, 32, 64) }, 4);
    bench.step(&[2]);

    assert_eq!(bench.step(&[]).kv, []);
    assert_eq!(bench.step(&[]).kv, []);
}

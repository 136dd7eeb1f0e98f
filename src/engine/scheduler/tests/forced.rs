//! Tokens that are known before they are computed.

use super::*;

const FORCED: [Token; 3] = [Token(7001), Token(7002), Token(7003)];

/// For each row of a sequence in a step, its position, and true if its logits are wanted.
fn rows_of(step: &Step, id: u64) -> Vec<(u32, bool)> {
    step.rows.iter().filter(|row| row.seq == SequenceId(id)).map(|row| (row.pos, row.sample)).collect()
}

#[test]
fn forced_tokens_are_computed_together_with_the_one_before_and_only_the_last_is_sampled() {
    let mut bench = Bench::new(limits(2, 16, 64));
    bench.submit(1, &text(1, 5));
    let step = bench.plan();
    bench.force(&step, &FORCED);

    let step = bench.plan();

    assert_eq!(rows_of(&step, 1), [(5, false), (6, false), (7, false), (8, true)]);
    assert_eq!(step.rows.iter().map(|row| row.token).collect::<Vec<_>>(), [&[NEXT][..], &FORCED].concat());
    assert_eq!(bench.0.stats().totals.forced_rows, 3);
}

#[test]
fn what_does_not_fit_into_a_step_waits_for_the_next_and_everybody_gets_a_row() {
    let mut bench = Bench::new(limits(3, 6, 64));
    for id in 1..=3 {
        bench.submit(id, &text(u32::try_from(id).unwrap(), 2));
    }
    let step = bench.plan();
    bench.force(&step, &FORCED);

    let first = bench.step(&[]);
    let second = bench.plan();

    assert_eq!((rows_of(&first, 1).len(), rows_of(&first, 2).len(), rows_of(&first, 3).len()), (4, 1, 1));
    assert_eq!((rows_of(&second, 1).len(), rows_of(&second, 2).len(), rows_of(&second, 3).len()), (1, 3, 2));
}

#[test]
fn forced_tokens_leave_the_cells_that_others_need_for_their_next_row() {
    // Two prompts of 6 positions and two sampled tokens leave no cell for further ones.
    let mut bench = Bench::new(Limits { kv_cells: 14, ..limits(2, 16, 14) });
    bench.submit(1, &text(1, 6));
    bench.submit(2, &text(2, 6));
    let step = bench.plan();
    bench.force(&step, &FORCED);

    let step = bench.plan();

    assert_eq!((rows_of(&step, 1), rows_of(&step, 2)), (vec![(6, false)], vec![(6, false)]));
}

#[test]
fn forced_tokens_take_nothing_from_prompts_but_rows() {
    let mut bench = Bench::new(limits(2, 8, 64));
    bench.submit(1, &text(1, 2));
    let step = bench.plan();
    bench.force(&step, &FORCED);
    bench.submit(2, &text(2, 20));

    let step = bench.plan();

    assert_eq!(rows_of(&step, 1).len(), 4);
    assert!(step.rows.len() <= 8, "{step:?}");
}

#[test]
fn a_stream_of_forced_tokens_beside_another_does_not_keep_prompts_waiting() {
    let mut bench = Bench::new(limits(3, 64, 1_000));
    bench.submit(1, &text(1, 2));
    bench.submit(3, &text(3, 2));
    let step = bench.plan();
    bench.force_one(1, &step, &FORCED);
    bench.submit(2, &text(2, 60));

    let mut computed = 0;
    for _ in 0..40 {
        let step = bench.plan();
        computed += rows_of(&step, 2).iter().filter(|(pos, _)| *pos < 60).count();
        bench.force_one(1, &step, &FORCED);
    }

    assert_eq!(computed, 60);
}

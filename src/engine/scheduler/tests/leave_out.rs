//! Sequences that wait for a step while others continue.

use super::*;

#[test]
fn a_sequence_that_is_held_waits_a_step_and_goes_on_where_it_was() {
    let mut bench = Bench::new(limits(2, 16, 100));
    bench.submit(1, &text(1, 4));
    bench.submit(2, &text(2, 4));
    bench.step(&[]);

    bench.0.leave_out([SequenceId(1)]);
    assert_eq!(bench.step(&[]).rows, [decode(2, 1, 4)]);

    assert_eq!(bench.step(&[]).rows, [decode(1, 0, 4), decode(2, 1, 5)]);
}

#[test]
fn prompts_are_computed_whoever_is_held() {
    let mut bench = Bench::new(limits(2, 16, 100));
    bench.submit(1, &text(1, 4));
    bench.step(&[]);
    bench.submit(2, &text(2, 4));

    bench.0.leave_out([SequenceId(1), SequenceId(2)]);

    assert_eq!(bench.step(&[]).rows, chunk(2, 1, &text(2, 4), 0..4));
}

#[test]
fn a_step_in_which_all_are_held_is_empty_and_the_next_one_is_not() {
    let mut bench = Bench::new(limits(2, 16, 100));
    bench.submit(1, &text(1, 4));
    bench.step(&[]);

    bench.0.leave_out([SequenceId(1)]);
    assert_eq!(bench.step(&[]), Step::default());

    assert_eq!(bench.step(&[]).rows, [decode(1, 0, 4)]);
}

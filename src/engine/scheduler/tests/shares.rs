//! The prompts that get the rows of a step, and the number of rows that each gets.

use super::*;

#[test]
fn several_prompts_share_a_step_and_a_long_one_goes_on_first_in_the_next() {
    let mut bench = Bench::new(limits(4, 16, 64));
    let (a, b, c) = (text(1, 6), text(2, 20), text(3, 4));
    bench.submit(1, &a);
    bench.submit(2, &b);
    bench.submit(3, &c);

    assert_eq!(bench.step(&[1]), step(&[], &[chunk(1, 0, &a, 0..6), chunk(2, 1, &b, 0..10)]));
    assert_eq!(bench.step(&[]), step(&[truncate(0, 0)], &[chunk(2, 1, &b, 10..20), chunk(3, 0, &c, 0..4)]));
}

#[test]
fn decode_rows_come_first_and_prompt_rows_beside_them_are_few_until_times_are_known() {
    let mut bench = Bench::new(limits(2, 64, 300));
    let (a, b) = (text(1, 2), text(2, 200));
    bench.submit(1, &a);
    bench.step(&[]);
    bench.submit(2, &b);

    assert_eq!(bench.step(&[]), step(&[], &[vec![decode(1, 0, 2)], chunk(2, 1, &b, 0..8)]));
    assert_eq!(bench.step(&[]), step(&[], &[vec![decode(1, 0, 3)]]), "a step to measure");
    assert_eq!(bench.step(&[]), step(&[], &[vec![decode(1, 0, 4)], chunk(2, 1, &b, 8..16)]));
}

#[test]
fn a_prompt_that_is_cut_is_cut_at_whole_tiles_and_nothing_small_comes_behind_it() {
    let mut bench = Bench::new(limits(3, 150, 300));
    let (a, b) = (text(1, 170), text(2, 100));
    bench.submit(1, &a);
    bench.submit(2, &b);

    assert_eq!(bench.step(&[]), step(&[], &[chunk(1, 0, &a, 0..128)]));
    assert_eq!(bench.step(&[1]), step(&[], &[chunk(1, 0, &a, 128..170), chunk(2, 1, &b, 0..100)]));
}

#[test]
fn a_chunk_between_decoding_slots_has_one_row_more_because_its_last_row_is_computed_with_theirs() {
    let rows_of_chunks = |limits: Limits| {
        let mut bench = Bench::new(limits);
        (1..=3).for_each(|id| bench.submit(id.into(), &text(id, 3)));
        bench.step(&[2]);
        bench.submit(4, &text(4, 30));
        let mut rows_of_chunk = || bench.step(&[]).rows.iter().filter(|row| (row.seq, row.slot) == (SequenceId(4), Slot(1))).count();
        [rows_of_chunk(), rows_of_chunk(), rows_of_chunk()]
    };
    let limits = Limits { tile: 4, ..limits(3, 64, 64) };

    assert_eq!(rows_of_chunks(limits), [9, 0, 8], "the second one begins later than they are, after a step to measure");
    assert_eq!(rows_of_chunks(Limits { consecutive_slots: false, ..limits }), [8, 0, 8], "gaps cost nothing");
    assert_eq!(rows_of_chunks(Limits { tile: 9, ..limits }), [8, 0, 8], "less than a tile");
    assert_eq!(rows_of_chunks(Limits { max_rows: 10, ..limits }), [8, 0, 8], "no room for one more");
}

#[test]
fn a_step_has_no_more_rows_than_it_may_where_a_chunk_has_one_more_than_its_share() {
    let mut bench = Bench::new(Limits { tile: 4, ..limits(5, 10, 300) });
    (1..=3).for_each(|id| bench.submit(id.into(), &text(id, 30)));
    while bench.step(&[]).rows.len() != 3 {}
    bench.step(&[2]);
    bench.submit(4, &text(4, 200));
    bench.step(&[]);
    bench.submit(5, &text(5, 4));

    let rows = bench.step(&[]).rows;

    assert_eq!(rows.len(), 10, "{rows:?}");
    assert_eq!(rows.iter().filter(|row| row.seq == SequenceId(4)).count(), 5, "{rows:?}");
}

#[test]
fn a_short_prompt_behind_two_long_ones_waits_for_neither() {
    let mut bench = Bench::new(limits(4, 64, 300));
    let (first, second, short) = (text(1, 250), text(2, 250), text(3, 20));
    bench.submit(1, &first);
    bench.step(&[]);
    bench.submit(2, &second);
    bench.submit(3, &short);

    assert_eq!(bench.step(&[]), step(&[], &[chunk(1, 0, &first, 64..96), chunk(2, 1, &second, 0..32)]));
    let rows = [chunk(1, 0, &first, 96..128), chunk(3, 2, &short, 0..20)];
    assert_eq!(bench.step(&[3]), step(&[], &rows));
}

#[test]
fn a_short_prompt_that_waited_for_a_prefix_is_not_stuck_behind_a_long_one() {
    let mut bench = Bench::new(limits(4, 64, 300));
    let (shared, long) = (text(1, 60), text(2, 250));
    bench.submit(1, &joined(&[&shared, &text(3, 4)]));
    bench.submit(2, &long);
    bench.submit(4, &joined(&[&shared, &text(4, 4)]));
    bench.step(&[1]);
    assert_eq!(bench.step(&[]).rows.len(), 64, "the first step of the long one");

    let rows = bench.step(&[]).rows;
    assert_eq!(rows.iter().filter(|row| row.seq == SequenceId(4)).count(), 4, "{rows:?}");
}

#[test]
fn no_rows_are_kept_for_an_admission_that_lacks_cells() {
    let mut bench = Bench::new(Limits { kv_cells: 300, ..limits(4, 64, 300) });
    let long = text(1, 250);
    bench.submit(1, &long);
    bench.step(&[]);
    bench.submit(2, &text(2, 100));

    assert_eq!(bench.step(&[]).rows.len(), 64);
}

#[test]
fn short_prompts_are_not_stuck_behind_a_long_one_and_leave_it_half_of_each_step() {
    let mut bench = Bench::new(limits(4, 64, 300));
    let long = text(1, 250);
    bench.submit(1, &long);
    assert_eq!(bench.step(&[]), step(&[], &[chunk(1, 0, &long, 0..64)]));
    let short: Vec<Vec<Token>> = (2..5).map(|id| text(id, 20)).collect();
    (2..).zip(&short).for_each(|(id, prompt)| bench.submit(id, prompt));

    let rows = [chunk(1, 0, &long, 64..96), chunk(2, 1, &short[0], 0..20), chunk(3, 2, &short[1], 0..12)];
    assert_eq!(bench.step(&[2]), step(&[], &rows));
    let rows = [chunk(1, 0, &long, 96..128), chunk(4, 1, &short[2], 0..20), chunk(3, 2, &short[1], 12..20)];
    assert_eq!(bench.step(&[3, 4]), step(&[truncate(1, 0)], &rows));
    assert_eq!(bench.step(&[]), step(&[], &[chunk(1, 0, &long, 128..192)]));
}

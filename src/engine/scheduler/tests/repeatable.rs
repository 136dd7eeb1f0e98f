//! The last row of a prompt whose tokens must be the same with and without a cache.

use super::*;

fn submit(bench: &mut Bench, id: u64, tokens: Vec<Token>) {
    let sequence = NewSequence { id: SequenceId(id), tokens, max_len: 64, scored: 0..0, namespace: 0, repeatable: true };
    bench.0.submit(sequence).unwrap();
}

/// For each row of a step, its sequence, its position, and true if its logits are wanted.
fn rows(step: &Step) -> Vec<(u64, u32, bool)> {
    step.rows.iter().map(|row| (row.seq.0, row.pos, row.sample)).collect()
}

#[test]
fn the_last_row_of_a_repeatable_prompt_is_computed_after_the_others_as_it_is_where_they_come_from_the_cache() {
    let mut bench = Bench::new(limits(2, 16, 64));

    submit(&mut bench, 1, text(1, 4));
    let (cold, cold_last) = (bench.step(&[]), bench.step(&[1]));
    submit(&mut bench, 2, text(1, 4));
    let cached = bench.step(&[2]);

    assert_eq!(rows(&cold), [(1, 0, false), (1, 1, false), (1, 2, false)]);
    assert_eq!(rows(&cold_last), [(1, 3, true)]);
    assert_eq!(rows(&cached), [(2, 3, true)]);
}

#[test]
fn the_last_row_of_a_repeatable_prompt_decodes_beside_streams_and_does_not_wait_for_prompts() {
    let mut bench = Bench::new(limits(3, 8, 64));
    submit(&mut bench, 1, text(1, 4));
    bench.step(&[]);

    submit(&mut bench, 2, text(2, 60));
    let step = bench.plan();

    assert_eq!(rows(&step)[0], (1, 3, true));
    assert!(rows(&step).iter().skip(1).all(|(seq, _, _)| *seq == 2), "{step:?}");
}

#[test]
fn a_repeatable_prompt_of_one_token_takes_one_step() {
    let mut bench = Bench::new(limits(2, 16, 64));

    submit(&mut bench, 1, text(1, 1));

    assert_eq!(rows(&bench.plan()), [(1, 0, true)]);
}

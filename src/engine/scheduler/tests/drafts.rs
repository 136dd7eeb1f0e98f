//! Guessing ahead: the exact rows, the tokens that are kept, and the conditions under which there are no drafts.

use super::*;
use crate::engine::runner::Row;

const DRAFT: [Token; 3] = [Token(7001), Token(7002), Token(7003)];

/// A bench with a sequence that has computed its prompt of five tokens and one more step, which took 10 ms.
fn decoding(limits: Limits) -> Bench {
    let mut bench = Bench(Scheduler::new(limits, 3.0).with_drafts(8));
    bench.submit(1, &text(1, 5));
    bench.step(&[]);
    bench.step(&[]);
    bench
}

fn rows(step: &Step) -> Vec<(u32, Token, bool)> {
    step.rows.iter().map(|row: &Row| (row.pos, row.token, row.sample)).collect()
}

/// Completes a step in which sequence 1 gets these tokens.
fn complete(bench: &mut Bench, step: &Step, tokens: &[Token], finished: bool, millis: u64) {
    let sampled = Sampled { id: SequenceId(1), tokens: tokens.to_vec(), forced: 0, finished };
    bench.0.complete(step, &[sampled], Duration::from_millis(millis));
    assert_eq!(bench.0.check_invariants(), Ok(()), "{step:?}");
}

#[test]
fn every_row_of_a_draft_is_sampled() {
    let mut bench = decoding(limits(2, 16, 64));
    assert_eq!(bench.0.take_draft_requests(), [DraftRequest { id: SequenceId(1), max_tokens: 3 }], "a first one to learn from");
    bench.0.propose(SequenceId(1), DRAFT.to_vec());

    let step = bench.plan();

    assert_eq!(rows(&step), [(6, NEXT, true), (7, DRAFT[0], true), (8, DRAFT[1], true), (9, DRAFT[2], true)]);
}

#[test]
fn what_was_right_is_kept_and_the_rest_is_dropped() {
    let mut bench = decoding(limits(2, 16, 64));
    bench.0.propose(SequenceId(1), DRAFT.to_vec());
    let step = bench.plan();
    complete(&mut bench, &step, &[DRAFT[0], Token(8000)], false, 10);

    let step = bench.plan();

    assert_eq!(step.kv, [truncate(0, 8)]);
    assert_eq!(rows(&step), [(8, Token(8000), true)]);
    let stats = bench.0.stats();
    assert_eq!((stats.totals.draft_rows, stats.totals.drafts_accepted), (3, 1));
}

#[test]
fn a_draft_that_is_right_to_its_end_costs_no_change_of_the_cache() {
    let mut bench = decoding(limits(2, 16, 64));
    bench.0.propose(SequenceId(1), DRAFT.to_vec());
    let step = bench.plan();
    complete(&mut bench, &step, &[&DRAFT[..], &[NEXT]].concat(), false, 10);

    let step = bench.plan();

    assert_eq!((step.kv.len(), rows(&step)), (0, vec![(10, NEXT, true)]));
}

#[test]
fn a_sequence_that_ends_within_a_draft_leaves_its_rows_as_cache() {
    let mut bench = decoding(limits(2, 16, 64));
    bench.0.propose(SequenceId(1), DRAFT.to_vec());
    let step = bench.plan();
    complete(&mut bench, &step, &DRAFT[..1], true, 10);

    assert_eq!(bench.0.stats().gauges.running, 0);
    assert_eq!(bench.0.check_invariants(), Ok(()));
}

#[test]
fn nothing_is_guessed_beyond_the_end_or_without_room() {
    let mut bench = decoding(limits(2, 16, 9));
    // The last of the nine positions is never computed: position 6 is the next one, and 7 may be guessed.
    bench.0.propose(SequenceId(1), DRAFT.to_vec());
    assert_eq!(bench.plan().rows.len(), 2);

    let mut bench = decoding(limits(2, 2, 64));
    bench.0.propose(SequenceId(1), DRAFT.to_vec());
    assert_eq!(bench.plan().rows.len(), 2, "a step has two rows");
}

#[test]
fn where_a_prompt_waits_nobody_guesses() {
    let mut bench = decoding(limits(2, 16, 64));
    bench.submit(2, &text(2, 5));

    assert_eq!(bench.0.take_draft_requests(), []);
    bench.0.propose(SequenceId(1), DRAFT.to_vec());
    assert!(bench.plan().rows.iter().all(|row| !DRAFT.contains(&row.token)));
}

#[test]
fn slots_that_cannot_be_cut_take_no_drafts() {
    let mut bench = decoding(Limits { can_truncate: false, ..limits(2, 16, 64) });

    assert_eq!(bench.0.take_draft_requests(), []);
    bench.0.propose(SequenceId(1), DRAFT.to_vec());
    assert_eq!(bench.plan().rows.len(), 1);
}

#[test]
fn a_step_that_fails_forgets_its_drafts() {
    let mut bench = decoding(limits(2, 16, 64));
    bench.0.propose(SequenceId(1), DRAFT.to_vec());
    let step = bench.plan();

    assert_eq!(bench.fail(&step, &StepError::Decode { code: 2 }), []);
    assert_eq!(rows(&bench.plan()), [(6, NEXT, true)]);
}

/// Runs `steps` steps in which drafts as long as requested are right, or wrong from the first token on. A step takes 10
/// ms and `per_row` ms for each row of a draft. Returns the number of tokens sampled.
fn run(bench: &mut Bench, steps: u32, is_right: bool, per_row: u64) -> usize {
    let mut tokens = 0;
    for _ in 0..steps {
        for DraftRequest { id, max_tokens } in bench.0.take_draft_requests() {
            bench.0.propose(id, vec![NEXT; lengths::position(max_tokens)]);
        }
        let step = bench.plan();
        let drafted = step.rows.len() - 1;
        let came = if is_right { vec![NEXT; drafted + 1] } else { vec![Token(8000)] };
        tokens += came.len();
        complete(bench, &step, &came, false, 10 + per_row * u64::try_from(drafted).unwrap());
    }
    tokens
}

#[test]
fn drafts_that_come_true_grow_and_those_that_do_not_get_rows_only_to_measure_their_cost() {
    let mut bench = decoding(limits(2, 64, 16_000));
    let right = run(&mut bench, 100, true, 2);
    assert!(right > 700, "drafts of eight tokens soon, got {right} tokens in 100 steps");

    run(&mut bench, 100, false, 2);
    let before = bench.0.stats();
    run(&mut bench, 1000, false, 2);
    let drafted = bench.0.stats().totals.draft_rows - before.totals.draft_rows;
    assert_eq!(drafted, 9, "three measurements of three rows, after 96, 192 and 384 steps");

    let again = run(&mut bench, 100, true, 2);
    assert!(again > 500, "they are taken up again soon, got {again} tokens in 100 steps");
}

/// Runs `steps` steps with a draft of the whole length wherever one is asked for. The first token of every n-th draft
/// is right, n being `right_every`, and no other token is. A step takes 100 ms, and if it has rows of a draft, 80 ms
/// more and `per_row` ms for each. Returns the steps in which drafts were asked for.
fn asked(bench: &mut Bench, steps: usize, right_every: usize, per_row: u64) -> Vec<usize> {
    let mut asked = Vec::new();
    for number in 0..steps {
        let mut next = vec![NEXT];
        for DraftRequest { id, max_tokens } in bench.0.take_draft_requests() {
            let mut draft = vec![Token(8000); lengths::position(max_tokens)];
            if asked.len() % right_every == 0 {
                draft[0] = NEXT;
                next = vec![NEXT, NEXT];
            }
            bench.0.propose(id, draft);
            asked.push(number);
        }
        let step = bench.plan();
        let drafted = step.rows.len() - 1;
        next.truncate(drafted + 1);
        let millis = if drafted > 0 { 180 + per_row * u64::try_from(drafted).unwrap() } else { 100 };
        complete(bench, &step, &next, false, millis);
    }
    asked
}

fn intervals(asked: &[usize]) -> Vec<usize> {
    asked.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[test]
fn drafts_of_a_model_that_do_not_come_true_are_made_after_pauses_that_grow() {
    let mut bench = Bench(decoding(limits(2, 64, 16_000)).0.with_draft_model());
    let intervals = intervals(&asked(&mut bench, 3000, usize::MAX, 1));

    let pauses: Vec<usize> = intervals.into_iter().skip_while(|steps| *steps < 96).collect();
    assert!(pauses.len() >= 4 && pauses.is_sorted(), "{pauses:?}");
    assert!(pauses.last().is_some_and(|last| *last > 512), "{pauses:?}");
}

#[test]
fn drafts_of_a_model_that_come_true_and_are_too_dear_are_made_every_96_steps_at_most() {
    let mut bench = Bench(decoding(limits(2, 64, 16_000)).0.with_draft_model());
    let intervals = intervals(&asked(&mut bench, 3000, 1, 100));

    assert!(intervals.len() > 10 && intervals[3..].iter().all(|steps| *steps >= 96), "{intervals:?}");
}

#[test]
fn drafts_of_a_model_that_pay_by_their_rows_but_not_by_their_graph_pause_too() {
    let mut bench = Bench(decoding(limits(2, 64, 16_000)).0.with_draft_model());
    let asked = asked(&mut bench, 3000, 3, 1);

    assert!(asked.len() < 60, "{:?}", intervals(&asked));
}

#[test]
fn the_cost_of_rows_that_seemed_too_dear_is_measured_again() {
    let mut bench = decoding(limits(2, 64, 16_000));
    run(&mut bench, 1, true, 100);
    let dear = run(&mut bench, 90, true, 2);
    assert_eq!(dear, 90, "no rows after one that took ten steps");

    let tokens = run(&mut bench, 100, true, 2);
    assert!(tokens > 500, "got {tokens} tokens in 100 steps");
}

#[test]
fn rows_as_dear_as_steps_are_not_worth_a_guess_that_is_right_three_times_in_four() {
    let mut bench = decoding(limits(2, 64, 16_000));
    for round in 0..500 {
        run(&mut bench, 1, round % 4 != 0, 10);
    }

    let stats = bench.0.stats();
    assert!(stats.totals.draft_rows < 100, "{stats:?}");
}

#[test]
fn a_pure_decode_step_is_measured_now_and_then() {
    let mut bench = decoding(limits(2, 64, 16_000));
    run(&mut bench, 10, true, 2);

    let quiet = (0..70).filter(|_| run(&mut bench, 1, true, 2) == 1).count();
    assert!((1..=2).contains(&quiet), "{quiet} of 70 steps without a draft");
}

#[test]
fn a_quarter_of_the_sequences_take_part_in_a_trial_and_none_without_a_guess_holds_up_the_others() {
    for guessing in [1..9, 5..9] {
        let mut bench = Bench(Scheduler::new(limits(8, 64, 64), 3.0).with_drafts(8));
        (1..9).for_each(|id| bench.submit(id.into(), &text(id, 3)));
        bench.step(&[]);
        bench.step(&[]);
        assert_eq!(bench.0.take_draft_requests().len(), 8);
        guessing.clone().for_each(|id: u32| bench.0.propose(SequenceId(id.into()), DRAFT.to_vec()));

        let step = bench.plan();

        let drafted = step.rows.chunk_by(|a, b| a.seq == b.seq).filter(|rows| rows.len() > 1).map(|rows| rows[0].seq.0);
        assert_eq!(drafted.collect::<Vec<_>>(), [guessing.start, guessing.start + 1].map(u64::from));
    }
}

//! Exact steps for exact situations. The properties that hold in every situation are tested with the fake runner in
//! `tests/it`.

mod drafts;
mod failures;
mod forced;
mod forecasts;
mod gaps;
mod keep;
mod leave_out;
mod parking;
mod repeatable;
mod shares;

use super::*;
use crate::engine::runner::{KvOp, Parked, Row, Slot, Step, StepError, SwapLimits};
use std::{ops::Range, time::Duration};

/// The time of a step, if a test gives no other.
const STEP: Duration = Duration::from_millis(10);

/// The token that every sequence samples.
const NEXT: Token = Token(9999);

fn limits(slots: u32, max_rows: u32, max_model_len: u32) -> Limits {
    Limits {
        slots,
        max_rows,
        max_model_len,
        kv_cells: slots * max_model_len,
        can_truncate: true,
        windowed: false,
        consecutive_slots: true,
        tile: 32,
        vocabulary_size: 10_000,
        swap: SwapLimits::default(),
    }
}

/// A text of `len` tokens that no other `seed` has.
fn text(seed: u32, len: u32) -> Vec<Token> {
    (0..len).map(|i| Token(seed * 1000 + i)).collect()
}

fn joined(parts: &[&[Token]]) -> Vec<Token> {
    parts.concat()
}

/// A scheduler with the operations that tests use.
struct Bench(Scheduler);

impl Bench {
    fn new(limits: Limits) -> Self {
        Self(Scheduler::new(limits, 3.0))
    }

    fn submit(&mut self, id: u64, tokens: &[Token]) {
        let max_len = self.0.limits.max_model_len;
        self.0
            .submit(NewSequence { id: SequenceId(id), tokens: tokens.to_vec(), max_len, scored: 0..0, namespace: 0, repeatable: false })
            .unwrap();
    }

    fn plan(&mut self) -> Step {
        let step = self.0.next_step().unwrap();
        assert_eq!(self.0.check_invariants(), Ok(()), "{step:?}");
        step
    }

    /// Completes a step in which each sequence that is sampled also gets these forced tokens.
    fn force(&mut self, step: &Step, forced: &[Token]) {
        self.force_if(|_| true, step, forced);
    }

    /// Completes a step in which this sequence, if it is sampled, also gets these forced tokens.
    fn force_one(&mut self, id: u64, step: &Step, forced: &[Token]) {
        self.force_if(|sampled| sampled == SequenceId(id), step, forced);
    }

    fn force_if(&mut self, gets_more: impl Fn(SequenceId) -> bool, step: &Step, forced: &[Token]) {
        let rows = step.rows.iter().filter(|row| row.sample);
        let more = |id| if gets_more(id) { forced } else { &[] };
        let next = |row: &Row| Sampled {
            id: row.seq,
            tokens: joined(&[&[NEXT], more(row.seq)]),
            forced: count(more(row.seq).len()),
            finished: false,
        };
        let sampled: Vec<Sampled> = rows.map(next).collect();
        self.0.complete(step, &sampled, STEP);
        assert_eq!(self.0.check_invariants(), Ok(()), "{step:?}");
    }

    /// Completes a step in which the sequences `finished` end.
    fn complete(&mut self, step: &Step, finished: &[u64]) {
        self.complete_in(STEP, step, finished);
    }

    fn complete_in(&mut self, elapsed: Duration, step: &Step, finished: &[u64]) {
        let sampled = step.rows.iter().filter(|row| row.sample);
        let sampled: Vec<Sampled> =
            sampled.map(|row| Sampled { id: row.seq, tokens: vec![NEXT], forced: 0, finished: finished.contains(&row.seq.0) }).collect();
        self.0.complete(step, &sampled, elapsed);
        assert_eq!(self.0.check_invariants(), Ok(()), "{step:?}");
    }

    fn fail(&mut self, step: &Step, error: &StepError) -> Vec<(SequenceId, GenerationError)> {
        let failed = self.0.fail(step, error);
        assert_eq!(self.0.check_invariants(), Ok(()), "{step:?}");
        failed
    }

    fn step(&mut self, finished: &[u64]) -> Step {
        let step = self.plan();
        self.complete(&step, finished);
        step
    }

    /// Computes a whole prompt, samples once, and leaves the content as cache.
    fn compute_and_finish(&mut self, id: u64, tokens: &[Token]) {
        self.submit(id, tokens);
        while self.0.sequences.contains_key(&SequenceId(id)) {
            self.step(&[id]);
        }
    }
}

/// The rows of `tokens` at the positions `range`; the last token of the sequence samples.
fn chunk(seq: u64, slot: u32, tokens: &[Token], range: Range<u32>) -> Vec<Row> {
    let last = count(tokens.len()) - 1;
    let token = |pos| tokens[lengths::position(pos)];
    range.map(|pos| Row { seq: SequenceId(seq), slot: Slot(slot), pos, token: token(pos), sample: pos == last }).collect()
}

fn decode(seq: u64, slot: u32, pos: u32) -> Row {
    Row { seq: SequenceId(seq), slot: Slot(slot), pos, token: NEXT, sample: true }
}

/// A step; its rows are put in order of slots.
fn step(kv: &[KvOp], rows: &[Vec<Row>]) -> Step {
    let mut rows = rows.concat();
    rows.sort_by_key(|row| row.slot);
    Step { kv: kv.to_vec(), rows }
}

fn truncate(slot: u32, keep: u32) -> KvOp {
    KvOp::Truncate { slot: Slot(slot), keep }
}

fn copy(from: u32, to: u32, len: u32) -> KvOp {
    KvOp::Copy { from: Slot(from), to: Slot(to), len }
}

// === Planning ===

#[test]
fn a_prompt_is_computed_and_then_one_token_per_step() {
    let mut bench = Bench::new(limits(2, 32, 64));
    let prompt = text(1, 3);
    bench.submit(1, &prompt);

    assert_eq!(bench.step(&[]), step(&[], &[chunk(1, 0, &prompt, 0..3)]));
    assert_eq!(bench.0.take_started(), [(SequenceId(1), 0)]);
    assert_eq!(bench.step(&[]), step(&[], &[vec![decode(1, 0, 3)]]));
    assert_eq!(bench.step(&[1]), step(&[], &[vec![decode(1, 0, 4)]]));
    assert_eq!(bench.0.next_step(), None);
    assert_eq!(bench.0.take_started(), []);
}

#[test]
fn waiting_sequences_take_the_lowest_free_slot() {
    let mut bench = Bench::new(limits(2, 64, 64));
    let prompts: Vec<Vec<Token>> = (0..3).map(|n| text(n, 2)).collect();
    (0..).zip(&prompts).for_each(|(id, prompt)| bench.submit(id, prompt));

    bench.step(&[0]);
    let planned = bench.step(&[]);

    assert_eq!(planned, step(&[truncate(0, 0)], &[vec![decode(1, 1, 2)], chunk(2, 0, &prompts[2], 0..2)]));
}

// === The prefix cache ===

#[test]
fn a_cached_prefix_in_the_lowest_slot_is_kept_in_place() {
    let mut bench = Bench::new(limits(2, 64, 64));
    bench.compute_and_finish(1, &text(1, 20));
    let prompt = joined(&[&text(1, 12), &text(2, 3)]);

    bench.submit(2, &prompt);

    assert_eq!(bench.plan(), step(&[truncate(0, 12)], &[chunk(2, 0, &prompt, 12..15)]));
    assert_eq!(bench.0.take_started(), [(SequenceId(1), 0), (SequenceId(2), 12)]);
}

#[test]
fn a_prefix_of_a_running_sequence_is_copied_from_its_slot() {
    let mut bench = Bench::new(limits(2, 64, 128));
    let prompt = text(1, 40);
    bench.submit(1, &prompt);
    bench.step(&[]);
    let other = joined(&[&prompt, &text(2, 5)]);

    bench.submit(2, &other);

    assert_eq!(bench.plan(), step(&[copy(0, 1, 40)], &[vec![decode(1, 0, 40)], chunk(2, 1, &other, 40..45)]));
}

#[test]
fn a_shorter_prefix_than_is_worth_a_copy_is_computed() {
    for (len, from_cache) in [(31, 0), (32, 32)] {
        let mut bench = Bench::new(limits(2, 64, 128));
        bench.submit(1, &text(1, len));
        bench.step(&[]);

        bench.submit(2, &joined(&[&text(1, len), &text(2, 5)]));
        bench.plan();

        assert_eq!(bench.0.take_started(), [(SequenceId(1), 0), (SequenceId(2), from_cache)], "{len} tokens");
    }
}

#[test]
fn a_slightly_longer_prefix_elsewhere_is_not_worth_a_copy() {
    let mut bench = Bench::new(limits(2, 256, 128));
    bench.submit(1, &joined(&[&text(1, 100), &text(2, 5)]));
    bench.step(&[]);
    bench.submit(2, &text(1, 107));
    bench.step(&[]);
    bench.step(&[1, 2]);
    let prompt = joined(&[&text(1, 107), &text(3, 2)]);

    bench.submit(3, &prompt);

    assert_eq!(bench.plan(), step(&[truncate(0, 100)], &[chunk(3, 0, &prompt, 100..109)]));
}

#[test]
fn what_only_the_lowest_slot_holds_is_moved_to_the_highest_empty_one_first() {
    let mut bench = Bench::new(limits(4, 128, 128));
    bench.compute_and_finish(1, &text(1, 100));
    let prompt = text(2, 5);

    bench.submit(2, &prompt);

    let kv = [copy(0, 3, 100), truncate(0, 0)];
    assert_eq!(bench.step(&[2]), step(&kv, &[chunk(2, 0, &prompt, 0..5)]));

    // The whole content moves back, so its old slot is emptied; the few tokens in the other slot are not worth a copy.
    let prompt = joined(&[&text(1, 100), &text(3, 2)]);
    bench.submit(3, &prompt);
    let kv = [copy(3, 0, 100), truncate(3, 0)];
    assert_eq!(bench.plan(), step(&kv, &[chunk(3, 0, &prompt, 100..102)]));
}

#[test]
fn a_slot_whose_content_another_one_holds_too_is_simply_overwritten() {
    let mut bench = Bench::new(limits(3, 128, 256));
    let shared = text(1, 100);
    bench.submit(1, &joined(&[&shared, &text(2, 10)]));
    bench.step(&[]);
    bench.submit(2, &joined(&[&shared, &text(3, 10)]));
    bench.step(&[]);
    bench.step(&[1, 2]);

    bench.submit(3, &text(4, 5));

    assert_eq!(bench.plan().kv, [truncate(0, 0)]);
}

#[test]
fn a_free_slot_with_the_match_is_used_itself_when_there_are_no_cells_for_a_copy() {
    let mut bench = Bench::new(Limits { kv_cells: 150, ..limits(2, 128, 150) });
    let first = text(1, 10);
    bench.submit(1, &first);
    bench.submit(2, &text(2, 100));
    bench.step(&[2]);
    bench.step(&[1]);
    let prompt = joined(&[&text(2, 100), &text(3, 5)]);

    bench.submit(3, &prompt);

    assert_eq!(bench.plan(), step(&[], &[chunk(3, 1, &prompt, 100..105)]));
}

#[test]
fn the_namespaces_of_a_cache_are_apart() {
    let mut bench = Bench::new(limits(2, 64, 64));
    bench.compute_and_finish(1, &text(1, 20));

    let other = NewSequence { id: SequenceId(2), tokens: text(1, 20), max_len: 30, scored: 0..0, namespace: 1, repeatable: false };
    bench.0.submit(other).unwrap();

    assert_eq!(bench.plan(), step(&[truncate(0, 0)], &[chunk(2, 0, &text(1, 20), 0..20)]));
}

#[test]
fn a_sequence_waits_for_a_shared_prefix_in_flight_and_not_for_one_too_short() {
    for (shared, held_back) in [(31, false), (32, true)] {
        let mut bench = Bench::new(limits(2, 128, 128));
        let (a, b) = (joined(&[&text(1, shared), &text(2, 3)]), joined(&[&text(1, shared), &text(3, 3)]));
        bench.submit(1, &a);
        bench.submit(2, &b);

        let step = bench.step(&[]);

        assert_eq!(step.rows.iter().all(|row| row.seq == SequenceId(1)), held_back, "{shared} tokens");
        assert_eq!(bench.0.stats().gauges.waiting, u32::from(held_back));
        bench.step(&[]);
        assert_eq!(bench.0.stats().gauges.waiting, 0);
    }
}

#[test]
fn what_cannot_be_cut_is_continued_as_a_whole_or_emptied() {
    let mut bench = Bench::new(Limits { can_truncate: false, ..limits(2, 64, 64) });
    bench.compute_and_finish(1, &text(1, 20));
    let shorter = joined(&[&text(1, 12), &text(2, 3)]);
    let longer = joined(&[&text(1, 20), &text(3, 3)]);
    bench.submit(2, &shorter);
    bench.submit(3, &longer);

    assert_eq!(bench.plan(), step(&[], &[chunk(2, 1, &shorter, 0..15), chunk(3, 0, &longer, 20..23)]));
}

// === Room ===

#[test]
fn when_cells_run_out_the_latest_admission_gives_way_and_is_computed_again_later() {
    let mut bench = Bench::new(Limits { kv_cells: 24, ..limits(2, 64, 24) });
    let (a, b) = (text(1, 10), text(2, 10));
    bench.submit(1, &a);
    bench.submit(2, &b);
    bench.step(&[]);
    bench.submit(3, &text(3, 2));
    bench.step(&[]);
    bench.step(&[]);

    // 24 cells are held; sequence 2 has sampled three tokens and computed two of them.
    assert_eq!(bench.step(&[]), step(&[truncate(1, 0)], &[vec![decode(1, 0, 12)]]));
    let stats = bench.0.stats();
    assert_eq!((stats.gauges.running, stats.gauges.waiting, stats.totals.preemptions, stats.gauges.kv_cells_used), (1, 2, 1, 13));

    // Sequence 2 is the next one to be admitted, and no other passes it.
    bench.step(&[1]);
    let resumed = joined(&[&b, &[NEXT; 3]]);
    let both = [chunk(2, 0, &resumed, 0..13), chunk(3, 1, &text(3, 2), 0..2)];
    assert_eq!(bench.step(&[]), step(&[truncate(0, 0)], &both));
    assert_eq!(bench.0.take_started().len(), 3, "each started once");
    assert_eq!(bench.step(&[2]), step(&[], &[vec![decode(2, 0, 13), decode(3, 1, 2)]]));
}

#[test]
fn the_least_recently_used_cached_slot_is_cut_from_its_tail_before_anybody_gives_way() {
    let mut bench = Bench::new(Limits { kv_cells: 210, ..limits(3, 256, 210) });
    bench.submit(1, &text(1, 4));
    bench.submit(2, &text(2, 100));
    bench.submit(3, &text(3, 100));
    bench.step(&[3]);
    bench.step(&[2]);
    for _ in 0..4 {
        assert_eq!(bench.step(&[]).kv, []);
    }

    assert_eq!(bench.step(&[]).kv, [truncate(2, 36)]);
    assert_eq!(bench.0.stats().totals.preemptions, 0);
}

#[test]
fn a_sequence_is_admitted_when_its_tokens_and_the_next_of_everybody_fit() {
    for (len, admitted) in [(18, true), (19, false)] {
        let mut bench = Bench::new(Limits { kv_cells: 30, ..limits(2, 64, 30) });
        bench.submit(1, &text(1, 9));
        bench.step(&[]);

        // Sequence 1 has 10 tokens by now.
        bench.submit(2, &text(2, len));
        bench.plan();

        assert_eq!(bench.0.stats().gauges.running == 2, admitted, "{len} tokens");
    }
}

// === Borders ===

#[test]
fn a_sequence_cancelled_in_flight_leaves_its_rows_as_cache() {
    let mut bench = Bench::new(limits(2, 64, 64));
    bench.submit(1, &text(1, 20));
    let planned = bench.plan();

    assert!(bench.0.cancel(SequenceId(1)));
    assert!(!bench.0.cancel(SequenceId(1)));
    assert_eq!(bench.0.take_started(), []);
    bench.complete(&planned, &[]);

    assert_eq!(bench.0.next_step(), None);
    bench.submit(1, &text(1, 20));
    assert_eq!(bench.plan(), step(&[truncate(0, 19)], &[chunk(1, 0, &text(1, 20), 19..20)]));
}

#[test]
fn an_id_submitted_anew_in_flight_does_not_get_what_its_predecessor_sampled() {
    let mut bench = Bench::new(limits(2, 64, 64));
    bench.submit(1, &text(1, 5));
    let planned = bench.plan();
    bench.0.cancel(SequenceId(1));
    bench.submit(1, &text(2, 5));

    bench.complete(&planned, &[]);

    assert_eq!(bench.plan().rows, chunk(1, 0, &text(2, 5), 0..5));
}

#[test]
fn what_breaks_the_promises_of_a_new_sequence_is_refused_and_not_queued() {
    let mut bench = Bench::new(limits(2, 64, 64));
    let new =
        |id, len, max_len| NewSequence { id: SequenceId(id), tokens: text(1, len), max_len, scored: 0..0, namespace: 0, repeatable: false };
    assert_eq!(bench.0.submit(new(1, 63, 64)), Ok(()));

    for (sequence, why) in [
        (new(1, 1, 2), "sequence 1 is already there"),
        (new(2, 0, 2), "a sequence needs at least one token"),
        (new(2, 1, 65), "a sequence of 65 positions is longer than 64"),
        (new(2, 65, 64), "65 tokens do not fit into a sequence of 64 positions"),
    ] {
        assert_eq!(bench.0.submit(sequence), Err(GenerationError::Invalid(why.to_owned())));
    }

    assert_eq!(bench.0.stats().gauges.waiting, 1);
}

#[test]
fn stats_count_prompt_tokens_looked_up_found_and_computed() {
    let mut bench = Bench::new(limits(2, 64, 64));
    bench.compute_and_finish(1, &text(1, 20));
    bench.submit(2, &joined(&[&text(1, 15), &text(2, 5)]));
    bench.step(&[]);
    bench.step(&[]);

    let expected = EngineStats {
        gauges: EngineGauges { running: 1, kv_cells_used: 21, kv_cells_total: 128, ..EngineGauges::default() },
        totals: EngineTotals { prefix_queries: 40, prefix_hits: 15, prefill_rows: 25, ..EngineTotals::default() },
    };
    assert_eq!(bench.0.stats(), expected);
}

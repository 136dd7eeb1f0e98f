//! Contents that are saved in idle time for the next start, and contents that that start takes over.

use super::parking::{drop_of, load, save, swapping};
use super::*;

fn content(tokens: &[Token]) -> ParkedContent {
    ParkedContent { tokens: tokens.to_vec(), namespace: 0, hits: 2 }
}

/// Saves all contents that are worth it, as an idle engine does. Returns the operations of each step.
fn park_all(bench: &mut Bench, at_last: bool) -> Vec<Vec<KvOp>> {
    let mut steps = Vec::new();
    while let Some(planned) = bench.0.park_idle(at_last) {
        assert_eq!(planned.rows, []);
        bench.complete(&planned, &[]);
        steps.push(planned.kv);
    }
    steps
}

#[test]
fn an_idle_engine_saves_what_each_slot_holds_once() {
    let mut bench = Bench::new(swapping(3, 1000));
    bench.submit(1, &text(1, 100));
    bench.submit(2, &text(2, 150));
    bench.submit(3, &text(3, 20));
    assert_eq!(bench.0.park_idle(false), None, "there is work");
    while bench.0.stats().gauges.running + bench.0.stats().gauges.waiting > 0 {
        bench.step(&[1, 2, 3]);
    }

    // The longer content is worth more and is saved first; 20 tokens are not worth saving.
    assert_eq!(park_all(&mut bench, false), [[save(1, 0)], [save(0, 1)]]);
    assert_eq!(park_all(&mut bench, true), Vec::<Vec<KvOp>>::new());
    assert_eq!(bench.0.parked(Parked(0)), Some(ParkedContent { hits: 0, ..content(&text(2, 150)) }));
    assert_eq!(bench.0.parked(Parked(2)), None);
}

#[test]
fn of_slots_that_hold_the_same_one_is_saved() {
    let mut bench = Bench::new(swapping(2, 1000));
    let (common, more) = (text(1, 150), joined(&[&text(1, 150), &text(2, 20)]));
    bench.submit(1, &common);
    bench.step(&[]);
    bench.compute_and_finish(2, &more);
    bench.0.cancel(SequenceId(1));

    assert_eq!(park_all(&mut bench, true).len(), 1);
}

#[test]
fn a_growing_content_is_saved_again_when_a_quarter_is_new_and_at_last_a_sixteenth() {
    let limits = Limits { swap: swapping(1, 4000).swap, ..limits(1, 2048, 2048) };
    for (more, at_last, saves) in [(332, false, false), (333, false, true), (66, true, false), (67, true, true)] {
        let mut bench = Bench::new(limits);
        let turn = text(1, 999);
        bench.compute_and_finish(1, &turn);
        assert_eq!(park_all(&mut bench, false), [[save(0, 0)]]);
        bench.compute_and_finish(2, &joined(&[&turn, &text(9, more)]));

        let expected = if saves { vec![vec![drop_of(0), save(0, 1)]] } else { Vec::new() };
        assert_eq!(park_all(&mut bench, at_last), expected, "{more} more");
    }
}

#[test]
fn what_an_earlier_engine_parked_serves_whoever_begins_with_it() {
    let mut bench = Bench::new(swapping(2, 1000));
    assert_eq!(bench.0.adopt(content(&text(1, 100)), |parked| parked == Parked(0)), Some(Parked(0)));
    assert_eq!(bench.0.stats().totals.restored_tokens, 100);
    let prompt = joined(&[&text(1, 90), &text(3, 5)]);
    bench.submit(3, &prompt);

    assert_eq!(bench.step(&[3]), step(&[load(0, 0, 90)], &[chunk(3, 0, &prompt, 90..95)]));
    assert_eq!(bench.0.parked(Parked(0)).unwrap().hits, 3);
    bench
        .0
        .submit(NewSequence { id: SequenceId(4), tokens: text(1, 95), max_len: 100, scored: 0..0, namespace: 9, repeatable: false })
        .unwrap();
    bench.plan();
    assert_eq!(bench.0.take_started().last(), Some(&(SequenceId(4), 0)), "not in another namespace");
}

#[test]
fn only_what_fits_and_is_new_is_taken_over() {
    let mut bench = Bench::new(swapping(1, 250));
    let adopt = |bench: &mut Bench, tokens: &[Token]| bench.0.adopt(content(tokens), |_| true);
    assert_eq!(adopt(&mut bench, &[]), None);
    assert_eq!(adopt(&mut bench, &text(1, 201)), None, "longer than a slot");
    assert_eq!(bench.0.adopt(content(&text(1, 150)), |_| false), None, "the runner does not take it");
    assert_eq!(adopt(&mut bench, &text(1, 150)), Some(Parked(0)));
    assert_eq!(adopt(&mut bench, &text(1, 150)), None, "it is there");
    assert_eq!(adopt(&mut bench, &text(2, 101)), None, "no room, and nothing gives way");
    assert_eq!(adopt(&mut bench, &text(2, 100)), Some(Parked(1)));
    assert_eq!(bench.0.check_invariants(), Ok(()));
    assert_eq!((bench.0.stats().gauges.parked_bytes, bench.0.stats().totals.restored_tokens), (250, 250));
}

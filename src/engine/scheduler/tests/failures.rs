//! Steps that failed, and the sequences that fail or continue after them.

use super::*;

#[test]
fn a_failed_step_is_taken_back_and_its_sequences_run_alone_once() {
    let mut bench = Bench::new(limits(3, 64, 64));
    let (a, b) = (text(1, 4), text(2, 5));
    bench.submit(1, &a);
    bench.step(&[]);
    bench.submit(2, &b);
    let failing = bench.plan();
    bench.submit(3, &text(3, 2));

    assert_eq!(bench.fail(&failing, &StepError::Decode { code: -1 }), []);

    let back = [truncate(0, 4), truncate(1, 0)];
    assert_eq!(bench.step(&[]), step(&back, &[vec![decode(1, 0, 4)]]));
    assert_eq!(bench.step(&[]), step(&[], &[chunk(2, 1, &b, 0..5)]));
    assert_eq!(bench.step(&[]), step(&[], &[vec![decode(1, 0, 5), decode(2, 1, 5)], chunk(3, 2, &text(3, 2), 0..2)]), "everybody again");
}

#[test]
fn a_sequence_that_fails_alone_is_dropped_and_the_others_go_on() {
    let mut bench = Bench::new(limits(2, 64, 64));
    let (a, b) = (text(1, 4), text(2, 5));
    bench.submit(1, &a);
    bench.submit(2, &b);
    let failing = bench.plan();
    bench.fail(&failing, &StepError::Decode { code: -1 });
    let alone = bench.plan();
    assert_eq!(alone, step(&[truncate(0, 0), truncate(1, 0)], &[chunk(1, 0, &a, 0..4)]));

    let failed = bench.fail(&alone, &StepError::Decode { code: -3 });

    assert_eq!(failed, [(SequenceId(1), GenerationError::Decode { code: -3 })]);
    assert_eq!(bench.step(&[]), step(&[truncate(0, 0)], &[chunk(2, 1, &b, 0..5)]));
    assert_eq!(bench.step(&[]), step(&[], &[vec![decode(2, 1, 5)]]));
}

#[test]
fn without_room_the_cache_goes_first_then_the_latest_admission_then_the_last_sequence() {
    let mut bench = Bench::new(limits(3, 64, 64));
    bench.compute_and_finish(1, &text(1, 20));
    let (a, b) = (text(2, 4), text(3, 5));
    bench.submit(2, &a);
    bench.submit(3, &b);
    bench.step(&[]);
    bench.compute_and_finish(4, &text(4, 6));
    let no_room = StepError::NoKvSpace;

    let planned = bench.plan();
    assert_eq!(bench.fail(&planned, &no_room), []);
    let planned = bench.plan();
    assert_eq!(planned.kv, [truncate(0, 5), truncate(1, 6), truncate(2, 0)], "the cache");

    assert_eq!(bench.fail(&planned, &no_room), []);
    let planned = bench.plan();
    assert_eq!(planned, step(&[truncate(0, 5), truncate(1, 6), truncate(1, 0)], &[vec![decode(2, 0, 5)]]), "the latest");
    assert_eq!(bench.0.stats().totals.preemptions, 1);

    let failed = bench.fail(&planned, &no_room);
    assert_eq!(failed, [(SequenceId(2), GenerationError::KvExhausted)]);
    assert_eq!(bench.plan().rows[0].seq, SequenceId(3), "the next one has its turn");
}

#[test]
fn after_a_lack_of_room_nobody_is_admitted_until_a_sequence_ends() {
    let mut bench = Bench::new(limits(3, 64, 64));
    bench.submit(1, &text(1, 4));
    bench.submit(2, &text(2, 4));
    bench.step(&[]);
    let planned = bench.plan();
    bench.fail(&planned, &StepError::NoKvSpace);

    bench.step(&[]);
    assert_eq!(bench.0.stats().gauges.waiting, 1);
    bench.step(&[1]);
    bench.step(&[]);

    assert_eq!((bench.0.stats().gauges.running, bench.0.stats().gauges.waiting), (1, 0));
}

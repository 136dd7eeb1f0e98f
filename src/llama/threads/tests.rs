//! Tests of when threads are tried, taken and given up, by the times of steps and by the use of other programs.

use super::*;
use proptest::prelude::*;

/// Observes steps that take `ms` of their number of threads; returns the number that each step used.
fn run(threads: &mut Threads, steps: usize, rows: usize, ms: impl Fn(u32) -> f64) -> Vec<u32> {
    (0..steps)
        .map(|_| {
            let now = threads.now();
            threads.observe(rows, Duration::from_secs_f64(ms(now) / 1e3));
            now
        })
        .collect()
}

#[test]
fn a_step_that_says_nothing_never_runs_on_the_threads_of_a_probe() {
    let mut threads = Threads::new(4, 8);
    while threads.now() == 4 {
        threads.observe(2, Duration::from_millis(10));
    }

    assert_eq!((threads.now(), threads.settled()), (3, 4));
}

/// Milliseconds of a step with two cores of its own; `busy` is with a busy program beside it (measured:
/// docs/benchmarks).
fn idle(threads: u32) -> f64 {
    if threads == 2 { 7.0 } else { 11.0 }
}

fn busy(threads: u32) -> f64 {
    if threads == 2 { 24.0 } else { 11.5 }
}

#[test]
fn an_idle_machine_loses_less_than_half_a_per_cent_to_probes() {
    let mut threads = Threads::new(2, 16);

    let used = run(&mut threads, 20_000, 1, idle);

    let took: f64 = used.iter().map(|&n| idle(n)).sum();
    assert_eq!(threads.now(), 2);
    assert!(took < 20_000.0 * idle(2) * 1.005, "{} times the best", took / (20_000.0 * idle(2)));
}

#[test]
fn a_neighbour_that_comes_is_noticed_within_two_steps() {
    let mut threads = Threads::new(2, 16);
    run(&mut threads, 3000, 1, idle);

    let used = run(&mut threads, 20, 1, busy);

    assert_eq!(used.iter().filter(|n| **n == 2).count(), 2, "{used:?}");
    assert_eq!(threads.now(), 1);
}

#[test]
fn a_neighbour_that_was_there_first_is_noticed_too() {
    let mut threads = Threads::new(2, 16);

    run(&mut threads, 40, 4, busy);

    assert_eq!(threads.now(), 1);
}

#[test]
fn beside_a_neighbour_probes_cost_about_a_per_cent() {
    let mut threads = Threads::new(2, 16);
    run(&mut threads, 100, 1, busy);

    let used = run(&mut threads, 10_000, 1, busy);

    let took: f64 = used.iter().map(|&n| busy(n)).sum();
    assert!(took < 10_000.0 * busy(1) * 1.01, "{} times the best", took / (10_000.0 * busy(1)));
}

#[test]
fn all_cores_are_used_again_within_300_steps_of_the_neighbours_leaving() {
    let mut threads = Threads::new(2, 16);
    run(&mut threads, 5000, 1, busy);
    assert_eq!(threads.now(), 1);

    run(&mut threads, 300, 1, idle);

    assert_eq!(threads.now(), 2);
}

/// The times were measured with four streams beside a busy program.
#[test]
fn where_one_step_of_a_probe_costs_eighteen_they_are_the_rarer_for_it() {
    let busy = |threads: u32| if threads == 2 { 561.0 } else { 30.5 };
    let mut threads = Threads::new(2, 16);
    run(&mut threads, 100, 4, busy);

    let used = run(&mut threads, 10_000, 4, busy);

    let took: f64 = used.iter().map(|&n| busy(n)).sum();
    assert!(took < 10_000.0 * busy(1) * 1.025, "{} times the best", took / (10_000.0 * busy(1)));
}

fn used(cores: u32, others: f64) -> CoreUse {
    CoreUse { cores: f64::from(cores), others }
}

#[test]
fn cores_that_others_have_left_are_taken_at_once() {
    let mut threads = Threads::new(2, 16);
    run(&mut threads, 100, 1, busy);
    assert_eq!(threads.settled(), 1);

    threads.see(used(2, 1.0));
    assert_eq!(threads.settled(), 1);

    threads.see(used(2, 0.2));
    assert_eq!(threads.settled(), 2);
}

#[test]
fn nothing_is_probed_while_others_use_nothing() {
    let mut threads = Threads::new(2, 16);
    threads.see(used(2, 0.1));

    let longer = |step: usize| if step < 1000 { 7.0 } else { 12.0 };
    for step in 0..2000 {
        assert_eq!(threads.now(), 2, "step {step}");
        threads.observe(4, Duration::from_secs_f64(longer(step) / 1e3));
    }
}

#[test]
fn a_neighbour_is_noticed_within_two_steps_whatever_was_seen_before() {
    let mut threads = Threads::new(2, 16);
    threads.see(used(2, 0.0));
    run(&mut threads, 100, 1, idle);

    assert_eq!(run(&mut threads, 20, 1, busy).iter().filter(|n| **n == 2).count(), 2);
}

/// For example, beside a busy program that the kernel's counts do not show, such as another guest of the machine.
#[test]
fn cores_that_turn_out_not_to_be_free_are_taken_ever_more_seldom() {
    let mut threads = Threads::new(2, 16);
    run(&mut threads, 100, 1, idle);
    let mut with_two = 0;
    for step in 0..20_000 {
        if step % 50 == 0 {
            threads.see(used(2, 0.0));
        }
        let now = threads.now();
        with_two += u32::from(now == 2);
        threads.observe(1, Duration::from_secs_f64(if now == 2 { 30.0 } else { 11.5 } / 1e3));
    }

    assert!(with_two < 400, "{with_two} steps of 20,000 with two threads");
}

#[test]
fn several_neighbours_take_several_threads() {
    let mut threads = Threads::new(8, 16);
    let shared = |threads: u32| if threads > 5 { 100.0 } else { 40.0 / f64::from(threads) };

    run(&mut threads, 2000, 1, shared);

    assert_eq!(threads.now(), 5);
}

#[test]
fn steps_that_grow_longer_with_their_texts_change_nothing() {
    let mut threads = Threads::new(2, 16);
    for step in 0..5000_u32 {
        let grown = 1.0 + f64::from(step) / 1000.0;
        let now = threads.now();
        threads.observe(4, Duration::from_secs_f64(idle(now) * grown / 1e3));
    }

    assert_eq!(threads.now(), 2);
}

#[test]
fn a_slow_step_now_and_then_is_no_neighbour() {
    let mut threads = Threads::new(2, 16);
    let mut fewer = 0;
    for step in 0..20_000 {
        let now = threads.now();
        fewer += u32::from(now < 2);
        threads.observe(1, Duration::from_secs_f64(idle(now) * if step % 20 == 0 { 6.0 } else { 1.0 } / 1e3));
    }

    assert!(fewer < 100, "{fewer} steps of 20,000 with one thread");
}

#[test]
fn a_single_core_is_never_probed() {
    let mut threads = Threads::new(1, 16);

    assert!(run(&mut threads, 1000, 1, |_| 10.0).iter().all(|n| *n == 1));
}

#[test]
fn steps_of_another_shape_end_a_probe_that_they_keep_waiting() {
    let mut threads = Threads::new(2, 16);
    run(&mut threads, 16, 1, idle);
    assert_eq!(threads.now(), 1, "a probe");

    run(&mut threads, 17, 3, idle);

    assert_eq!(threads.now(), 2);
}

proptest! {
    /// Holds for any times.
    #[test]
    fn there_are_always_between_one_thread_and_the_most(
        most in 1_u32..9,
        steps in prop::collection::vec((0_usize..20, 0_u64..1_000_000), 0..2000),
    ) {
        let mut threads = Threads::new(most, 16);
        for (rows, micros) in steps {
            threads.observe(rows, Duration::from_micros(micros));
            prop_assert!((1..=most).contains(&threads.now()));
        }
    }
}

//! The number of prompt rows that a step may carry, after steps of given times.

use super::*;
use crate::engine::runner::{Parked, Row, Slot};
use crate::protocol::{SequenceId, Token};

/// A step with `decode` decode rows and one chunk of `prompt` rows.
fn step(decode: u32, prompt: u32) -> Step {
    let row = |seq: u32, pos, sample| Row { seq: SequenceId(seq.into()), slot: Slot(seq), pos, token: Token(0), sample };
    let mut rows: Vec<Row> = (0..decode).map(|seq| row(seq, 5, true)).collect();
    rows.extend((0..prompt).map(|pos| row(999, pos, false)));
    Step { kv: Vec::new(), rows }
}

fn ms(ms: f64) -> Duration {
    Duration::from_secs_f64(ms / 1000.0)
}

/// Costs after a step of `base` ms with only decode rows and `steps` steps with prompt rows, which took `cost(rows)` ms
/// more.
fn learnt(ratio: f32, decode: u32, base: f64, steps: usize, cost: impl Fn(f64) -> f64) -> Costs {
    let mut costs = Costs::new(512, 1, ratio);
    costs.observe_rows(&step(decode, 0), ms(base));
    for _ in 0..steps {
        let rows = costs.prompt_rows(decode, 1);
        let added = if rows > 0 { cost(f64::from(rows)) } else { 0.0 };
        costs.observe_rows(&step(decode, rows), ms(base + added));
    }
    costs
}

#[test]
fn without_decode_rows_a_step_is_filled_up() {
    assert_eq!(Costs::new(512, 1, 3.0).prompt_rows(0, 1), 512);
}

#[test]
fn a_step_without_decode_rows_takes_two_seconds_at_most_when_rows_are_slow() {
    let mut costs = Costs::new(512, 1, 3.0);
    costs.observe_rows(&step(0, 512), ms(51_200.0));

    assert_eq!(costs.prompt_rows(0, 1), 20);
}

#[test]
fn a_step_that_copies_saves_or_loads_teaches_nothing() {
    let mut costs = Costs::new(512, 1, 3.0);
    let copy = KvOp::Copy { from: Slot(0), to: Slot(1), len: 9 };
    let save = KvOp::Save { slot: Slot(0), to: Parked(0) };
    let load = KvOp::Load { from: Parked(0), slot: Slot(1), len: 9 };
    for op in [copy, save, load] {
        costs.observe_rows(&Step { kv: vec![op], ..step(4, 0) }, ms(500.0));
    }

    assert_eq!(costs.decode.expected(4), None);
}

#[test]
fn before_any_measurement_a_few_rows_are_allowed_and_then_a_decode_step_is_measured() {
    let mut costs = Costs::new(512, 1, 3.0);
    assert_eq!(costs.prompt_rows(2, 1), 8);
    assert_eq!(Costs::new(5, 1, 3.0).prompt_rows(2, 1), 3, "never above max_rows");

    costs.observe_rows(&step(2, 8), ms(50.0));
    assert_eq!(costs.prompt_rows(2, 1), 0);

    costs.observe_rows(&step(2, 0), ms(10.0));
    assert_eq!(costs.prompt_rows(2, 1), 8);
}

#[test]
fn rows_converge_to_the_allowed_ratio_with_doubling_at_most() {
    let rows: Vec<u32> = (0..20).map(|steps| learnt(3.0, 4, 20.0, steps, |rows| 0.5 * rows).prompt_rows(4, 1)).collect();

    // 20 ms may become 60 ms, which leaves 40 ms for rows of 0.5 ms each.
    assert_eq!(rows[..4], [8, 16, 32, 64]);
    assert!(rows[5..].iter().all(|rows| (78..=80).contains(rows)), "{rows:?}");
}

#[test]
fn a_target_in_seconds_bounds_the_step_whoever_waits() {
    for waiting in [1, 9] {
        let mut costs = Costs::new(512, 1, 3.0);
        costs.set_target(0.05);
        for _ in 0..30 {
            let rows = costs.prompt_rows(4, waiting);
            costs.observe_rows(&step(4, rows), ms(20.0 + if rows > 0 { 5.0 + 0.5 * f64::from(rows) } else { 0.0 }));
        }

        let rows = costs.prompt_rows(4, waiting);
        assert!((46..=52).contains(&rows), "25 ms are left for rows of 0.5 ms, got {rows}");
    }
}

#[test]
fn prompts_get_on_even_where_the_target_cannot_be_held() {
    let mut costs = learnt(3.0, 4, 20.0, 30, |rows| 0.5 * rows);
    costs.set_target(0.001);

    assert!(costs.prompt_rows(4, 1) >= 4);
}

#[test]
fn a_fixed_cost_of_mixing_is_learnt() {
    let rows = learnt(3.0, 4, 20.0, 60, |rows| 4.0 + 0.5 * rows).prompt_rows(4, 1);

    assert!((68..=74).contains(&rows), "36 ms are left for rows of 0.5 ms, got {rows}");
}

#[test]
fn prefill_alone_teaches_what_chunks_will_cost() {
    let mut costs = Costs::new(512, 1, 3.0);
    costs.observe_rows(&step(4, 0), ms(20.0));
    for rows in [100, 400] {
        costs.observe_rows(&step(0, rows), ms(4.0 + 0.5 * f64::from(rows)));
    }
    costs.observe_rows(&step(4, 40), ms(20.0 + 4.0 + 0.5 * 40.0));

    let rows = costs.prompt_rows(4, 1);
    assert!((68..=74).contains(&rows), "36 ms are left for rows of 0.5 ms, got {rows}");
}

#[test]
fn rows_that_grow_dearer_soon_become_fewer() {
    let mut costs = learnt(8.0, 4, 20.0, 30, |rows| 4.0 + 0.5 * rows);
    for _ in 0..20 {
        let rows = costs.prompt_rows(4, 1);
        costs.observe_rows(&step(4, rows), ms(20.0 + 8.0 + f64::from(rows)));
    }

    let rows = costs.prompt_rows(4, 1);
    assert!((118..=138).contains(&rows), "140 ms for a fixed 8 ms and rows of 1 ms, got {rows}");
}

#[test]
fn dear_rows_still_get_the_minimum() {
    let mut costs = Costs::new(512, 1, 1.0);
    costs.observe_rows(&step(4, 0), ms(20.0));
    costs.observe_rows(&step(4, 8), ms(500.0));

    assert_eq!(costs.prompt_rows(4, 1), 4);
}

#[test]
fn a_chunk_is_never_so_small_that_its_rows_are_computed_slowly() {
    let mut costs = Costs::new(512, 1, 1.1);
    costs.observe_rows(&step(4, 0), ms(60.0));
    for rows in [8, 100] {
        costs.observe_rows(&step(0, rows), ms(4.0 + f64::from(rows)));
    }
    costs.observe_rows(&step(4, 20), ms(60.0 + 4.0 + 20.0));

    // 6 ms are allowed, but 22.7 rows in 26.7 ms are 85 % of 1 row per ms.
    assert!((21..=24).contains(&costs.prompt_rows(4, 1)), "{}", costs.prompt_rows(4, 1));
    costs.set_target(0.05);
    assert_eq!(costs.prompt_rows(4, 1), 4, "the operator wants short steps");
}

#[test]
fn a_chunk_fills_a_tile_whatever_the_ratio_unless_the_operator_wants_short_steps() {
    let mut costs = Costs::new(512, 64, 2.0);
    costs.observe_rows(&step(4, 0), ms(40.0));
    costs.observe_rows(&step(4, 80), ms(40.0 + 5.0 * 80.0));

    assert_eq!(costs.prompt_rows(4, 1), 64, "40 ms are allowed, and 64 rows take 320");
    costs.set_target(0.1);
    assert_eq!(costs.prompt_rows(4, 1), 12);
}

#[test]
fn a_number_of_decode_rows_that_is_new_is_soon_measured_by_itself() {
    let mut costs = Costs::new(512, 1, 3.0);
    costs.observe_rows(&step(1, 0), ms(5.0));
    let steps_until_measured = |costs: &mut Costs, decode| {
        (0..100)
            .take_while(|_| {
                let rows = costs.prompt_rows(decode, 1);
                costs.observe_rows(&step(decode, rows), ms(20.0 + f64::from(rows)));
                rows > 0
            })
            .count()
    };

    assert_eq!([steps_until_measured(&mut costs, 3), steps_until_measured(&mut costs, 3)], [8, 64]);
}

#[test]
fn a_forecast_does_not_count_with_the_one_step_without_prompt_rows() {
    let mut costs = learnt(8.0, 4, 20.0, 30, |rows| 4.0 + 0.5 * rows);
    let seconds = |costs: &Costs| costs.prompt_seconds(1000, 4, 1).unwrap();
    let usual = seconds(&costs);
    while costs.prompt_rows(4, 1) > 0 {
        costs.observe_rows(&step(4, 100), ms(74.0));
    }

    assert!((seconds(&costs) / usual - 1.0).abs() < 0.1, "{} and {usual}", seconds(&costs));
}

#[test]
fn prompt_rows_take_two_seconds_at_most_where_a_decode_step_is_shorter() {
    for (decode_ms, expected) in [(500.0, 19..=20), (3000.0, 29..=30)] {
        let mut costs = learnt(8.0, 4, decode_ms, 30, |rows| 100.0 * rows);
        costs.observe_rows(&step(4, 80), ms(decode_ms + 8000.0));

        let rows = costs.prompt_rows(4, 1);
        assert!(expected.contains(&rows), "{rows} rows of 100 ms beside a step of {decode_ms} ms");
    }
}

#[test]
fn a_step_that_nobody_notices_is_allowed_whatever_the_ratio() {
    let rows = learnt(2.0, 1, 5.0, 30, |rows| rows).prompt_rows(1, 1);

    assert!((54..=55).contains(&rows), "60 ms in all, got {rows}");
}

#[test]
fn more_waiting_sequences_get_more_rows_until_a_step_takes_twenty_times_as_long() {
    let mut costs = learnt(2.0, 4, 40.0, 30, |rows| 4.0 * rows);
    costs.observe_rows(&step(4, 100), ms(440.0));

    assert_eq!([1, 2, 3, 9, 100].map(|sequences| costs.prompt_rows(4, sequences)), [10, 15, 22, 90, 190]);
}

#[test]
fn beside_more_than_four_streams_a_prompt_gets_a_smaller_multiple_of_their_step() {
    // Rows of 1 ms beside steps of 40 ms: 7 · 40 ms for up to four streams.
    for (streams, expected) in [(1, 280), (4, 280), (8, 140), (14, 80)] {
        let mut costs = learnt(8.0, streams, 40.0, 30, |rows| rows);
        costs.observe_rows(&step(streams, 300), ms(340.0));

        assert_eq!(costs.prompt_rows(streams, 1), expected, "{streams} streams");
    }
}

#[test]
fn where_steps_are_short_waiting_sequences_get_a_quarter_of_a_second() {
    let mut costs = learnt(2.0, 4, 5.0, 30, |rows| 2.0 * rows);
    costs.observe_rows(&step(4, 200), ms(405.0));

    assert_eq!(costs.prompt_rows(4, 100), 125);
}

#[test]
fn under_constant_prefill_a_pure_decode_step_is_measured_now_and_then() {
    let mut costs = Costs::new(512, 1, 3.0);
    costs.observe_rows(&step(1, 0), ms(5.0));

    let zeros = (0..130)
        .filter(|_| {
            let rows = costs.prompt_rows(1, 1);
            costs.observe_rows(&step(1, rows), ms(5.0 + f64::from(rows)));
            rows == 0
        })
        .count();

    assert_eq!(zeros, 2);
}

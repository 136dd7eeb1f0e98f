//! Predicts the times of a request from the engine's measurements so far.
//!
//! Each time is `null` until its inputs were measured:
//!
//! * `queue_seconds`: 0 while a slot is free; else the time between two completions, smoothed, for each sequence that
//!   has to end first.
//! * `first_token_seconds`: the queue time, and the time for the prompt rows of earlier requests and for those of the
//!   first prompt that no cache supplies, at the speed that the engine's model of step times predicts beside the
//!   running streams.
//! * `total_seconds`: the queue time, the time of all prompts in the same way, and a step for each further token up to
//!   `max_tokens`, times the number of rounds in which the sequences fill the slots. An early end is not foreseen.

use crate::protocol::Forecast;
use serde::Serialize;
use std::time::Duration;

/// The predicted times of a request, s, as the module describes them, and the engine's load.
#[derive(Debug, PartialEq, Serialize)]
pub(super) struct Prediction {
    running: u32,
    waiting: u32,
    slots: u32,
    queue_seconds: Option<f64>,
    first_token_seconds: Option<f64>,
    total_seconds: Option<f64>,
}

/// Predicts the times as the module describes. `pace` is the time between two completions.
pub(super) fn predict(forecast: &Forecast, pace: Option<Duration>, sequences: usize, max_tokens: u32) -> Prediction {
    let busy = forecast.running.saturating_add(forecast.waiting_ahead);
    let to_end_first = busy.saturating_add(1).saturating_sub(forecast.slots);
    let queue = if to_end_first == 0 { Some(0.0) } else { pace.map(|pace| pace.as_secs_f64() * f64::from(to_end_first)) };
    let slots = usize::try_from(forecast.slots.max(1)).unwrap_or(usize::MAX);
    // The number of sequences is small, so that the float is exact.
    let rounds = sequences.div_ceil(slots) as f64;
    let further_tokens = f64::from(max_tokens.saturating_sub(1));
    let decode = if max_tokens <= 1 { Some(0.0) } else { forecast.step_seconds.map(|step| rounds * further_tokens * step) };
    let sum = |parts: [Option<f64>; 3]| parts.into_iter().sum::<Option<f64>>();
    Prediction {
        running: forecast.running,
        waiting: forecast.waiting,
        slots: forecast.slots,
        queue_seconds: queue,
        first_token_seconds: sum([queue, forecast.first_prompt_seconds, Some(0.0)]),
        total_seconds: sum([queue, forecast.prompts_seconds, decode]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forecast() -> Forecast {
        Forecast {
            cached_tokens: vec![0],
            running: 1,
            waiting: 0,
            waiting_ahead: 0,
            slots: 4,
            rows_ahead: 0,
            first_prompt_seconds: Some(0.5),
            prompts_seconds: Some(1.5),
            step_seconds: Some(0.125),
        }
    }

    fn times(forecast: &Forecast, pace_ms: Option<u64>, sequences: usize, max_tokens: u32) -> [Option<f64>; 3] {
        let Prediction { queue_seconds, first_token_seconds, total_seconds, .. } =
            predict(forecast, pace_ms.map(Duration::from_millis), sequences, max_tokens);
        [queue_seconds, first_token_seconds, total_seconds]
    }

    #[test]
    fn with_a_free_slot_nobody_queues_and_each_further_token_is_a_step() {
        assert_eq!(times(&forecast(), None, 1, 9), [Some(0.0), Some(0.5), Some(2.5)]);
        assert_eq!(times(&forecast(), None, 1, 1), [Some(0.0), Some(0.5), Some(1.5)]);
        assert_eq!(times(&forecast(), None, 1, 0), [Some(0.0), Some(0.5), Some(1.5)]);
    }

    #[test]
    fn without_a_free_slot_as_many_must_end_as_are_before() {
        let full = Forecast { running: 4, waiting: 5, waiting_ahead: 2, ..forecast() };

        assert_eq!(times(&full, Some(2000), 1, 1), [Some(6.0), Some(6.5), Some(7.5)]);
        assert_eq!(times(&full, None, 1, 1), [None, None, None]);
    }

    #[test]
    fn more_sequences_than_slots_take_turns() {
        assert_eq!(times(&forecast(), None, 5, 9), [Some(0.0), Some(0.5), Some(3.5)]);
    }

    #[test]
    fn what_was_not_measured_is_not_predicted() {
        let unmeasured = Forecast { first_prompt_seconds: None, step_seconds: None, ..forecast() };

        assert_eq!(times(&unmeasured, None, 1, 9), [Some(0.0), None, None]);
        assert_eq!(times(&unmeasured, None, 1, 1), [Some(0.0), None, Some(1.5)]);
    }
}

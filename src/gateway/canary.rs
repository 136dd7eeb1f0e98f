//! A test of an idle engine at each interval: one token, or one vector, of a prompt of one token. A server whose test
//! fails says that it is not ready until a test works, or until a client's request does.
//!
//! Owns the result of the last test, on the status board. An engine that dies or stands still is the supervisor's
//! matter; this finds one that answers, but with failures.

use super::{engine_state::EngineState, error::EmbeddingError, handle::EngineHandle};
use crate::protocol::{Finish, SamplingParams, SequenceRequest, Token};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

/// Longest wait for the test of an engine that has nothing else to do: a step takes seconds at most.
const PATIENCE: Duration = Duration::from_secs(30);

/// Tests the engine for ever. Tests nothing while requests run, or if tokens were generated since the last look, which
/// prove the same.
pub async fn watch(handle: EngineHandle, interval: Duration) {
    let mut ticks = interval_at(Instant::now() + interval, interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut generated = handle.generated_tokens();
    loop {
        ticks.tick().await;
        let before = std::mem::replace(&mut generated, handle.generated_tokens());
        let outcome = if generated > before {
            Ok(())
        } else if handle.state() == EngineState::Ready && handle.is_idle() {
            let tested = timeout(PATIENCE, test(&handle)).await;
            let Some(outcome) = tested.unwrap_or_else(|_| Some(Err(format!("no answer within {PATIENCE:?}")))) else { continue };
            outcome
        } else {
            continue;
        };
        generated = handle.generated_tokens();
        if handle.state() != EngineState::Ready {
            // The engine died meanwhile, or the server stops: that is told elsewhere.
            continue;
        }
        let was_failing = handle.set_failing(outcome.is_err());
        match outcome {
            Ok(()) if was_failing => tracing::info!("the engine generates again; /readyz is 200"),
            Ok(()) => {}
            Err(reason) => tracing::error!("a test of the idle engine failed: {reason}; /readyz is 503 until one works"),
        }
    }
}

/// Generates one token, or computes one vector. The error is the failure in words; `None` if the request was not
/// accepted, which tells nothing about the engine.
async fn test(handle: &EngineHandle) -> Option<Result<(), String>> {
    let model = handle.model()?;
    let prompt = vec![model.bos.or(model.eos).unwrap_or(Token(0))];
    if model.embedding().is_some() {
        return match handle.embed(vec![prompt]).await {
            Ok(_) => Some(Ok(())),
            Err(EmbeddingError::Engine(_)) => None,
            Err(error) => Some(Err(error.to_string())),
        };
    }
    let sampling = SamplingParams { temperature: 0.0, ..SamplingParams::default() };
    let request = SequenceRequest { prompt, max_tokens: 1, sampling, ..SequenceRequest::default() };
    let mut generation = handle.submit(vec![request]).ok()?;
    handle.count_test();
    while let Some(event) = generation.next().await {
        if let Some(Finish::Failed(error)) = event.output.finish {
            return Some(Err(error.to_string()));
        }
    }
    Some(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        gateway::{
            death::DeathCause,
            supervisor::Supervisor,
            testing::{ScriptedEngine, ScriptedEngines, request, start_scripted, token},
        },
        protocol::{EngineGauges, EngineStats, FromEngine, GenerationError, SequenceId, SequenceOutput, StepReport},
    };
    use tokio_util::task::AbortOnDropHandle;

    const INTERVAL: Duration = Duration::from_millis(1);

    fn finish(id: SequenceId, finish: Finish) -> SequenceOutput {
        SequenceOutput { finish: Some(finish), ..SequenceOutput::empty(id) }
    }

    /// An engine that answers, the tests of it, and a first test that failed.
    async fn failing() -> (EngineHandle, (Supervisor, ScriptedEngines), ScriptedEngine, AbortOnDropHandle<()>) {
        let (handle, supervisor, mut engines) = start_scripted(2, 2);
        let mut engine = engines.next_ready().await;
        handle.watch_state().wait_for(|state| *state == EngineState::Ready).await.unwrap();
        let watch = AbortOnDropHandle::new(tokio::spawn(watch(handle.clone(), INTERVAL)));
        let first = engine.receive_submit().await;
        assert_eq!((first.max_tokens, first.prompt.len()), (1, 1));
        engine.step(vec![finish(first.id, Finish::Failed(GenerationError::KvExhausted))]).await;
        (handle, (supervisor, engines), engine, watch)
    }

    #[tokio::test]
    async fn a_server_whose_test_fails_is_failing_until_one_works() {
        let (handle, _engines, mut engine, _watch) = failing().await;

        let second = engine.receive_submit().await;
        assert!(handle.is_failing());
        engine.step(vec![token(second.id, 7, "x"), finish(second.id, Finish::Length)]).await;
        let _third = engine.receive_submit().await;
        assert!(!handle.is_failing());
    }

    #[tokio::test]
    async fn tokens_of_clients_prove_the_same_even_if_the_server_is_never_idle() {
        let (handle, _engines, mut engine, _watch) = failing().await;
        let test = engine.receive_submit().await;
        assert!(handle.is_failing());
        engine.step(vec![finish(test.id, Finish::Failed(GenerationError::KvExhausted))]).await;

        let _client = handle.submit(vec![request(4)]).unwrap();
        let of_client = loop {
            let submitted = engine.receive_submit().await;
            if submitted.max_tokens == 4 {
                break submitted;
            }
            engine.step(vec![finish(submitted.id, Finish::Failed(GenerationError::KvExhausted))]).await;
        };
        let gauges = EngineGauges { running: 1, ..EngineGauges::default() };
        let stats = EngineStats { gauges, ..EngineStats::default() };
        engine.send(FromEngine::Step(StepReport { outputs: vec![token(of_client.id, 7, "x")], stats })).await;

        while handle.is_failing() {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn an_engine_that_dies_of_a_test_is_no_failing_engine() {
        let (handle, (_supervisor, mut engines), mut engine, _watch) = failing().await;
        let second = engine.receive_submit().await;
        engine.step(vec![token(second.id, 7, "x"), finish(second.id, Finish::Length)]).await;
        let _third = engine.receive_submit().await;
        engine.die(DeathCause::Signal(9));

        let mut next = engines.next_ready().await;
        let again = next.receive_submit().await;
        next.step(vec![token(again.id, 7, "x"), finish(again.id, Finish::Length)]).await;

        let _after = next.receive_submit().await;
        assert!(!handle.is_failing());
    }
}

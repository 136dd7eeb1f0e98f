//! A test of an idle engine at each interval: one token, or one vector, of a prompt of one token. A server whose test
//! fails says that it is not ready until a test works, or until a client's request does.
//!
//! Owns the result of the last test, on the status board. An engine that dies or stands still is the supervisor's
//! matter; this finds one that answers, but with failures.

use super::{engine_state::EngineState, error::EmbeddingError, handle::EngineHandle};
use crate::protocol::{Finish, SamplingParams, SequenceRequest, Token};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Longest wait for the test of an engine that has nothing else to do: a step takes seconds at most.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest pause before another test while the last one has failed: a server that is not ready gets no requests that
/// could prove the contrary.
const RETEST: Duration = Duration::from_secs(5);

/// Tests the engine for ever. Tests nothing while requests run, or if tokens were generated since the last look, which
/// prove the same.
pub async fn watch(handle: EngineHandle, interval: Duration) {
    // Tokens that tests generated, and those of clients' requests.
    let mut own = 0;
    let mut clients = handle.generated_tokens();
    loop {
        sleep(if handle.is_failing() { interval.min(RETEST) } else { interval }).await;
        let before = std::mem::replace(&mut clients, handle.generated_tokens().saturating_sub(own));
        let outcome = if clients > before {
            Ok(0)
        } else if handle.state() == EngineState::Ready && handle.open_work() == 0 {
            let Some(outcome) = test_in_time(&handle).await else { continue };
            outcome
        } else {
            continue;
        };
        own += outcome.as_ref().copied().unwrap_or_default();
        if handle.state() != EngineState::Ready {
            // The engine died meanwhile, or the server stops: that is told elsewhere.
            continue;
        }
        let was_failing = handle.set_failing(outcome.is_err());
        match outcome {
            Ok(_) if was_failing => tracing::info!("the engine generates again; /readyz is 200"),
            Ok(_) => {}
            Err(reason) => tracing::error!("a test of the idle engine failed: {reason}; /readyz is 503 until one works"),
        }
    }
}

/// The result of [`test`] within [`PATIENCE`]. `None` if requests of clients came meanwhile and it waits behind them.
async fn test_in_time(handle: &EngineHandle) -> Option<Result<u64, String>> {
    let test = test(handle);
    tokio::pin!(test);
    match timeout(PATIENCE, &mut test).await {
        Ok(outcome) => outcome,
        // One is the test itself.
        Err(_) if handle.open_work() > 1 => None,
        Err(_) => Some(Err(format!("no answer within {PATIENCE:?}"))),
    }
}

/// Generates one token, or computes one vector, and returns the number of tokens. The error is the failure in words;
/// `None` if the request was not accepted, which tells nothing about the engine.
async fn test(handle: &EngineHandle) -> Option<Result<u64, String>> {
    let model = handle.model()?;
    let prompt = vec![model.bos.or(model.eos).unwrap_or(Token(0))];
    handle.count_test();
    if model.embedding().is_some() {
        return match handle.embed(vec![prompt]).await {
            Ok(_) => Some(Ok(0)),
            Err(EmbeddingError::Engine(_)) => None,
            Err(error) => Some(Err(error.to_string())),
        };
    }
    let sampling = SamplingParams { temperature: 0.0, ..SamplingParams::default() };
    let request = SequenceRequest { prompt, max_tokens: 1, sampling, ..SequenceRequest::default() };
    let mut generation = handle.submit(vec![request]).ok()?;
    let mut tokens = 0;
    while let Some(event) = generation.next().await {
        tokens += u64::try_from(event.output.tokens.len()).unwrap_or(u64::MAX);
        if let Some(Finish::Failed(error)) = event.output.finish {
            return Some(Err(error.to_string()));
        }
    }
    Some(Ok(tokens))
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
        protocol::{GenerationError, SequenceId, SequenceOutput},
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
        engine.step(vec![token(of_client.id, 7, "x")]).await;

        let proven = async {
            while handle.is_failing() {
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, proven).await.expect("the client's token proves that the engine works");
    }

    #[tokio::test]
    async fn an_engine_that_takes_the_place_of_a_failing_one_is_not_failing() {
        let (handle, (_supervisor, mut engines), mut engine, _watch) = failing().await;
        let _second = engine.receive_submit().await;
        assert!(handle.is_failing());
        engine.die(DeathCause::Signal(9));

        let _next = engines.next_ready().await;

        handle.watch_state().wait_for(|state| *state == EngineState::Ready).await.unwrap();
        assert!(!handle.is_failing());
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

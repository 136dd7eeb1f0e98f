//! Tests of the time before an engine is started, and of a drain that is hurried. Time is paused.

use super::*;
use crate::gateway::{
    error::SubmitError,
    handle::GenerationEvent,
    testing::{options, request, scripted, start_scripted, supervision},
};
use crate::protocol::{Finish, GenerationError};

#[tokio::test]
async fn before_there_is_a_model_requests_are_refused_with_what_is_going_on_and_then_the_engine_starts() {
    let (handle, prepared) = prepare(2, supervision(2));
    assert_eq!(handle.state(), EngineState::Preparing);
    let refused = handle.submit(vec![request(1)]).unwrap_err();
    assert!(matches!(&refused, SubmitError::NotReady { reason, .. } if reason.contains("fetched or checked")), "{refused:?}");

    let (launcher, mut engines) = scripted();
    let _supervisor = prepared.start(launcher, options(2));

    assert_eq!(handle.state(), EngineState::Loading(0.0));
    let _engine = engines.next_ready().await;
    handle.watch_state().wait_for(|state| *state == EngineState::Ready).await.unwrap();
    assert!(handle.submit(vec![request(1)]).is_ok());
}

#[tokio::test]
async fn a_server_that_leaves_takes_requests_in_as_before() {
    let (handle, supervisor, mut engines) = start_scripted(2, 2);
    let _engine = engines.next_ready().await;
    handle.watch_state().wait_for(|state| *state == EngineState::Ready).await.unwrap();
    assert!(!handle.is_leaving());

    supervisor.leave();

    assert!(handle.is_leaving() && handle.state() == EngineState::Ready);
    assert!(handle.submit(vec![request(1)]).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_hurried_drain_ends_what_runs_with_an_error_at_once() {
    let (handle, supervisor, mut engines) = start_scripted(2, 2);
    let mut engine = engines.next_ready().await;
    handle.watch_state().wait_for(|state| *state == EngineState::Ready).await.unwrap();
    let mut generation = handle.submit(vec![request(4)]).unwrap();
    engine.receive_submit().await;
    let hurry = CancellationToken::new();
    let begun = Instant::now();
    let drained = tokio::spawn({
        let hurry = hurry.clone();
        async move { supervisor.drain_and_stop_unless(Duration::from_secs(600), &hurry).await }
    });
    handle.watch_state().wait_for(|state| *state == EngineState::Draining).await.unwrap();

    hurry.cancel();

    let mut finish = None;
    while let Some(GenerationEvent { output, .. }) = generation.next().await {
        finish = output.finish.or(finish);
    }
    assert_eq!((finish, begun.elapsed()), (Some(Finish::Failed(GenerationError::ShuttingDown)), Duration::ZERO));
    drained.await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

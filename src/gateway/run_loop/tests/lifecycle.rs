//! Tests of loading, stalling, giving up and stopping. Time is paused: it jumps to the next deadline.

use super::*;

/// The single cause of `deaths` deaths.
fn cause_of(deaths: u64, handle: &EngineHandle) -> DeathCause {
    let all: Vec<_> = handle.engine_deaths().into_iter().collect();
    assert_eq!(all.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [deaths], "{all:?}");
    all[0].0
}

#[tokio::test]
async fn nothing_is_taken_in_during_the_first_load() {
    let (handle, _supervisor, mut engines) = start_scripted(2, 2);
    let mut engine = engines.next().await;
    engine.send(FromEngine::LoadProgress(0.25)).await;
    until(&handle, |state| *state == EngineState::Loading(0.25)).await;

    let refused = handle.submit(vec![request(1)]).unwrap_err();
    let untokenized = handle.tokenize(String::new(), true, SpecialText::Recognised).await.unwrap_err();

    assert!(matches!(&refused, SubmitError::NotReady { reason, .. } if reason.contains("25 %")), "{refused:?}");
    assert_eq!(untokenized, TokenizeError::Engine(refused));
    assert_eq!(handle.model(), None);
    assert_eq!(handle.pid(), Some(4711));
}

/// The sizes that an engine is told to load.
fn sizes(load: Option<ToEngine>) -> (Option<u32>, Option<u32>) {
    match load {
        Some(ToEngine::Load { options, .. }) => (options.max_model_len, options.max_num_seqs),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_engine_that_replaces_another_one_is_told_the_sizes_of_the_first() {
    let (launcher, mut engines) = testing::scripted();
    let options = EngineOptions::new("model.gguf".into());
    let (handle, _supervisor) = crate::gateway::start(launcher, options, testing::supervision(2));
    let mut first = engines.next().await;

    let asked = sizes(first.receive().await);
    first.send(FromEngine::Ready(Box::new(testing::model_info()))).await;
    until(&handle, |state| *state == EngineState::Ready).await;
    first.die(DeathCause::Signal(9));
    let again = sizes(engines.next().await.receive().await);

    let loaded = testing::model_info();
    assert_eq!((asked, again), ((None, None), (Some(loaded.max_model_len), Some(loaded.max_num_seqs))));
}

#[tokio::test(start_paused = true)]
async fn a_load_goes_on_while_its_process_reads_and_is_given_up_when_it_does_not() {
    let (launcher, mut engines) = testing::scripted();
    let file = OpenedFile { name: "m".into(), held: None, device: 0, inode: 0, bytes: 1_000, modified: (0, 0) };
    let options = EngineOptions { model_files: vec![file], ..testing::options(2) };
    let (handle, _supervisor) = crate::gateway::start(launcher, options, testing::supervision(2));
    let engine = engines.next().await;
    let begun = Instant::now();

    for quarter in 1..=3_u8 {
        engine.has_read(u64::from(quarter) * 250);
        // All quarters together take longer than a load may stand still.
        assert!(tokio::time::timeout(Duration::from_secs(200), engine.killed()).await.is_err(), "quarter {quarter}");
        assert_eq!(handle.state(), EngineState::Loading(f32::from(quarter) / 4.0));
        assert_eq!(handle.load_share(), Some(f32::from(quarter) / 4.0));
    }

    assert_eq!(engine.killed().await, DeathCause::Signal(9));
    assert!((690..710).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    engines.next_ready().await;
    until(&handle, |state| *state == EngineState::Ready).await;
    assert_eq!((handle.load_share(), cause_of(1, &handle)), (None, DeathCause::Stalled));
}

#[tokio::test]
async fn the_engine_is_told_what_to_load_and_the_api_what_was_loaded() {
    let (handle, _supervisor, mut engines) = start_scripted(3, 2);
    let mut engine = engines.next().await;

    let load = engine.receive().await;
    engine.send(FromEngine::Ready(Box::new(testing::model_info()))).await;
    until(&handle, |state| *state == EngineState::Ready).await;

    assert_eq!(load, Some(ToEngine::Load { version: crate::protocol::PROTOCOL_VERSION, options: Box::new(testing::options(3)) }));
    assert_eq!(handle.model().as_deref(), Some(&testing::model_info()));
}

#[tokio::test]
async fn a_model_that_cannot_be_loaded_is_given_up_at_once_with_the_reason() {
    let (handle, mut supervisor, mut engines) = start_scripted(2, 2);
    let mut engine = engines.next().await;

    engine.send(FromEngine::LoadFailed(LoadError::NotGguf("bad magic".to_owned()))).await;
    engine.die(DeathCause::Exit(1));
    let report = supervisor.failed().await;

    assert!(report.contains("bad magic") && report.contains("last words"), "{report}");
    assert!(matches!(handle.submit(vec![request(1)]), Err(SubmitError::NotReady { .. })));
    assert_eq!(cause_of(1, &handle), DeathCause::LoadFailed);
    supervisor.drain_and_stop(Duration::ZERO).await;
}

#[tokio::test(start_paused = true)]
async fn a_model_that_was_served_before_gets_another_try() {
    let (handle, _supervisor, mut engines, engine) = serving().await;
    engine.die(DeathCause::Signal(9));
    let mut second = engines.next().await;

    second.send(FromEngine::LoadFailed(LoadError::Backend("out of memory".to_owned()))).await;
    second.die(DeathCause::Exit(1));
    let _third = engines.next_ready().await;
    until(&handle, |state| *state == EngineState::Ready).await;

    assert_eq!(handle.restarts(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_load_that_fails_after_one_that_worked_is_tried_again_with_growing_pauses_until_it_works() {
    let (handle, _supervisor, mut engines, engine) = serving().await;
    engine.die(DeathCause::Signal(9));
    until(&handle, |state| matches!(state, EngineState::Restarting(_))).await;
    let mut held = handle.submit(vec![request(4)]).unwrap();

    let mut pauses = Vec::new();
    for _ in 0..8 {
        let begun = Instant::now();
        let mut next = engines.next().await;
        pauses.push(begun.elapsed().as_secs());
        next.send(FromEngine::LoadFailed(LoadError::Backend("stale file handle".to_owned()))).await;
        next.die(DeathCause::Exit(1));
    }

    assert_eq!(pauses, [0, 1, 2, 4, 8, 16, 30, 30]);
    let reason = DeathCause::LoadFailed.to_string();
    assert_eq!(read_out(&mut held).await.1, Some(Finish::Failed(GenerationError::EngineDied(reason))), "nobody waits for ever");
    assert!(matches!(handle.submit(vec![request(4)]), Err(SubmitError::NotReady { .. })));
    // The next engine that works starts the count anew: the next death is the first in a row.
    engines.next_ready().await.die(DeathCause::Signal(9));
    let mut last = engines.next_ready().await;
    until(&handle, |state| *state == EngineState::Ready).await;
    let _taken = handle.submit(vec![request(4)]).unwrap();
    last.receive_submit().await;
}

#[tokio::test(start_paused = true)]
async fn what_waited_for_a_failed_engine_is_told_the_same_as_what_comes_later_and_to_wait_as_long() {
    let (handle, mut supervisor, mut engines, mut engine) = serving().await;
    let asked = {
        let handle = handle.clone();
        tokio::spawn(async move { handle.detokenize(vec![Token(1)]).await })
    };
    engine.receive().await;
    engine.die(DeathCause::Signal(9));

    let mut second = engines.next().await;
    second.send(FromEngine::LoadFailed(LoadError::Changed("m.gguf: it was written to".to_owned()))).await;
    second.die(DeathCause::Exit(1));
    supervisor.failed().await;

    let later = handle.submit(vec![request(4)]).unwrap_err();
    assert!(matches!(later, SubmitError::NotReady { retry_after: RETRY_FAILED, .. }), "{later:?}");
    assert_eq!(asked.await.unwrap(), Err(later.into()));
}

#[tokio::test(start_paused = true)]
async fn a_request_is_not_continued_in_another_model() {
    let (handle, mut supervisor, mut engines, mut engine) = serving().await;
    let mut generation = handle.submit(vec![request(4)]).unwrap();
    let id = engine.receive_submit().await.id;
    engine.step(vec![token(id, 1, "a")]).await;
    engine.die(DeathCause::Signal(7));

    let mut second = engines.next().await;
    second.send(FromEngine::LoadFailed(LoadError::Changed("m.gguf: it was written to".to_owned()))).await;
    second.die(DeathCause::Exit(1));

    assert_eq!(read_out(&mut generation).await, ("a".to_owned(), Some(Finish::Failed(GenerationError::ModelChanged))));
    let report = supervisor.failed().await;
    assert!(report.contains("model file was changed") && report.contains("m.gguf: it was written to"), "{report}");
    let refused = handle.submit(vec![request(4)]).unwrap_err().to_string();
    assert!(refused.contains("the model file was changed"), "{refused}");
    assert_eq!(handle.engine_deaths().into_keys().collect::<Vec<_>>(), [DeathCause::Signal(7), DeathCause::ModelChanged]);
}

#[tokio::test(start_paused = true)]
async fn a_model_that_was_loaded_is_loaded_again_until_that_works_whatever_its_engines_die_of_meanwhile() {
    let (handle, _supervisor, mut engines, mut engine) = serving().await;
    for _ in 0..2 {
        engine.die(DeathCause::Signal(9));
        until(&handle, |state| matches!(state, EngineState::Restarting(_))).await;
        for death in [7, 9, 11, 6, 7, 7, 9] {
            let mut next = engines.next().await;
            next.receive().await;
            next.die(DeathCause::Signal(death));
        }
        // One engine that loads for ever, and one that ends by itself.
        let stuck = engines.next().await;
        assert_eq!(stuck.killed().await, DeathCause::Signal(9));
        engines.next().await.die(DeathCause::Exit(1));
        assert!(matches!(handle.submit(vec![request(4)]), Err(SubmitError::NotReady { .. })), "nobody waits for ever");
        engine = engines.next_ready().await;
        until(&handle, |state| *state == EngineState::Ready).await;
    }

    let _taken = handle.submit(vec![request(4)]).unwrap();
    engine.receive_submit().await;
}

#[tokio::test(start_paused = true)]
async fn pauses_grow_between_engines_that_are_killed_while_they_load_again() {
    let (handle, _supervisor, mut engines, engine) = serving().await;
    engine.die(DeathCause::Signal(9));
    until(&handle, |state| matches!(state, EngineState::Restarting(_))).await;
    let mut held = handle.submit(vec![request(4)]).unwrap();

    let mut pauses = Vec::new();
    for _ in 0..7 {
        let begun = Instant::now();
        let next = engines.next().await;
        pauses.push(begun.elapsed().as_secs());
        next.die(DeathCause::Signal(7));
    }

    assert_eq!(pauses, [0, 1, 2, 4, 8, 16, 30]);
    let end = read_out(&mut held).await.1;
    assert!(matches!(end, Some(Finish::Failed(GenerationError::EngineDied(_)))), "{end:?}");
}

#[tokio::test(start_paused = true)]
async fn engines_that_die_in_a_row_before_any_was_ready_are_given_up() {
    let (handle, mut supervisor, mut engines) = start_scripted(2, 2);

    let started = Instant::now();
    for _ in 0..5 {
        engines.next().await.die(DeathCause::Signal(6));
    }
    let report = supervisor.failed().await;

    // No pause after the first of them, then 200, 400 and 800 ms.
    assert_eq!(started.elapsed().as_millis() / 100, 14);
    assert!(report.starts_with("signal 6"), "{report}");
    assert!(matches!(handle.submit(vec![request(4)]), Err(SubmitError::NotReady { .. })));
    let asked = handle.tokenize("x".to_owned(), true, SpecialText::Recognised).await;
    assert!(matches!(asked, Err(TokenizeError::Engine(SubmitError::NotReady { .. }))));
    assert_eq!(cause_of(5, &handle), DeathCause::Signal(6));
    assert_eq!(handle.pid(), None);
}

#[tokio::test(start_paused = true)]
async fn engines_that_die_in_a_row_ready_and_without_any_work_are_given_up() {
    let (handle, mut supervisor, mut engines, engine) = serving().await;
    engine.die(DeathCause::Signal(6));

    for _ in 0..4 {
        engines.next_ready().await.die(DeathCause::Signal(6));
    }

    assert!(supervisor.failed().await.starts_with("signal 6"));
    assert_eq!(cause_of(5, &handle), DeathCause::Signal(6));
}

#[tokio::test(start_paused = true)]
async fn a_finished_step_or_a_minute_of_service_forgives_earlier_deaths() {
    let (handle, _supervisor, mut engines, engine) = serving().await;
    engine.die(DeathCause::Signal(9));

    for round in 0..12 {
        let mut engine = engines.next_ready().await;
        if round % 2 == 0 {
            engine.step(Vec::new()).await;
        } else {
            let service = tokio::time::timeout(Duration::from_secs(70), engine.receive()).await;
            assert!(service.is_err(), "{service:?}");
        }
        engine.die(DeathCause::Signal(9));
    }

    engines.next_ready().await;
    assert_eq!(cause_of(13, &handle), DeathCause::Signal(9));
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_answers_no_ping_is_killed_within_a_dozen_seconds() {
    let (handle, _supervisor, mut engines, mut engine) = serving().await;
    let mut generation = handle.submit(vec![request(4)]).unwrap();
    engine.receive_submit().await;
    let started = Instant::now();

    assert_eq!(engine.killed().await, DeathCause::Signal(9));

    assert!(started.elapsed() <= Duration::from_secs(12), "{:?}", started.elapsed());
    let mut second = engines.next_ready().await;
    let id = second.receive_submit().await.id;
    second.step(vec![finish(id, Finish::Length)]).await;
    assert_eq!(read_out(&mut generation).await.1, Some(Finish::Length));
    assert_eq!(cause_of(1, &handle), DeathCause::Stalled);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_is_busy_and_finishes_no_step_is_killed() {
    let (handle, _supervisor, mut engines, mut engine) = serving().await;

    let mut pongs = 0;
    while let Some(message) = engine.receive_any().await {
        if let ToEngine::Ping { nonce } = message {
            engine.send(FromEngine::Pong { nonce, steps: 0, busy: true }).await;
            pongs += 1;
        }
    }

    // The stall timeout is 20 s; one more ping may be on its way when the engine is judged stuck.
    assert!((20..=21).contains(&pongs), "{pongs}");
    engines.next_ready().await;
    assert_eq!(cause_of(1, &handle), DeathCause::Stalled);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_owes_a_tokenization_for_too_long_is_killed_and_the_text_fails_with_the_second() {
    let (handle, _supervisor, mut engines, mut engine) = serving().await;
    let asked = {
        let handle = handle.clone();
        tokio::spawn(async move { handle.tokenize("x".to_owned(), true, SpecialText::Recognised).await })
    };

    while engine.receive().await.is_some() {}
    let mut second = engines.next_ready().await;
    while second.receive().await.is_some() {}

    assert_eq!(asked.await.unwrap(), Err(SubmitError::Quarantined.into()));
    assert_eq!(cause_of(2, &handle), DeathCause::Stalled);
}

#[tokio::test(start_paused = true)]
async fn a_drain_refuses_new_requests_lets_running_ones_finish_and_stops_the_engine() {
    let (handle, supervisor, _engines, mut engine) = serving().await;
    let mut generation = handle.submit(vec![request(4)]).unwrap();
    let id = engine.receive_submit().await.id;

    let drained = tokio::spawn(supervisor.drain_and_stop(Duration::from_secs(30)));
    until(&handle, |state| *state == EngineState::Draining).await;
    assert_eq!(handle.submit(vec![request(4)]).unwrap_err(), SubmitError::ShuttingDown);
    engine.step(vec![SequenceOutput { finish: Some(Finish::Length), ..token(id, 1, "a") }]).await;
    let engine = tokio::spawn(engine.run(|_| Vec::new()));

    assert_eq!(read_out(&mut generation).await, ("a".to_owned(), Some(Finish::Length)));
    drained.await.unwrap();
    engine.await.unwrap();
    assert!(handle.engine_deaths().is_empty());
    assert_eq!(handle.state(), EngineState::Draining);
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_at_its_deadline_with_an_error_and_a_deaf_engine_is_killed() {
    let (handle, supervisor, _engines, mut engine) = serving().await;
    let mut generation = handle.submit(vec![request(4)]).unwrap();
    engine.receive_submit().await;
    let started = Instant::now();

    let drained = tokio::spawn(supervisor.drain_and_stop(Duration::from_secs(5)));
    assert_eq!(read_out(&mut generation).await.1, Some(Finish::Failed(GenerationError::ShuttingDown)));
    assert_eq!(started.elapsed().as_secs(), 5);
    drained.await.unwrap();

    assert_eq!(engine.killed().await, DeathCause::Signal(9));
    assert_eq!(started.elapsed().as_secs(), 7);
}

#[tokio::test(start_paused = true)]
async fn a_death_during_a_drain_is_replayed_within_the_deadline() {
    let (handle, supervisor, mut engines, mut engine) = serving().await;
    let mut generation = handle.submit(vec![request(4)]).unwrap();
    engine.receive_submit().await;
    let drained = tokio::spawn(supervisor.drain_and_stop(Duration::from_secs(30)));
    until(&handle, |state| *state == EngineState::Draining).await;

    engine.die(DeathCause::Signal(9));
    let mut second = engines.next_ready().await;
    let id = second.receive_submit().await.id;
    second.step(vec![finish(id, Finish::Length)]).await;

    assert_eq!(read_out(&mut generation).await.1, Some(Finish::Length));
    second.die(DeathCause::Exit(0));
    drained.await.unwrap();
    assert_eq!(handle.state(), EngineState::Draining);
}

#[tokio::test]
async fn a_dropped_supervisor_kills_the_engine_and_ends_every_stream_with_an_error() {
    let (handle, supervisor, _engines, mut engine) = serving().await;
    let mut generation = handle.submit(vec![request(4)]).unwrap();
    engine.receive_submit().await;

    drop(supervisor);

    assert_eq!(engine.killed().await, DeathCause::Signal(9));
    let (_, end) = read_out(&mut generation).await;
    assert!(matches!(end, Some(Finish::Failed(GenerationError::EngineDied(_)))), "{end:?}");
    until(&handle, |state| matches!(state, EngineState::Failed(_))).await;
    assert!(matches!(handle.submit(vec![request(4)]), Err(SubmitError::NotReady { .. })));
}

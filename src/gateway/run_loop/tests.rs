//! Tests of supervision against scripted engines: requests, replay, refusal.

use super::*;
use crate::{
    gateway::{
        Supervisor,
        calls::{MAX_CALLS, MAX_TEXT_BYTES},
        error::{RETRY_FAILED, TokenizeError},
        handle::{EngineHandle, Generation},
        keys::KeyId,
        testing::{self, ScriptedEngine, ScriptedEngines, begun, request, start_scripted, token},
    },
    protocol::{
        CallId, Detokenize, EngineCall, EngineReply, Finish, LoadError, MAX_FRAME_BYTES, OpenedFile, SequenceId, SequenceOutput,
        SpecialText, TextError, Token,
    },
};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

mod lifecycle;
mod poison;

/// A handle on an engine that is ready, for two running sequences and two waiting ones.
async fn serving() -> (EngineHandle, Supervisor, ScriptedEngines, ScriptedEngine) {
    let (handle, supervisor, mut engines) = start_scripted(2, 2);
    let engine = engines.next_ready().await;
    until(&handle, |state| *state == EngineState::Ready).await;
    (handle, supervisor, engines, engine)
}

async fn until(handle: &EngineHandle, wanted: impl FnMut(&EngineState) -> bool) {
    handle.watch_state().wait_for(wanted).await.unwrap();
}

fn finish(id: SequenceId, finish: Finish) -> SequenceOutput {
    SequenceOutput { finish: Some(finish), ..SequenceOutput::empty(id) }
}

/// All texts of a generation up to its end, joined, and the finish of its last event.
async fn read_out(generation: &mut Generation) -> (String, Option<Finish>) {
    let (mut text, mut end) = (String::new(), None);
    while let Some(event) = generation.next().await {
        text.push_str(&event.output.text);
        end = event.output.finish;
    }
    (text, end)
}

#[tokio::test]
async fn news_arrive_in_order_with_their_choice_and_end_after_the_last_finish() {
    let (handle, _supervisor, _engines, mut engine) = serving().await;
    let mut generation = handle.submit(vec![request(4), request(4)]).unwrap();
    let (first, second) = (engine.receive_submit().await.id, engine.receive_submit().await.id);

    engine.step(vec![token(first, 1, "a"), token(second, 2, "x")]).await;
    engine.step(vec![finish(second, Finish::EndOfGeneration), token(first, 3, "b")]).await;
    engine.step(vec![finish(first, Finish::Length)]).await;

    let mut seen = Vec::new();
    while let Some(event) = generation.next().await {
        seen.push((event.choice, event.output.text, event.output.finish));
    }
    let expected = [(0, "a", None), (1, "x", None), (1, "", Some(Finish::EndOfGeneration)), (0, "b", None), (0, "", Some(Finish::Length))];
    assert_eq!(seen, expected.map(|(choice, text, finish)| (choice, text.to_owned(), finish)));
    assert_eq!(handle.stats().totals.steps, 3);
}

#[tokio::test]
async fn dropping_a_generation_cancels_only_what_has_not_finished() {
    let (handle, _supervisor, _engines, mut engine) = serving().await;
    let mut generation = handle.submit(vec![request(4), request(4)]).unwrap();
    let (first, second) = (engine.receive_submit().await.id, engine.receive_submit().await.id);
    engine.step(vec![finish(first, Finish::Length)]).await;
    assert_eq!(generation.next().await.unwrap().choice, 0);

    drop(generation);
    let mut next = handle.submit(vec![request(4)]).unwrap();

    assert_eq!(engine.receive().await, Some(ToEngine::Cancel(second)));
    let third = engine.receive_submit().await.id;
    // Late events of the cancelled sequence disturb no other.
    engine.step(vec![token(second, 9, "late"), finish(third, Finish::Length)]).await;
    assert_eq!(read_out(&mut next).await, (String::new(), Some(Finish::Length)));
}

#[tokio::test]
async fn a_death_in_mid_stream_is_not_seen_by_the_client() {
    let (handle, _supervisor, mut engines, mut engine) = serving().await;
    let mut generation = handle.submit(vec![request(8)]).unwrap();
    let submitted = engine.receive_submit().await;
    engine.step(vec![token(submitted.id, 10, "one ")]).await;
    engine.step(vec![token(submitted.id, 11, "two ")]).await;
    engine.die(DeathCause::Signal(11));

    let mut second = engines.next_ready().await;
    let replayed = second.receive_submit().await;
    second.step(vec![token(replayed.id, 12, "three")]).await;
    second.step(vec![finish(replayed.id, Finish::EndOfGeneration)]).await;

    assert_eq!(replayed, crate::protocol::SequenceRequest { resume: vec![Token(10), Token(11)], ..submitted });
    assert_eq!(read_out(&mut generation).await, ("one two three".to_owned(), Some(Finish::EndOfGeneration)));
    assert_eq!(handle.engine_deaths().into_iter().collect::<Vec<_>>(), [(DeathCause::Signal(11), 1)]);
    assert_eq!((handle.restarts(), handle.stats().totals.steps), (1, 4));
}

/// Plays a model whose n-th token is n: at most `count` tokens after the resumed ones, then the finish.
async fn count_on(engine: &mut ScriptedEngine, submitted: &crate::protocol::SequenceRequest, count: u32) {
    let first = u32::try_from(submitted.resume.len()).unwrap();
    for number in (first..submitted.max_tokens).take(count.try_into().unwrap()) {
        engine.step(vec![token(submitted.id, number, &format!("{number} "))]).await;
    }
}

#[tokio::test]
async fn a_stream_is_whole_wherever_in_it_the_engine_dies() {
    for tokens_before_death in 0..=6 {
        let (handle, _supervisor, mut engines, mut engine) = serving().await;
        let mut generation = handle.submit(vec![request(6)]).unwrap();
        let submitted = engine.receive_submit().await;
        count_on(&mut engine, &submitted, tokens_before_death).await;
        engine.die(DeathCause::Signal(9));

        let mut second = engines.next_ready().await;
        if tokens_before_death < 6 {
            let replayed = second.receive_submit().await;
            count_on(&mut second, &replayed, u32::MAX).await;
            second.step(vec![finish(replayed.id, Finish::Length)]).await;
        }

        let whole = ("0 1 2 3 4 5 ".to_owned(), Some(Finish::Length));
        assert_eq!(read_out(&mut generation).await, whole, "death after {tokens_before_death}");
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_up_nobody() {
    let (handle, _supervisor, _engines, mut engine) = serving().await;
    let mut slow = handle.submit(vec![request(2_000)]).unwrap();
    let mut quick = handle.submit(vec![request(2_000)]).unwrap();
    let (first, second) = (engine.receive_submit().await.id, engine.receive_submit().await.id);

    for number in 0..1_999 {
        engine.step(vec![token(first, number, "s"), token(second, number, "q")]).await;
        assert_eq!(quick.next().await.unwrap().output.tokens, [Token(number)]);
    }
    engine.step(vec![finish(first, Finish::Length), finish(second, Finish::Length)]).await;

    assert_eq!(read_out(&mut quick).await, (String::new(), Some(Finish::Length)));
    assert_eq!(read_out(&mut slow).await, ("s".repeat(1_999), Some(Finish::Length)));
}

#[tokio::test]
async fn the_second_death_ends_a_stream_with_an_error() {
    let (handle, _supervisor, mut engines, mut engine) = serving().await;
    let mut generation = handle.submit(vec![request(8)]).unwrap();
    let id = engine.receive_submit().await.id;
    engine.step(vec![token(id, 10, "one")]).await;
    engine.die(DeathCause::Signal(11));
    let mut second = engines.next_ready().await;
    second.receive_submit().await;
    second.step(vec![begun(id)]).await;
    second.die(DeathCause::Signal(6));

    let (text, end) = read_out(&mut generation).await;

    assert_eq!(text, "one");
    assert_eq!(end, Some(Finish::Failed(GenerationError::Quarantined)));
    // Others are served again, and no engine gets this content again.
    let mut third = engines.next_ready().await;
    until(&handle, |state| *state == EngineState::Ready).await;
    let mut again = handle.submit(vec![request(8)]).unwrap();
    assert_eq!(read_out(&mut again).await.1, Some(Finish::Failed(GenerationError::Quarantined)));
    let _next = handle.submit(vec![request(9)]).unwrap();
    assert_eq!(third.receive_submit().await.max_tokens, 9);
}

#[tokio::test]
async fn requests_are_held_while_an_engine_is_restarted() {
    let (handle, _supervisor, mut engines, engine) = serving().await;
    engine.die(DeathCause::Exit(1));
    until(&handle, |state| matches!(state, EngineState::Restarting(_))).await;

    let mut generation = handle.submit(vec![request(8)]).unwrap();
    let mut second = engines.next_ready().await;
    let id = second.receive_submit().await.id;
    second.step(vec![finish(id, Finish::Length)]).await;

    assert_eq!(read_out(&mut generation).await.1, Some(Finish::Length));
}

#[tokio::test]
async fn a_text_call_is_repeated_once_when_the_engine_dies() {
    let (handle, _supervisor, mut engines, mut engine) = serving().await;
    let asked = {
        let handle = handle.clone();
        tokio::spawn(async move { handle.tokenize("text".to_owned(), true, SpecialText::Recognised).await })
    };
    let question = engine.receive().await.unwrap();
    engine.die(DeathCause::Signal(11));
    let mut second = engines.next_ready().await;

    assert_eq!(second.receive().await.as_ref(), Some(&question));
    let ToEngine::Call { id, call: EngineCall::Tokenize(_) } = question else { panic!("{question:?}") };
    second.send(FromEngine::Reply { id, reply: EngineReply::Tokenize(Ok(vec![Token(3)])) }).await;

    assert_eq!(asked.await.unwrap(), Ok(vec![Token(3)]));
}

#[tokio::test]
async fn a_key_s_calls_wait_for_their_turn_and_another_key_s_pass_them() {
    let (handle, _supervisor, _engines, mut engine) = serving().await;
    let ask = |key, token| {
        let handle = handle.of_caller(KeyId::Key(key));
        tokio::spawn(async move { handle.detokenize(vec![Token(token)]).await })
    };
    let mut asked: Vec<_> = (0..9).map(|_| ask(1, 1)).collect();
    for _ in 0..8 {
        assert!(matches!(engine.receive().await, Some(ToEngine::Call { call: EngineCall::Detokenize(_), .. })));
    }
    let reply = |call| FromEngine::Reply { id: CallId(call), reply: EngineReply::Detokenize(Ok("x".to_owned())) };

    asked.push(ask(2, 2));
    let other = engine.receive().await;
    assert!(
        matches!(&other, Some(ToEngine::Call { id: CallId(9), call: EngineCall::Detokenize(Detokenize { tokens }) }) if tokens == &[Token(2)]),
        "{other:?}"
    );
    // The ninth call of the first key is sent only when another call of that key was answered.
    engine.send(reply(0)).await;
    let last = engine.receive().await;

    assert!(matches!(last, Some(ToEngine::Call { id: CallId(8), call: EngineCall::Detokenize(_) })), "{last:?}");
    for call in 1..10 {
        engine.send(reply(call)).await;
    }
    for answer in asked.drain(..) {
        assert_eq!(answer.await.unwrap(), Ok("x".to_owned()));
    }
}

#[tokio::test]
async fn more_texts_than_may_wait_are_refused_with_the_wait() {
    let (handle, _supervisor, _engines, _engine) = serving().await;
    let mut asked: Vec<_> = (0..MAX_CALLS).map(|_| Box::pin(handle.detokenize(vec![Token(1)]))).collect();
    for call in &mut asked {
        assert!(futures_util::poll!(call).is_pending());
    }

    let refused = handle.detokenize(vec![Token(1)]).await;

    assert_eq!(refused, Err(SubmitError::TooMuchText { retry_after: Duration::from_secs(1) }.into()));
    let mut last = refused;
    for _ in 0..50 {
        last = handle.detokenize(vec![Token(1)]).await;
    }
    let Err(TokenizeError::Engine(SubmitError::TooMuchText { retry_after })) = last else { panic!("{last:?}") };
    assert!(retry_after > Duration::from_secs(2), "a crowd is not told to come again all at once: {retry_after:?}");
}

#[tokio::test]
async fn a_text_that_could_not_be_answered_in_a_frame_is_refused() {
    let (handle, _supervisor, _engines, engine) = serving().await;
    let echo = tokio::spawn(engine.run(|message| match message {
        ToEngine::Call { id, call: EngineCall::Tokenize(_) } => {
            vec![FromEngine::Reply { id, reply: EngineReply::Tokenize(Ok(vec![Token(u32::MAX); MAX_TEXT_BYTES])) }]
        }
        _ => Vec::new(),
    }));

    let at_the_limit = handle.tokenize("x".repeat(MAX_TEXT_BYTES), false, SpecialText::Recognised).await.unwrap();
    let past_it = handle.tokenize("x".repeat(MAX_TEXT_BYTES + 1), false, SpecialText::Recognised).await;

    assert_eq!(at_the_limit.len(), MAX_TEXT_BYTES);
    assert!(matches!(past_it, Err(TokenizeError::Text(TextError::TooLong { .. }))), "{past_it:?}");
    echo.abort();
}

#[tokio::test]
async fn a_full_queue_refuses_until_a_sequence_finishes_or_is_dropped() {
    let (handle, _supervisor, _engines, mut engine) = serving().await;
    let mut first = handle.submit(vec![request(4)]).unwrap();
    let id = engine.receive_submit().await.id;
    let rest = handle.submit(vec![request(4), request(4), request(4)]).unwrap();

    let refused = handle.submit(vec![request(4)]).unwrap_err();
    assert_eq!(refused, SubmitError::QueueFull { waiting: 2, retry_after: Duration::from_secs(1) });

    engine.step(vec![finish(id, Finish::Length)]).await;
    read_out(&mut first).await;
    let fifth = handle.submit(vec![request(4)]).unwrap();
    assert!(handle.submit(vec![request(4)]).is_err());

    drop(rest);
    drop(fifth);
    // Cancels are taken in before later commands: this answer means that they were.
    let asked = handle.detokenize(vec![]);
    let engine = tokio::spawn(engine.run(|message| match message {
        ToEngine::Call { id, call: EngineCall::Detokenize(_) } => {
            vec![FromEngine::Reply { id, reply: EngineReply::Detokenize(Ok(String::new())) }]
        }
        _ => Vec::new(),
    }));
    asked.await.unwrap();
    assert_eq!(handle.submit(vec![request(4); 4]).map(|_| ()), Ok(()));
    engine.abort();
}

#[tokio::test]
async fn a_peer_that_sends_garbage_is_killed_and_replaced() {
    for garbage in [vec![0xff; 40], vec![]] {
        let (handle, _supervisor, mut engines, mut engine) = serving().await;

        engine.send_raw(garbage.clone()).await;

        assert_eq!(engine.killed().await, DeathCause::Signal(9), "{garbage:?}");
        engines.next_ready().await;
        assert_eq!(handle.engine_deaths().into_keys().collect::<Vec<_>>(), [DeathCause::Protocol], "{garbage:?}");
    }
}

#[tokio::test]
async fn a_peer_that_announces_an_oversized_frame_is_killed_and_replaced() {
    let (handle, _supervisor, mut engines, mut engine) = serving().await;

    let length = u32::try_from(MAX_FRAME_BYTES + 1).unwrap();
    engine.stream().write_all(&length.to_le_bytes()).await.unwrap();

    assert_eq!(engine.killed().await, DeathCause::Signal(9));
    engines.next_ready().await;
    assert_eq!(handle.engine_deaths().into_keys().collect::<Vec<_>>(), [DeathCause::Protocol]);
}

#[tokio::test]
async fn an_empty_request_is_over_at_once() {
    let (handle, _supervisor, _engines, _engine) = serving().await;

    let mut generation = handle.submit(Vec::new()).unwrap();

    assert_eq!(generation.next().await, None);
}

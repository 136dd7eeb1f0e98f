//! Tests of requests that end engines: they cost two engines, nothing for other requests, and never the server. Time is
//! paused where it matters.

use super::*;
use crate::{
    gateway::error::{CheckError, EmbeddingError},
    protocol::{CheckConstraint, Constraint, EmbedBatch, EngineCall, EngineReply, ModelInfo, ModelKind, SequenceRequest, Tokenize},
};
use std::collections::BTreeMap;

/// A prompt that ends the engine at its submission; a number after it makes it a content of its own.
const POISON: u32 = 666;
/// A prompt that ends the engine when its third token is computed.
const SLOW_POISON: u32 = 667;

fn poison(token: u32, number: u32) -> SequenceRequest {
    SequenceRequest { prompt: vec![Token(token), Token(number)], ..request(8) }
}

/// Plays an engine that computes a token of each sequence in a step, until it is given a poison that ends it. Counts in
/// `given` how often it was given each poison.
async fn compute(mut engine: ScriptedEngine, given: &mut BTreeMap<String, u32>) {
    let mut running: BTreeMap<SequenceId, SequenceRequest> = BTreeMap::new();
    loop {
        // A step begins when no more messages come: the gateway answers each step and each message at once.
        let message = tokio::time::timeout(Duration::from_millis(1), engine.receive()).await;
        let dies = match message {
            Ok(None) => return engine.die(DeathCause::Exit(0)),
            Ok(Some(ToEngine::Submit(request))) => {
                let dies = request.prompt[0] == Token(POISON);
                if dies || request.prompt[0] == Token(SLOW_POISON) {
                    *given.entry(format!("{:?}", request.prompt)).or_default() += 1;
                }
                engine.step(vec![begun(request.id)]).await;
                running.insert(request.id, *request);
                dies
            }
            Ok(Some(ToEngine::Cancel(id))) => {
                running.remove(&id);
                false
            }
            Ok(Some(ToEngine::Call { id, call: EngineCall::Tokenize(Tokenize { text, .. }) })) => {
                if text.starts_with("poison") {
                    *given.entry(text).or_default() += 1;
                    true
                } else {
                    engine.send(FromEngine::Reply { id, reply: EngineReply::Tokenize(Ok(vec![Token(1)])) }).await;
                    false
                }
            }
            Ok(Some(ToEngine::Call { call: EngineCall::Check(CheckConstraint { constraint, .. }), .. })) => {
                *given.entry(format!("{constraint:?}")).or_default() += 1;
                true
            }
            Ok(Some(_)) => false,
            Err(_) => {
                let dies = running.values().any(|request| request.prompt[0] == Token(SLOW_POISON) && request.resume.len() == 2);
                if !dies && !running.is_empty() {
                    step(&mut engine, &mut running).await;
                }
                dies
            }
        };
        if dies {
            return engine.die(DeathCause::Signal(11));
        }
    }
}

async fn step(engine: &mut ScriptedEngine, running: &mut BTreeMap<SequenceId, SequenceRequest>) {
    let mut outputs = Vec::new();
    for request in running.values_mut() {
        let number = u32::try_from(request.resume.len()).unwrap();
        request.resume.push(Token(number));
        let is_last = number + 1 == request.max_tokens;
        outputs.push(SequenceOutput { finish: is_last.then_some(Finish::Length), ..token(request.id, number, &format!("{number} ")) });
    }
    running.retain(|_, request| request.resume.len() < usize::try_from(request.max_tokens).unwrap());
    engine.step(outputs).await;
}

/// The text of `max_tokens` tokens from the engine above.
fn text(max_tokens: u32) -> String {
    (0..max_tokens).map(|number| format!("{number} ")).collect()
}

/// Plays engines like the one above, one after the other, until the server stops. Returns how often each poison was
/// given to one.
fn engines_that_die(mut engines: ScriptedEngines) -> tokio::task::JoinHandle<BTreeMap<String, u32>> {
    tokio::spawn(async move {
        let mut given = BTreeMap::new();
        while let Some(engine) = engines.next_if_any().await {
            compute(engine, &mut given).await;
        }
        given
    })
}

#[tokio::test(start_paused = true)]
async fn many_poisonous_requests_cost_two_engines_each_and_good_streams_beside_them_finish_right() {
    let (handle, supervisor, engines) = start_scripted(4, 64);
    let engines = engines_that_die(engines);
    until(&handle, |state| *state == EngineState::Ready).await;
    let mut good: Vec<Generation> = (0..2).map(|_| handle.submit(vec![request(1500)]).unwrap()).collect();

    for number in 0..40 {
        let mut generation = handle.submit(vec![poison([POISON, SLOW_POISON][number as usize % 2], number)]).unwrap();
        let end = read_out(&mut generation).await.1;
        assert_eq!(end, Some(Finish::Failed(GenerationError::Quarantined)), "poison {number}");
    }

    for generation in &mut good {
        assert_eq!(read_out(generation).await, (text(1500), Some(Finish::Length)));
    }
    assert_eq!(handle.state(), EngineState::Ready);
    supervisor.drain_and_stop(Duration::ZERO).await;
    let given = engines.await.unwrap();
    assert_eq!((given.len(), given.values().max()), (40, Some(&2)), "{given:?}");
}

#[tokio::test(start_paused = true)]
async fn poisonous_texts_and_constraints_are_refused_after_two_engines_and_when_they_come_again() {
    let (handle, supervisor, engines) = start_scripted(4, 64);
    let engines = engines_that_die(engines);
    until(&handle, |state| *state == EngineState::Ready).await;
    let mut good = handle.submit(vec![request(300)]).unwrap();

    for number in 0..20 {
        let ask = || handle.tokenize(format!("poison {number}"), true, SpecialText::Recognised);
        let check = || handle.check_constraint(Constraint::Regex(format!("poison {number}")));
        let (first, beside, innocent, constraint) =
            tokio::join!(ask(), ask(), handle.tokenize("good".to_owned(), true, SpecialText::Recognised), check());
        assert_eq!([first, beside, ask().await], [const { Err(TokenizeError::Engine(SubmitError::Quarantined)) }; 3]);
        assert_eq!([constraint, check().await], [const { Err(CheckError::Engine(SubmitError::Quarantined)) }; 2]);
        assert_eq!(innocent, Ok(vec![Token(1)]));
    }

    assert_eq!(read_out(&mut good).await, (text(300), Some(Finish::Length)));
    supervisor.drain_and_stop(Duration::ZERO).await;
    let given = engines.await.unwrap();
    assert_eq!(given.len(), 40, "{given:?}");
    assert!(given.values().all(|times| *times <= 2), "{given:?}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_does_not_hide_what_it_did() {
    let (handle, _supervisor, mut engines) = start_scripted(4, 64);
    let mut engine = handle_when_ready(&handle, &mut engines).await;
    let mut good = handle.submit(vec![request(300)]).unwrap();
    for _ in 0..2 {
        let stream = engine.receive_submit().await;
        count_on(&mut engine, &stream, 10).await;
        let mut gone = handle.submit(vec![poison(POISON, 1)]).unwrap();
        let id = engine.receive_submit().await.id;
        engine.step(vec![begun(id)]).await;
        gone.next().await;
        drop(gone);
        assert_eq!(engine.receive().await, Some(ToEngine::Cancel(id)));
        engine.die(DeathCause::Signal(11));
        engine = engines.next_ready().await;
    }

    let mut again = handle.submit(vec![poison(POISON, 1)]).unwrap();
    assert_eq!(read_out(&mut again).await, (String::new(), Some(Finish::Failed(GenerationError::Quarantined))));
    let stream = engine.receive_submit().await;
    assert_eq!(stream.resume.len(), 20);
    count_on(&mut engine, &stream, 280).await;
    engine.step(vec![finish(stream.id, Finish::Length)]).await;
    assert_eq!(read_out(&mut good).await, (text(300), Some(Finish::Length)));
}

#[tokio::test(start_paused = true)]
async fn a_lone_stream_goes_on_when_its_engine_is_killed_twice_and_one_for_which_each_is_killed_is_refused_with_the_third() {
    for kills in [2, 3] {
        let (handle, _supervisor, mut engines) = start_scripted(2, 2);
        let mut engine = handle_when_ready(&handle, &mut engines).await;
        let mut generation = handle.submit(vec![request(8)]).unwrap();
        for _ in 0..kills {
            let stream = engine.receive_submit().await;
            count_on(&mut engine, &stream, 1).await;
            engine.die(DeathCause::Signal(9));
            engine = engines.next_ready().await;
        }

        if kills == 2 {
            let stream = engine.receive_submit().await;
            count_on(&mut engine, &stream, u32::MAX).await;
            engine.step(vec![finish(stream.id, Finish::Length)]).await;
            assert_eq!(read_out(&mut generation).await, (text(8), Some(Finish::Length)));
        } else {
            assert_eq!(read_out(&mut generation).await.1, Some(Finish::Failed(GenerationError::Quarantined)));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_who_sends_and_cancels_a_suspect_again_and_again_does_not_keep_others_out() {
    let (handle, _supervisor, mut engines) = start_scripted(4, 64);
    let mut engine = handle_when_ready(&handle, &mut engines).await;
    let mut suspect = handle.submit(vec![request(8)]).unwrap();
    let id = engine.receive_submit().await.id;
    engine.step(vec![begun(id)]).await;
    engine.die(DeathCause::Signal(11));
    engine = engines.next_ready().await;
    let mut present = engine.receive_submit().await.id;
    let _other = handle.submit(vec![request(9)]).unwrap();

    let mut begun_with = Vec::new();
    for _ in 0..2 {
        let next = handle.submit(vec![request(8)]).unwrap();
        drop(std::mem::replace(&mut suspect, next));
        assert_eq!(engine.receive().await, Some(ToEngine::Cancel(present)));
        engine.step(Vec::new()).await;
        engine.step(Vec::new()).await;
        let submitted = engine.receive_submit().await;
        present = submitted.id;
        begun_with.push(submitted.max_tokens);
    }

    assert_eq!(begun_with, [8, 9], "the other one has waited for one of them");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_stalls_the_engine_is_refused_after_the_second_one() {
    let (handle, _supervisor, mut engines) = start_scripted(2, 2);
    let mut stalling = handle_when_ready(&handle, &mut engines).await;
    let mut generation = handle.submit(vec![request(8)]).unwrap();
    for _ in 0..2 {
        let id = stalling.receive_submit().await.id;
        stalling.send(FromEngine::Step(StepReport { outputs: vec![begun(id)], stats: EngineStats::default() })).await;
        while let Some(message) = stalling.receive_any().await {
            if let ToEngine::Ping { nonce } = message {
                stalling.send(FromEngine::Pong { nonce, steps: 0, busy: true }).await;
            }
        }
        stalling = engines.next_ready().await;
    }

    assert_eq!(read_out(&mut generation).await.1, Some(Finish::Failed(GenerationError::Quarantined)));
    assert_eq!(handle.engine_deaths().into_iter().collect::<Vec<_>>(), [(DeathCause::Stalled, 2)]);
}

async fn handle_when_ready(handle: &EngineHandle, engines: &mut ScriptedEngines) -> ScriptedEngine {
    let engine = engines.next_ready().await;
    until(handle, |state| *state == EngineState::Ready).await;
    engine
}

#[tokio::test(start_paused = true)]
async fn engines_that_die_of_work_without_a_step_are_never_given_up_and_pauses_stay_within_five_seconds() {
    let (handle, supervisor, mut engines) = start_scripted(2, 2);
    let mut engine = handle_when_ready(&handle, &mut engines).await;
    let mut longest = Duration::ZERO;
    for number in 0..30 {
        let mut generation = handle.submit(vec![poison(POISON, number)]).unwrap();
        for _ in 0..2 {
            engine.receive_submit().await;
            engine.die(DeathCause::Signal(6));
            let died = Instant::now();
            engine = engines.next_ready().await;
            longest = longest.max(died.elapsed());
        }
        assert_eq!(read_out(&mut generation).await.1, Some(Finish::Failed(GenerationError::Quarantined)));
    }

    until(&handle, |state| *state == EngineState::Ready).await;
    assert_eq!((handle.restarts(), longest.as_secs()), (60, 5));
    supervisor.drain_and_stop(Duration::ZERO).await;
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_does_not_end_when_killed_is_waited_for_and_nobody_waits_with_it() {
    let (handle, _supervisor, mut engines) = start_scripted(2, 2);
    let mut engine = handle_when_ready(&handle, &mut engines).await;
    engine.cannot_be_killed();
    let mut generation = handle.submit(vec![request(8)]).unwrap();
    engine.receive_submit().await;
    engine.send_raw(vec![0xff; 40]).await;

    let expected = GenerationError::EngineDied(DeathCause::Unkillable.to_string());
    assert_eq!(read_out(&mut generation).await.1, Some(Finish::Failed(expected)));
    let refused = handle.submit(vec![request(9)]).map(|_| ()).unwrap_err();
    assert!(matches!(refused, SubmitError::NotReady { .. }), "{refused:?}");
    assert!(matches!(handle.state(), EngineState::Restarting(_)));
    engine.die(DeathCause::Signal(9));

    let mut second = engines.next_ready().await;
    until(&handle, |state| *state == EngineState::Ready).await;
    let _next = handle.submit(vec![request(9)]).unwrap();
    assert_eq!(second.receive_submit().await.max_tokens, 9);
    assert_eq!(handle.engine_deaths().into_keys().collect::<Vec<_>>(), [DeathCause::Unkillable]);
}

#[tokio::test]
async fn an_embedding_input_that_ends_engines_is_refused_and_those_beside_it_are_computed() {
    let (handle, supervisor, mut engines) = start_scripted(2, 2);
    let model = || ModelInfo { kind: ModelKind::Embeds(testing::embedding_info()), ..testing::model_info() };
    let mut engine = engines.next_ready_with(model()).await;
    until(&handle, |state| *state == EngineState::Ready).await;
    let bad = vec![Token(POISON)];
    let ask = |inputs: Vec<Vec<Token>>| {
        let handle = handle.clone();
        tokio::spawn(async move { handle.embed(inputs).await })
    };
    let (asked, innocent) = (ask(vec![vec![Token(1)], bad.clone()]), ask(vec![vec![Token(2)]]));

    let deaths = tokio::spawn(async move {
        let mut deaths = 0;
        while let Some(message) = engine.receive().await {
            let ToEngine::Call { id, call: EngineCall::Embed(EmbedBatch { inputs, .. }) } = message else { panic!("{message:?}") };
            engine.send(FromEngine::Embedding(vec![id])).await;
            if inputs.contains(&vec![Token(POISON)]) {
                engine.die(DeathCause::Signal(11));
                deaths += 1;
                engine = engines.next_ready_with(model()).await;
            } else {
                engine.send(FromEngine::Reply { id, reply: EngineReply::Embed(Ok(vec![vec![0.5]; inputs.len()])) }).await;
            }
        }
        engine.die(DeathCause::Exit(0));
        deaths
    });

    assert_eq!(asked.await.unwrap(), Err(EmbeddingError::Engine(SubmitError::Quarantined)));
    assert_eq!(innocent.await.unwrap(), Ok(vec![vec![0.5]]));
    let again = handle.embed(vec![vec![Token(3)], bad]).await;
    assert_eq!(again, Err(EmbeddingError::Engine(SubmitError::Quarantined)));
    supervisor.drain_and_stop(Duration::ZERO).await;
    assert_eq!(deaths.await.unwrap(), 2);
}

//! Responses to scripted events: literal streams, statuses, usage and records.

use super::*;
use crate::{
    protocol::{Finish, GenerationError, SequenceId, SequenceOutput, Started, Token},
    telemetry::Outcome,
};
use axum::body::to_bytes;
use futures_util::{
    FutureExt, StreamExt,
    stream::{self, BoxStream},
};
use serde_json::{Value, json};

const HOUR: Duration = Duration::from_secs(3600);

/// Shows the text of events, and the usage, if there is any.
#[derive(Default)]
struct Plain {
    whole: String,
}

impl WireFormat for Plain {
    type Chunk = String;
    type Chunks = Option<String>;
    type Whole = Value;

    fn opening(&mut self) -> Vec<String> {
        vec!["<".to_owned()]
    }

    fn chunks(&mut self, event: GenerationEvent) -> Option<String> {
        (!event.output.text.is_empty()).then_some(event.output.text)
    }

    fn closing(&mut self, usage: &Usage) -> Vec<String> {
        vec![format!("{} tokens", usage.completion_tokens)]
    }

    fn absorb(&mut self, chunk: String) {
        self.whole.push_str(&chunk);
    }

    fn whole(self, usage: &Usage) -> Value {
        json!({"text": self.whole, "tokens": usage.completion_tokens})
    }
}

fn news(choice: usize) -> GenerationEvent {
    GenerationEvent { choice, output: SequenceOutput::empty(SequenceId(1)) }
}

fn started(choice: usize, cached_tokens: u32, queue_us: u64) -> GenerationEvent {
    let mut event = news(choice);
    event.output.started = Some(Started { cached_tokens, queue_us });
    event
}

fn text(choice: usize, text: &str) -> GenerationEvent {
    let mut event = news(choice);
    event.output.tokens = vec![Token(7)];
    event.output.text = text.to_owned();
    event
}

fn end(choice: usize, finish: Finish) -> GenerationEvent {
    let mut event = news(choice);
    event.output.finish = Some(finish);
    event
}

fn failure() -> GenerationEvent {
    end(0, Finish::Failed(GenerationError::EngineDied("killed by signal 9".into())))
}

fn recorder() -> Recorder {
    Recorder::new("test", "m", true, Instant::now())
}

fn run_of(events: BoxStream<'static, GenerationEvent>, prompts: &[usize], n: usize) -> Run {
    Run::follow(events, prompts, n, recorder())
}

fn run(events: Vec<GenerationEvent>) -> Run {
    run_of(stream::iter(events).boxed(), &[3], 1)
}

fn streaming() -> Mode {
    Mode::Stream { hold_status: HOUR, keep_alive: HOUR }
}

async fn body(response: Response) -> String {
    String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap()
}

#[tokio::test]
async fn a_stream_is_opening_chunks_closing_and_done() {
    let events = vec![started(0, 0, 5), text(0, "a\n"), text(0, ""), text(0, "b"), end(0, Finish::Length)];

    let response = respond(run(events), Plain::default(), streaming()).await.unwrap();

    assert_eq!(response.status(), 200);
    let headers = response.headers();
    assert_eq!(headers["content-type"], "text/event-stream; charset=utf-8");
    assert_eq!(headers["cache-control"], "no-cache");
    assert_eq!(headers["x-accel-buffering"], "no");
    assert_eq!(body(response).await, "data: \"<\"\n\ndata: \"a\\n\"\n\ndata: \"b\"\n\ndata: \"3 tokens\"\n\ndata: [DONE]\n\n");
}

#[tokio::test]
async fn without_streaming_the_same_chunks_are_folded_into_one_object() {
    let events = vec![text(0, "a"), text(0, "b"), end(0, Finish::EndOfGeneration)];

    let response = respond(run(events), Plain::default(), Mode::Whole).await.unwrap();

    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(body(response).await, r#"{"text":"<ab","tokens":2}"#);
}

#[tokio::test]
async fn a_generation_is_collected_apart_from_http() {
    let collected = collect(run(vec![text(0, "a"), text(0, "b"), end(0, Finish::Length)]), Plain::default()).await.unwrap();
    let failed = collect(run(vec![text(0, "a"), failure()]), Plain::default()).await;

    assert_eq!((collected.whole, collected.is_long), (json!({"text": "<ab", "tokens": 2}), false));
    assert_eq!(failed.unwrap_err(), ApiError::EngineDied);
}

#[tokio::test]
async fn a_failure_before_the_first_token_is_a_status() {
    for mode in [streaming(), Mode::Whole] {
        let error = respond(run(vec![started(0, 0, 5), failure()]), Plain::default(), mode).await.unwrap_err();
        assert_eq!(error, ApiError::EngineDied, "{mode:?}");
    }
}

#[tokio::test]
async fn a_failure_after_the_first_token_is_an_error_frame_and_done() {
    let response = respond(run(vec![text(0, "a"), failure()]), Plain::default(), streaming()).await.unwrap();

    let error = "data: {\"error\":{\"message\":\"The engine stopped while it worked on this request. Please try again.\",\
                 \"type\":\"server_error\",\"param\":null,\"code\":\"engine_error\"}}";
    assert_eq!(body(response).await, format!("data: \"<\"\n\ndata: \"a\"\n\n{error}\n\ndata: [DONE]\n\n"));
}

#[tokio::test]
async fn events_that_end_too_early_are_an_error_and_not_a_silent_end() {
    let response = respond(run(vec![text(0, "a")]), Plain::default(), streaming()).await.unwrap();

    let body = body(response).await;
    assert!(body.contains("\"code\":\"internal_error\""), "{body}");
    assert!(body.ends_with("}}\n\ndata: [DONE]\n\n"), "{body}");
    let error = respond(run(vec![text(0, "a")]), Plain::default(), Mode::Whole).await.unwrap_err();
    assert_eq!(error, ApiError::Internal);
}

#[tokio::test]
async fn the_status_is_held_no_longer_than_told_and_silence_is_filled_with_comments() {
    let events = stream::iter([started(0, 0, 5)]).chain(stream::pending()).boxed();
    let mode = Mode::Stream { hold_status: Duration::ZERO, keep_alive: Duration::from_millis(1) };

    let response = respond(run_of(events, &[3], 1), Plain::default(), mode).await.unwrap();

    let mut frames = response.into_body().into_data_stream();
    assert_eq!(frames.next().await.unwrap().unwrap(), "data: \"<\"\n\n");
    for _ in 0..3 {
        assert_eq!(frames.next().await.unwrap().unwrap(), ": ping\n\n");
    }
}

#[tokio::test]
async fn a_stream_that_waits_for_its_first_token_gets_a_comment_at_once() {
    let mode = Mode::Stream { hold_status: Duration::ZERO, keep_alive: HOUR };
    let response = respond(run_of(stream::pending().boxed(), &[3], 1), Plain::default(), mode).await.unwrap();

    let mut frames = response.into_body().into_data_stream();
    assert_eq!(frames.next().await.unwrap().unwrap(), "data: \"<\"\n\n");
    assert_eq!(frames.next().await.unwrap().unwrap(), ": ping\n\n");
    assert!(frames.next().now_or_never().is_none(), "the next comment comes only after an hour");
}

#[tokio::test]
async fn the_status_waits_for_a_token_and_not_for_the_start() {
    let events = stream::iter([started(0, 0, 5)]).chain(stream::pending()).boxed();
    let mut run = run_of(events, &[3], 1);

    assert!(hold(&mut run, HOUR, false).now_or_never().is_none());

    let events = stream::iter([started(0, 0, 5), text(0, "a")]).chain(stream::pending()).boxed();
    let held = hold(&mut run_of(events, &[3], 1), HOUR, false).now_or_never().unwrap().unwrap();
    assert_eq!(without_times(held), [started(0, 0, 5), text(0, "a")]);
}

fn without_times(held: Vec<(Instant, GenerationEvent)>) -> Vec<GenerationEvent> {
    held.into_iter().map(|(_, event)| event).collect()
}

fn processed(choice: usize, tokens: u32) -> GenerationEvent {
    let mut event = news(choice);
    event.output.processed = Some(tokens);
    event
}

#[tokio::test]
async fn the_progress_of_a_prompt_is_a_comment_once_the_status_is_sent() {
    let script = [started(0, 2, 5), processed(0, 4), text(0, "a"), end(0, Finish::Length)];
    let (sender, receiver) = tokio::sync::mpsc::channel::<GenerationEvent>(4);
    let events = stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver))).boxed();
    let mode = Mode::Stream { hold_status: Duration::ZERO, keep_alive: HOUR };

    let held = respond(run_of(stream::iter(script.clone()).boxed(), &[9], 1), Plain::default(), streaming()).await.unwrap();
    let [first, rest @ ..] = script;
    sender.send(first).await.unwrap();
    let sent = respond(run_of(events, &[9], 1), Plain::default(), mode).await.unwrap();
    for event in rest {
        sender.send(event).await.unwrap();
    }

    assert!(!body(held).await.contains("prompt"));
    let comment = ": prompt: 4 of 9 tokens, 2 of them cached\n\n";
    assert_eq!(body(sent).await, format!("data: \"<\"\n\n{comment}data: \"a\"\n\ndata: \"1 tokens\"\n\ndata: [DONE]\n\n"));
}

#[tokio::test]
async fn the_status_does_not_wait_for_a_token_if_the_progress_is_shown() {
    let events = || stream::iter([started(0, 2, 5), processed(0, 4)]).chain(stream::pending()).boxed();

    assert!(hold(&mut run_of(events(), &[9], 1), HOUR, false).now_or_never().is_none());
    let held = hold(&mut run_of(events(), &[9], 1), HOUR, true).now_or_never().unwrap().unwrap();
    assert_eq!(without_times(held), [started(0, 2, 5), processed(0, 4)]);
}

#[tokio::test(start_paused = true)]
async fn events_before_the_status_keep_the_times_of_their_arrival() {
    let events = stream! {
        yield started(0, 2, 5);
        tokio::time::sleep(Duration::from_millis(400)).await;
        yield processed(0, 4);
        std::future::pending::<()>().await;
    };

    let held = hold(&mut run_of(events.boxed(), &[9], 1), HOUR, true).await.unwrap();

    assert_eq!(held[1].0 - held[0].0, Duration::from_millis(400));
}

#[tokio::test]
async fn usage_counts_prompts_once_choices_all_and_the_least_cached() {
    let events = vec![
        started(0, 3, 5),
        started(1, 2, 9),
        started(2, 40, 7),
        text(0, "a"),
        text(1, "b"),
        text(2, "c"),
        text(3, "d"),
        text(3, "e"),
        end(0, Finish::Length),
        end(1, Finish::StopString(0)),
        end(2, Finish::Length),
        end(3, Finish::EndOfGeneration),
    ];
    let mut run = run_of(stream::iter(events).boxed(), &[10, 4], 2);

    while run.next().await.unwrap().is_some() {}

    // Prompt 0 had 3 and 2 tokens cached; prompt 1 claims more than its 4.
    assert_eq!(run.usage(), Usage { prompt_tokens: 14, cached_tokens: 6, completion_tokens: 5, accepted_drafts: 0, rejected_drafts: 0 });
    let record = run.recorder().record();
    assert_eq!((record.choices, record.prompt_tokens, record.cached_tokens, record.completion_tokens), (4, 14, 6, 5));
    assert_eq!(record.queue, Some(Duration::from_micros(9)));
    assert!(record.first_token.is_some());
    assert_eq!(record.finish_reasons, ["length", "stop", "length", "stop"]);
    assert_eq!(record.outcome, Outcome::Finished);
}

#[tokio::test]
async fn the_record_tells_a_lost_client_from_a_failure() {
    let mut abandoned = run(vec![text(0, "a"), text(0, "b")]);
    abandoned.next().await.unwrap();
    assert_eq!(abandoned.recorder().record().outcome, Outcome::ClientGone);

    let mut failed = run(vec![failure()]);
    failed.next().await.unwrap_err();
    let detail = "the engine died: killed by signal 9".to_owned();
    assert_eq!(failed.recorder().record().outcome, Outcome::Failed { code: "engine_error", detail });
    assert_eq!(failed.next().await, Ok(None), "nothing follows a failure");
}

#[tokio::test]
async fn dropping_the_body_drops_the_generation() {
    let (sender, receiver) = tokio::sync::mpsc::channel::<GenerationEvent>(4);
    sender.send(text(0, "a")).await.unwrap();
    let events = stream::unfold(receiver, async |mut receiver| Some((receiver.recv().await?, receiver))).boxed();
    let response = respond(run_of(events, &[3], 1), Plain::default(), streaming()).await.unwrap();
    let mut frames = response.into_body().into_data_stream();
    frames.next().await.unwrap().unwrap();
    assert!(!sender.is_closed());

    drop(frames);

    assert!(sender.is_closed());
}

/// A format that lists this number of tokens and answers with the name of the thread that wrote it.
struct Lists(u64);

/// A value that is written as the name of the present thread.
struct Writer;

impl Serialize for Writer {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(std::thread::current().name().unwrap_or_default())
    }
}

impl WireFormat for Lists {
    type Chunk = ();
    type Chunks = Option<()>;
    type Whole = Writer;

    fn opening(&mut self) -> Vec<()> {
        Vec::new()
    }

    fn chunks(&mut self, _event: GenerationEvent) -> Option<()> {
        None
    }

    fn closing(&mut self, _usage: &Usage) -> Vec<()> {
        Vec::new()
    }

    fn absorb(&mut self, (): ()) {}

    fn listed_tokens(&self, _usage: &Usage) -> u64 {
        self.0
    }

    fn whole(self, _usage: &Usage) -> Writer {
        Writer
    }
}

#[tokio::test]
async fn only_what_is_long_to_write_is_written_on_a_thread_of_its_own() {
    let writer = async |prompt: usize, tokens: u64, listed: u64| {
        let mut event = end(0, Finish::Length);
        event.output.tokens = (0..tokens).map(|_| Token(7)).collect();
        let run = run_of(stream::iter([event]).boxed(), &[prompt], 1);
        body(respond(run, Lists(listed), Mode::Whole).await.unwrap()).await
    };

    // The length of the prompt makes no difference.
    assert_ne!(writer(100_000, 5, 0).await, r#""llamero-heavy""#);
    assert_ne!(writer(1, HEAVY_TEXT - 1, HEAVY_LIST - 1).await, r#""llamero-heavy""#);
    assert_eq!(writer(1, 1, HEAVY_LIST).await, r#""llamero-heavy""#);
    assert_eq!(writer(1, HEAVY_TEXT, 0).await, r#""llamero-heavy""#);
}

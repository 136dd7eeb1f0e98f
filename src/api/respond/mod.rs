//! The one path from a running generation to an HTTP response: one JSON object, or a stream of SSE frames.
//!
//! Owns the choice between object and stream, the time at which a status is sent, keep-alives and the errors that end a
//! stream. A dropped response cancels the work. The endpoint's [`WireFormat`] writes the bytes; nothing here names an
//! OpenAI object.
//!
//! ```text
//! Generation ──events──▶ Run ──▶ WireFormat::chunks ─┬─▶ absorb … whole ──▶ one JSON object
//!                         │                          └─▶ sse::frame ──────▶ data: {…}
//!                         └─▶ Recorder ──▶ telemetry, once, on drop
//! ```

mod progress;
mod recorder;
mod request_fields;
mod run;
pub(in crate::api) mod sse;
mod time_limit;

pub use progress::{ProgressChunk, PromptProgress};
pub use recorder::Recorder;
pub use request_fields::RequestFields;
pub use run::{Run, Usage, finish_reason};

use crate::{
    api::{error::ApiError, heavy},
    config::ApiConfig,
    gateway::handle::GenerationEvent,
};
use async_stream::stream;
use axum::{
    body::{Body, Bytes},
    response::IntoResponse,
    response::Response,
};
use futures_util::{TryFutureExt as _, future::BoxFuture};
use progress::{ProgressNotices, is_progress_alone};
use serde::Serialize;
use std::{convert::Infallible, time::Duration};
use tokio::time::{Instant, timeout_at};

/// The number of listed tokens from which an answer is written on a thread of its own: each token may have 20
/// alternatives with their bytes.
const HEAVY_LIST: u64 = 512;
/// The number of tokens from which an answer is written on a thread of its own, if only their text is written, a few
/// bytes for each.
const HEAVY_TEXT: u64 = 32 * 1024;

/// The writer of an endpoint's answers. Its streams and its whole answers come from the same chunks.
pub trait WireFormat: Send + 'static {
    /// The content of one frame of a stream.
    type Chunk: Serialize + Send;
    /// The chunks of an event: any number of them, or an `Option` where there is at most one.
    type Chunks: IntoIterator<Item = Self::Chunk, IntoIter: Send> + Send;
    /// The answer without streaming.
    type Whole: Serialize + Send + 'static;

    /// True if a stream ends with `data: [DONE]`, as OpenAI's do.
    const ENDS_WITH_DONE: bool = true;

    /// Chunks to send before any event, such as an echoed prompt.
    fn opening(&mut self) -> Vec<Self::Chunk>;

    /// The chunks for an event; none if the event has no visible content. The event's finish is never a failure.
    fn chunks(&mut self, event: GenerationEvent) -> Self::Chunks;

    /// The last chunks, after every choice has finished, such as the usage.
    fn closing(&mut self, usage: &Usage) -> Vec<Self::Chunk>;

    /// The name of a chunk's frame, if it has one.
    fn event_name(_chunk: &Self::Chunk) -> Option<&'static str> {
        None
    }

    /// True if the request asked for the progress of its prompt, in frames of this format.
    fn shows_progress(&self) -> bool {
        false
    }

    /// The frame that tells the progress of a prompt: a comment, unless the request asked for more.
    fn progress(&self, progress: &PromptProgress) -> Bytes {
        progress.comment()
    }

    /// The frame that keeps a silent connection alive.
    fn keep_alive(&self) -> Bytes {
        sse::PING
    }

    /// The frames that end a stream which fails, before `[DONE]`. An end without an error frame would look like success
    /// to the SDKs.
    fn failing(&mut self, error: &ApiError) -> Vec<Bytes> {
        vec![sse::frame(None, &error.envelope())]
    }

    /// Adds a chunk to the answer without streaming. Chunks come in the order in which they would be streamed, without
    /// the closing ones.
    fn absorb(&mut self, chunk: Self::Chunk);

    /// Number of tokens that the answer without streaming lists one by one: with their ids, log-probabilities or
    /// alternatives.
    fn listed_tokens(&self, _usage: &Usage) -> u64 {
        0
    }

    /// The answer, after every chunk was absorbed.
    fn whole(self, usage: &Usage) -> Self::Whole;
}

/// The form of an answer: one JSON object or a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// One JSON object at the end.
    Whole,
    /// Server-sent events.
    Stream {
        /// The maximum wait for the first token before status 200 is sent; a failure until then is sent with its own
        /// status.
        hold_status: Duration,
        /// Time of silence after which a comment is sent to keep the connection alive.
        keep_alive: Duration,
    },
}

impl Mode {
    /// The mode for a request's `stream` field, with the server's times.
    #[must_use]
    pub fn of(stream: bool, config: &ApiConfig) -> Self {
        if stream { Self::Stream { hold_status: config.hold_status, keep_alive: config.keep_alive } } else { Self::Whole }
    }
}

/// Follows `run` to its end. Dropping the future or the response's body cancels the generation.
///
/// The future is in a box, so that the futures around it do not each have room for the run and the format: a thousand
/// requests that wait would keep that room a thousand times.
///
/// # Errors
/// A failure before the response has begun; later ones are written into the stream.
pub fn respond<F: WireFormat>(mut run: Run, format: F, mode: Mode) -> BoxFuture<'static, Result<Response, ApiError>> {
    match mode {
        Mode::Whole => Box::pin(collect(run, format).and_then(|Collected { whole, is_long }| heavy::json(is_long, whole))),
        Mode::Stream { hold_status, keep_alive } => Box::pin(async move {
            let held = hold(&mut run, hold_status, format.shows_progress()).await?;
            let frames = stream_frames(run, format, held, keep_alive);
            Ok((sse::HEADERS, Body::from_stream(frames)).into_response())
        }),
    }
}

/// The answer of a generation that is not streamed, before it is written.
#[derive(Debug)]
pub struct Collected<W> {
    /// The object that is the answer.
    pub whole: W,
    /// True if it is so long that others should not wait while it is written as JSON.
    pub is_long: bool,
}

/// Follows `run` to its end and makes one object of its events; this needs no HTTP. Dropping the future cancels the
/// generation.
///
/// # Errors
/// A choice fails: the request is answered as a whole or not at all.
#[expect(clippy::manual_async_fn, reason = "an `async fn` has room for its arguments twice: as they come, and as they are used")]
pub fn collect<F: WireFormat>(mut run: Run, mut format: F) -> impl Future<Output = Result<Collected<F::Whole>, ApiError>> + Send {
    async move {
        for chunk in format.opening() {
            format.absorb(chunk);
        }
        while let Some(event) = run.next().await? {
            for chunk in format.chunks(event) {
                format.absorb(chunk);
            }
        }
        let usage = run.usage();
        let is_long = format.listed_tokens(&usage) >= HEAVY_LIST || usage.completion_tokens >= HEAVY_TEXT;
        Ok(Collected { whole: format.whole(&usage), is_long })
    }
}

/// Waits for the first token or finish, or the first report of progress if that `is_shown`, but not longer than
/// `hold_status`, and returns the events until then with the times of their arrival: at most one per choice and one
/// more, because a choice has nothing else to report before its first token.
async fn hold(run: &mut Run, hold_status: Duration, is_shown: bool) -> Result<Vec<(Instant, GenerationEvent)>, ApiError> {
    let deadline = Instant::now() + hold_status;
    let mut held = Vec::new();
    while let Ok(next) = timeout_at(deadline, run.next()).await {
        let Some(event) = next? else { break };
        let is_progress = is_progress_alone(&event);
        let decided = !event.output.tokens.is_empty() || event.output.finish.is_some() || (is_progress && is_shown);
        if !is_progress || is_shown {
            held.push((Instant::now(), event));
        }
        if decided {
            break;
        }
    }
    Ok(held)
}

/// The body: opening chunks, a chunk per event, comments in silence, then usage or an error, and `[DONE]` once.
fn stream_frames<F: WireFormat>(
    mut run: Run,
    mut format: F,
    held: Vec<(Instant, GenerationEvent)>,
    keep_alive: Duration,
) -> impl futures_util::Stream<Item = Result<Bytes, Infallible>> + Send {
    stream! {
        for chunk in format.opening() {
            yield Ok(frame::<F>(&chunk));
        }
        if held.is_empty() {
            // The head is sent with the first bytes of the body; a waiting proxy needs the head now.
            yield Ok(sse::PING);
        }
        let mut notices = ProgressNotices::new(format.shows_progress());
        for (arrived, event) in held {
            if let Some(progress) = notices.before(&event, run.prompt_tokens(event.choice), arrived) {
                yield Ok(format.progress(&progress));
            }
            for chunk in format.chunks(event) {
                yield Ok(frame::<F>(&chunk));
            }
        }
        let mut ping_at = Instant::now() + keep_alive;
        loop {
            match timeout_at(ping_at, run.next()).await {
                Err(_) => yield Ok(format.keep_alive()),
                Ok(Ok(Some(event))) => {
                    let progress = notices.before(&event, run.prompt_tokens(event.choice), Instant::now());
                    let is_silent = progress.is_none();
                    if let Some(progress) = progress {
                        yield Ok(format.progress(&progress));
                    }
                    let mut chunks = format.chunks(event).into_iter().peekable();
                    if chunks.peek().is_none() && is_silent {
                        continue;
                    }
                    for chunk in chunks {
                        yield Ok(frame::<F>(&chunk));
                    }
                }
                Ok(Ok(None)) => break,
                Ok(Err(error)) => {
                    for frame in format.failing(&error) {
                        yield Ok(frame);
                    }
                    if F::ENDS_WITH_DONE {
                        yield Ok(sse::DONE);
                    }
                    return;
                }
            }
            ping_at = Instant::now() + keep_alive;
        }
        for chunk in format.closing(&run.usage()) {
            yield Ok(frame::<F>(&chunk));
        }
        if F::ENDS_WITH_DONE {
            yield Ok(sse::DONE);
        }
    }
}

fn frame<F: WireFormat>(chunk: &F::Chunk) -> Bytes {
    sse::frame(F::event_name(chunk), chunk)
}

#[cfg(test)]
mod tests;

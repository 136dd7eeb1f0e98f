//! The progress of a prompt: what a stream tells its client while the prompt is computed, and how often.
//!
//! The numbers are llama-server's `prompt_progress`. A format writes them as a frame of its own if the request asked
//! for them; every other stream has comments, which clients skip and people read.

use crate::{api::respond::run::wide, gateway::handle::GenerationEvent};
use axum::body::Bytes;
use serde::Serialize;
use std::{collections::HashMap, time::Duration};
use tokio::time::Instant;

/// The shortest time between two comments. The engine reports a prompt a few times a second at most.
const BETWEEN_COMMENTS: Duration = Duration::from_secs(1);

/// The tokens of a prompt that are computed so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PromptProgress {
    /// The choice that the prompt is computed for.
    #[serde(skip)]
    pub choice: usize,
    /// Tokens of the prompt.
    pub total: u64,
    /// The part of `processed` that the prefix cache supplied.
    pub cache: u64,
    /// Tokens that are computed or cached.
    pub processed: u64,
    /// Time since the first row of the prompt was scheduled, ms.
    pub time_ms: u64,
}

impl PromptProgress {
    /// The comment that tells a reader of the stream.
    #[must_use]
    pub fn comment(&self) -> Bytes {
        let Self { total, cache, processed, .. } = self;
        format!(": prompt: {processed} of {total} tokens, {cache} of them cached\n\n").into()
    }
}

/// A chunk with the progress of a prompt beside its own fields.
#[derive(Debug, Serialize)]
pub struct ProgressChunk<C> {
    /// The chunk, without content.
    #[serde(flatten)]
    pub chunk: C,
    /// The progress.
    pub prompt_progress: PromptProgress,
}

/// Decides which events of a generation tell the progress of a prompt.
#[derive(Debug)]
pub(super) struct ProgressNotices {
    /// True if the request asked for the progress. Then its beginning and its end are told too.
    asked: bool,
    /// The choices whose prompts are being computed.
    begun: HashMap<usize, BegunPrompt>,
    /// The time of the last comment.
    last: Option<Instant>,
}

/// A prompt whose computation has begun.
#[derive(Debug, Clone, Copy)]
struct BegunPrompt {
    since: Instant,
    cached: u64,
}

impl ProgressNotices {
    pub(super) fn new(asked: bool) -> Self {
        Self { asked, begun: HashMap::new(), last: None }
    }

    /// The progress to tell before an event that arrives `now`; the prompt of its choice has `total` tokens.
    pub(super) fn before(&mut self, event: &GenerationEvent, total: usize, now: Instant) -> Option<PromptProgress> {
        let (choice, total) = (event.choice, wide(total));
        if let Some(started) = event.output.started {
            let cached = u64::from(started.cached_tokens).min(total);
            self.begun.insert(choice, BegunPrompt { since: now, cached });
        }
        let begun = *self.begun.get(&choice)?;
        let is_whole = !event.output.tokens.is_empty() || event.output.finish.is_some();
        if is_whole {
            self.begun.remove(&choice);
        }
        let processed = match event.output.processed {
            _ if is_whole && self.asked => total,
            Some(processed) => u64::from(processed).min(total),
            None if event.output.started.is_some() && self.asked => begun.cached,
            None => return None,
        };
        if !self.asked && self.last.is_some_and(|last| now.duration_since(last) < BETWEEN_COMMENTS) {
            return None;
        }
        self.last = Some(now);
        let time_ms = u64::try_from(now.duration_since(begun.since).as_millis()).unwrap_or(u64::MAX);
        Some(PromptProgress { choice, total, cache: begun.cached, processed, time_ms })
    }
}

/// True if an event has no news but the progress of its prompt.
pub(super) fn is_progress_alone(event: &GenerationEvent) -> bool {
    let output = &event.output;
    let has_more = output.started.is_some() || output.finish.is_some() || !output.tokens.is_empty() || !output.text.is_empty();
    output.processed.is_some() && !has_more && output.logprobs.is_empty() && output.prompt_logprobs.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Finish, SequenceId, SequenceOutput, Started, Token};

    fn event(fill: impl FnOnce(&mut SequenceOutput)) -> GenerationEvent {
        let mut output = SequenceOutput::empty(SequenceId(1));
        fill(&mut output);
        GenerationEvent { choice: 0, output }
    }

    fn started() -> GenerationEvent {
        event(|output| output.started = Some(Started { cached_tokens: 10, queue_us: 0 }))
    }

    fn processed(tokens: u32) -> GenerationEvent {
        event(|output| output.processed = Some(tokens))
    }

    fn token() -> GenerationEvent {
        event(|output| output.tokens = vec![Token(1)])
    }

    /// The tokens that are told to be processed, with the time; one event each 400 ms.
    fn told(asked: bool, events: &[GenerationEvent]) -> Vec<(u64, u64)> {
        let begin = Instant::now();
        let mut notices = ProgressNotices::new(asked);
        let times = (0..).map(|step| begin + Duration::from_millis(400 * step));
        let notices = events.iter().zip(times).filter_map(|(event, now)| notices.before(event, 100, now));
        notices.map(|progress| (progress.processed, progress.time_ms)).collect()
    }

    #[test]
    fn whoever_asks_is_told_the_beginning_each_report_and_the_end() {
        let events = vec![started(), processed(40), processed(70), token(), token()];

        assert_eq!(told(true, &events), [(10, 0), (40, 400), (70, 800), (100, 1200)]);
    }

    #[test]
    fn others_are_told_reports_a_second_apart() {
        let events = vec![started(), processed(20), processed(30), processed(40), processed(50), token()];

        assert_eq!(told(false, &events), [(20, 400), (50, 1600)]);
    }

    #[test]
    fn a_prompt_that_fails_is_told_no_further() {
        let end = event(|output| output.finish = Some(Finish::Length));

        assert_eq!(told(false, &[started(), end, processed(50)]), []);
        assert_eq!(told(true, &[processed(50), token()]), [], "it has not begun");
    }
}

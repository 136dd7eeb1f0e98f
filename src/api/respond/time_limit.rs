//! Ends answers that take too long, but not in their first line: half a line is of no use to an editor.
//!
//! The rule is llama-server's `t_max_predict_ms`. The limit is checked when tokens arrive, so the end is exact to
//! within a step.

use crate::{gateway::handle::GenerationEvent, protocol::Finish};
use async_stream::stream;
use futures_util::{StreamExt, stream::BoxStream};
use std::time::Duration;
use tokio::time::Instant;

/// The time of one choice.
#[derive(Debug, Clone, Default)]
struct ChoiceClock {
    /// `limit` after the first tokens, once they have come.
    deadline: Option<Instant>,
    has_line: bool,
    has_ended: bool,
}

impl ChoiceClock {
    /// Ends the choice with this event, if it is past its time.
    fn tick(&mut self, event: &mut GenerationEvent, limit: Duration) {
        self.has_line |= event.output.text.contains('\n');
        if !event.output.tokens.is_empty() {
            let now = Instant::now();
            let deadline = *self.deadline.get_or_insert(now + limit);
            if self.has_line && now >= deadline {
                event.output.finish.get_or_insert(Finish::Length);
            }
        }
        self.has_ended = event.output.finish.is_some();
    }
}

/// Passes on the events of `choices` choices, each until its own end; later events of a choice are dropped. After the
/// last end, `events` is dropped, which cancels the choices that the engine still generates.
pub(super) fn end_lines_after(
    mut events: BoxStream<'static, GenerationEvent>,
    choices: usize,
    limit: Duration,
) -> BoxStream<'static, GenerationEvent> {
    stream! {
        let mut clocks = vec![ChoiceClock::default(); choices];
        let mut unfinished = choices;
        while unfinished > 0 {
            let Some(mut event) = events.next().await else { break };
            let Some(clock) = clocks.get_mut(event.choice).filter(|clock| !clock.has_ended) else { continue };
            clock.tick(&mut event, limit);
            if clock.has_ended {
                unfinished -= 1;
            }
            yield event;
        }
    }
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::testing::token;
    use crate::protocol::SequenceId;
    use futures_util::stream;

    /// A token every 10 ms.
    fn events(texts: &'static [&'static str]) -> BoxStream<'static, GenerationEvent> {
        stream::iter(texts)
            .then(|text| async move {
                tokio::time::sleep(Duration::from_millis(10)).await;
                GenerationEvent { choice: 0, output: token(SequenceId(1), 7, text) }
            })
            .boxed()
    }

    async fn texts(limit_ms: u64, all: &'static [&'static str]) -> (String, Option<Finish>) {
        let seen: Vec<_> = end_lines_after(events(all), 1, Duration::from_millis(limit_ms)).collect().await;
        let finish = seen.last().and_then(|event| event.output.finish.clone());
        (seen.into_iter().map(|event| event.output.text).collect(), finish)
    }

    #[tokio::test(start_paused = true)]
    async fn the_time_runs_from_the_first_token_and_ends_nothing_before_a_line_break() {
        const TEXTS: &[&str] = &["a", "b", "c\n", "d", "e"];

        assert_eq!(texts(5, TEXTS).await, ("abc\n".to_owned(), Some(Finish::Length)));
        assert_eq!(texts(25, TEXTS).await, ("abc\nd".to_owned(), Some(Finish::Length)));
        assert_eq!(texts(1000, TEXTS).await, ("abc\nde".to_owned(), None));
        assert_eq!(texts(0, &["a", "b"]).await, ("ab".to_owned(), None));
    }

    #[tokio::test(start_paused = true)]
    async fn each_answer_has_a_time_and_a_first_line_of_its_own() {
        let all = [(0, "a\n"), (1, "b"), (0, "c"), (0, "d"), (1, "e\n"), (0, "f"), (1, "g")];
        let events = stream::iter(all).then(|(choice, text)| async move {
            tokio::time::sleep(Duration::from_millis(10)).await;
            GenerationEvent { choice, output: token(SequenceId(1), 7, text) }
        });

        let seen: Vec<_> = end_lines_after(events.boxed(), 2, Duration::from_millis(15)).collect().await;

        let seen: Vec<_> = seen.iter().map(|event| (event.choice, event.output.text.as_str(), event.output.finish.is_some())).collect();
        assert_eq!(seen, [(0, "a\n", false), (1, "b", false), (0, "c", true), (1, "e\n", true)]);
    }
}

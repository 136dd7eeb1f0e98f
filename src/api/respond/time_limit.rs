//! Ends a generation that takes too long, but not in its first line: half a line is of no use to an editor.
//!
//! The rule is llama-server's `t_max_predict_ms`. The limit is checked when tokens arrive, so the end is exact to
//! within a step.

use crate::{gateway::handle::GenerationEvent, protocol::Finish};
use async_stream::stream;
use futures_util::{StreamExt, stream::BoxStream};
use std::time::Duration;
use tokio::time::Instant;

/// Passes on the events of a single choice. After the event that ends the choice, `events` is dropped, which cancels
/// the rest.
pub(super) fn end_lines_after(mut events: BoxStream<'static, GenerationEvent>, limit: Duration) -> BoxStream<'static, GenerationEvent> {
    stream! {
        let mut deadline = None;
        let mut has_line = false;
        while let Some(mut event) = events.next().await {
            has_line |= event.output.text.contains('\n');
            if !event.output.tokens.is_empty() {
                let now = Instant::now();
                let deadline = *deadline.get_or_insert(now + limit);
                if has_line && now >= deadline {
                    event.output.finish.get_or_insert(Finish::Length);
                }
            }
            let ends = event.output.finish.is_some();
            yield event;
            if ends {
                break;
            }
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
        let seen: Vec<_> = end_lines_after(events(all), Duration::from_millis(limit_ms)).collect().await;
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
}

//! The one way from a prepared request to its answer, for every route that generates text.
//!
//! ```text
//! Call, Fields ─ prepare (of the route) ─▶ Submission ─ start ─▶ Run ─┬─ respond ─▶ HTTP: one object, or a stream
//!                                          WireFormat ────────────────┴─ collect ─▶ the object alone
//! ```
//!
//! The only place where a generation's caller, model, sequences and record are known together: code that counts, caches
//! or joins generations belongs here.

use super::{
    call::Call,
    error::ApiError,
    respond::{Mode, Recorder, RequestFields, Run, WireFormat, respond},
    warnings::Reported,
};
use crate::{gateway::models::Model, protocol::SequenceRequest};
use axum::response::Response;
use std::time::Duration;

/// A generation that is valid in every respect and not yet submitted.
pub(super) struct Submission {
    /// The model, under the name that the request gave it.
    pub(super) model: Model,
    /// The sequences in the order of the prompts; the choices of one prompt are adjacent. Ids and the caller's
    /// namespace are assigned later.
    pub(super) sequences: Vec<SequenceRequest>,
    /// Number of choices of each prompt, at least 1.
    pub(super) choices: usize,
    /// True if the answer is streamed.
    pub(super) stream: bool,
    /// The fields that later errors name.
    pub(super) fields: RequestFields,
    /// Warnings about fields that are not obeyed, or only in part.
    pub(super) warnings: Reported,
    /// Time from the first tokens after which the text ends, but not before its first line break; see
    /// [`Run::end_lines_after`].
    pub(super) line_limit: Option<Duration>,
}

/// Generates the submission prepared for `call`, and answers in this format. The future is dropped when the client
/// disconnects, which cancels the generation.
///
/// # Errors
/// A failure before the response has begun; later ones are written into the stream.
pub(super) fn generate<F: WireFormat>(
    call: &Call,
    submission: Submission,
    format: F,
) -> impl Future<Output = Result<Response, ApiError>> + Send + use<F> {
    let mode = Mode::of(submission.stream, &call.state.config.now());
    // This runs outside of the future, so that the future does not keep the submission while the answer is awaited.
    let started = start(call, submission).map(|(run, warnings)| (respond(run, format, mode), warnings));
    async move {
        let (answer, warnings) = started?;
        let mut response = answer.await?;
        warnings.write_header(&mut response);
        Ok(response)
    }
}

/// Submits a submission to the engine. The run keeps the record, and cancels the work when it is dropped; the warnings
/// are for the answer.
///
/// # Errors
/// The engine refuses the submission.
fn start(call: &Call, submission: Submission) -> Result<(Run, Reported), ApiError> {
    let Submission { model, mut sequences, choices, stream, fields, warnings, line_limit } = submission;
    // Cached prompts are shared within a key and never between keys.
    let namespace = call.principal.id.namespace();
    sequences.iter_mut().for_each(|sequence| sequence.namespace = namespace);
    let recorder = Recorder::new(call.route.label, &model.name, stream, call.received).with_warnings(warnings.for_log());
    let run = Run::start(&model.handle, sequences, choices, fields, recorder)?;
    let run = match line_limit {
        Some(limit) => run.end_lines_after(limit),
        None => run,
    };
    Ok((run, warnings))
}

#[cfg(test)]
mod tests {
    use crate::api::{
        call::tests::call_of,
        fields::Fields,
        openai::{chat, completions, responses},
        testing::{Setup, TestApp},
    };
    use serde_json::Map;

    #[tokio::test]
    async fn a_request_that_waits_for_the_engine_takes_a_few_kilobytes() {
        let app = TestApp::start(Setup::default()).await;
        let (call, fields) = (|| call_of(&app.state), || Fields::new(Map::new()));

        let sizes = [
            size_of_val(&completions::create(call(), fields())),
            size_of_val(&chat::create(call(), fields())),
            size_of_val(&responses::create(call(), fields())),
        ];

        // The future contains the prepared request while its tokens are awaited; the format and the run are in a box of
        // their own.
        assert!(sizes.iter().all(|size| *size <= 4096), "{sizes:?}");
    }
}

//! llama-server's own routes, for editors and front-ends that were written for it: `POST /completion`, `/completions`,
//! `/apply-template`, `/embedding`, `/embeddings`, `GET /props`, `/slots`. `/infill` has a folder of its own and shares
//! the options and the writer of this one.
//!
//! ```text
//! options.rs   the fields that /completion and /infill share     samplers.rs   the field `samplers`
//! lenient.rs   values that llama-server bends or ignores         settings.rs   its `generation_settings`
//! answer.rs    from prompts that fit to answers                  format.rs     the objects, whole and streamed
//! ```
//!
//! llama-server answers `/completions` and `/embeddings` in its own shape whatever they contain, and OpenAI's SDKs call
//! these paths where a base URL lacks `/v1`. Here the request decides: one with `n_predict`, or with `content`, is
//! llama-server's, any other is OpenAI's. Errors have OpenAI's shape, which llama-server's clients read too.

pub(super) mod answer;
pub(super) mod completion;
pub(super) mod embedding;
pub(super) mod format;
mod lenient;
pub(super) mod options;
pub(super) mod props;
mod samplers;
pub(super) mod settings;
pub(super) mod slots;
pub(super) mod template;

use super::{call::Call, error::ApiError, fields::Fields, openai::models, warnings::Warnings};
use crate::gateway::models::Model;

/// The build of llama-server in whose place this server stands, as `/props` and streams name it.
pub(super) const BUILD: &str = concat!("llamero-", env!("CARGO_PKG_VERSION"));

/// Takes the field `model`. llama.vim sends an empty name for none.
///
/// # Errors
/// The field is no string, or a strict request names a model that is not served here.
pub(super) fn requested(call: &Call, fields: &mut Fields, warnings: &mut Warnings) -> Result<Model, ApiError> {
    if fields.peek("model").is_some_and(|name| name == "") {
        fields.take("model");
    }
    models::requested_or_first(call, fields, warnings)
}

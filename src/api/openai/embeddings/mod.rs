//! `POST /v1/embeddings`: answers texts or lists of tokens with one normalised vector for each.

pub mod request;
pub(in crate::api) mod run;
pub mod vectors;

use super::{models, shared::prompt::Prompt};
use crate::{
    api::{call::Call, error::ApiError, fields::Fields, heavy, warnings::Warnings},
    protocol::Pooling,
};
use axum::response::Response;
use request::EmbeddingRequest;
use run::{EmbeddingRun, EmbeddingUsageObject, element};
use serde::Serialize;
use vectors::{EncodedVector, normalised};

/// OpenAI's `CreateEmbeddingResponse`.
#[derive(Debug, Serialize)]
struct EmbeddingList {
    object: &'static str,
    data: Vec<Embedding>,
    model: String,
    usage: EmbeddingUsageObject,
}

/// OpenAI's `Embedding`.
#[derive(Debug, Serialize)]
struct Embedding {
    object: &'static str,
    index: usize,
    embedding: EncodedVector,
}

/// The handler of `POST /v1/embeddings`. The future is dropped when the client disconnects, which stops the work.
///
/// # Errors
/// The fault of the request, or the engine's failure.
pub(in crate::api) async fn create(call: Call, mut fields: Fields) -> Result<Response, ApiError> {
    let mut warnings = Warnings::default();
    let model = models::requested(&call, &mut fields, &mut warnings)?;
    let mut run = EmbeddingRun::new(&call, &model, warnings)?;
    let result = embed(&mut run, model.name, fields).await;
    run.answer(result).await
}

async fn embed(run: &mut EmbeddingRun, model: String, fields: Fields) -> Result<EmbeddingList, ApiError> {
    let info = run.info()?.clone();
    if matches!(info.pooling, Pooling::Rank(_)) {
        return Err(ApiError::wrong_kind_of_model("the model ranks documents and has no embeddings; use /v1/rerank or /v1/score"));
    }
    let request = EmbeddingRequest::read(fields, &info, run.model.vocabulary_size)?;
    run.ignored(request.unknown);
    let is_list = request.inputs.len() > 1;
    let closing = if request.add_special { info.around_text.1.len() } else { 0 };
    let name = |index| element("input", is_list, index);
    // Only texts are checked here: `fit` counts the tokens of inputs that are tokens, which have no bytes to look at.
    let texts = request.inputs.iter().map(|input| if let Prompt::Text(text) = input { text } else { "" });
    run.check_lengths(name, texts, request.truncate)?;
    let mut inputs = run.tokenize("input", is_list, request.inputs, request.add_special).await?;
    run.fit(name, &mut inputs, request.truncate, closing)?;
    let vectors = run.embed("input", inputs).await?;
    let (dimensions, encoding) = (request.dimensions, request.encoding);
    let embedding = move |(index, vector)| Embedding {
        object: "embedding",
        index,
        embedding: EncodedVector { vector: normalised(vector, dimensions), encoding },
    };
    let data = heavy::run_if(run.is_heavy(), async move { vectors.into_iter().enumerate().map(embedding).collect() }).await;
    Ok(EmbeddingList { object: "list", data, model, usage: run.usage() })
}

#[cfg(test)]
pub(super) mod tests;

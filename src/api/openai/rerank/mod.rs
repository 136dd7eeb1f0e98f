//! `POST /v1/rerank` (Jina's and Cohere's shape) and `POST /v1/score` (vLLM's): the relevance of texts to each other.
//!
//! A model with a rank head reads both texts together; its score is 0 to 1. The score of an embedding model is the
//! cosine of the two vectors, −1 to 1.

pub mod request;

use super::{
    embeddings::{
        run::{EmbeddingRun, EmbeddingUsageObject, element, few_tokens, too_long},
        vectors::{cosine, sigmoid},
    },
    models,
    shared::prompt::Prompt,
};
use crate::{
    api::{call::Call, error::ApiError, fields::Fields, heavy, warnings::Warnings},
    protocol::{Pooling, RankScore, Token},
};
use axum::response::Response;
use request::{RerankRequest, ScoreRequest};
use serde::Serialize;
use std::time::{SystemTime, UNIX_EPOCH};

/// Jina's response, as vLLM sends it.
#[derive(Debug, Serialize)]
struct Ranking {
    id: String,
    model: String,
    usage: EmbeddingUsageObject,
    results: Vec<Ranked>,
}

#[derive(Debug, Serialize)]
struct Ranked {
    index: usize,
    relevance_score: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    document: Option<Document>,
}

#[derive(Debug, Serialize)]
struct Document {
    text: String,
}

/// vLLM's response.
#[derive(Debug, Serialize)]
struct ScoreList {
    id: String,
    object: &'static str,
    created: u64,
    model: String,
    data: Vec<Score>,
    usage: EmbeddingUsageObject,
}

#[derive(Debug, Serialize)]
struct Score {
    index: usize,
    object: &'static str,
    score: f64,
}

/// The texts of pairs, with the names of the fields that they come from.
struct Sides {
    left: Vec<String>,
    right: Vec<String>,
    left_name: (&'static str, bool),
    right_name: (&'static str, bool),
    truncate: Option<usize>,
}

/// The handler of `/v1/rerank`.
///
/// # Errors
/// The fault of the request, or the engine's failure.
pub(in crate::api) async fn rerank(call: Call, mut fields: Fields) -> Result<Response, ApiError> {
    let mut warnings = Warnings::default();
    let model = models::requested(&call, &mut fields, &mut warnings)?;
    let mut run = EmbeddingRun::new(&call, &model, warnings)?;
    let result = rank(&mut run, model.name, fields).await;
    run.answer(result).await
}

/// The handler of `/v1/score`.
///
/// # Errors
/// As [`rerank`].
pub(in crate::api) async fn score(call: Call, mut fields: Fields) -> Result<Response, ApiError> {
    let mut warnings = Warnings::default();
    let model = models::requested(&call, &mut fields, &mut warnings)?;
    let mut run = EmbeddingRun::new(&call, &model, warnings)?;
    let result = compare(&mut run, model.name, fields).await;
    run.answer(result).await
}

async fn rank(run: &mut EmbeddingRun, model: String, fields: Fields) -> Result<Ranking, ApiError> {
    let request = RerankRequest::read(fields, run.info()?)?;
    run.ignored(request.unknown);
    let sides = Sides {
        left: vec![request.query],
        right: request.documents.clone(),
        left_name: ("query", false),
        right_name: ("documents", true),
        truncate: request.truncate,
    };
    let scores = scores(run, sides).await?;
    let mut results: Vec<Ranked> = scores
        .into_iter()
        .zip(request.documents)
        .enumerate()
        .map(|(index, (relevance_score, text))| Ranked {
            index,
            relevance_score,
            document: request.return_documents.then_some(Document { text }),
        })
        .collect();
    // A stable sort: equal scores keep the order of the request.
    results.sort_by(|left, right| right.relevance_score.total_cmp(&left.relevance_score));
    results.truncate(request.top_n);
    Ok(Ranking { id: new_id("rerank"), model, usage: run.usage(), results })
}

async fn compare(run: &mut EmbeddingRun, model: String, fields: Fields) -> Result<ScoreList, ApiError> {
    let request = ScoreRequest::read(fields, run.info()?)?;
    run.ignored(request.unknown);
    let sides = Sides {
        left: request.left,
        right: request.right,
        left_name: request.names[0],
        right_name: request.names[1],
        truncate: request.truncate,
    };
    let scores = scores(run, sides).await?;
    let data = scores.into_iter().enumerate().map(|(index, score)| Score { index, object: "score", score }).collect();
    // A clock before 1970 is no reason to fail.
    let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    Ok(ScoreList { id: new_id("score"), object: "list", created, model, data, usage: run.usage() })
}

/// A score for each text of the right side: with the one text of the left side, or with the left text of the same
/// index.
async fn scores(run: &mut EmbeddingRun, sides: Sides) -> Result<Vec<f64>, ApiError> {
    for ((name, is_list), texts) in [(sides.left_name, &sides.left), (sides.right_name, &sides.right)] {
        run.check_lengths(|index| element(name, is_list, index), texts.iter().map(String::as_str), sides.truncate)?;
    }
    match run.info()?.pooling {
        Pooling::Rank(kind) => {
            let scores = rank_scores(run, sides).await?;
            let relevance = |vector: Vec<f32>| match (vector.first(), kind) {
                (Some(logit), RankScore::Logit) => sigmoid(*logit),
                (Some(score), RankScore::Probability) => f64::from(*score),
                // The engine sends as many numbers as the model has dimensions, one.
                (None, _) => 0.0,
            };
            Ok(scores.into_iter().map(relevance).collect())
        }
        Pooling::Mean | Pooling::Cls | Pooling::Last => cosine_scores(run, sides).await,
    }
}

async fn cosine_scores(run: &mut EmbeddingRun, sides: Sides) -> Result<Vec<f64>, ApiError> {
    let closing = run.info()?.around_text.1.len();
    let (names, lefts) = ((sides.left_name, sides.right_name), sides.left.len());
    let mut inputs = tokenize(run, names.0, sides.left, true).await?;
    inputs.extend(tokenize(run, names.1, sides.right, true).await?);
    let name = |index: usize| match index.checked_sub(lefts) {
        None => element(names.0.0, names.0.1, index),
        Some(index) => element(names.1.0, names.1.1, index),
    };
    run.fit(name, &mut inputs, sides.truncate, closing)?;
    let vectors = run.embed(names.1.0, inputs).await?;
    let compared = async move {
        let (left, right) = vectors.split_at(lefts);
        // A single text on the left is compared with all on the right.
        right.iter().zip(left.iter().cycle()).map(|(right, left)| cosine(left, right)).collect()
    };
    Ok(heavy::run_if(run.is_heavy(), compared).await)
}

/// A rank head's output for each pair.
async fn rank_scores(run: &mut EmbeddingRun, sides: Sides) -> Result<Vec<Vec<f32>>, ApiError> {
    let (before, between, after) = run.info()?.around_pair.clone();
    let (left_name, right_name) = (sides.left_name, sides.right_name);
    let left = tokenize(run, left_name, sides.left, false).await?;
    let right = tokenize(run, right_name, sides.right, false).await?;
    let name = |index| element(right_name.0, right_name.1, index);
    let longest = run.info()?.max_input_tokens as usize;
    let special = before.len() + between.len() + after.len();
    // The query is part of every pair: a query that is too long is refused before it is copied for each document.
    let mut total = 0;
    for (index, (right, (left_index, left))) in right.iter().zip(left.iter().enumerate().cycle()).enumerate() {
        let alone = special + left.len();
        let tokens = alone + right.len();
        if sides.truncate.is_none() && tokens > longest {
            // No text of the right side would fit beside a left one that fills the input.
            let (at_fault, tokens) =
                if alone >= longest { (element(left_name.0, left_name.1, left_index), alone) } else { (name(index), tokens) };
            return Err(too_long(&at_fault, &tokens.to_string(), longest).into());
        }
        total += tokens.min(sides.truncate.unwrap_or(longest));
    }
    few_tokens(right_name.0, total)?;
    // A pair gets one token more than is kept, so that `fit` notices the cut.
    let most = sides.truncate.unwrap_or(longest) + 1;
    let pair = |(right, left): (&Vec<Token>, &Vec<Token>)| {
        let text = [&before, left, &between, right].into_iter().flatten().take(most);
        text.chain(&after).copied().collect()
    };
    let mut pairs: Vec<Vec<Token>> = right.iter().zip(left.iter().cycle()).map(pair).collect();
    run.fit(name, &mut pairs, sides.truncate, after.len())?;
    run.embed(right_name.0, pairs).await
}

async fn tokenize(
    run: &EmbeddingRun,
    (name, is_list): (&str, bool),
    texts: Vec<String>,
    add_special: bool,
) -> Result<Vec<Vec<Token>>, ApiError> {
    run.tokenize(name, is_list, texts.into_iter().map(Prompt::Text).collect(), add_special).await
}

fn new_id(kind: &str) -> String {
    format!("{kind}-{}", uuid::Uuid::new_v4().simple())
}

#[cfg(test)]
mod tests;

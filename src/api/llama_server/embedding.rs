//! `POST /embedding`, and `POST /embeddings` for requests with `content`: llama-server's list of vectors, each within
//! an array of its own.

pub(in crate::api) mod specs;

use super::requested;
use crate::{
    api::{
        call::Call,
        error::ApiError,
        fields::{FieldError, Fields, ignored::Ignored},
        heavy,
        openai::{
            embeddings::{
                self,
                request::{read_inputs, read_truncation},
                run::{EmbeddingRun, element},
                vectors::normalised,
            },
            shared::prompt::Prompt,
        },
        warnings::Warnings,
    },
    protocol::{EmbeddingInfo, Pooling},
};
use axum::response::Response;
use serde::Serialize;

/// The greatest exponent of a norm.
const MAX_NORM: i64 = 64;

/// A request whose fields are each valid.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::api) struct LlamaEmbedding {
    /// The field that the texts came in.
    param: &'static str,
    inputs: Vec<Prompt>,
    norm: VectorNorm,
    /// Number of tokens to which longer inputs are cut (vLLM's `truncate_prompt_tokens`).
    truncate: Option<usize>,
    /// Names of unknown fields, which had no effect.
    pub(in crate::api) unknown: Ignored,
}

/// llama.cpp's `embd_normalize`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum VectorNorm {
    /// -1: the vector as the model computes it.
    None,
    /// 0: the largest number becomes 32,760, as llama.cpp scales it.
    MaxAbsolute,
    /// 2: length 1.
    Euclidean,
    /// 1 and above 2: the p-norm becomes 1.
    Power(i32),
}

/// An element of the answer.
#[derive(Debug, Serialize)]
struct IndexedVector {
    index: usize,
    /// One vector: llama-server has more than one only where a model does not pool its tokens.
    embedding: [Vec<f32>; 1],
}

impl LlamaEmbedding {
    /// Reads all fields but `model`, which was taken before.
    ///
    /// # Errors
    /// The first field at fault.
    pub(in crate::api) fn read(mut f: Fields, info: &EmbeddingInfo, vocabulary_size: u32) -> Result<Self, FieldError> {
        let is_input = f.has(specs::INPUT.name) && !f.has(specs::CONTENT.name);
        let spec = if is_input { &specs::INPUT } else { &specs::CONTENT };
        let inputs = read_inputs(&mut f, spec, vocabulary_size)?;
        if !is_input && f.get(&specs::INPUT)?.is_some() {
            f.report(specs::INPUT.name);
        }
        let norm = match f.get(&specs::EMBD_NORMALIZE)? {
            -1 => VectorNorm::None,
            0 => VectorNorm::MaxAbsolute,
            2 => VectorNorm::Euclidean,
            power => VectorNorm::Power(i32::try_from(power).expect("the range fits")),
        };
        let truncate = read_truncation(&mut f, info)?;
        Ok(Self { param: spec.name, inputs, norm, truncate, unknown: f.finish() })
    }
}

/// The handler of `POST /embedding`. The future is dropped when the client disconnects, which stops the work.
///
/// # Errors
/// The fault of the request, or the engine's failure.
pub(in crate::api) async fn embed(call: Call, mut fields: Fields) -> Result<Response, ApiError> {
    let mut warnings = Warnings::default();
    let model = requested(&call, &mut fields, &mut warnings)?;
    let mut run = EmbeddingRun::new(&call, &model, warnings)?;
    let result = vectors(&mut run, fields).await;
    run.answer(result).await
}

/// The handler of `POST /embeddings`: llama-server's route for a request with its `content`, else OpenAI's.
///
/// # Errors
/// The fault of the request, or the engine's failure.
pub(in crate::api) async fn embed_either(call: Call, fields: Fields) -> Result<Response, ApiError> {
    if fields.has(specs::CONTENT.name) { embed(call, fields).await } else { embeddings::create(call, fields).await }
}

async fn vectors(run: &mut EmbeddingRun, fields: Fields) -> Result<Vec<IndexedVector>, ApiError> {
    let info = run.info()?.clone();
    if matches!(info.pooling, Pooling::Rank(_)) {
        return Err(ApiError::wrong_kind_of_model("the model ranks documents and has no embeddings; use /v1/rerank or /v1/score"));
    }
    let LlamaEmbedding { param, inputs, norm, truncate, unknown } = LlamaEmbedding::read(fields, &info, run.model.vocabulary_size)?;
    run.ignored(unknown);
    let is_list = inputs.len() > 1;
    let name = |index| element(param, is_list, index);
    let texts = inputs.iter().map(|input| if let Prompt::Text(text) = input { text } else { "" });
    run.check_lengths(name, texts, truncate)?;
    let mut tokens = run.tokenize(param, is_list, inputs, true).await?;
    run.fit(name, &mut tokens, truncate, info.around_text.1.len())?;
    let vectors = run.embed(param, tokens).await?;
    let scaled = move |(index, vector)| IndexedVector { index, embedding: [norm.scale(vector)] };
    Ok(heavy::run_if(run.is_heavy(), async move { vectors.into_iter().enumerate().map(scaled).collect() }).await)
}

impl VectorNorm {
    /// Scales a vector; a vector of zeros stays one (llama.cpp, `common_embd_normalize`).
    fn scale(self, vector: Vec<f32>) -> Vec<f32> {
        let dimensions = vector.len();
        let divisor = match self {
            Self::None => return vector,
            Self::Euclidean => return normalised(vector, dimensions),
            Self::MaxAbsolute => vector.iter().fold(0.0_f64, |most, number| most.max(f64::from(*number).abs())) / 32_760.0,
            Self::Power(power) => {
                let sum: f64 = vector.iter().map(|number| f64::from(*number).abs().powi(power)).sum();
                sum.powf(1.0 / f64::from(power))
            }
        };
        // The client gets 32 bits in any case.
        if divisor > 0.0 { vector.into_iter().map(|number| (f64::from(number) / divisor) as f32).collect() } else { vector }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::{
            openai::embeddings_script,
            testing::{Setup, TestApp},
        },
        gateway::testing::{embedding_info, model_info},
        protocol::{ModelInfo, ModelKind},
    };
    use serde_json::{Value, json};

    #[tokio::test]
    async fn contents_get_llama_servers_list_and_inputs_get_openais() {
        let model = ModelInfo { kind: ModelKind::Embeds(embedding_info()), vocabulary_size: 0x11_0000, ..model_info() };
        let app = TestApp::start_with(Setup::default(), model, embeddings_script).await;
        let post = async |path, body: Value| {
            let answer = app.post(path, &body.to_string()).await;
            (answer.status.as_u16(), serde_json::from_str::<Value>(&answer.body).unwrap())
        };

        let content = json!({"content": ["ab", "c"], "embd_normalize": -1});
        let both = [post("/embedding", content.clone()).await, post("/embeddings", content).await];
        let input = post("/embedding", json!({"input": "c", "embd_normalize": -1})).await;
        let openais = post("/embeddings", json!({"model": "tiny", "input": "c"})).await;

        // A vector is `[tokens, first, last, 0]`, and each text has a token before and after it.
        let expected = json!([{"index": 0, "embedding": [[4.0, 1.0, 2.0, 0.0]]}, {"index": 1, "embedding": [[3.0, 1.0, 2.0, 0.0]]}]);
        assert_eq!(both, [(200, expected.clone()), (200, expected.clone())]);
        assert_eq!((input.0, &input.1[0]["embedding"]), (200, &expected[1]["embedding"]));
        assert_eq!((openais.0, &openais.1["object"]), (200, &json!("list")));
        assert_eq!(post("/embedding", json!({})).await.1["error"]["param"], "content");
    }

    #[tokio::test]
    async fn a_text_that_is_too_long_is_refused_or_cut_as_the_error_says() {
        let model = ModelInfo { kind: ModelKind::Embeds(embedding_info()), vocabulary_size: 0x11_0000, ..model_info() };
        let app = TestApp::start_with(Setup::default(), model, embeddings_script).await;
        let long = "abcdefghijklmnop";

        let refused = app.post("/embedding", &json!({"content": long}).to_string()).await;
        let cut = app.post("/embedding", &json!({"content": long, "truncate_prompt_tokens": -1}).to_string()).await;

        assert!(refused.status == 400 && refused.body.contains("send 'truncate_prompt_tokens': -1"), "{}", refused.body);
        assert_eq!((cut.status.as_u16(), cut.header("x-llamero-warnings")), (200, "1 inputs were truncated to 16 tokens"));
    }

    #[test]
    fn a_vector_is_scaled_by_the_norm_that_was_asked_for() {
        let scaled = |norm: VectorNorm| norm.scale(vec![3.0, -4.0]);

        assert_eq!(scaled(VectorNorm::None), [3.0, -4.0]);
        assert_eq!(scaled(VectorNorm::Euclidean), [0.6, -0.8]);
        assert_eq!(scaled(VectorNorm::Power(1)), [3.0 / 7.0, -4.0 / 7.0]);
        assert_eq!(scaled(VectorNorm::MaxAbsolute), [24_570.0, -32_760.0]);
        assert_eq!(VectorNorm::Power(3).scale(vec![0.0, 0.0]), [0.0, 0.0]);
    }
}

//! The common parts of the answers of all generating routes: id, time, fingerprint, seed and usage.

use crate::{
    api::{error::ApiError, respond::Usage},
    protocol::ModelInfo,
};
use serde::{Serialize, Serializer, ser::SerializeStruct};
use sha2::{Digest, Sha256};
use std::time::{SystemTime, UNIX_EPOCH};

/// The keys that all chunks of a response have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseHead {
    /// `cmpl-` or `chatcmpl-` and 32 hexadecimal digits.
    pub id: String,
    /// Unix time of the response, s.
    pub created: u64,
    /// The model's name as the request gave it.
    pub model: String,
    /// `fp_` and a digest of server and model: when it changes, the same seed may give another text.
    pub system_fingerprint: String,
}

impl ResponseHead {
    /// The head of an answer that begins now, with a new id.
    pub(in crate::api) fn new(prefix: &str, model: String, info: &ModelInfo) -> Self {
        Self {
            id: format!("{prefix}-{}", uuid::Uuid::new_v4().simple()),
            created: unix_time(),
            model,
            system_fingerprint: fingerprint(info),
        }
    }

    /// Writes the five keys that every object begins with; `kind` is its `object`.
    pub(in crate::api) fn serialize_into<S: Serializer>(
        &self,
        object: &mut S::SerializeStruct,
        kind: &'static str,
    ) -> Result<(), S::Error> {
        object.serialize_field("id", &self.id)?;
        object.serialize_field("object", kind)?;
        object.serialize_field("created", &self.created)?;
        object.serialize_field("model", &self.model)?;
        object.serialize_field("system_fingerprint", &self.system_fingerprint)
    }
}

/// The present Unix time, s. A clock before 1970 is no reason to fail an answer, so that it gives 0.
pub(in crate::api) fn unix_time() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

/// A digest of the facts that determine the text that a seed gives: this server's version and the model.
fn fingerprint(info: &ModelInfo) -> String {
    let facts = format!(
        "{}\n{}\n{}\n{}\n{}\n{}\n{}",
        env!("CARGO_PKG_VERSION"),
        info.name,
        info.architecture,
        info.quantization,
        info.parameters,
        info.size_bytes,
        info.device
    );
    let digest = Sha256::digest(facts.as_bytes());
    digest.iter().take(5).fold("fp_".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// A seed for a request without one: below 2⁵³, so that a client in JavaScript can send it back.
pub(in crate::api) fn draw_seed() -> Result<i64, ApiError> {
    let random = getrandom::u64().map_err(|error| {
        tracing::error!(%error, "the system gave no random number");
        ApiError::Internal
    })?;
    Ok((random >> 11).cast_signed())
}

/// The key `usage`. Clients of a stream expect it only if they asked for it, and then in every chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) enum UsageField {
    Absent,
    Null,
    Full(UsageObject),
}

impl UsageField {
    /// Writes the key `usage`, or leaves it out.
    pub(in crate::api) fn serialize_into<S: Serializer>(&self, object: &mut S::SerializeStruct) -> Result<(), S::Error> {
        match self {
            Self::Absent => object.skip_field("usage"),
            Self::Null => object.serialize_field("usage", &None::<()>),
            Self::Full(usage) => object.serialize_field("usage", usage),
        }
    }
}

/// OpenAI's `CompletionUsage`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(in crate::api) struct UsageObject {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: PromptTokensDetails,
    completion_tokens_details: CompletionTokensDetails,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct PromptTokensDetails {
    cached_tokens: u64,
}

/// OpenAI's details of completion tokens. A prediction is any draft token, from OpenAI's `prediction` or from this
/// server's own drafts. Unlike at OpenAI, rejected tokens do not count as completion tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
struct CompletionTokensDetails {
    reasoning_tokens: u64,
    accepted_prediction_tokens: u64,
    rejected_prediction_tokens: u64,
}

impl UsageObject {
    /// The usage of a request; `reasoning_tokens` of its completion tokens are reasoning.
    pub(in crate::api) fn of(usage: Usage, reasoning_tokens: u64) -> Self {
        Self {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            total_tokens: usage.prompt_tokens + usage.completion_tokens,
            prompt_tokens_details: PromptTokensDetails { cached_tokens: usage.cached_tokens },
            completion_tokens_details: CompletionTokensDetails {
                reasoning_tokens,
                accepted_prediction_tokens: usage.accepted_drafts,
                rejected_prediction_tokens: usage.rejected_drafts,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{GenerationInfo, KvLayout, KvType, ModelKind};

    fn info() -> ModelInfo {
        ModelInfo {
            name: "tiny".into(),
            architecture: "llama".into(),
            quantization: "Q4_1".into(),
            parameters: 1,
            size_bytes: 2,
            n_ctx_train: 100,
            max_model_len: 100,
            max_num_seqs: 16,
            max_num_batched_tokens: 32,
            vocabulary_size: 100,
            bos: None,
            adds_bos: true,
            eos: None,
            fim: None,
            chat_templates: Vec::new(),
            control_tokens: Vec::new(),
            longest_piece: None,
            dropped_bytes: Vec::new(),
            tokenizer: "llama".to_owned(),
            memory: Vec::new(),
            threads: 1,
            threads_adapt: false,
            device: "CPU".into(),
            slow_kernels: None,
            load_ms: 1,
            kind: ModelKind::Generates(GenerationInfo {
                kv_layout: KvLayout::Split,
                kv_cells: 100,
                kv_bytes: 100,
                kv_window: None,
                kv_type: KvType::F16,
                swap_bytes: 0,
                tile: 1,
            }),
        }
    }

    #[test]
    fn drawn_seeds_differ_and_survive_javascript() {
        let seeds = [draw_seed().unwrap(), draw_seed().unwrap()];

        assert!(seeds.iter().all(|seed| (0..1 << 53).contains(seed)), "{seeds:?}");
        assert_ne!(seeds[0], seeds[1]);
    }

    #[test]
    fn ids_differ_and_the_fingerprint_follows_the_model() {
        let (one, two) = (ResponseHead::new("cmpl", "m".into(), &info()), ResponseHead::new("cmpl", "m".into(), &info()));

        assert!(one.id.starts_with("cmpl-") && one.id.len() == 37, "{}", one.id);
        assert_ne!(one.id, two.id);
        assert_eq!(one.system_fingerprint, two.system_fingerprint);
        assert!(one.system_fingerprint.starts_with("fp_") && one.system_fingerprint.len() == 13, "{}", one.system_fingerprint);
        assert_ne!(fingerprint(&ModelInfo { quantization: "Q8_0".into(), ..info() }), one.system_fingerprint);
        assert!(one.created > 1_700_000_000);
    }
}

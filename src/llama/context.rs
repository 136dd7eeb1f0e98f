//! Turns a plan into the parameters of a llama.cpp context.

use super::{
    plan::{Attention, Plan},
    rope::Rope,
};
use crate::protocol::{KvLayout, KvType};
use llama_cpp_2::context::params::{KvCacheType, LlamaContextParams, RopeScalingType};
use std::num::NonZeroU32;

/// Builds llama.cpp's parameters for a context with the sizes in `plan`.
pub(super) fn context_params(plan: &Plan) -> LlamaContextParams {
    let threads = i32::try_from(plan.threads).unwrap_or(i32::MAX);
    with_rope(LlamaContextParams::default(), plan.rope)
        .with_n_ctx(NonZeroU32::new(plan.kv_cells))
        .with_n_batch(plan.max_rows)
        .with_n_ubatch(plan.rows_per_graph)
        .with_n_seq_max(plan.slots)
        .with_n_threads(threads)
        .with_n_threads_batch(threads)
        .with_swa_full(plan.window.is_none())
        .with_kv_unified(plan.layout == KvLayout::Unified)
        .with_flash_attention_policy(policy(plan.attention))
        .with_type_k(cache_type(plan.kv_type))
        .with_type_v(cache_type(plan.kv_type))
        .with_offload_kqv(true)
        .with_no_perf(true)
}

/// A scale of 0 is llama.cpp's word for that of the model's file.
fn with_rope(params: LlamaContextParams, rope: Rope) -> LlamaContextParams {
    match rope {
        Rope::Model => params,
        Rope::Unscaled => params.with_rope_scaling_type(RopeScalingType::None),
        Rope::Linear(stretch) => params.with_rope_scaling_type(RopeScalingType::Linear).with_rope_freq_scale(stretch.freq_scale()),
        Rope::Yarn(stretch) => params.with_rope_scaling_type(RopeScalingType::Yarn).with_rope_freq_scale(stretch.freq_scale()),
    }
}

fn policy(attention: Attention) -> llama_cpp_sys_2::llama_flash_attn_type {
    match attention {
        Attention::Plain => llama_cpp_sys_2::LLAMA_FLASH_ATTN_TYPE_DISABLED,
        Attention::Blocks => llama_cpp_sys_2::LLAMA_FLASH_ATTN_TYPE_ENABLED,
        Attention::Either => llama_cpp_sys_2::LLAMA_FLASH_ATTN_TYPE_AUTO,
    }
}

fn cache_type(kind: KvType) -> KvCacheType {
    match kind {
        KvType::F16 => KvCacheType::F16,
        KvType::Bf16 => KvCacheType::BF16,
        KvType::Q8_0 => KvCacheType::Q8_0,
        KvType::Q4_0 => KvCacheType::Q4_0,
    }
}

//! The fields that `/completion` and `/infill` share, except those of sampling and of constraints.

use crate::api::{
    fields::{
        spec::{FieldSpec, Specs},
        values::{Booleans, Integers, Numbers, Or, Shaped, boolean, integer, shaped},
    },
    openai::shared::{
        ending, limits, sampling,
        structured::specs::{GRAMMAR, JSON_SCHEMA},
    },
};
use serde_json::{Value, json};

/// The maximum number of entries in `response_fields` and in `samplers`.
pub(in crate::api::llama_server) const MAX_NAMES: usize = 64;

pub(in crate::api) const N_PREDICT: FieldSpec<Or<Integers>> = integer("n_predict", -2..=i64::MAX).or(-1).extra().example("9").about(
    "Tokens to generate at most, reduced to the room in the context; below 0 until the context is full, 0 computes the prompt for the \
     next request.",
);
pub(in crate::api) const MAX_TOKENS: FieldSpec<Integers> =
    integer("max_tokens", -2..=i64::MAX).extra().example("9").about("Another name of `n_predict`, which counts where both are sent.");
pub(in crate::api) const N_CMPL: FieldSpec<Or<Integers>> =
    integer("n_cmpl", 1..=limits::MAX_N as i64).or(1).extra().example("2").about("Answers for each prompt; more than one are an array.");
pub(in crate::api) const N: FieldSpec<Or<Integers>> =
    limits::N.extra().about("Another name of `n_cmpl`, which counts where both are sent.");
pub(in crate::api) const T_MAX_PREDICT_MS: FieldSpec<Or<Integers>> = integer("t_max_predict_ms", -1..=u32::MAX as i64)
    .or(0)
    .extra()
    .example("500")
    .about("End this long after the first token, once a line has ended; 0 and -1 are off.");
pub(in crate::api) const N_PROBS: FieldSpec<Or<Integers>> = integer("n_probs", -1..=i64::MAX)
    .or(0)
    .extra()
    .example("3")
    .about("`completion_probabilities` has so many alternatives of each token, 20 at most unless `--max-logprobs` allows more.");
pub(in crate::api) const SAMPLERS: FieldSpec<Shaped> =
    shaped("samplers", || json!({"anyOf": [{"type": "string"}, names()]})).extra().example(r#"["top_k","top_p"]"#).about(
        "The samplers to use, names or llama.cpp's letters. Their order is always the server's own; names that it does not have are \
         reported.",
    );
pub(in crate::api) const STOP: FieldSpec<Shaped> = ending::STOP.extra();
pub(in crate::api) const IGNORE_EOS: FieldSpec<Or<Booleans>> = ending::IGNORE_EOS.about("Go on past the end of generation.");
pub(in crate::api) const RESPONSE_FIELDS: FieldSpec<Shaped> = shaped("response_fields", names)
    .extra()
    .example(r#"["content","timings/prompt_n"]"#)
    .about("Keys of the answer; `a/b` reaches into objects.");
pub(in crate::api) const RETURN_TOKENS: FieldSpec<Or<Booleans>> =
    boolean("return_tokens").or(false).extra().about("`tokens` has the ids of the answer.");
pub(in crate::api) const TIMINGS_PER_TOKEN: FieldSpec<Or<Booleans>> =
    boolean("timings_per_token").or(false).extra().about("Each chunk of a stream has the `timings` so far.");
pub(in crate::api) const STREAM: FieldSpec<Or<Booleans>> = limits::STREAM.extra().about("Server-sent events, without `[DONE]`.");
pub(in crate::api) const CACHE_PROMPT: FieldSpec<Or<Booleans>> =
    boolean("cache_prompt").or(true).extra().about("Cached prompts are always used; `false` is reported.");

/// Fields that have an effect.
pub(in crate::api) const SHARED: Specs = &[
    &limits::MODEL_OR_FIRST,
    &N_PREDICT,
    &MAX_TOKENS,
    &N_CMPL,
    &N,
    &T_MAX_PREDICT_MS,
    &N_PROBS,
    &SAMPLERS,
    &STOP,
    &IGNORE_EOS,
    &JSON_SCHEMA,
    &GRAMMAR,
    &RESPONSE_FIELDS,
    &RETURN_TOKENS,
    &TIMINGS_PER_TOKEN,
    &STREAM,
    &CACHE_PROMPT,
    &limits::SKIP_SPECIAL_TOKENS,
    &limits::RETURN_PROGRESS,
];

/// Fields without effect on this server. In llama-server, too, they have none when they are `false`, 0, -1 or empty.
pub(in crate::api) const WITHOUT_EFFECT: Specs = &[
    &without_effect("n_indent"),
    &without_effect("n_keep"),
    &without_effect("n_discard"),
    &without_effect("n_cache_reuse"),
    &without_effect("t_max_prompt_ms"),
    &without_effect("sse_ping_interval"),
    &without_effect("id_slot"),
    &without_effect("min_keep"),
    &without_effect("post_sampling_probs"),
    &without_effect("lora"),
];

/// Sampling fields whose defaults are llama-server's and not OpenAI's.
pub(in crate::api) const OTHER_DEFAULTS: Specs = &[&TEMPERATURE, &TOP_K, &TOP_P, &MIN_P, &REPEAT_LAST_N];
pub(in crate::api) const TEMPERATURE: FieldSpec<Or<Numbers>> = sampling::specs::TEMPERATURE.default_is(0.8);
pub(in crate::api) const TOP_K: FieldSpec<Or<Integers>> = sampling::specs::TOP_K.default_is(40);
pub(in crate::api) const TOP_P: FieldSpec<Or<Numbers>> = sampling::specs::TOP_P.default_is(0.95);
pub(in crate::api) const MIN_P: FieldSpec<Or<Numbers>> = sampling::specs::MIN_P.default_is(0.05);
pub(in crate::api) const REPEAT_LAST_N: FieldSpec<Or<Integers>> = sampling::specs::REPEAT_LAST_N.default_is(64);

fn names() -> Value {
    json!({"type": "array", "maxItems": MAX_NAMES, "items": {"type": "string"}})
}

const fn without_effect(name: &'static str) -> FieldSpec<Shaped> {
    let about = "llama-server's; without effect here, and reported unless `false`, 0, -1 or empty.";
    shaped(name, || json!({})).accepted().example("0").about(about)
}

//! The fields of `POST /infill`: llama-server's, except those of sampling.

use super::{MAX_EXTRA, MAX_NAMES, is_neutral};
use crate::api::{
    fields::{
        spec::{FieldSpec, Specs},
        values::{Booleans, Integers, Numbers, Or, Refused, Shaped, Strings, boolean, integer, refused, shaped, string},
    },
    openai::shared::{ending, limits, sampling},
};
use serde_json::{Value, json};

pub(in crate::api) const INPUT_PREFIX: FieldSpec<Strings> =
    string("input_prefix").extra().example("\"a\"").about("The text before the line of the cursor.");
pub(in crate::api) const INPUT_SUFFIX: FieldSpec<Strings> =
    string("input_suffix").extra().example("\"b\"").about("The text after the cursor.");
pub(in crate::api) const PROMPT: FieldSpec<Strings> =
    string("prompt").extra().example("\"c\"").about("The line up to the cursor; it follows `input_prefix`.");
pub(in crate::api) const INPUT_EXTRA: FieldSpec<Shaped> = shaped("input_extra", || {
    let text = json!({"type": ["string", "null"]});
    let file = json!({"type": "object", "properties": {FILENAME.name: text, TEXT.name: text}});
    json!({"type": "array", "maxItems": MAX_EXTRA, "items": file})
})
.extra()
.example(r#"[{"filename":"a.rs","text":"x"}]"#)
.about("Other files, the most important last; the first ones are left out where the context is too small.");
/// The field `filename` in an entry of `input_extra`; `text` is beside it.
pub(in crate::api) const FILENAME: FieldSpec<Strings> = string("filename");
pub(in crate::api) const TEXT: FieldSpec<Strings> = string("text");
pub(in crate::api) const N_PREDICT: FieldSpec<Or<Integers>> = integer("n_predict", -2..=u32::MAX as i64)
    .or(-1)
    .extra()
    .example("9")
    .about("Tokens to generate at most; below 0 until the context is full, 0 computes the prompt for the next request.");
pub(in crate::api) const MAX_TOKENS: FieldSpec<Integers> =
    integer("max_tokens", -2..=u32::MAX as i64).extra().example("16").about("Another name of `n_predict`, which counts if both are sent.");
pub(in crate::api) const T_MAX_PREDICT_MS: FieldSpec<Or<Integers>> = integer("t_max_predict_ms", -1..=u32::MAX as i64)
    .or(0)
    .extra()
    .example("500")
    .about("End this long after the first token, once a line has ended; 0 and -1 are off.");
pub(in crate::api) const SAMPLERS: FieldSpec<Shaped> = shaped("samplers", names)
    .extra()
    .example(r#"["top_k","top_p"]"#)
    .about("The samplers to use. Their order is always the server's own; names that it does not have are reported.");
pub(in crate::api) const STOP: FieldSpec<Shaped> = ending::STOP.extra();
pub(in crate::api) const IGNORE_EOS: FieldSpec<Or<Booleans>> = ending::IGNORE_EOS.about("Go on past the end of generation.");
pub(in crate::api) const RESPONSE_FIELDS: FieldSpec<Shaped> = shaped("response_fields", names)
    .extra()
    .example(r#"["content","timings/prompt_n"]"#)
    .about("Keys of the answer; `a/b` reaches into objects.");
pub(in crate::api) const RETURN_TOKENS: FieldSpec<Or<Booleans>> =
    boolean("return_tokens").or(false).extra().about("`tokens` has the ids of the answer.");
pub(in crate::api) const STREAM: FieldSpec<Or<Booleans>> = limits::STREAM.extra().about("Server-sent events, without `[DONE]`.");
pub(in crate::api) const CACHE_PROMPT: FieldSpec<Or<Booleans>> =
    boolean("cache_prompt").or(true).extra().about("Cached prompts are always used; `false` is reported.");

/// Fields that have an effect.
pub(in crate::api) const INFILL: Specs = &[
    &limits::MODEL_OR_FIRST,
    &INPUT_PREFIX,
    &INPUT_SUFFIX,
    &PROMPT,
    &INPUT_EXTRA,
    &N_PREDICT,
    &MAX_TOKENS,
    &T_MAX_PREDICT_MS,
    &SAMPLERS,
    &STOP,
    &IGNORE_EOS,
    &RESPONSE_FIELDS,
    &RETURN_TOKENS,
    &STREAM,
    &CACHE_PROMPT,
    &limits::RETURN_PROGRESS,
];

/// Fields without effect on this server. In llama-server, too, they have none when they are `false`, 0, -1 or empty.
pub(in crate::api) const WITHOUT_EFFECT: Specs = &[
    &without_effect("n_indent"),
    &without_effect("n_keep"),
    &without_effect("n_cache_reuse"),
    &without_effect("t_max_prompt_ms"),
    &without_effect("timings_per_token"),
    &without_effect("id_slot"),
    &without_effect("min_keep"),
    &without_effect("post_sampling_probs"),
];

/// Fields that give the text or the answer another form.
pub(in crate::api) const REFUSED: Specs = &[
    &not_on_this_route("grammar").example("\"root ::= x\""),
    &not_on_this_route("json_schema").example(r#"{"type":"object"}"#),
    &not_on_this_route("n_probs").example("3"),
    &not_on_this_route("lora").example(r#"[{"id":0}]"#),
    &not_on_this_route("n_cmpl").unless(|_, value| Ok(is_neutral(value) || *value == json!(1))).example("2"),
];

/// Sampling fields whose defaults are llama-server's and not OpenAI's.
pub(in crate::api) const OTHER_DEFAULTS: Specs = &[&TEMPERATURE, &TOP_K, &TOP_P, &MIN_P];
pub(in crate::api) const TEMPERATURE: FieldSpec<Or<Numbers>> = sampling::specs::TEMPERATURE.default_is(0.8);
pub(in crate::api) const TOP_K: FieldSpec<Or<Integers>> = sampling::specs::TOP_K.default_is(40);
pub(in crate::api) const TOP_P: FieldSpec<Or<Numbers>> = sampling::specs::TOP_P.default_is(0.95);
pub(in crate::api) const MIN_P: FieldSpec<Or<Numbers>> = sampling::specs::MIN_P.default_is(0.05);

fn names() -> Value {
    json!({"type": "array", "maxItems": MAX_NAMES, "items": {"type": "string"}})
}

const fn without_effect(name: &'static str) -> FieldSpec<Shaped> {
    let about = "llama-server's; without effect here, and reported unless `false`, 0, -1 or empty.";
    shaped(name, || json!({})).accepted().example("0").about(about)
}

const fn not_on_this_route(name: &'static str) -> FieldSpec<Refused> {
    refused(name, "is not supported by this route").unless(|_, value| Ok(is_neutral(value))).about("llama-server's; not on this route.")
}

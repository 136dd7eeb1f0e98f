//! The parts of reading a request that completions, chat and responses share: the limits of the served model, the
//! fields that are refused, and the options of a stream.

use crate::{
    api::fields::{
        FieldError, Fields,
        ignored::Ignored,
        spec::{FieldSpec, Specs},
        values::{
            Booleans, Integers, Objects, Or, Refused, Strings, Unused, boolean, integer, is_empty_array, is_off, object, refused, string,
            unused,
        },
    },
    gateway::models::Model,
    protocol::ModelInfo,
};
use serde_json::json;

/// The maximum number of choices and candidates per prompt; less if the engine has fewer slots.
pub(in crate::api) const MAX_N: u32 = 8;

pub(in crate::api) const MODEL: FieldSpec<Strings> =
    string("model").example("\"tiny\"").about("One of the names that `GET /v1/models` lists. The one model that is served answers to any other name and to none, which is reported; strict requests get a 404.");
pub(in crate::api) const MODEL_OR_FIRST: FieldSpec<Strings> =
    MODEL.extra().about("One of the names that `GET /v1/models` lists; the first if absent. The one model that is served answers to any other name, which is reported; strict requests get a 404.");
pub(in crate::api) const N: FieldSpec<Or<Integers>> = integer("n", 1..=MAX_N as i64).or(1).example("2").about("Choices per prompt.");
pub(in crate::api) const STREAM: FieldSpec<Or<Booleans>> = boolean("stream").or(false).about("Server-sent events.");
pub(in crate::api) const STREAM_OPTIONS: FieldSpec<Objects> = object("stream_options", || {
    let option = json!({"type": ["boolean", "null"]});
    json!({"type": "object", "properties": {INCLUDE_USAGE.name: option, INCLUDE_OBFUSCATION.name: option}})
})
.example(r#"{"include_usage":true}"#)
.about("`include_usage` adds a last chunk with the usage; without `stream` it is reported.");
/// The field `include_usage` in `stream_options`; `include_obfuscation` is beside it.
const INCLUDE_USAGE: FieldSpec<Or<Booleans>> = boolean("include_usage").or(false);
pub(in crate::api) const INCLUDE_OBFUSCATION: FieldSpec<Or<Booleans>> = boolean("include_obfuscation").or(false);
pub(in crate::api) const SKIP_SPECIAL_TOKENS: FieldSpec<Or<Booleans>> =
    boolean("skip_special_tokens").or(true).extra().example("false").about("Leave control tokens out of the text (vLLM).");
pub(in crate::api) const RETURN_PROGRESS: FieldSpec<Or<Booleans>> = boolean("return_progress")
    .or(false)
    .extra()
    .example("false")
    .about("Tell a stream how far its prompt is, in chunks with `prompt_progress`; other streams have comments (llama-server).");
pub(in crate::api) const USER: FieldSpec<Unused> = unused("user").about("Accepted, not used, never logged.");

/// vLLM's fields that would change the result and are not implemented; values without an effect are accepted.
pub(in crate::api) const NOT_IMPLEMENTED: Specs = &[
    &not_implemented("allowed_token_ids").unless(is_empty_array).example("[1]"),
    &not_implemented("bad_words").unless(is_empty_array).example("[\"x\"]"),
    &not_implemented("logits_processors").unless(is_empty_array).example("[\"x\"]"),
    &not_implemented("prompt_embeds").unless(is_empty_array).example("\"x\""),
    &not_implemented("use_beam_search").unless(is_off).example("true"),
];

const fn not_implemented(name: &'static str) -> FieldSpec<Refused> {
    refused(name, "is not supported").about("vLLM's; not supported.")
}

/// The maximum number of alternatives per token of a chat (OpenAI), unless `--max-logprobs` sets another.
pub(in crate::api) const MAX_TOP_LOGPROBS: u8 = 20;

/// The limits of the served model and of the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestLimits {
    /// The number of tokens in the vocabulary; every token id is below it.
    pub vocabulary_size: u32,
    /// The maximum number of sequences in one step.
    pub max_num_seqs: u32,
    /// The maximum number of stop strings.
    pub max_stop_strings: usize,
    /// The maximum number of alternatives per token; `None` is OpenAI's number.
    pub max_logprobs: Option<u8>,
}

impl RequestLimits {
    /// The limits of `model`, whose facts are `info`.
    pub(in crate::api) fn of(model: &Model, info: &ModelInfo) -> Self {
        Self {
            vocabulary_size: info.vocabulary_size,
            max_num_seqs: info.max_num_seqs,
            max_stop_strings: model.config.max_stop_strings,
            max_logprobs: model.config.max_logprobs,
        }
    }

    /// The maximum number of alternatives per token of a chat.
    pub(in crate::api) fn most_alternatives(&self) -> u8 {
        self.max_logprobs.unwrap_or(MAX_TOP_LOGPROBS)
    }
}

/// The maximum of `n` on an engine with this many slots.
pub(in crate::api) fn most_choices(max_num_seqs: u32) -> i64 {
    i64::from(max_num_seqs.clamp(1, MAX_N))
}

/// Refuses the fields of [`NOT_IMPLEMENTED`].
pub(in crate::api) fn refuse_what_would_change_the_result(f: &mut Fields) -> Result<(), FieldError> {
    f.check(NOT_IMPLEMENTED)
}

/// Reads a number of alternatives per token. More than `most` are reduced to it, and reported.
pub(in crate::api) fn alternatives(f: &mut Fields, spec: &FieldSpec<Integers>, most: u8) -> Result<Option<u8>, FieldError> {
    let Some(asked) = f.get(&spec.within(0..=i64::MAX))? else { return Ok(None) };
    if asked > i64::from(most) {
        f.change(spec.name, format!("{} was reduced to {most}", spec.name));
    }
    Ok(Some(u8::try_from(asked).unwrap_or(u8::MAX).min(most)))
}

/// Reads `return_progress`. Without a stream it has no effect, and is added to `ignored`.
pub(in crate::api) fn return_progress(f: &mut Fields, stream: bool, ignored: &mut Ignored) -> Result<bool, FieldError> {
    let wanted = f.get(&RETURN_PROGRESS)?;
    if wanted && !stream {
        ignored.add(RETURN_PROGRESS.name);
    }
    Ok(wanted && stream)
}

/// Reads `stream_options`. Returns `include_usage`, and the names of options without effect: all without a stream.
pub(in crate::api) fn stream_options(f: &mut Fields, stream: bool) -> Result<(bool, Ignored), FieldError> {
    const NAME: &str = STREAM_OPTIONS.name;
    let mut ignored = Ignored::default();
    let Some(options) = f.get(&STREAM_OPTIONS)? else { return Ok((false, ignored)) };
    if !stream {
        ignored.add(NAME);
        return Ok((false, ignored));
    }
    let inside = |error: FieldError| error.inside(NAME);
    let mut options = Fields::new(options);
    let include_usage = options.get(&INCLUDE_USAGE).map_err(inside)?;
    // Nothing is obfuscated here: a client that asks for obfuscation must learn that.
    if options.get(&INCLUDE_OBFUSCATION).map_err(inside)? {
        options.report(INCLUDE_OBFUSCATION.name);
    }
    ignored.extend_inside(NAME, &options.finish());
    Ok((include_usage, ignored))
}

//! The fields of `POST /v1/completions`, in the order of OpenAI's specification, then vLLM's.

use super::MAX_LOGPROBS;
use crate::api::{
    fields::{
        spec::{FieldSpec, Specs},
        token_caps::{TokenCap, TokenCaps, token_cap},
        values::{Booleans, Integers, Or, Strings, boolean, integer, string},
    },
    openai::shared::{
        limits::{MAX_N, MODEL, N, RETURN_PROGRESS, SKIP_SPECIAL_TOKENS, STREAM, STREAM_OPTIONS, USER},
        prompt::PROMPT,
    },
};

pub(in crate::api) const BEST_OF: FieldSpec<Integers> = integer("best_of", 0..=MAX_N as i64).example("2").about(
    "Candidates of which the `n` with the highest log-probability per token are shown; all are counted in the usage. Not with `stream`.",
);
pub(in crate::api) const ECHO: FieldSpec<Or<Booleans>> =
    boolean("echo").or(false).about("Put the prompt in front; with `logprobs` its tokens are scored too, and a token that ends the text.");
pub(in crate::api) const LOGPROBS: FieldSpec<Integers> = integer("logprobs", 0..=MAX_LOGPROBS as i64)
    .example("1")
    .about("Alternatives to report per token; log-probabilities are those before temperature and truncation. More than `--max-logprobs` is reduced to it, and reported.");
/// The field `max_tokens`. If fewer tokens fit than its default, that number is the default.
pub(in crate::api) const MAX_TOKENS: FieldSpec<Or<TokenCaps>> = token_cap("max_tokens", 0).or(TokenCap::AtMost(16)).example("1").about(
    "Tokens to generate at most; 0 only scores the prompt, -1 is as many as fit. More than the context has left is reduced to that, \
             which is reported.",
);
pub(in crate::api) const SUFFIX: FieldSpec<Strings> =
    string("suffix").example("\"\"").about("The text after the gap to fill, for models with fill-in-the-middle tokens.");
pub(in crate::api) const ADD_SPECIAL_TOKENS: FieldSpec<Or<Booleans>> = boolean("add_special_tokens")
    .or(true)
    .extra()
    .example("false")
    .about("BOS in front of a text prompt, where the vocabulary wants it (vLLM).");
pub(in crate::api) const TRUNCATE_PROMPT_TOKENS: FieldSpec<Integers> = integer("truncate_prompt_tokens", -1..=i64::MAX)
    .extra()
    .example("1")
    .about("Keep the last tokens of a prompt, -1 as many as fit; what is dropped is reported (vLLM).");
pub(in crate::api) const PROMPT_LOGPROBS: FieldSpec<Integers> = integer("prompt_logprobs", 0..=MAX_LOGPROBS as i64)
    .extra()
    .example("1")
    .about("Score the prompt's tokens, in vLLM's shape; as many alternatives as with `logprobs`. Not with `stream`.");
pub(in crate::api) const RETURN_TOKEN_IDS: FieldSpec<Or<Booleans>> =
    boolean("return_token_ids").or(false).extra().about("Show the ids of prompt and output (vLLM).");

/// The fields that no other route reads with the same code, and some that several routes have.
pub(in crate::api) const COMPLETIONS: Specs = &[
    &MODEL,
    &PROMPT,
    &BEST_OF,
    &ECHO,
    &LOGPROBS,
    &MAX_TOKENS,
    &N,
    &STREAM,
    &STREAM_OPTIONS,
    &SUFFIX,
    &USER,
    &ADD_SPECIAL_TOKENS,
    &TRUNCATE_PROMPT_TOKENS,
    &PROMPT_LOGPROBS,
    &RETURN_TOKEN_IDS,
    &SKIP_SPECIAL_TOKENS,
    &RETURN_PROGRESS,
];

//! The sampling fields of all routes: name, range, default and description of each.
//!
//! A new field stands here and in [`SAMPLING`], and is read in `Sampling::read`. No other file of the API has its name
//! as a string. `docs/ARCHITECTURE.md` lists all steps.

use super::{MAX_BIAS, MAX_LOGIT_BIAS, MAX_SEQUENCE_BREAKERS};
use crate::api::fields::{
    spec::{FieldSpec, Specs},
    values::{Integers, Numbers, Objects, Or, Shaped, integer, number, object, shaped},
};
use serde_json::json;

/// The maximum of fields that are numbers of tokens, because llama.cpp counts tokens in 32 bits.
pub(in crate::api) const MAX_TOKENS: i64 = i32::MAX as i64;

pub(in crate::api) const TEMPERATURE: FieldSpec<Or<Numbers>> =
    number("temperature", 0.0..=2.0).or(1.0).example("0.5").about("0 takes the likeliest token.");
pub(in crate::api) const TOP_P: FieldSpec<Or<Numbers>> =
    number("top_p", 0.0..=1.0).or(1.0).example("0.9").about("Keep the smallest set of tokens with this probability.");
pub(in crate::api) const PRESENCE_PENALTY: FieldSpec<Or<Numbers>> =
    number("presence_penalty", -2.0..=2.0).or(0.0).example("0.5").about("Subtracted from logits of tokens generated before.");
pub(in crate::api) const FREQUENCY_PENALTY: FieldSpec<Or<Numbers>> =
    number("frequency_penalty", -2.0..=2.0).or(0.0).example("0.5").about("Subtracted once for each time a token was generated before.");
pub(in crate::api) const LOGIT_BIAS: FieldSpec<Objects> = object("logit_bias", || {
    let bias = json!({"type": "number", "minimum": -MAX_BIAS, "maximum": MAX_BIAS});
    json!({"type": "object", "maxProperties": MAX_LOGIT_BIAS, "additionalProperties": bias})
})
.example(r#"{"5":-100}"#)
.about("Token id to what is added to its logit; -100 bans.");
pub(in crate::api) const SEED: FieldSpec<Integers> = integer("seed", i64::MIN..=i64::MAX).example("7").about(
    "Same seed, same answer, on the same model file, server version and machine, but for rounding (README says how often); one is drawn and returned if it is absent or -1.",
);
pub(in crate::api) const TOP_K: FieldSpec<Or<Integers>> =
    integer("top_k", -1..=MAX_TOKENS).or(0).extra().example("40").about("Keep the likeliest tokens; 0 and -1 keep all (vLLM).");
pub(in crate::api) const MIN_P: FieldSpec<Or<Numbers>> =
    number("min_p", 0.0..=1.0).or(0.0).extra().example("0.05").about("Keep tokens at least this share as likely as the likeliest (vLLM).");
pub(in crate::api) const REPETITION_PENALTY: FieldSpec<Or<Numbers>> =
    number("repetition_penalty", 0.01..=10.0).or(1.0).extra().example("1.1").about("Divides logits of tokens in prompt or output (vLLM).");
pub(in crate::api) const REPEAT_PENALTY: FieldSpec<Or<Numbers>> =
    also_called("repeat_penalty", REPETITION_PENALTY).about("Another name of `repetition_penalty` (llama-server).");
pub(in crate::api) const REPEAT_LAST_N: FieldSpec<Or<Integers>> = integer("repeat_last_n", -1..=MAX_TOKENS)
    .or(-1)
    .extra()
    .example("64")
    .about("The number of last tokens that the penalties look at; -1 is all (llama-server).");
pub(in crate::api) const TYPICAL_P: FieldSpec<Or<Numbers>> =
    number("typical_p", 0.0..=1.0).or(1.0).extra().example("0.9").about("Locally typical sampling (Hugging Face, llama-server).");
pub(in crate::api) const TYP_P: FieldSpec<Or<Numbers>> =
    also_called("typ_p", TYPICAL_P).about("Another name of `typical_p` (llama-server).");
pub(in crate::api) const TOP_N_SIGMA: FieldSpec<Or<Numbers>> = number("top_n_sigma", -1.0..=100.0)
    .or(0.0)
    .extra()
    .example("1.5")
    .about("Keep tokens within so many standard deviations of the best logit; 0 and -1 are off (llama-server).");
pub(in crate::api) const DYNATEMP_RANGE: FieldSpec<Or<Numbers>> = number("dynatemp_range", 0.0..=2.0)
    .or(0.0)
    .extra()
    .example("0.5")
    .about("The temperature moves by up to this much with the entropy of the candidates (llama-server).");
pub(in crate::api) const DYNATEMP_EXPONENT: FieldSpec<Or<Numbers>> = number("dynatemp_exponent", 0.0..=10.0)
    .or(1.0)
    .extra()
    .example("1.5")
    .about("The power of the entropy that moves the temperature (llama-server).");
pub(in crate::api) const XTC_PROBABILITY: FieldSpec<Or<Numbers>> = number("xtc_probability", 0.0..=1.0)
    .or(0.0)
    .extra()
    .example("0.5")
    .about("The probability that of the tokens above `xtc_threshold` all but the least likely are dropped (llama-server).");
pub(in crate::api) const XTC_THRESHOLD: FieldSpec<Or<Numbers>> = number("xtc_threshold", 0.0..=1.0)
    .or(0.1)
    .extra()
    .example("0.2")
    .about("The lowest probability of a token that may be dropped (llama-server).");
pub(in crate::api) const DRY_MULTIPLIER: FieldSpec<Or<Numbers>> = number("dry_multiplier", 0.0..=100.0)
    .or(0.0)
    .extra()
    .example("0.8")
    .about("Strength of the penalty for repeated sequences; 0 is off (llama-server).");
pub(in crate::api) const DRY_BASE: FieldSpec<Or<Numbers>> = number("dry_base", 1.0..=100.0)
    .or(1.75)
    .extra()
    .example("1.75")
    .about("The factor by which the penalty grows with each token of the repetition (llama-server).");
pub(in crate::api) const DRY_ALLOWED_LENGTH: FieldSpec<Or<Integers>> = integer("dry_allowed_length", 1..=MAX_TOKENS)
    .or(2)
    .extra()
    .example("2")
    .about("Longest repetition without penalty, tokens (llama-server).");
pub(in crate::api) const DRY_PENALTY_LAST_N: FieldSpec<Or<Integers>> = integer("dry_penalty_last_n", -1..=MAX_TOKENS)
    .or(-1)
    .extra()
    .example("64")
    .about("The number of last tokens that are looked at (llama-server).");
pub(in crate::api) const DRY_SEQUENCE_BREAKERS: FieldSpec<Shaped> =
    shaped("dry_sequence_breakers", || json!({"type": "array", "maxItems": MAX_SEQUENCE_BREAKERS, "items": {"type": "string"}}))
        .extra()
        .example(r#"["\n"]"#)
        .about("Texts that a repetition does not go across (llama-server).");
/// Mirostat's state depends on the surprise of each earlier token, so that it cannot be derived from the tokens alone:
/// a sequence that continues after a restart of the engine would continue differently. Without Mirostat, its two
/// parameters have no effect, as in llama.cpp.
pub(in crate::api) const MIROSTAT: FieldSpec<Or<Integers>> = integer("mirostat", 0..=2)
    .or(0)
    .accepted()
    .example("0")
    .about("llama-server's; not there, and reported unless it is 0: `typical_p` and `top_n_sigma` are.");
pub(in crate::api) const MIROSTAT_TAU: FieldSpec<Numbers> =
    number("mirostat_tau", 0.0..=1000.0).extra().example("5").about("Without effect, as `mirostat` is not there.");
pub(in crate::api) const MIROSTAT_ETA: FieldSpec<Numbers> =
    number("mirostat_eta", 0.0..=1000.0).extra().example("0.1").about("Without effect, as `mirostat` is not there.");

/// All specs of sampling, OpenAI's first.
pub(in crate::api) const SAMPLING: Specs = &[
    &TEMPERATURE,
    &TOP_P,
    &PRESENCE_PENALTY,
    &FREQUENCY_PENALTY,
    &LOGIT_BIAS,
    &SEED,
    &TOP_K,
    &MIN_P,
    &REPETITION_PENALTY,
    &REPEAT_PENALTY,
    &REPEAT_LAST_N,
    &TYPICAL_P,
    &TYP_P,
    &TOP_N_SIGMA,
    &DYNATEMP_RANGE,
    &DYNATEMP_EXPONENT,
    &XTC_PROBABILITY,
    &XTC_THRESHOLD,
    &DRY_MULTIPLIER,
    &DRY_BASE,
    &DRY_ALLOWED_LENGTH,
    &DRY_PENALTY_LAST_N,
    &DRY_SEQUENCE_BREAKERS,
    &MIROSTAT,
    &MIROSTAT_TAU,
    &MIROSTAT_ETA,
];

/// The same parameter under llama-server's name.
const fn also_called(name: &'static str, spec: FieldSpec<Or<Numbers>>) -> FieldSpec<Or<Numbers>> {
    FieldSpec { name, ..spec }
}

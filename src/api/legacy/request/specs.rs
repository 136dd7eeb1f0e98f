//! The fields of `POST /generate`: those of the FastAPI script. Their values are read as pydantic reads them: `"5"` is
//! a number.

use super::MAX_STOP_CHARACTERS;
use crate::api::{
    fields::{
        spec::{FieldSpec, Specs},
        values::{Integers, Numbers, Or, Shaped, Strings, integer, number, shaped, string},
    },
    openai::shared::ending::MAX_STOP_STRINGS,
};
use serde_json::json;

pub(in crate::api) const PROMPT: FieldSpec<Strings> = string("prompt").extra().about("The text to go on from.");
pub(in crate::api) const MAX_TOKENS: FieldSpec<Or<Integers>> = integer("max_tokens", 1..=i64::MAX)
    .or(100)
    .extra()
    .example("5")
    .about("Tokens to generate at most; beyond the context it is reduced, which is reported.");
pub(in crate::api) const TEMPERATURE: FieldSpec<Or<Numbers>> =
    number("temperature", 0.0..=f64::INFINITY).or(0.7).extra().example("0.5").about("0 takes the likeliest token.");
pub(in crate::api) const TOP_P: FieldSpec<Or<Numbers>> =
    number("top_p", 0.0..=1.0).above_min().or(0.9).extra().example("0.8").about("Keep the smallest set of tokens with this probability.");
pub(in crate::api) const STOP: FieldSpec<Shaped> = shaped("stop", || {
    let text = json!({"type": "string", "minLength": 1, "maxLength": MAX_STOP_CHARACTERS});
    json!({"type": "array", "maxItems": MAX_STOP_STRINGS, "items": text})
})
.extra()
.example(r#"["\n"]"#)
.about("Strings that end the text and are not included in it. `--max-stop-strings` sets their number.");

/// All fields of `POST /generate`.
pub(in crate::api) const GENERATE: Specs = &[&PROMPT, &MAX_TOKENS, &TEMPERATURE, &TOP_P, &STOP];

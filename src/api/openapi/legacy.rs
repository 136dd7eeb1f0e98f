//! Fields of `POST /generate`: those of the FastAPI script.

use super::field::Field;
use crate::api::fields::spec::Specs;

/// See the module. Their values are read as pydantic reads them: `"5"` is a number.
pub(super) const GENERATE: Specs = &[
    &Field::extra("prompt", r#"{"type":"string"}"#, "\"x\"", "The text to go on from."),
    &Field::extra(
        "max_tokens",
        r#"{"type":"integer","minimum":1,"default":100}"#,
        "5",
        "Tokens to generate at most; beyond the context it is reduced, which is reported.",
    ),
    &Field::extra("temperature", r#"{"type":"number","minimum":0,"default":0.7}"#, "0.5", "0 takes the likeliest token."),
    &Field::extra(
        "top_p",
        r#"{"type":"number","exclusiveMinimum":0,"maximum":1,"default":0.9}"#,
        "0.8",
        "Keep the smallest set of tokens with this probability.",
    ),
    &Field::extra(
        "stop",
        r#"{"type":"array","maxItems":16,"items":{"type":"string","minLength":1,"maxLength":256}}"#,
        r#"["\n"]"#,
        "Where the text ends, not included in it.",
    ),
];

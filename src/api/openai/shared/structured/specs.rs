//! The fields that constrain an output: OpenAI's, then those of vLLM and of llama-server.

use crate::api::fields::{
    spec::{FieldSpec, Specs},
    values::{Objects, Shaped, Strings, object, shaped, string},
};
use serde_json::{Value, json};

pub(in crate::api) const RESPONSE_FORMAT: FieldSpec<Objects> = object("response_format", response_format)
    .example(r#"{"type":"json_object"}"#)
    .about("The form of the answer. A schema is always obeyed, `strict` or not; one that is not supported is refused.");
pub(in crate::api) const STRUCTURED_OUTPUTS: FieldSpec<Objects> = object("structured_outputs", || json!({"type": "object"}))
    .extra()
    .example(r#"{"choice":["a","b"]}"#)
    .about("One of `json`, `regex`, `choice`, `grammar` and `json_object` (vLLM).");
pub(in crate::api) const GUIDED_JSON: FieldSpec<Shaped> = shaped("guided_json", || json!({"type": ["object", "string"]}))
    .extra()
    .example(r#"{"type":"object"}"#)
    .about("A JSON Schema (vLLM before 0.12).");
pub(in crate::api) const GUIDED_REGEX: FieldSpec<Strings> =
    string("guided_regex").extra().example("\"a+\"").about("A regular expression (vLLM before 0.12).");
pub(in crate::api) const GUIDED_CHOICE: FieldSpec<Shaped> =
    shaped("guided_choice", || json!({"type": "array", "minItems": 1, "items": {"type": "string"}}))
        .extra()
        .example(r#"["a","b"]"#)
        .about("Texts of which the answer is one (vLLM before 0.12).");
pub(in crate::api) const GUIDED_GRAMMAR: FieldSpec<Strings> =
    string("guided_grammar").extra().example(r#""root ::= \"a\"""#).about("A grammar (vLLM before 0.12).");
pub(in crate::api) const JSON_SCHEMA: FieldSpec<Shaped> = shaped("json_schema", || json!({"type": ["object", "string"]}))
    .extra()
    .example(r#"{"type":"object"}"#)
    .about("A JSON Schema, an object or its text (llama-server, SGLang).");
pub(in crate::api) const GRAMMAR: FieldSpec<Strings> =
    string("grammar").extra().example(r#""root ::= \"a\"""#).about("A grammar in GBNF (llama-server).");
pub(in crate::api) const REGEX: FieldSpec<Strings> =
    string("regex").extra().example("\"a+\"").about("A regular expression that the whole text matches (SGLang).");
pub(in crate::api) const EBNF: FieldSpec<Strings> = string("ebnf").extra().example(r#""root ::= \"a\"""#).about("A grammar (SGLang).");

/// The fields that constrain an output besides the format field of a route.
pub(in crate::api) const STRUCTURED: Specs =
    &[&STRUCTURED_OUTPUTS, &GUIDED_JSON, &GUIDED_REGEX, &GUIDED_CHOICE, &GUIDED_GRAMMAR, &REGEX, &EBNF, &JSON_SCHEMA, &GRAMMAR];

fn response_format() -> Value {
    json!({
        "type": "object",
        "required": ["type"],
        "properties": {
            "type": {"enum": ["text", "json_object", "json_schema"]},
            "json_schema": {
                "type": ["object", "null"],
                "required": ["name", "schema"],
                "properties": {
                    "name": {"type": "string"},
                    "schema": {"type": "object"},
                    "strict": {"type": ["boolean", "null"]},
                    "description": {"type": ["string", "null"]},
                },
            },
        },
    })
}

//! Fields that several routes read with the same code and that have no specs beside it yet: what an output must obey.

use super::field::Field;
use crate::api::fields::spec::Specs;

/// Read by `api::openai::shared::structured`, where a request has it under this name.
pub(super) const RESPONSE_FORMAT: Specs = &[&Field::works(
    "response_format",
    r#"{"type":"object","required":["type"],"properties":{"type":{"enum":["text","json_object","json_schema"]},"json_schema":{"type":["object","null"],"required":["name","schema"],"properties":{"name":{"type":"string"},"schema":{"type":"object"},"strict":{"type":["boolean","null"]},"description":{"type":["string","null"]}}}}}"#,
    r#"{"type":"json_object"}"#,
    "What the answer must be; a schema is always obeyed, `strict` or not, and one that is not supported is refused.",
)];

/// Read by `api::openai::shared::structured`, beside what a request's own format says.
pub(super) const STRUCTURED: Specs = &[
    &Field::extra(
        "structured_outputs",
        r#"{"type":"object"}"#,
        r#"{"choice":["a","b"]}"#,
        "One of `json`, `regex`, `choice`, `grammar` and `json_object` (vLLM).",
    ),
    &Field::extra("guided_json", r#"{"type":["object","string"]}"#, r#"{"type":"object"}"#, "A JSON Schema (vLLM before 0.12)."),
    &Field::extra("guided_regex", r#"{"type":"string"}"#, "\"a+\"", "A regular expression (vLLM before 0.12)."),
    &Field::extra(
        "guided_choice",
        r#"{"type":"array","minItems":1,"items":{"type":"string"}}"#,
        r#"["a","b"]"#,
        "Texts of which the answer is one (vLLM before 0.12).",
    ),
    &Field::extra("guided_grammar", r#"{"type":"string"}"#, r#""root ::= \"a\"""#, "A grammar (vLLM before 0.12)."),
    &Field::extra("json_schema", r#"{"type":["object","string"]}"#, r#"{"type":"object"}"#, "A JSON Schema (llama-server)."),
    &Field::extra("grammar", r#"{"type":"string"}"#, r#""root ::= \"a\"""#, "A grammar in GBNF (llama-server)."),
];

//! The fields of `POST /v1/responses`, in the order of OpenAI's specification, then vLLM's.

use crate::api::{
    fields::{
        spec::{AnySpec as _, FieldSpec, Specs},
        token_caps::{TokenCaps, token_cap},
        values::{
            Booleans, Integers, Objects, OneOf, Or, Refused, Shaped, Strings, Unused, integer, is_off, object, one_of, refused, shaped,
            string, unused,
        },
    },
    openai::{
        chat::specs as chat,
        shared::limits::{self, INCLUDE_OBFUSCATION, MODEL, SKIP_SPECIAL_TOKENS, STREAM},
    },
};
use serde_json::{Value, json};

/// The maximum number of entries in `metadata` (OpenAI).
pub(super) const MAX_METADATA: usize = 16;
/// The maximum length of a value in `metadata`, characters (OpenAI).
pub(super) const MAX_METADATA_VALUE: usize = 512;

pub(in crate::api) const INPUT: FieldSpec<Shaped> = shaped("input", input).example(r#"[{"role":"user","content":"Hi"}]"#).about(
    "A text, or items: messages, calls of functions and custom tools, their outputs and what was thought, text only. Items of an answer can be sent back as they are; items of other types are left out and reported, and `item_reference` is refused.",
);
pub(in crate::api) const INSTRUCTIONS: FieldSpec<Strings> =
    string("instructions").example("\"Be brief.\"").about("A system message before the input.");
pub(in crate::api) const MAX_OUTPUT_TOKENS: FieldSpec<TokenCaps> = token_cap("max_output_tokens", 1).example("8").about(
    "Tokens to generate at most, reasoning included; by default, and for -1, the room that the input leaves in the context. More than \
         that is reduced to it, which is reported.",
);
pub(in crate::api) const STREAM_OPTIONS: FieldSpec<Objects> =
    object("stream_options", || json!({"type": "object", "properties": {INCLUDE_OBFUSCATION.name: {"type": ["boolean", "null"]}}}))
        .example(r#"{"include_obfuscation":false}"#)
        .about("Nothing is obfuscated: `true` is reported, and so is the field without `stream`.");
pub(in crate::api) const INCLUDE: FieldSpec<Shaped> = shaped("include", || json!({"type": "array", "items": {"type": "string"}})).example(r#"["message.output_text.logprobs"]"#).about("`message.output_text.logprobs` works; `reasoning.encrypted_content` is reported, as thoughts are sent in the clear; the rest is of tools that are not there.");
pub(in crate::api) const TOP_LOGPROBS: FieldSpec<Integers> = chat::TOP_LOGPROBS
    .about("Alternatives to report per token; without log-probabilities in `include` it is reported. `--max-logprobs` sets the most.");
pub(in crate::api) const TOOLS: FieldSpec<Shaped> = shaped("tools", tools)
    .example(r#"[{"type":"function","name":"f"}]"#)
    .about("Functions and custom tools that the model may call and you run, in namespaces too. Other types, such as `web_search`, are left out and reported. A grammar of a custom tool is told to the model; it is enforced if `tool_choice` names the tool.");
pub(in crate::api) const TOOL_CHOICE: FieldSpec<Shaped> = shaped("tool_choice", tool_choice)
    .example("\"none\"")
    .about("`none`, `auto`, `required` or a function; the last two constrain the answer, so that its arguments obey the schema.");
pub(in crate::api) const TEXT: FieldSpec<Objects> = object("text", text).example(r#"{"format":{"type":"json_object"}}"#).about("`format` is what the answer must be, a schema always obeyed; `verbosity` is told to the template if it knows the name, else reported unless `medium`.");
pub(in crate::api) const REASONING: FieldSpec<Objects> = object("reasoning", reasoning).example(r#"{"effort":"low"}"#).about("`effort` is told to the template if it knows the name, else `none` turns its thinking off and anything else on; `summary` is reported: thoughts are shown whole.");
pub(in crate::api) const TRUNCATION: FieldSpec<OneOf> = one_of("truncation", &["auto", "disabled"])
    .example("\"disabled\"")
    .about("With `auto`, the oldest turns of an input that does not fit are left out, which is reported; instructions, system messages and the newest turn stay.");
pub(in crate::api) const METADATA: FieldSpec<Objects> = object("metadata", metadata)
    .example(r#"{"a":"b"}"#)
    .about("Repeated in the answer, never logged; what exceeds OpenAI's limits is reported.");
pub(in crate::api) const USER: FieldSpec<Strings> = string(limits::USER.name).accepted().about("Repeated in the answer, never logged.");
pub(in crate::api) const SAFETY_IDENTIFIER: FieldSpec<Strings> =
    string(chat::SAFETY_IDENTIFIER.name).accepted().about("Repeated in the answer, never logged.");
pub(in crate::api) const PROMPT_CACHE_KEY: FieldSpec<Strings> =
    string(chat::PROMPT_CACHE_KEY.name).accepted().about("Repeated in the answer; prompts are cached by what they say.");
pub(in crate::api) const PROMPT_CACHE_OPTIONS: FieldSpec<Objects> = object("prompt_cache_options", || json!({"type": "object"}))
    .accepted()
    .example(r#"{"ttl":"30m"}"#)
    .about("As above; `prewarm` and `comparison_response_id` are reported.");
pub(in crate::api) const SERVICE_TIER: FieldSpec<Unused> = unused("service_tier").about("There is one tier.");
pub(in crate::api) const ACCESS_PROGRAMS: FieldSpec<Unused> = unused("access_programs").about("There are none.");
pub(in crate::api) const IMAGE: FieldSpec<Unused> = unused("image").about("No image is read.");
pub(in crate::api) const PREVIOUS_RESPONSE_ID: FieldSpec<Refused> =
    refused("previous_response_id", "is not supported: responses are not stored here; send the earlier items in 'input'")
        .example("\"resp_1\"")
        .about("Responses are not stored; send the earlier items in `input`.");
pub(in crate::api) const CONVERSATION: FieldSpec<Refused> =
    refused("conversation", "is not supported: responses are not stored here; send the earlier items in 'input'")
        .example("\"conv_1\"")
        .about("Conversations are not stored; send the earlier items in `input`.");
pub(in crate::api) const BACKGROUND: FieldSpec<Refused> =
    refused("background", "is not supported: responses are not stored here, so none can be fetched later")
        .unless(is_off)
        .example("true")
        .about("Responses are not stored, so none can be fetched later.");
pub(in crate::api) const BACKGROUND_OPTIONS: FieldSpec<Shaped> =
    shaped("background_options", || json!({})).accepted().example("{}").about("Nothing runs in the background; options are reported.");
pub(in crate::api) const PROMPT: FieldSpec<Refused> =
    refused("prompt", "is not supported: prompt templates are not stored here; send 'instructions' and 'input'")
        .example(r#"{"id":"pmpt_1"}"#)
        .about("Prompt templates are not stored; send `instructions` and `input`.");
pub(in crate::api) const MAX_TOOL_CALLS: FieldSpec<Integers> = integer("max_tool_calls", 0..=i64::MAX)
    .accepted()
    .example("1")
    .about("Repeated in the answer; it limits OpenAI's built-in tools, and none runs here.");
pub(in crate::api) const CONTEXT_MANAGEMENT: FieldSpec<Shaped> = shaped("context_management", || json!({}))
    .accepted()
    .example("[]")
    .about("Nothing is compacted; `truncation` leaves out old items. Reported.");
pub(in crate::api) const MODERATION: FieldSpec<Shaped> =
    shaped("moderation", || json!({})).accepted().example("{}").about("Nothing is moderated; asking for it is reported.");
/// The field `effort` in `reasoning`; `verbosity` is in `text`.
pub(super) const EFFORT: FieldSpec<OneOf> = FieldSpec { name: "effort", ..chat::REASONING_EFFORT };
pub(super) const VERBOSITY: FieldSpec<OneOf> = chat::VERBOSITY;
pub(in crate::api) const INCLUDE_REASONING: FieldSpec<Or<Booleans>> = chat::INCLUDE_REASONING.about("Show what was thought (vLLM).");

/// The fields that no other route reads with the same code, and some that several routes have.
pub(in crate::api) const RESPONSES: Specs = &[
    &MODEL,
    &INPUT,
    &INSTRUCTIONS,
    &MAX_OUTPUT_TOKENS,
    &STREAM,
    &STREAM_OPTIONS,
    &INCLUDE,
    &TOP_LOGPROBS,
    &TOOLS,
    &TOOL_CHOICE,
    &chat::PARALLEL_TOOL_CALLS,
    &TEXT,
    &REASONING,
    &TRUNCATION,
    &METADATA,
    &chat::STORE,
    &USER,
    &SAFETY_IDENTIFIER,
    &PROMPT_CACHE_KEY,
    &chat::PROMPT_CACHE_RETENTION,
    &PROMPT_CACHE_OPTIONS,
    &SERVICE_TIER,
    &ACCESS_PROGRAMS,
    &IMAGE,
    &PREVIOUS_RESPONSE_ID,
    &CONVERSATION,
    &BACKGROUND,
    &BACKGROUND_OPTIONS,
    &PROMPT,
    &MAX_TOOL_CALLS,
    &CONTEXT_MANAGEMENT,
    &MODERATION,
    &chat::CHAT_TEMPLATE_KWARGS,
    &INCLUDE_REASONING,
    &SKIP_SPECIAL_TOKENS,
];

/// The refused fields, which need a stored response or conversation. They are read in this order, and the error names
/// the first one at fault.
pub(super) const REFUSED: Specs = &[&PREVIOUS_RESPONSE_ID, &CONVERSATION, &BACKGROUND, &PROMPT];

/// Fields without effect: there is one tier, there are no programs, prompts are cached by their text, and no image is
/// read.
pub(super) const UNUSED: Specs = &[&SERVICE_TIER, &ACCESS_PROGRAMS, &chat::PROMPT_CACHE_RETENTION, &IMAGE];

/// The schema of a field inside another field, which has to state that `null` is allowed.
fn words_or_null(spec: &FieldSpec<OneOf>) -> Value {
    let mut words = spec.schema()["enum"].take();
    if let Value::Array(words) = &mut words {
        words.push(Value::Null);
    }
    json!({"enum": words})
}

fn input() -> Value {
    json!({
        "anyOf": [
            {"type": "string"},
            {
                "type": "array",
                "minItems": 1,
                "items": {
                    "type": "object",
                    "properties": {
                        "type": {"type": "string"},
                        "role": {"enum": ["user", "system", "developer", "assistant"]},
                        "content": {},
                        "call_id": {"type": "string"},
                        "name": {"type": "string"},
                        "arguments": {"type": "string"},
                        "output": {},
                        "summary": {"type": "array"},
                    },
                },
            },
        ],
    })
}

fn tools() -> Value {
    json!({
        "type": "array",
        "items": {
            "type": "object",
            "required": ["type"],
            "properties": {
                "type": {"type": "string", "description": "`function`, `custom` or `namespace`; others are left out"},
                "name": {"type": "string", "pattern": "^[a-zA-Z0-9_-]{1,64}$"},
                "description": {"type": ["string", "null"]},
                "parameters": {"type": ["object", "null"]},
                "strict": {"type": ["boolean", "null"]},
                "format": {"type": ["object", "null"], "description": "of a custom tool"},
                "tools": {"type": ["array", "null"], "description": "of a namespace"},
            },
        },
    })
}

fn tool_choice() -> Value {
    json!({
        "anyOf": [
            {"enum": ["none", "auto", "required"]},
            {
                "type": "object",
                "required": ["type", "name"],
                "properties": {"type": {"enum": ["function", "custom"]}, "namespace": {"type": "string"}, "name": {"type": "string"}},
            },
            {
                "type": "object",
                "required": ["type", "tools"],
                "properties": {
                    "type": {"const": "allowed_tools"},
                    "mode": {"enum": ["auto", "required"]},
                    "tools": {"type": "array"},
                },
            },
        ],
    })
}

fn text() -> Value {
    json!({
        "type": "object",
        "properties": {
            "format": {
                "type": ["object", "null"],
                "required": ["type"],
                "properties": {
                    "type": {"enum": ["text", "json_object", "json_schema"]},
                    "name": {"type": "string"},
                    "schema": {"type": "object"},
                    "strict": {"type": ["boolean", "null"]},
                    "description": {"type": ["string", "null"]},
                },
            },
            VERBOSITY.name: words_or_null(&VERBOSITY),
        },
    })
}

fn reasoning() -> Value {
    json!({
        "type": "object",
        "properties": {
            EFFORT.name: words_or_null(&EFFORT),
            "summary": {"type": ["string", "null"]},
        },
    })
}

fn metadata() -> Value {
    let text = json!({"type": "string", "maxLength": MAX_METADATA_VALUE});
    json!({"type": "object", "maxProperties": MAX_METADATA, "additionalProperties": text})
}

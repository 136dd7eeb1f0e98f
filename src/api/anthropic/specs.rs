//! The fields of `POST /v1/messages` and `/v1/messages/count_tokens`: Anthropic's, in the order of the `anthropic`
//! package, then its former fields, those of its beta API and ours.

use crate::api::{
    fields::{
        spec::{FieldSpec, Specs},
        values::{
            Integers, Objects, Or, Refused, Shaped, Strings, Unused, integer, is_empty_array, object, refused, shaped, string, unused,
        },
    },
    openai::{
        chat::specs as chat,
        shared::{
            ending::{MAX_STOP_BYTES, MAX_STOP_STRINGS},
            limits::{MODEL, STREAM},
            sampling::specs as sampling,
        },
    },
};
use serde_json::{Value, json};

/// The longest name of a tool, characters (Anthropic).
pub(super) const MAX_TOOL_NAME: usize = 128;

pub(in crate::api) const MAX_TOKENS: FieldSpec<Integers> = integer("max_tokens", 1..=i64::MAX)
    .example("8")
    .about("Tokens to generate at most, thinking included; more than the context has left is reduced to that, which is reported. Not needed to count.");
pub(in crate::api) const MESSAGES: FieldSpec<Shaped> = shaped("messages", messages).example(r#"[{"role":"user","content":"Hi"}]"#).about(
    "The conversation: text, documents of text, tool calls and their results, thinking. Other blocks are left out of answers and reported, and refused elsewhere by their place, such as \
         `messages.0.content.1`; a last message of the assistant begins the answer. A failed result is told by `Error: ` before its text.",
);
pub(in crate::api) const SYSTEM: FieldSpec<Shaped> = shaped("system", system).example("\"Be brief.\"").about("The system prompt.");
pub(in crate::api) const STOP_SEQUENCES: FieldSpec<Shaped> = shaped("stop_sequences", stop_sequences)
    .example(r#"["\n"]"#)
    .about("Strings that end the text and are not included in it; together 16 KiB at most, and empty ones are reported. `--max-stop-strings` sets their number.");
pub(in crate::api) const TOOLS: FieldSpec<Shaped> = shaped("tools", tools).example(r#"[{"name":"f","input_schema":{"type":"object"}}]"#).about("The client's own tools; those that Anthropic runs or trains its models for are left out and reported. `defer_loading`, `allowed_callers` and `input_examples` are reported.");
pub(in crate::api) const TOOL_CHOICE: FieldSpec<Objects> = object("tool_choice", tool_choice)
    .example(r#"{"type":"any"}"#)
    .about("`any` and `tool` constrain the answer, so that its input obeys the schema.");
pub(in crate::api) const THINKING: FieldSpec<Objects> = object("thinking", thinking)
    .example(r#"{"type":"disabled"}"#)
    .about("Turns the template's thinking on or off, reported if it has no such switch; `budget_tokens` is not enforced and reported.");
pub(in crate::api) const OUTPUT_CONFIG: FieldSpec<Objects> = object("output_config", output_config)
    .example(r#"{"format":{"type":"json_schema","schema":{"type":"object"}}}"#)
    .about("`format` is always obeyed; `effort` is told to the template, reported if it knows none or the word is another.");
pub(in crate::api) const CACHE_CONTROL: FieldSpec<Unused> =
    unused("cache_control").about("Common beginnings of prompts are always cached; the same within blocks.");
pub(in crate::api) const INFERENCE_GEO: FieldSpec<Unused> = unused("inference_geo").about("The answer is made here.");
pub(in crate::api) const SERVICE_TIER: FieldSpec<Unused> = unused("service_tier").about("There is one tier.");
pub(in crate::api) const USER_PROFILE_ID: FieldSpec<Unused> = unused("user_profile_id").about("Not used, never logged.");
pub(in crate::api) const WORKSPACE_ID: FieldSpec<Unused> = unused("workspace_id").about("Not used, never logged.");
pub(in crate::api) const METADATA: FieldSpec<Objects> =
    object("metadata", || json!({"type": "object"})).accepted().example(r#"{"user_id":"x"}"#).about("Not used, never logged.");
pub(in crate::api) const SPEED: FieldSpec<Strings> =
    string("speed").accepted().example("\"standard\"").about("There is one speed; others are reported.");
pub(in crate::api) const DIAGNOSTICS: FieldSpec<Objects> = object("diagnostics", || json!({"type": "object"}))
    .accepted()
    .example(r#"{"previous_message_id":null}"#)
    .about("Not made; asking for them is reported.");
pub(in crate::api) const CONTAINER: FieldSpec<Refused> =
    refused("container", "is not supported: this server runs no code").unless(is_empty_array).about("This server runs no code.");
pub(in crate::api) const TOP_K: FieldSpec<Or<Integers>> = sampling::TOP_K.works().about("Keep the likeliest tokens; 0 and -1 keep all.");
pub(in crate::api) const OUTPUT_FORMAT: FieldSpec<Objects> = object("output_format", || json!({"type": "object"}))
    .example(r#"{"type":"json_schema","schema":{"type":"object"}}"#)
    .about("The name of `output_config.format` in the beta API.");
pub(in crate::api) const CONTEXT_MANAGEMENT: FieldSpec<Objects> = object("context_management", || json!({"type": "object"}))
    .accepted()
    .example(r#"{"edits":[]}"#)
    .about("Nothing is cleared from a conversation; edits are reported (beta API).");
pub(in crate::api) const MCP_SERVERS: FieldSpec<Refused> = refused("mcp_servers", "is not supported: this server calls no other servers")
    .unless(is_empty_array)
    .example(r#"[{"type":"url"}]"#)
    .about("This server calls no other servers (beta API).");
pub(in crate::api) const THREAD: FieldSpec<Refused> =
    refused("thread", "is not supported: this server keeps no conversations; send all 'messages'")
        .unless(is_empty_array)
        .example(r#"{"id":"x"}"#)
        .about("This server keeps no conversations (beta API).");
pub(in crate::api) const SEED: FieldSpec<Integers> = sampling::SEED
    .extra()
    .about("Same seed, same answer, on the same model file, server version and machine, but for rounding (OpenAI; README says how often).");
pub(in crate::api) const CHAT_TEMPLATE_KWARGS: FieldSpec<Objects> =
    chat::CHAT_TEMPLATE_KWARGS.about("As in `/v1/chat/completions` (vLLM).");

/// All fields of `POST /v1/messages`.
pub(in crate::api) const MESSAGE_FIELDS: Specs = &[
    &MODEL,
    &MAX_TOKENS,
    &MESSAGES,
    &SYSTEM,
    &STOP_SEQUENCES,
    &STREAM,
    &TOOLS,
    &TOOL_CHOICE,
    &THINKING,
    &OUTPUT_CONFIG,
    &CACHE_CONTROL,
    &INFERENCE_GEO,
    &SERVICE_TIER,
    &USER_PROFILE_ID,
    &WORKSPACE_ID,
    &METADATA,
    &SPEED,
    &DIAGNOSTICS,
    &CONTAINER,
    &sampling::TEMPERATURE,
    &sampling::TOP_P,
    &TOP_K,
    &OUTPUT_FORMAT,
    &CONTEXT_MANAGEMENT,
    &MCP_SERVERS,
    &THREAD,
    &SEED,
    &sampling::MIN_P,
    &CHAT_TEMPLATE_KWARGS,
];

/// The refused fields: each asks for a different answer, or for work by other servers. They are read in this order, and
/// the error names the first one at fault.
pub(super) const REFUSED: Specs = &[&CONTAINER, &MCP_SERVERS, &THREAD];

/// Fields for the operator's books and caches. Nothing is done with them, and they are never logged.
pub(super) const UNUSED: Specs = &[&METADATA, &CACHE_CONTROL, &INFERENCE_GEO, &SERVICE_TIER, &USER_PROFILE_ID, &WORKSPACE_ID];

/// The sampling fields of this route: Anthropic's, and two of chat's.
pub(super) const SAMPLERS: Specs = &[&sampling::TEMPERATURE, &sampling::TOP_P, &TOP_K, &sampling::MIN_P, &SEED];

fn messages() -> Value {
    json!({
        "type": "array",
        "minItems": 1,
        "maxItems": 2048,
        "items": {
            "type": "object",
            "required": ["role", "content"],
            "properties": {
                "role": {"enum": ["user", "assistant", "system"]},
                "content": {
                    "anyOf": [
                        {"type": "string"},
                        {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "required": ["type"],
                                "properties": {"type": {"enum": ["text", "tool_use", "tool_result", "thinking", "redacted_thinking"]}},
                            },
                        },
                    ],
                },
            },
        },
    })
}

fn system() -> Value {
    json!({
        "anyOf": [
            {"type": "string"},
            {
                "type": "array",
                "items": {
                    "type": "object",
                    "required": ["type", "text"],
                    "properties": {"type": {"const": "text"}, "text": {"type": "string"}},
                },
            },
        ],
    })
}

fn stop_sequences() -> Value {
    let text = json!({"type": "string", "maxLength": MAX_STOP_BYTES});
    json!({"type": "array", "maxItems": MAX_STOP_STRINGS, "items": text})
}

fn tools() -> Value {
    json!({
        "type": "array",
        "maxItems": 128,
        "items": {
            "type": "object",
            "required": ["name", "input_schema"],
            "properties": {
                "type": {"type": "string"},
                "name": {"type": "string", "pattern": format!("^[a-zA-Z0-9_-]{{1,{MAX_TOOL_NAME}}}$")},
                "description": {"type": ["string", "null"]},
                "input_schema": {"type": "object"},
                "strict": {"type": ["boolean", "null"]},
            },
        },
    })
}

fn tool_choice() -> Value {
    json!({
        "type": "object",
        "required": ["type"],
        "properties": {
            "type": {"enum": ["auto", "any", "tool", "none"]},
            "name": {"type": "string"},
            "disable_parallel_tool_use": {"type": ["boolean", "null"]},
        },
    })
}

fn thinking() -> Value {
    json!({
        "type": "object",
        "required": ["type"],
        "properties": {
            "type": {"enum": ["enabled", "disabled", "adaptive"]},
            "budget_tokens": {"type": ["integer", "null"]},
            "display": {"enum": ["summarized", "omitted", null]},
        },
    })
}

fn output_config() -> Value {
    json!({
        "type": "object",
        "properties": {
            "effort": {"enum": ["low", "medium", "high", "xhigh", "max", null]},
            "format": {
                "type": ["object", "null"],
                "required": ["type", "schema"],
                "properties": {"type": {"const": "json_schema"}, "schema": {"type": "object"}},
            },
        },
    })
}

//! Fields of `POST /v1/messages` and `/v1/messages/count_tokens`: Anthropic's, in the order of its package, then what it had
//! before, its beta API's and ours.

use super::field::Field;
use crate::api::fields::spec::{Specs, Support};

const MESSAGES_SCHEMA: &str = r#"{"type":"array","minItems":1,"maxItems":2048,"items":{"type":"object","required":["role","content"],"properties":{"role":{"enum":["user","assistant","system"]},"content":{"anyOf":[{"type":"string"},{"type":"array","items":{"type":"object","required":["type"],"properties":{"type":{"enum":["text","tool_use","tool_result","thinking","redacted_thinking"]}}}}]}}}}"#;
const TEXT: &str = r#"{"anyOf":[{"type":"string"},{"type":"array","items":{"type":"object","required":["type","text"],"properties":{"type":{"const":"text"},"text":{"type":"string"}}}}]}"#;
const TOOLS: &str = r#"{"type":"array","maxItems":128,"items":{"type":"object","required":["name","input_schema"],"properties":{"type":{"const":"custom"},"name":{"type":"string","pattern":"^[a-zA-Z0-9_-]{1,64}$"},"description":{"type":["string","null"]},"input_schema":{"type":"object"},"strict":{"type":["boolean","null"]}}}}"#;
const TOOL_CHOICE: &str = r#"{"type":"object","required":["type"],"properties":{"type":{"enum":["auto","any","tool","none"]},"name":{"type":"string"},"disable_parallel_tool_use":{"type":["boolean","null"]}}}"#;
const THINKING: &str = r#"{"type":"object","required":["type"],"properties":{"type":{"enum":["enabled","disabled","adaptive"]},"budget_tokens":{"type":["integer","null"],"minimum":1},"display":{"enum":["summarized","omitted",null]}}}"#;
const OUTPUT_CONFIG: &str = r#"{"type":"object","properties":{"effort":{"enum":["low","medium","high","xhigh","max",null]},"format":{"type":["object","null"],"required":["type","schema"],"properties":{"type":{"const":"json_schema"},"schema":{"type":"object"}}}}}"#;

/// See the module.
pub(super) const MESSAGES: Specs = &[
    &Field::works("model", r#"{"type":"string"}"#, "\"tiny\"", "One of the names that `GET /v1/models` lists."),
    &Field::works(
        "max_tokens",
        r#"{"type":"integer","minimum":1}"#,
        "8",
        "Tokens to generate at most, thinking included; more than the context has left is a 400. Not needed to count.",
    ),
    &Field::works(
        "messages",
        MESSAGES_SCHEMA,
        r#"[{"role":"user","content":"Hi"}]"#,
        "The conversation: text, tool calls and their results, thinking. Other blocks are refused by their place, such as \
         `messages.0.content.1`; a last message of the assistant begins the answer. A failed result is told by `Error: ` before its text.",
    ),
    &Field::works("system", TEXT, "\"Be brief.\"", "The system prompt."),
    &Field::works(
        "stop_sequences",
        r#"{"type":"array","maxItems":4,"items":{"type":"string","minLength":1,"maxLength":256}}"#,
        r#"["\n"]"#,
        "Where the text ends, not included in it; `--max-stop-strings` allows more.",
    ),
    &Field::works("stream", r#"{"type":"boolean","default":false}"#, "true", "Server-sent events."),
    &Field::works(
        "tools",
        TOOLS,
        r#"[{"name":"f","input_schema":{"type":"object"}}]"#,
        "The client's own tools; those that Anthropic runs or trains its models for are refused. `defer_loading`, `allowed_callers` and `input_examples` are reported.",
    ),
    &Field::works(
        "tool_choice",
        TOOL_CHOICE,
        r#"{"type":"any"}"#,
        "`any` and `tool` constrain the answer, so that its input obeys the schema.",
    ),
    &Field::works(
        "thinking",
        THINKING,
        r#"{"type":"disabled"}"#,
        "Turns the template's thinking on or off, reported if it has no such switch; `budget_tokens` is not enforced and reported.",
    ),
    &Field::works(
        "output_config",
        OUTPUT_CONFIG,
        r#"{"format":{"type":"json_schema","schema":{"type":"object"}}}"#,
        "`format` is always obeyed; `effort` is told to the template, reported if it knows none.",
    ),
    &Field::accepted("cache_control", "What prompts have in common is always cached; the same within blocks."),
    &Field::accepted("inference_geo", "The answer is made here."),
    &Field::accepted("service_tier", "There is one tier."),
    &Field::accepted("user_profile_id", "Not used, never logged."),
    &Field::accepted("workspace_id", "Not used, never logged."),
    &harmless("metadata", r#"{"type":"object"}"#, r#"{"user_id":"x"}"#, "Not used, never logged."),
    &harmless("speed", r#"{"type":"string"}"#, "\"standard\"", "There is one speed; others are reported."),
    &harmless("diagnostics", r#"{"type":"object"}"#, r#"{"previous_message_id":null}"#, "Not made; asking for them is reported."),
    &Field::refused("container", "\"x\"", "This server runs no code."),
    &Field::works("temperature", r#"{"type":"number","minimum":0,"maximum":1,"default":1}"#, "0.5", "0 takes the likeliest token."),
    &Field::works(
        "top_p",
        r#"{"type":"number","minimum":0,"maximum":1,"default":1}"#,
        "0.9",
        "Keep the smallest set of tokens with this probability.",
    ),
    &Field::works(
        "top_k",
        r#"{"type":"integer","minimum":0,"maximum":2147483647,"default":0}"#,
        "40",
        "Keep the likeliest tokens; 0 keeps all.",
    ),
    &Field::works(
        "output_format",
        r#"{"type":"object"}"#,
        r#"{"type":"json_schema","schema":{"type":"object"}}"#,
        "What `output_config.format` was called in the beta API.",
    ),
    &harmless(
        "context_management",
        r#"{"type":"object"}"#,
        r#"{"edits":[]}"#,
        "Nothing is cleared from a conversation; edits are reported (beta API).",
    ),
    &Field::refused("mcp_servers", r#"[{"type":"url"}]"#, "This server calls no other servers (beta API)."),
    &Field::refused("thread", r#"{"id":"x"}"#, "This server keeps no conversations (beta API)."),
    &Field::extra(
        "seed",
        r#"{"type":"integer"}"#,
        "7",
        "Same seed, same answer, on the same model file, server version and machine, but for rounding (OpenAI; README says how often).",
    ),
    &Field::extra(
        "min_p",
        r#"{"type":"number","minimum":0,"maximum":1,"default":0}"#,
        "0.05",
        "Keep tokens at least this share as likely as the likeliest (vLLM).",
    ),
    &Field::extra(
        "chat_template_kwargs",
        r#"{"type":"object","maxProperties":32}"#,
        r#"{"enable_thinking":false}"#,
        "As in `/v1/chat/completions` (vLLM).",
    ),
];

/// A field without effect by its nature.
const fn harmless(name: &'static str, schema: &'static str, example: &'static str, about: &'static str) -> Field {
    Field { name, status: Support::Accepted, schema, example, about }
}

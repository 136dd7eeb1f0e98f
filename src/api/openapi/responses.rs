//! Fields of `POST /v1/responses`, in the order of OpenAI's specification, then vLLM's.

use super::field::Field;
use crate::api::fields::spec::Specs;

const INPUT: &str = r#"{"anyOf":[{"type":"string"},{"type":"array","minItems":1,"items":{"type":"object","properties":{"type":{"enum":["message","function_call","function_call_output","reasoning"]},"role":{"enum":["user","system","developer","assistant"]},"content":{},"call_id":{"type":"string"},"name":{"type":"string"},"arguments":{"type":"string"},"output":{},"summary":{"type":"array"}}}}]}"#;
const TOOLS: &str = r#"{"type":"array","items":{"type":"object","required":["type","name"],"properties":{"type":{"const":"function"},"name":{"type":"string","pattern":"^[a-zA-Z0-9_-]{1,64}$"},"description":{"type":["string","null"]},"parameters":{"type":["object","null"]},"strict":{"type":["boolean","null"]}}}}"#;
const TOOL_CHOICE: &str = r#"{"anyOf":[{"enum":["none","auto","required"]},{"type":"object","required":["type","name"],"properties":{"type":{"const":"function"},"name":{"type":"string"}}}]}"#;
const TEXT: &str = r#"{"type":"object","properties":{"format":{"type":["object","null"],"required":["type"],"properties":{"type":{"enum":["text","json_object","json_schema"]},"name":{"type":"string"},"schema":{"type":"object"},"strict":{"type":["boolean","null"]},"description":{"type":["string","null"]}}},"verbosity":{"enum":["low","medium","high",null]}}}"#;
const REASONING: &str = r#"{"type":"object","properties":{"effort":{"enum":["none","minimal","low","medium","high","xhigh","max",null]},"summary":{"type":["string","null"]}}}"#;

/// What only this route reads.
pub(super) const RESPONSES: Specs = &[
    &Field::works("model", r#"{"type":"string"}"#, "\"tiny\"", "One of the names that `GET /v1/models` lists."),
    &Field::works(
        "input",
        INPUT,
        r#"[{"role":"user","content":"Hi"}]"#,
        "A text, or items: messages, calls, their outputs and what was thought, text only. Items of an answer can be sent back as they are.",
    ),
    &Field::works("instructions", r#"{"type":"string"}"#, "\"Be brief.\"", "A system message before the input."),
    &Field::works(
        "max_output_tokens",
        r#"{"type":"integer","minimum":1}"#,
        "8",
        "Tokens to generate at most, reasoning included; by default the room that the input leaves in the context.",
    ),
    &Field::works("stream", r#"{"type":"boolean","default":false}"#, "true", "Server-sent events."),
    &Field::works(
        "stream_options",
        r#"{"type":"object","properties":{"include_obfuscation":{"type":["boolean","null"]}}}"#,
        r#"{"include_obfuscation":false}"#,
        "Only with `stream`; nothing is obfuscated, and `true` is reported.",
    ),
    &Field::works(
        "include",
        r#"{"type":"array","items":{"type":"string"}}"#,
        r#"["message.output_text.logprobs"]"#,
        "`message.output_text.logprobs` works; `reasoning.encrypted_content` is reported, as thoughts are sent in the clear; the rest is of tools that are not there.",
    ),
    &Field::works(
        "top_logprobs",
        r#"{"type":"integer","minimum":0,"maximum":20}"#,
        "0",
        "Alternatives to report per token; without log-probabilities in `include` it is reported. `--max-logprobs` sets the most.",
    ),
    &Field::works(
        "tools",
        TOOLS,
        r#"[{"type":"function","name":"f"}]"#,
        "Functions that the model may call and you run; OpenAI's built-in tools are refused.",
    ),
    &Field::works(
        "tool_choice",
        TOOL_CHOICE,
        "\"none\"",
        "`none`, `auto`, `required` or a function; the last two constrain the answer, so that its arguments obey the schema.",
    ),
    &Field::works("parallel_tool_calls", r#"{"type":"boolean","default":true}"#, "false", "Whether more than one call may be made."),
    &Field::works(
        "text",
        TEXT,
        r#"{"format":{"type":"json_object"}}"#,
        "`format` is what the answer must be, a schema always obeyed; `verbosity` is told to the template if it knows the name, else reported unless `medium`.",
    ),
    &Field::works(
        "reasoning",
        REASONING,
        r#"{"effort":"low"}"#,
        "`effort` is told to the template if it knows the name, else `none` turns its thinking off and anything else on; `summary` is reported: thoughts are shown whole.",
    ),
    &Field::works(
        "truncation",
        r#"{"enum":["disabled"],"type":"string"}"#,
        "\"disabled\"",
        "`auto` is refused: leave out old items instead.",
    ),
    &Field::works(
        "metadata",
        r#"{"type":"object","maxProperties":16,"additionalProperties":{"type":"string","maxLength":512}}"#,
        r#"{"a":"b"}"#,
        "Repeated in the answer, never logged.",
    ),
    &Field::harmless("store", r#"{"type":"boolean"}"#, "false", "Nothing is stored; `true` is reported."),
    &Field::accepted("user", "Repeated in the answer, never logged."),
    &Field::accepted("safety_identifier", "Repeated in the answer, never logged."),
    &Field::accepted("prompt_cache_key", "Repeated in the answer; prompts are cached by what they say."),
    &Field::accepted("prompt_cache_retention", "What is used least leaves the cache first."),
    &Field::harmless(
        "prompt_cache_options",
        r#"{"type":"object"}"#,
        r#"{"ttl":"30m"}"#,
        "As above; `prewarm` is refused and `comparison_response_id` reported.",
    ),
    &Field::accepted("service_tier", "There is one tier."),
    &Field::accepted("access_programs", "There are none."),
    &Field::accepted("image", "No image is read."),
    &Field::refused("previous_response_id", "\"resp_1\"", "Responses are not stored; send the earlier items in `input`."),
    &Field::refused("conversation", "\"conv_1\"", "Conversations are not stored; send the earlier items in `input`."),
    &Field::refused("background", "true", "Responses are not stored, so none can be fetched later."),
    &Field::refused("background_options", r#"{"completion_window":"2h"}"#, "Nothing runs in the background."),
    &Field::refused("prompt", r#"{"id":"pmpt_1"}"#, "Prompt templates are not stored; send `instructions` and `input`."),
    &Field::refused("max_tool_calls", "1", "It limits OpenAI's built-in tools, and there are none."),
    &Field::refused("context_management", r#"[{"type":"compaction"}]"#, "Leave out old items instead."),
    &Field::refused("moderation", r#"{"model":"x"}"#, "Nothing is moderated."),
    &Field::extra(
        "chat_template_kwargs",
        r#"{"type":"object","maxProperties":32}"#,
        r#"{"enable_thinking":false}"#,
        "Switches that the model's template mentions; usual ones that it does not know are reported, others are a 400 (vLLM).",
    ),
    &Field::extra("include_reasoning", r#"{"type":"boolean","default":true}"#, "false", "Show what was thought (vLLM)."),
    &Field::extra("skip_special_tokens", r#"{"type":"boolean","default":true}"#, "false", "Leave control tokens out of the text (vLLM)."),
    &Field::refused("allowed_token_ids", "[1]", "vLLM's; not supported."),
    &Field::refused("bad_words", "[\"x\"]", "vLLM's; not supported."),
    &Field::refused("logits_processors", "[\"x\"]", "vLLM's; not supported."),
    &Field::refused("prompt_embeds", "\"x\"", "vLLM's; not supported."),
    &Field::refused("use_beam_search", "true", "vLLM's; not supported."),
];

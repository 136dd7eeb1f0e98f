//! Fields of `POST /v1/chat/completions`, in the order of OpenAI's specification, then vLLM's and vllm-router's.

use super::field::Field;
use crate::api::fields::spec::Specs;

const MESSAGES: &str = r#"{"type":"array","minItems":1,"maxItems":2048,"items":{"type":"object","required":["role"],"properties":{"role":{"enum":["system","developer","user","assistant","tool"]},"content":{"anyOf":[{"type":"string"},{"type":"array","minItems":1,"items":{"type":"object","required":["type"],"properties":{"type":{"type":"string"},"text":{"type":"string"}}}},{"type":"null"}]},"tool_calls":{"type":["array","null"]},"tool_call_id":{"type":["string","null"]},"name":{"type":["string","null"]},"reasoning_content":{"type":["string","null"]}}}}"#;
const TOOLS: &str = r#"{"type":"array","items":{"type":"object","required":["function"],"properties":{"type":{"const":"function"},"function":{"type":"object","required":["name"],"properties":{"name":{"type":"string","pattern":"^[a-zA-Z0-9_-]{1,64}$"},"description":{"type":["string","null"]},"parameters":{"type":["object","null"]},"strict":{"type":["boolean","null"]}}}}}}"#;
const TOOL_CHOICE: &str = r#"{"anyOf":[{"enum":["none","auto","required"]},{"type":"object","required":["function"],"properties":{"type":{"const":"function"},"function":{"type":"object","required":["name"],"properties":{"name":{"type":"string"}}}}}]}"#;
const BOOLEAN: &str = r#"{"type":"boolean"}"#;

/// What only this route reads.
pub(super) const CHAT: Specs = &[
    &Field::works("model", r#"{"type":"string"}"#, "\"tiny\"", "One of the names that `GET /v1/models` lists."),
    &Field::works(
        "messages",
        MESSAGES,
        r#"[{"role":"user","content":"Hi"}]"#,
        "The conversation, text only; rendered by the model's own template, in which no word of a user becomes a control token.",
    ),
    &Field::works(
        "max_completion_tokens",
        r#"{"type":"integer","minimum":1}"#,
        "8",
        "Tokens to generate at most, reasoning included; by default the room that the prompt leaves in the context.",
    ),
    &Field::works("max_tokens", r#"{"type":"integer","minimum":1}"#, "8", "The older name of `max_completion_tokens`."),
    &Field::works("n", r#"{"type":"integer","minimum":1,"maximum":8,"default":1}"#, "2", "Choices."),
    &Field::works(
        "logprobs",
        r#"{"type":"boolean","default":false}"#,
        "true",
        "Report the log-probability of every token, reasoning and calls included, before temperature and truncation.",
    ),
    &Field::works(
        "top_logprobs",
        r#"{"type":"integer","minimum":0,"maximum":20}"#,
        "0",
        "Alternatives to report per token; needs `logprobs`. `--max-logprobs` sets the most.",
    ),
    &Field::works("stream", r#"{"type":"boolean","default":false}"#, "true", "Server-sent events."),
    &Field::works(
        "stream_options",
        r#"{"type":"object","properties":{"include_usage":{"type":["boolean","null"]},"include_obfuscation":{"type":["boolean","null"]}}}"#,
        r#"{"include_usage":true}"#,
        "Only with `stream`; `include_usage` adds a last chunk with the usage.",
    ),
    &Field::works("tools", TOOLS, r#"[{"type":"function","function":{"name":"f"}}]"#, "Functions that the model may call."),
    &Field::works(
        "tool_choice",
        TOOL_CHOICE,
        "\"none\"",
        "`none`, `auto`, `required` or a function; the last two constrain the answer, so that its arguments obey the schema.",
    ),
    &Field::works("parallel_tool_calls", r#"{"type":"boolean","default":true}"#, "false", "Whether more than one call may be made."),
    &Field::works(
        "reasoning_effort",
        r#"{"enum":["none","minimal","low","medium","high","xhigh","max"],"type":"string"}"#,
        "\"low\"",
        "Told to the template if it knows the name, else `none` turns its thinking off and anything else on; reported if it has no such switch.",
    ),
    &Field::works(
        "verbosity",
        r#"{"enum":["low","medium","high"],"type":"string"}"#,
        "\"medium\"",
        "Told to the template if it knows the name; reported otherwise, unless `medium`.",
    ),
    &Field::works("modalities", r#"{"type":"array","items":{"const":"text"}}"#, r#"["text"]"#, "Text is the only one."),
    &Field::harmless("store", BOOLEAN, "false", "Nothing is stored; `true` is reported."),
    &Field::works(
        "prediction",
        r#"{"type":"object","required":["type","content"],"properties":{"type":{"const":"content"},"content":{"anyOf":[{"type":"string"},{"type":"array","items":{"type":"object","required":["text"],"properties":{"text":{"type":"string"}}}}]}}}"#,
        r#"{"type":"content","content":"x"}"#,
        "Guessed ahead first: the answer comes faster where it is right. Without effect beside a `seed`.",
    ),
    &Field::harmless("service_tier", r#"{"type":"string"}"#, "\"auto\"", "There is one tier."),
    &Field::harmless("metadata", "{}", r#"{"a":"b"}"#, "Not used, never logged."),
    &Field::accepted("user", "Not used, never logged."),
    &Field::accepted("safety_identifier", "Not used, never logged."),
    &Field::accepted("prompt_cache_key", "Prompts are cached by what they say."),
    &Field::accepted("prompt_cache_retention", "What is used least leaves the cache first."),
    &Field::refused("audio", "{}", "The answer is text."),
    &Field::refused("web_search_options", "{}", "This server does not search the web."),
    &Field::refused("functions", "[]", "OpenAI replaced it by `tools`."),
    &Field::refused("function_call", "\"auto\"", "OpenAI replaced it by `tool_choice`."),
    &Field::extra(
        "chat_template_kwargs",
        r#"{"type":"object","maxProperties":32}"#,
        r#"{"enable_thinking":false}"#,
        "Switches that the model's template mentions; usual ones that it does not know are reported, others are a 400 (vLLM).",
    ),
    &Field::extra(
        "add_generation_prompt",
        r#"{"type":"boolean","default":true}"#,
        "false",
        "End the prompt where the assistant begins to speak (vLLM).",
    ),
    &Field::extra(
        "continue_final_message",
        r#"{"type":"boolean","default":false}"#,
        "true",
        "Continue the last message instead of answering it (vLLM).",
    ),
    &Field::extra("include_reasoning", r#"{"type":"boolean","default":true}"#, "false", "Show `reasoning_content` (vLLM)."),
    &Field::extra("skip_special_tokens", r#"{"type":"boolean","default":true}"#, "false", "Leave control tokens out of the text (vLLM)."),
    &Field::harmless("separate_reasoning", BOOLEAN, "true", "Always done; `false` is reported (vllm-router)."),
    &Field::harmless("stream_reasoning", BOOLEAN, "true", "Always done; `false` is reported (vllm-router)."),
    &Field::harmless("no_stop_trim", BOOLEAN, "false", "`true` is reported; `include_stop_str_in_output` does it (vllm-router)."),
    &Field::harmless("return_hidden_states", BOOLEAN, "false", "`true` is reported (vllm-router)."),
    &Field::refused("chat_template", "\"{{ x }}\"", "vLLM's; the operator chooses the template (`--chat-template`)."),
    &Field::refused("documents", "[]", "vLLM's; put documents into `messages`."),
    &Field::refused("truncate_prompt_tokens", "5", "vLLM's; leave out old messages instead."),
    &Field::refused("echo", "true", "vLLM's; not supported."),
    &Field::refused("add_special_tokens", "true", "vLLM's; the template has them."),
    &Field::refused("allowed_token_ids", "[1]", "vLLM's; not supported."),
    &Field::refused("bad_words", "[\"x\"]", "vLLM's; not supported."),
    &Field::refused("logits_processors", "[\"x\"]", "vLLM's; not supported."),
    &Field::refused("prompt_embeds", "\"x\"", "vLLM's; not supported."),
    &Field::refused("use_beam_search", "true", "vLLM's; not supported."),
];

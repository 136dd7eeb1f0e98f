//! The fields of `POST /v1/chat/completions`, in the order of OpenAI's specification, then vLLM's and vllm-router's.

use crate::api::{
    fields::{
        spec::{FieldSpec, Specs},
        token_caps::{TokenCaps, token_cap},
        values::{
            Booleans, Integers, Objects, OneOf, Or, Refused, Shaped, Unused, boolean, integer, is_empty_array, is_off, object, one_of,
            refused, shaped, unused,
        },
    },
    openai::shared::limits::{MAX_TOP_LOGPROBS, MODEL, N, RETURN_PROGRESS, SKIP_SPECIAL_TOKENS, STREAM, STREAM_OPTIONS, USER},
};
use serde_json::{Value, json};

/// The maximum number of entries in `chat_template_kwargs`.
pub(super) const MAX_KWARGS: usize = 32;

pub(in crate::api) const MESSAGES: FieldSpec<Shaped> = shaped("messages", messages).example(r#"[{"role":"user","content":"Hi"}]"#).about(
    "The conversation, text only; rendered by the model's own template, in which no word of a user becomes a control token. \
         System messages that the template does not take where they stand are put into user turns, and reported.",
);
pub(in crate::api) const MAX_COMPLETION_TOKENS: FieldSpec<TokenCaps> = token_cap("max_completion_tokens", 1).example("8").about(
    "Tokens to generate at most, reasoning included; by default, and for -1, the room that the prompt leaves in the context. \
         More than that is reduced to it, which is reported.",
);
pub(in crate::api) const MAX_TOKENS: FieldSpec<TokenCaps> =
    token_cap("max_tokens", 1).example("8").about("The older name of `max_completion_tokens`.");
pub(in crate::api) const LOGPROBS: FieldSpec<Or<Booleans>> = boolean("logprobs")
    .or(false)
    .about("Report the log-probability of every token, reasoning and calls included, before temperature and truncation.");
pub(in crate::api) const TOP_LOGPROBS: FieldSpec<Integers> = integer("top_logprobs", 0..=MAX_TOP_LOGPROBS as i64)
    .example("0")
    .about("Alternatives to report per token; needs `logprobs`. `--max-logprobs` sets the most, to which a larger number is reduced.");
pub(in crate::api) const TOOLS: FieldSpec<Shaped> = shaped("tools", tools)
    .example(r#"[{"type":"function","function":{"name":"f"}}]"#)
    .about("Functions and custom tools that the model may call and you run; other types are left out and reported.");
pub(in crate::api) const TOOL_CHOICE: FieldSpec<Shaped> = shaped("tool_choice", tool_choice)
    .example("\"none\"")
    .about("`none`, `auto`, `required` or a function; the last two constrain the answer, so that its arguments obey the schema. Of `allowed_tools` only these are offered.");
pub(in crate::api) const PARALLEL_TOOL_CALLS: FieldSpec<Or<Booleans>> =
    boolean("parallel_tool_calls").or(true).example("false").about("More than one call may be made.");
pub(in crate::api) const REASONING_EFFORT: FieldSpec<OneOf> = one_of("reasoning_effort", &["none", "minimal", "low", "medium", "high", "xhigh", "max"]).example("\"low\"").about("Told to the template if it knows the name, else `none` turns its thinking off and anything else on; reported if it has no such switch, as other words are.");
pub(in crate::api) const VERBOSITY: FieldSpec<OneOf> = one_of("verbosity", &["low", "medium", "high"])
    .example("\"medium\"")
    .about("Told to the template if it knows the name; reported otherwise, unless `medium`. Other words are reported.");
pub(in crate::api) const MODALITIES: FieldSpec<Shaped> =
    shaped("modalities", || json!({"type": "array", "items": {"const": "text"}})).example(r#"["text"]"#).about("Text is the only one.");
pub(in crate::api) const STORE: FieldSpec<Booleans> =
    boolean("store").accepted().example("false").about("Nothing is stored; `true` is reported.");
pub(in crate::api) const PREDICTION: FieldSpec<Shaped> = shaped("prediction", prediction)
    .example(r#"{"type":"content","content":"x"}"#)
    .about("Guessed ahead first: the answer comes faster where it is right. Without effect beside a `seed`.");
pub(in crate::api) const SERVICE_TIER: FieldSpec<Shaped> =
    shaped("service_tier", || json!({"type": "string"})).accepted().example("\"auto\"").about("There is one tier.");
pub(in crate::api) const METADATA: FieldSpec<Shaped> =
    shaped("metadata", || json!({})).accepted().example(r#"{"a":"b"}"#).about("Not used, never logged.");
pub(in crate::api) const SAFETY_IDENTIFIER: FieldSpec<Unused> = unused("safety_identifier").about("Not used, never logged.");
pub(in crate::api) const PROMPT_CACHE_KEY: FieldSpec<Unused> = unused("prompt_cache_key").about("Prompts are cached by what they say.");
pub(in crate::api) const PROMPT_CACHE_RETENTION: FieldSpec<Unused> =
    unused("prompt_cache_retention").about("The least used prompts leave the cache first.");
pub(in crate::api) const AUDIO: FieldSpec<Objects> =
    object("audio", || json!({"type": "object"})).accepted().about("Reported: the answer is text.");
pub(in crate::api) const WEB_SEARCH_OPTIONS: FieldSpec<Refused> =
    refused("web_search_options", "is not supported: this server does not search the web")
        .example("{}")
        .about("This server does not search the web.");
pub(in crate::api) const FUNCTIONS: FieldSpec<Refused> = refused("functions", "is not supported: send 'tools'")
    .unless(is_empty_array)
    .example(r#"[{"name":"f"}]"#)
    .about("OpenAI replaced it by `tools`; an empty array is reported.");
pub(in crate::api) const FUNCTION_CALL: FieldSpec<Refused> = refused("function_call", "is not supported: send 'tool_choice'")
    .unless(|_, value| Ok(value == "none"))
    .example("\"auto\"")
    .about("OpenAI replaced it by `tool_choice`; `none` is reported.");
pub(in crate::api) const CHAT_TEMPLATE_KWARGS: FieldSpec<Objects> =
    object("chat_template_kwargs", || json!({"type": "object", "maxProperties": MAX_KWARGS}))
        .extra()
        .example(r#"{"enable_thinking":false}"#)
        .about("Switches that the model's template mentions; others are reported (vLLM).");
pub(in crate::api) const ADD_GENERATION_PROMPT: FieldSpec<Or<Booleans>> =
    boolean("add_generation_prompt").or(true).extra().example("false").about("End the prompt where the assistant begins to speak (vLLM).");
pub(in crate::api) const CONTINUE_FINAL_MESSAGE: FieldSpec<Or<Booleans>> =
    boolean("continue_final_message").or(false).extra().about("Continue the last message instead of answering it (vLLM).");
pub(in crate::api) const INCLUDE_REASONING: FieldSpec<Or<Booleans>> =
    boolean("include_reasoning").or(true).extra().example("false").about("Show `reasoning_content` (vLLM).");
pub(in crate::api) const SEPARATE_REASONING: FieldSpec<Booleans> =
    boolean("separate_reasoning").accepted().about("Always done; `false` is reported (vllm-router).");
pub(in crate::api) const STREAM_REASONING: FieldSpec<Booleans> =
    boolean("stream_reasoning").accepted().about("Always done; `false` is reported (vllm-router).");
pub(in crate::api) const NO_STOP_TRIM: FieldSpec<Booleans> =
    boolean("no_stop_trim").accepted().example("false").about("`true` is reported; `include_stop_str_in_output` does it (vllm-router).");
pub(in crate::api) const RETURN_HIDDEN_STATES: FieldSpec<Booleans> =
    boolean("return_hidden_states").accepted().example("false").about("`true` is reported (vllm-router).");
pub(in crate::api) const CHAT_TEMPLATE: FieldSpec<Refused> =
    refused("chat_template", "is not supported: the server's operator chooses the template (--chat-template)")
        .example("\"{{ x }}\"")
        .about("vLLM's; the operator chooses the template (`--chat-template`).");
pub(in crate::api) const DOCUMENTS: FieldSpec<Refused> = refused("documents", "is not supported: put documents into 'messages'")
    .unless(is_empty_array)
    .example(r#"[{"text":"x"}]"#)
    .about("vLLM's; put documents into `messages`. An empty array is reported.");
pub(in crate::api) const TRUNCATE_PROMPT_TOKENS: FieldSpec<Refused> =
    refused("truncate_prompt_tokens", "is not supported in chat: leave out old messages instead")
        .example("5")
        .about("vLLM's; leave out old messages instead.");
pub(in crate::api) const ECHO: FieldSpec<Refused> =
    refused("echo", "is not supported in chat").unless(is_off).example("true").about("vLLM's; not supported.");
pub(in crate::api) const ADD_SPECIAL_TOKENS: FieldSpec<Refused> =
    refused("add_special_tokens", "is not supported in chat").unless(is_off).example("true").about("vLLM's; the template has them.");

/// The fields that no other route reads with the same code, and some that several routes have.
pub(in crate::api) const CHAT: Specs = &[
    &MODEL,
    &MESSAGES,
    &MAX_COMPLETION_TOKENS,
    &MAX_TOKENS,
    &N.about("Choices."),
    &LOGPROBS,
    &TOP_LOGPROBS,
    &STREAM,
    &STREAM_OPTIONS,
    &TOOLS,
    &TOOL_CHOICE,
    &PARALLEL_TOOL_CALLS,
    &REASONING_EFFORT,
    &VERBOSITY,
    &MODALITIES,
    &STORE,
    &PREDICTION,
    &SERVICE_TIER,
    &METADATA,
    &USER.about("Not used, never logged."),
    &SAFETY_IDENTIFIER,
    &PROMPT_CACHE_KEY,
    &PROMPT_CACHE_RETENTION,
    &AUDIO,
    &WEB_SEARCH_OPTIONS,
    &FUNCTIONS,
    &FUNCTION_CALL,
    &CHAT_TEMPLATE_KWARGS,
    &ADD_GENERATION_PROMPT,
    &CONTINUE_FINAL_MESSAGE,
    &INCLUDE_REASONING,
    &SKIP_SPECIAL_TOKENS,
    &RETURN_PROGRESS,
    &SEPARATE_REASONING,
    &STREAM_REASONING,
    &NO_STOP_TRIM,
    &RETURN_HIDDEN_STATES,
    &CHAT_TEMPLATE,
    &DOCUMENTS,
    &TRUNCATE_PROMPT_TOKENS,
    &ECHO,
    &ADD_SPECIAL_TOKENS,
];

/// The refused fields, in the order in which they are read: the error names the first one at fault.
pub(super) const REFUSED: Specs =
    &[&WEB_SEARCH_OPTIONS, &DOCUMENTS, &CHAT_TEMPLATE, &TRUNCATE_PROMPT_TOKENS, &FUNCTIONS, &FUNCTION_CALL, &ECHO, &ADD_SPECIAL_TOKENS];

/// Refused fields with a value that asks for nothing and is reported.
pub(super) const REPORTED_IF_EMPTY: [&str; 3] = [DOCUMENTS.name, FUNCTIONS.name, FUNCTION_CALL.name];

/// Fields for the operator's books and caches. Nothing is done with them, and they are never logged.
pub(super) const UNUSED: Specs = &[&USER, &METADATA, &SAFETY_IDENTIFIER, &PROMPT_CACHE_KEY, &PROMPT_CACHE_RETENTION, &SERVICE_TIER];

/// Switches without an effect, each with the value that asks for nothing; the other value is reported. vllm-router
/// sends its own switches with every request, most often with the values that ask for nothing.
pub(super) const SWITCHES_WITHOUT_EFFECT: [(FieldSpec<Booleans>, bool); 5] =
    [(STORE, false), (NO_STOP_TRIM, false), (RETURN_HIDDEN_STATES, false), (SEPARATE_REASONING, true), (STREAM_REASONING, true)];

fn messages() -> Value {
    json!({
        "type": "array",
        "minItems": 1,
        "maxItems": 2048,
        "items": {
            "type": "object",
            "required": ["role"],
            "properties": {
                "role": {"enum": ["system", "developer", "user", "assistant", "tool", "function"]},
                "content": {
                    "anyOf": [
                        {"type": "string"},
                        {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "required": ["type"],
                                "properties": {"type": {"type": "string"}, "text": {"type": "string"}},
                            },
                        },
                        {"type": "null"},
                    ],
                },
                "tool_calls": {"type": ["array", "null"]},
                "function_call": {"type": ["object", "null"], "description": "the predecessor of `tool_calls`"},
                "tool_call_id": {"type": ["string", "null"]},
                "name": {"type": ["string", "null"]},
                "reasoning_content": {"type": ["string", "null"]},
            },
        },
    })
}

fn tools() -> Value {
    json!({
        "type": "array",
        "items": {
            "type": "object",
            "properties": {
                "type": {"type": "string", "description": "`function`, the default, or `custom`; others are left out"},
                "custom": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {
                        "name": {"type": "string", "pattern": "^[a-zA-Z0-9_-]{1,64}$"},
                        "description": {"type": ["string", "null"]},
                        "format": {"type": ["object", "null"]},
                    },
                },
                "function": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {
                        "name": {"type": "string", "pattern": "^[a-zA-Z0-9_-]{1,64}$"},
                        "description": {"type": ["string", "null"]},
                        "parameters": {"type": ["object", "null"]},
                        "strict": {"type": ["boolean", "null"]},
                    },
                },
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
                "required": ["function"],
                "properties": {
                    "type": {"const": "function"},
                    "function": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
                },
            },
            {
                "type": "object",
                "required": ["type", "allowed_tools"],
                "properties": {
                    "type": {"const": "allowed_tools"},
                    "allowed_tools": {
                        "type": "object",
                        "required": ["tools"],
                        "properties": {"mode": {"enum": ["auto", "required"]}, "tools": {"type": "array"}},
                    },
                },
            },
        ],
    })
}

fn prediction() -> Value {
    json!({
        "type": "object",
        "required": ["type", "content"],
        "properties": {
            "type": {"const": "content"},
            "content": {
                "anyOf": [
                    {"type": "string"},
                    {
                        "type": "array",
                        "items": {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}},
                    },
                ],
            },
        },
    })
}

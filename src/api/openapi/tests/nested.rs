//! Fields inside the fields of OpenAI's `CreateCompletionRequest` and `CreateChatCompletionRequest`, and vLLM's beside
//! them.

use super::silence::Case;

const STREAM: &str = r#"{"stream":true,"stream_options":{"include_usage":false}}"#;
const TOOL: &str = r#"{"tools":[{"type":"function","function":{"name":"f"}}]}"#;
const FORCED: &str = r#"{"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"required"}"#;
const NAMED: &str = r#"{"tools":[{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"g","parameters":{"type":"object","properties":{"a":{}}}}}],"tool_choice":{"type":"function","function":{"name":"f"}}}"#;
const SCHEMA: &str = r#"{"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"object"}}}}"#;
const PARTS: &str = r#"{"messages":[{"role":"user","content":[{"type":"text","text":"Hello"}]}]}"#;
const REFUSAL: &str = r#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":[{"type":"refusal","refusal":"no"}]}]}"#;
const ANSWERED: &str = r#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"b"}]}"#;
const CALLED: &str = r#"{"messages":[{"role":"user","content":"a"},{"role":"assistant","tool_calls":[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c","content":"d"}]}"#;

/// Fields inside the fields of chat.
pub(super) const CHAT: &[Case] = &[
    ("/messages/0/content", "{}", "\"Bye\""),
    ("/messages/0/role", "{}", "\"system\""),
    ("/messages/0/role", "{}", "\"developer\""),
    ("/messages/0/role", "{}", "\"function\""),
    ("/messages/0/name", "{}", "\"Bob\""),
    ("/messages/0/frobnicate", "{}", "1"),
    ("/messages/0/content/0/type", PARTS, "\"image_url\""),
    ("/messages/0/content/0/text", PARTS, "\"Bye\""),
    ("/messages/0/content/0/image_url", PARTS, r#"{"url":"x"}"#),
    ("/messages/0/content/0/cache_control", PARTS, r#"{"type":"ephemeral"}"#),
    ("/messages/1/content/0/refusal", REFUSAL, "\"never\""),
    ("/messages/1/refusal", ANSWERED, "\"no\""),
    ("/messages/1/audio", ANSWERED, r#"{"id":"x"}"#),
    ("/messages/1/function_call", ANSWERED, r#"{"name":"f","arguments":""}"#),
    ("/messages/1/function_call", CALLED, r#"{"name":"g","arguments":""}"#),
    ("/messages/1/reasoning_content", ANSWERED, "\"hm\""),
    ("/messages/1/tool_calls", ANSWERED, r#"[{"id":"c","type":"function","function":{"name":"f","arguments":"{}"}}]"#),
    ("/messages/1/tool_calls/0/id", CALLED, "\"d\""),
    ("/messages/1/tool_calls/0/type", CALLED, "\"custom\""),
    ("/messages/1/tool_calls/0/custom", CALLED, r#"{"name":"f","input":"x"}"#),
    ("/messages/1/tool_calls/0/function/name", CALLED, "\"g\""),
    ("/messages/1/tool_calls/0/function/arguments", CALLED, r#""{\"a\":1}""#),
    ("/messages/1/tool_calls/0/function/strict", CALLED, "true"),
    ("/messages/2/tool_call_id", CALLED, "\"d\""),
    ("/messages/2/content", CALLED, "\"e\""),
    ("/response_format/type", r#"{"response_format":{"type":"text"}}"#, "\"json_object\""),
    ("/response_format/type", r#"{"response_format":{"type":"text"}}"#, "\"grammar\""),
    ("/response_format/schema", r#"{"response_format":{"type":"text"}}"#, r#"{"type":"object"}"#),
    ("/response_format/json_schema", r#"{"response_format":{"type":"json_object"}}"#, r#"{"name":"n","schema":{}}"#),
    ("/response_format/json_schema/name", SCHEMA, "\"other\""),
    ("/response_format/json_schema/description", SCHEMA, "\"x\""),
    ("/response_format/json_schema/schema", SCHEMA, r#"{"type":"array"}"#),
    ("/response_format/json_schema/strict", SCHEMA, "true"),
    ("/response_format/json_schema/frobnicate", SCHEMA, "1"),
    ("/response_format/schema", SCHEMA, r#"{"type":"array"}"#),
    ("/stream_options/include_usage", STREAM, "true"),
    ("/stream_options/include_obfuscation", STREAM, "true"),
    ("/stream_options/continuous_usage_stats", STREAM, "true"),
    ("/tools/0/type", TOOL, "\"custom\""),
    ("/tools/0/custom", TOOL, r#"{"name":"f"}"#),
    ("/tools/0/function/name", TOOL, "\"g\""),
    ("/tools/0/function/description", TOOL, "\"x\""),
    ("/tools/0/function/description", FORCED, "\"x\""),
    ("/tools/0/function/parameters", TOOL, r#"{"type":"object","properties":{"a":{}}}"#),
    ("/tools/0/function/parameters", FORCED, r#"{"type":"object","properties":{"a":{}}}"#),
    ("/tools/0/function/strict", TOOL, "true"),
    ("/tool_choice", TOOL, "\"none\""),
    ("/tool_choice", TOOL, r#"{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[]}}"#),
    ("/tool_choice", TOOL, r#"{"type":"allowed_tools","allowed_tools":{"mode":"required","tools":[{"function":{"name":"f"}}]}}"#),
    ("/tool_choice/allowed_tools/frobnicate", r#"{"tool_choice":{"type":"allowed_tools","allowed_tools":{"tools":[]}}}"#, "1"),
    ("/tool_choice", TOOL, r#"{"type":"custom","custom":{"name":"f"}}"#),
    ("/tool_choice/function/name", NAMED, "\"g\""),
    ("/tool_choice/function/frobnicate", NAMED, "1"),
    ("/tool_choice/frobnicate", NAMED, "1"),
    ("/chat_template_kwargs/enable_thinking", r#"{"chat_template_kwargs":{}}"#, "false"),
    ("/chat_template_kwargs/frobnicate", r#"{"chat_template_kwargs":{}}"#, "1"),
    ("/structured_outputs/disable_additional_properties", r#"{"structured_outputs":{"regex":"a"}}"#, "true"),
    ("/logit_bias/5", r#"{"logit_bias":{}}"#, "1"),
];

/// Fields inside the fields of completions.
pub(super) const COMPLETIONS: &[Case] = &[
    ("/prompt", "{}", r#"["Hello","Bye"]"#),
    ("/prompt", "{}", "[72,73]"),
    ("/prompt", "{}", "[[72],[73]]"),
    ("/stream_options/include_usage", STREAM, "true"),
    ("/stream_options/include_obfuscation", STREAM, "true"),
    ("/stream_options/continuous_usage_stats", STREAM, "true"),
    ("/logit_bias/5", r#"{"logit_bias":{}}"#, "1"),
    ("/response_format/json_schema/description", SCHEMA, "\"x\""),
    ("/response_format/frobnicate", SCHEMA, "1"),
];

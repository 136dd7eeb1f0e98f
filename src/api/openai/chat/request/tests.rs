//! Each field: its default, its range, and what is refused or reported.

use super::*;
use crate::protocol::Token;
use serde_json::json;

fn read(body: Value) -> Result<ChatRequest, FieldError> {
    let Value::Object(mut map) = body else { panic!("{body} is no object") };
    map.entry("messages").or_insert(json!([{"role": "user", "content": "Hi"}]));
    ChatRequest::read(Fields::new(map), &RequestLimits { vocabulary_size: 100, max_num_seqs: 16, max_stop_strings: 4, max_logprobs: None })
}

fn tools() -> Value {
    json!([{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}])
}

#[test]
fn a_request_of_messages_alone_has_openais_defaults() {
    let request = read(json!({})).unwrap();

    assert_eq!(request.conversation.for_template(&crate::chat::Abilities::default()), [json!({"role": "user", "content": "Hi"})]);
    assert_eq!((request.limit, request.n, request.logprobs, request.stream), (None, 1, None, false));
    assert_eq!((request.calls, request.parallel, request.tools.specs.len()), (Calls::None, true, 0));
    assert_eq!((request.ending, request.include_reasoning, request.show_special), (Ending::default(), true, false));
    assert!(request.switches.add_generation_prompt && request.ignored.is_empty());
}

#[test]
fn null_is_as_good_as_absent() {
    let names = [
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "n",
        "stop",
        "seed",
        "presence_penalty",
        "frequency_penalty",
        "logit_bias",
        "logprobs",
        "top_logprobs",
        "stream",
        "stream_options",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "functions",
        "function_call",
        "reasoning_effort",
        "chat_template_kwargs",
        "audio",
        "modalities",
        "web_search_options",
        "prediction",
        "store",
        "metadata",
        "user",
        "service_tier",
        "verbosity",
        "safety_identifier",
        "prompt_cache_key",
        "echo",
        "documents",
    ];
    let body = names.iter().map(|name| ((*name).to_owned(), Value::Null)).collect();

    assert_eq!(read(Value::Object(body)), read(json!({})));
}

#[test]
fn everything_may_be_said() {
    let request = read(json!({
        "tools": tools(), "tool_choice": "required", "parallel_tool_calls": false, "max_completion_tokens": 7, "max_tokens": 7, "n": 8,
        "stop": "x", "stop_token_ids": [5], "min_tokens": 2, "ignore_eos": true, "logprobs": true, "top_logprobs": 20, "stream": true,
        "stream_options": {"include_usage": true}, "include_reasoning": false, "skip_special_tokens": false, "temperature": 0.5,
    }))
    .unwrap();

    assert_eq!(
        (request.limit, request.n, request.logprobs, request.stream),
        (Some(TokenLimit::at_most("max_completion_tokens", 7)), 8, Some(20), true)
    );
    assert_eq!((request.calls, request.parallel, request.include_usage), (Calls::Required, false, true));
    assert_eq!((request.include_reasoning, request.show_special, request.ending.min_tokens), (false, true, 2));
    assert_eq!(request.ignored, [""; 0]);
}

#[test]
fn what_is_wrong_or_unsupported_is_named() {
    let rows = [
        ("messages", json!({"messages": null})),
        ("messages", json!({"messages": []})),
        ("messages[0].role", json!({"messages": [{"role": "me", "content": "x"}]})),
        ("max_tokens", json!({"max_tokens": 0})),
        ("max_completion_tokens", json!({"max_completion_tokens": -2})),
        ("max_tokens", json!({"max_tokens": 5, "max_completion_tokens": 6})),
        ("n", json!({"n": 9})),
        ("top_logprobs", json!({"logprobs": true, "top_logprobs": -1})),
        ("top_logprobs", json!({"top_logprobs": 1})),
        ("logprobs", json!({"logprobs": 5})),
        ("tool_choice", json!({"tool_choice": "required"})),
        ("stream_options", json!({"stream_options": "all"})),
        ("modalities", json!({"modalities": ["text", "audio"], "audio": {"voice": "x"}})),
        ("web_search_options", json!({"web_search_options": {}})),
        ("functions", json!({"functions": [{"name": "f"}], "function_call": "none"})),
        ("function_call", json!({"function_call": "auto"})),
        ("chat_template", json!({"chat_template": "{{ x }}"})),
        ("documents", json!({"documents": [{"text": "x"}]})),
        ("truncate_prompt_tokens", json!({"truncate_prompt_tokens": 5})),
        ("echo", json!({"echo": true})),
        ("bad_words", json!({"bad_words": ["x"]})),
    ];
    for (param, body) in rows {
        assert_eq!(read(body.clone()).unwrap_err().param(), Some(param), "{body}");
    }
}

#[test]
fn books_are_taken_in_silence_and_what_is_not_done_is_reported() {
    let silent = json!({
        "user": "me", "metadata": {"a": "b"}, "safety_identifier": "x", "prompt_cache_key": "k", "store": false, "service_tier": "auto",
        "modalities": ["text"], "echo": false,
        // vllm-router sends these values.
        "no_stop_trim": false, "separate_reasoning": true, "stream_reasoning": true, "return_hidden_states": false,
    });
    assert_eq!(read(silent).unwrap().ignored, [""; 0]);

    let reported = json!({
        "store": true, "return_hidden_states": true, "frobnicate": 1, "reasoning_effort": "much", "verbosity": "chatty",
        "stream_options": {"include_usage": true},
    });
    let names = ["stream_options", "store", "return_hidden_states", "frobnicate", "reasoning_effort", "verbosity"];
    assert_eq!(read(reported).unwrap().ignored, names);
    let empty = json!({"audio": {"voice": "x"}, "functions": [], "function_call": "none", "documents": [], "modalities": ["text"]});
    assert_eq!(read(empty).unwrap().ignored, ["documents", "functions", "function_call", "audio"]);
}

#[test]
fn parts_and_audio_of_earlier_turns_are_replaced_and_named() {
    let poem = json!([{"type": "poem"}]);
    let request = read(json!({"messages": [
        {"role": "user", "content": poem},
        {"role": "assistant", "content": null, "audio": {"id": "x"}},
        {"role": "user", "content": "Hi"},
    ]}));

    assert_eq!(request.unwrap().ignored, ["messages[0].content[0]", "messages[1].audio"]);
    assert_eq!(read(json!({"messages": [{"role": "user", "content": poem}]})).unwrap_err().param(), Some("messages[0].content[0].type"));
}

#[test]
fn allowed_tools_are_the_only_ones_that_are_offered() {
    let tools = json!([{"function": {"name": "f"}}, {"function": {"name": "g"}}, {"type": "web_search"}]);
    let choose = |mode: &str, entries: Value| {
        read(json!({"tools": tools, "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": entries}}}))
    };
    let g = json!({"type": "function", "function": {"name": "g"}});

    let request = choose("required", json!([g, {"type": "web_search"}])).unwrap();
    assert_eq!((request.tools.specs[0].name.as_str(), request.tools.specs.len(), request.calls), ("g", 1, Calls::Required));
    let unmet = choose("required", json!([{"type": "web_search"}])).unwrap();
    assert_eq!((unmet.tools.specs.len(), unmet.calls, unmet.partly), (2, Calls::Auto, vec![NOT_APPLIED]));
    assert_eq!(choose("auto", json!([{"type": "mcp"}])).unwrap_err().param(), Some("tool_choice.allowed_tools.tools[0]"));
    let odd = json!({"type": "allowed_tools", "allowed_tools": {"tools": [g], "x": 1}, "y": 1});
    let odd = read(json!({"tools": tools, "tool_choice": odd})).unwrap();
    assert_eq!(odd.ignored, ["tool_choice.y", "tool_choice.allowed_tools.x"]);
}

#[test]
fn what_is_beyond_a_limit_is_reduced_to_it_and_reported() {
    let body = json!({"logprobs": true, "top_logprobs": 21, "min_tokens": 6, "max_completion_tokens": 5, "logit_bias": {"100": 1, "5": 1}});
    let mut request = read(body).unwrap();

    assert_eq!((request.logprobs, request.ending.min_tokens), (Some(20), 5));
    assert_eq!(request.sampling.for_choice(0, 0).logit_bias, [(Token(5), 1.0)]);
    let changed = [
        ("min_tokens", "min_tokens was reduced to 5, which max_completion_tokens allows"),
        ("logit_bias", "logit_bias: 1 ids outside of the vocabulary were left out"),
        ("top_logprobs", "top_logprobs was reduced to 20"),
    ];
    assert_eq!(request.ignored.take_changed(), changed.map(|(name, text)| (name.to_owned(), text.to_owned())));
}

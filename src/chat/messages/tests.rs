//! Tests of the conversation that messages and tools become, and of the field that a refusal names.

use super::*;
use crate::chat::{
    Abilities,
    output::{Calls, ToolInput, ToolSpec},
};
use serde_json::json;

fn one(message: Value) -> Result<Value, MessageError> {
    read_messages(Value::Array(vec![message])).map(|conversation| conversation.for_template(&Abilities::default()).remove(0))
}

/// The path of the refused field.
fn refused<T: std::fmt::Debug>(result: Result<T, MessageError>) -> String {
    result.unwrap_err().path.as_str().to_owned()
}

#[test]
fn developers_are_the_system_and_parts_are_one_text() {
    let message = one(json!({"role": "developer", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]})).unwrap();
    assert_eq!(message, json!({"role": "system", "content": "a\nb"}));
}

#[test]
fn arguments_of_past_calls_are_objects_for_the_template() {
    let call = |arguments: Value| json!({"id": "call_1", "type": "function", "function": {"name": "f", "arguments": arguments}});
    let message = one(json!({"role": "assistant", "content": null, "refusal": null, "tool_calls": [
        call(json!("{\"a\": [1]}")), call(json!("")), call(json!("{\"a\": ")), call(json!({"b": 2}))]}));
    let expected = json!({"role": "assistant", "content": "", "tool_calls": [
        call(json!({"a": [1]})), call(json!({})), call(json!("{\"a\": ")), call(json!({"b": 2}))]});
    assert_eq!(message.unwrap(), expected);
    let cut = one(json!({"role": "assistant", "tool_calls": [call(json!(r#"{"a": "\ud83d"}"#))]})).unwrap();
    assert_eq!(cut["tool_calls"][0]["function"]["arguments"], json!({"a": "\u{fffd}"}), "an emoji was cut");
}

#[test]
fn names_ids_thoughts_and_unknown_fields_are_kept() {
    let tool = json!({"role": "tool", "content": "21 °C", "tool_call_id": "call_1", "name": "f"});
    assert_eq!(one(tool.clone()).unwrap(), tool);
    let thought = json!({"role": "assistant", "content": "", "reasoning_content": "hm", "prefix": true});
    assert_eq!(one(thought.clone()).unwrap(), thought);
}

#[test]
fn what_an_sdk_sends_back_is_accepted() {
    let answer = json!({"role": "assistant", "content": "Hi", "refusal": null, "annotations": [], "audio": null, "function_call": null,
        "tool_calls": null});
    assert_eq!(one(answer).unwrap(), json!({"role": "assistant", "content": "Hi", "annotations": []}));
    assert_eq!(
        one(json!({"role": "assistant", "content": null, "refusal": "No."})).unwrap(),
        json!({"role": "assistant", "content": "No."})
    );
}

#[test]
fn messages_that_break_a_rule_are_refused_by_name() {
    let call = json!([{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]);
    let cases = [
        (json!(5), "messages[0]"),
        (json!({"content": "a"}), "messages[0].role"),
        (json!({"role": "king", "content": "a"}), "messages[0].role"),
        (json!({"role": "user"}), "messages[0].content"),
        (json!({"role": "user", "content": null}), "messages[0].content"),
        (json!({"role": "system"}), "messages[0].content"),
        (json!({"role": "user", "content": 5}), "messages[0].content"),
        (json!({"role": "user", "content": ["a"]}), "messages[0].content[0]"),
        (
            json!({"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {}}]}),
            "messages[0].content[1]",
        ),
        (json!({"role": "user", "content": [{"type": "text"}]}), "messages[0].content[0].text"),
        (json!({"role": "user", "content": [{"type": "poem", "text": "a"}]}), "messages[0].content[0].type"),
        (json!({"role": "user", "content": "a", "name": 5}), "messages[0].name"),
        (json!({"role": "user", "content": "a", "tool_calls": call}), "messages[0].tool_calls"),
        (json!({"role": "user", "content": "a", "function_call": {"name": "f"}}), "messages[0].function_call"),
        (json!({"role": "tool", "content": "a", "tool_call_id": 5}), "messages[0].tool_call_id"),
        (json!({"role": "user", "content": "a", "audio": {"id": "x"}}), "messages[0].audio"),
        (json!({"role": "assistant", "function_call": {"arguments": ""}}), "messages[0].function_call.name"),
        (json!({"role": "assistant", "tool_calls": [5]}), "messages[0].tool_calls[0]"),
        (json!({"role": "assistant", "tool_calls": [{"id": "1", "type": "custom"}]}), "messages[0].tool_calls[0].custom"),
        (json!({"role": "assistant", "tool_calls": [{"id": "1", "type": "mcp"}]}), "messages[0].tool_calls[0].type"),
        (json!({"role": "assistant", "tool_calls": [{"id": "1"}]}), "messages[0].tool_calls[0].function"),
        (json!({"role": "assistant", "tool_calls": [{"id": 5, "function": {"name": "f"}}]}), "messages[0].tool_calls[0].id"),
        (json!({"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": ""}}]}), "messages[0].tool_calls[0].function.name"),
        (
            json!({"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": 5}}]}),
            "messages[0].tool_calls[0].function.arguments",
        ),
    ];
    for (message, param) in cases {
        assert_eq!(refused(one(message.clone())), param, "{message}");
    }
}

#[test]
fn an_empty_content_is_an_empty_text() {
    let call = json!([{"id": "1", "type": "function", "function": {"name": "f", "arguments": {}}}]);
    let rows = [
        json!({"role": "user", "content": []}),
        json!({"role": "system", "content": []}),
        json!({"role": "assistant", "content": []}),
        json!({"role": "assistant", "content": null}),
        json!({"role": "assistant"}),
        json!({"role": "assistant", "content": [], "tool_calls": call}),
        json!({"role": "tool", "content": [], "tool_call_id": "1"}),
        json!({"role": "tool", "content": null, "tool_call_id": "1"}),
        json!({"role": "tool", "tool_call_id": "1"}),
    ];
    for message in rows {
        assert_eq!(one(message.clone()).unwrap()["content"], "", "{message}");
    }
}

#[test]
fn names_of_past_calls_need_not_obey_the_rule_for_tools() {
    let called = |name: &str| one(json!({"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": name}}]}));

    for name in ["server.tool/x", "a b", &"a".repeat(MAX_PAST_NAME)] {
        assert_eq!(called(name).unwrap()["tool_calls"][0]["function"]["name"], name);
    }
    assert_eq!(refused(called(&"a".repeat(MAX_PAST_NAME + 1))), "messages[0].tool_calls[0].function.name");
}

#[test]
fn a_function_call_and_its_result_are_a_call_and_a_result() {
    let turns = json!([
        {"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": "{\"a\": 1}"}},
        {"role": "function", "name": "f", "content": "r"},
    ]);

    let seen: Value = read_messages(turns).unwrap().for_template(&Abilities::default()).into();

    let call = json!({"id": "call_1", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}});
    let expected = json!([
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "r", "name": "f", "tool_call_id": "call_1"},
    ]);
    assert_eq!(seen, expected);
}

#[test]
fn a_refused_part_is_named_by_its_type() {
    let error = one(json!({"role": "user", "content": [{"type": "poem", "text": "a"}]})).unwrap_err();
    assert_eq!(error.to_string(), "Invalid 'messages[0].content[0].type': 'poem' is not known here: expected 'text'.");
}

#[test]
fn the_number_of_messages_is_limited() {
    let message = json!({"role": "user", "content": "a"});
    assert_eq!(refused(read_messages(json!([]))), "messages");
    assert_eq!(refused(read_messages(json!("hello"))), "messages");
    assert_eq!(read_messages(Value::Array(vec![message.clone(); MAX_MESSAGES])).unwrap().messages.len(), MAX_MESSAGES);
    let error = read_messages(Value::Array(vec![message; MAX_MESSAGES + 1])).unwrap_err();
    assert_eq!(error.to_string(), "Invalid 'messages': expected 1 to 2048 messages, but got 2049 instead.");
}

/// Tools of which none is left out.
fn tools_of(value: Value) -> Result<Tools, MessageError> {
    read_tools(value, &mut |at, kind| panic!("{at:?} of type {kind}"))
}

/// A choice beside tools of which none is left out.
fn choice_of(choice: Value, tools: &Tools) -> Result<Calls, MessageError> {
    read_tool_choice(choice, &mut tools.clone(), |_| false)
}

fn tool(name: &str) -> Value {
    json!({"type": "function", "function": {"name": name, "description": "d", "parameters": {"type": "object"}, "strict": true}})
}

#[test]
fn tools_are_read_for_the_parser_and_for_the_template() {
    let tools = tools_of(json!([tool("f"), {"type": "function", "function": {"name": "g", "parameters": null}}])).unwrap();
    let spec = |name: &str, parameters: Value, strict| ToolSpec { name: name.to_owned(), parameters, strict, input: ToolInput::Arguments };
    assert_eq!(tools.specs, [spec("f", json!({"type": "object"}), true), spec("g", json!({}), false)]);
    let for_template = [
        json!({"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}),
        json!({"type": "function", "function": {"name": "g"}}),
    ];
    assert_eq!(tools.values, for_template);
    assert_eq!(tools_of(json!(null)).unwrap(), Tools::default());
    assert_eq!(tools_of(json!([])).unwrap(), Tools::default());
}

#[test]
fn tools_that_break_a_rule_are_refused_by_name() {
    let cases = [
        (json!("f"), "tools"),
        (json!([5]), "tools[0]"),
        (json!([{"type": "custom"}]), "tools[0].custom"),
        (json!([{"type": "custom", "custom": {}}]), "tools[0].custom.name"),
        (json!([{"type": "custom", "custom": {"name": "f", "format": {"type": "x"}}}]), "tools[0].custom.format.type"),
        (json!([tool("f"), {"type": "custom", "custom": {"name": "f"}}]), "tools[1].custom.name"),
        (json!([{"type": 5}]), "tools[0].type"),
        (json!([{"type": "function"}]), "tools[0].function"),
        (json!([{"type": "function", "function": {}}]), "tools[0].function.name"),
        (json!([tool("a.b")]), "tools[0].function.name"),
        (json!([tool(&"a".repeat(65))]), "tools[0].function.name"),
        (json!([tool("f"), {"function": {"name": "f"}}]), "tools[1].function.name"),
        (json!([{"function": {"name": "f", "parameters": []}}]), "tools[0].function.parameters"),
        (json!([{"function": {"name": "f", "parameters": {"type": "string"}}}]), "tools[0].function.parameters.type"),
        (json!([{"function": {"name": "f", "strict": "yes"}}]), "tools[0].function.strict"),
        (json!([{"function": {"name": "f", "description": {}}}]), "tools[0].function.description"),
    ];
    for (tools, param) in cases {
        assert_eq!(refused(tools_of(tools.clone())), param, "{tools}");
    }
}

#[test]
fn a_tool_that_was_sent_twice_with_equal_contents_is_there_once() {
    let custom = json!({"type": "custom", "custom": {"name": "g"}});

    let tools = tools_of(json!([tool("f"), custom, tool("f"), custom, tool("f")])).unwrap();

    assert_eq!(tools.specs.iter().map(|tool| tool.name.as_str()).collect::<Vec<_>>(), ["f", "g"]);
    assert_eq!((tools.values.len(), tools.repeated), (2, vec!["f".to_owned(), "g".to_owned()]));
}

#[test]
fn a_schema_whose_type_is_null_or_a_list_of_object_is_one_of_an_object() {
    for kind in [json!(null), json!(["object"])] {
        let tools = tools_of(json!([{"function": {"name": "f", "parameters": {"type": kind, "properties": {}}}}])).unwrap();

        let expected = json!({"type": "object", "properties": {}});
        assert_eq!((&tools.specs[0].parameters, &tools.values[0]["function"]["parameters"]), (&expected, &expected));
    }
    let other = json!([{"function": {"name": "f", "parameters": {"type": ["object", "null"]}}}]);
    assert_eq!(refused(tools_of(other)), "tools[0].function.parameters.type");
}

#[test]
fn tools_that_nothing_here_can_run_are_left_out_and_told() {
    let mut left_out = Vec::new();

    let sent = json!([{"type": "web_search"}, tool("f"), {"type": "x", "name": 5}]);
    let tools = read_tools(sent, &mut |at, kind| left_out.push(format!("{} {kind}", at.as_str()))).unwrap();

    assert_eq!(tools.specs.iter().map(|tool| tool.name.as_str()).collect::<Vec<_>>(), ["f"]);
    assert_eq!(left_out, ["tools[0] web_search", "tools[2] x"]);
}

#[test]
fn a_custom_tool_is_a_function_with_one_text() {
    let tools = tools_of(json!([{"type": "custom", "custom": {"name": "f", "description": "d"}}])).unwrap();

    assert_eq!(tools.specs[0].input, ToolInput::Text { grammar: None });
    assert_eq!(tools.values[0]["function"]["parameters"], tools.specs[0].parameters);
    let choice = json!({"type": "custom", "custom": {"name": "f"}});
    assert_eq!(choice_of(choice, &tools), Ok(Calls::Named("f".to_owned())));
}

#[test]
fn a_past_call_of_a_custom_tool_has_its_text_as_argument() {
    let call = json!({"id": "1", "type": "custom", "custom": {"name": "f", "input": "a\nb"}});

    let seen = one(json!({"role": "assistant", "tool_calls": [call]})).unwrap();

    let expected = json!({"id": "1", "type": "function", "function": {"name": "f", "arguments": {"input": "a\nb"}}});
    assert_eq!(seen["tool_calls"], json!([expected]));
    let wrong = json!({"id": "1", "type": "custom", "custom": {"name": "f", "input": 5}});
    assert_eq!(refused(one(json!({"role": "assistant", "tool_calls": [wrong]}))), "messages[0].tool_calls[0].custom.input");
}

#[test]
fn the_number_and_the_size_of_tools_are_limited() {
    let many = |count: usize| Value::Array((0..count).map(|at| tool(&format!("f{at}"))).collect());
    assert_eq!(tools_of(many(MAX_TOOLS)).unwrap().specs.len(), MAX_TOOLS);
    assert_eq!(refused(tools_of(many(MAX_TOOLS + 1))), "tools");
    let long = json!([{"function": {"name": "f", "description": "d".repeat(MAX_TOOL_BYTES)}}]);
    assert_eq!(refused(tools_of(long)), "tools");
}

#[test]
fn a_tool_choice_is_one_of_the_tools_or_a_word() {
    let tools = tools_of(json!([tool("f")])).unwrap();
    let named = |name: &str| json!({"type": "function", "function": {"name": name}});
    assert_eq!(choice_of(json!(null), &tools), Ok(Calls::Auto));
    assert_eq!(choice_of(json!("auto"), &tools), Ok(Calls::Auto));
    assert_eq!(choice_of(json!("none"), &tools), Ok(Calls::None));
    assert_eq!(choice_of(json!("required"), &tools), Ok(Calls::Required));
    assert_eq!(choice_of(named("f"), &tools), Ok(Calls::Named("f".to_owned())));
    assert_eq!(choice_of(json!(null), &Tools::default()), Ok(Calls::None));
    assert_eq!(choice_of(json!("auto"), &Tools::default()), Ok(Calls::None));
    assert_eq!(refused(choice_of(named("g"), &tools)), "tool_choice.function.name");
    assert_eq!(refused(choice_of(json!({"type": "allowed_tools"}), &tools)), "tool_choice.allowed_tools");
    assert_eq!(refused(choice_of(json!({"type": "mcp"}), &tools)), "tool_choice.type");
    assert_eq!(refused(choice_of(json!("any"), &tools)), "tool_choice");
    assert_eq!(refused(choice_of(json!(1), &tools)), "tool_choice");
    assert_eq!(refused(choice_of(json!("required"), &Tools::default())), "tool_choice");
}

#[test]
fn every_message_part_and_call_knows_where_it_came_from() {
    let call = json!({"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let read = read_messages(json!([
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": [{"type": "text", "text": "b"}, {"type": "text", "text": "c"}], "tool_calls": [call]},
    ]));

    let messages = read.unwrap().messages;
    let place = |Part::Text { at, .. }: &Part| at.as_str().to_owned();
    assert_eq!((messages[0].at.as_str(), place(&messages[0].content[0])), ("messages[0]", "messages[0].content".to_owned()));
    assert_eq!(place(&messages[1].content[1]), "messages[1].content[1]");
    assert_eq!(messages[1].calls[0].at.as_str(), "messages[1].tool_calls[0]");
}

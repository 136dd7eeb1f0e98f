//! The conversation that items become, and the field that a refusal names.

use super::*;
use serde_json::json;

/// Reads an input whose tools have no namespaces.
fn read(instructions: Option<String>, input: Value) -> Result<InputItems, FieldError> {
    super::read(instructions, input, &ToolNames::default())
}

/// The messages of an input as a template sees them.
fn messages(input: Value) -> Value {
    read(None, input).unwrap().conversation.for_template(&crate::chat::Abilities::default()).into()
}

fn places(conversation: &Conversation) -> Vec<&str> {
    conversation.messages.iter().map(|message| message.at.as_str()).collect()
}

#[test]
fn a_text_is_a_user_and_instructions_are_the_system_before_it() {
    let conversation = read(Some("Be brief.".into()), json!("Hi")).unwrap().conversation;

    let expected = [json!({"role": "system", "content": "Be brief."}), json!({"role": "user", "content": "Hi"})];
    assert_eq!(places(&conversation), ["instructions", "input"]);
    assert_eq!(conversation.for_template(&crate::chat::Abilities::default()), expected);
}

#[test]
fn messages_with_and_without_a_type_keep_their_order() {
    let parts = json!([{"type": "input_text", "text": "a"}]);
    let items = json!([
        {"role": "developer", "content": "d"},
        {"type": "message", "role": "user", "content": parts, "id": "msg_1", "status": "completed"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "b", "annotations": []}], "phase": "final_answer"},
        {"role": "user", "content": "c"},
    ]);

    let expected = json!([
        {"role": "system", "content": "d"},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "user", "content": "c"},
    ]);
    assert_eq!(messages(items), expected);
}

#[test]
fn what_one_turn_thought_said_and_called_is_one_message() {
    let call =
        |id: &str| json!({"type": "function_call", "id": "fc_1", "call_id": id, "name": "f", "arguments": "{}", "status": "completed"});
    let items = json!([
        {"role": "user", "content": "q"},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
        {"type": "message", "role": "assistant", "content": "I call."},
        call("1"),
        call("2"),
        {"type": "function_call_output", "call_id": "1", "output": "one"},
        {"type": "function_call_output", "call_id": "2", "output": [{"type": "input_text", "text": "two"}]},
        {"type": "reasoning", "id": "rs_2", "summary": [{"type": "summary_text", "text": "short"}]},
        {"type": "message", "role": "assistant", "content": "Done."},
    ]);

    let read = read(None, items).unwrap();

    let made = |id: &str| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": {}}});
    let expected = json!([
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "I call.", "reasoning_content": "hm", "tool_calls": [made("1"), made("2")]},
        {"role": "tool", "tool_call_id": "1", "content": "one"},
        {"role": "tool", "tool_call_id": "2", "content": "two"},
        {"role": "assistant", "content": "Done.", "reasoning_content": "short"},
    ]);
    assert_eq!(read.ignored, [""; 0]);
    assert_eq!(places(&read.conversation), ["input[0]", "input[2]", "input[5]", "input[6]", "input[8]"]);
    let calls: Vec<&str> = read.conversation.messages[1].calls.iter().map(|call| call.at.as_str()).collect();
    assert_eq!(calls, ["input[3]", "input[4]"]);
    assert_eq!(Value::from(read.conversation.for_template(&crate::chat::Abilities::default())), expected);
}

#[test]
fn a_second_text_or_a_thought_after_a_call_is_a_turn_of_its_own() {
    let call = json!({"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"});
    let thought = json!({"type": "reasoning", "content": [{"type": "reasoning_text", "text": "hm"}]});
    let said = |text: &str| json!({"role": "assistant", "content": text});

    let turns = messages(json!([said("a"), said("b"), call, thought, call]));

    let shapes: Vec<Value> = turns
        .as_array()
        .unwrap()
        .iter()
        .map(|turn| json!([turn["content"], turn["reasoning_content"], turn["tool_calls"].as_array().map(Vec::len)]))
        .collect();
    assert_eq!(shapes, [json!(["a", null, null]), json!(["b", null, 1]), json!(["", "hm", 1])]);
}

#[test]
fn what_an_item_says_besides_is_reported_unless_it_is_null() {
    let items = json!([
        {"role": "user", "content": "a", "name": "Bob", "phase": null, "colour": null},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
        {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}", "colour": "red"},
    ]);

    let read = read(None, items).unwrap();

    assert_eq!(read.ignored, ["input[0].name", "input[1].encrypted_content", "input[2].colour"]);
}

#[test]
fn items_that_break_a_rule_are_refused_by_name() {
    let rows = [
        (json!(5), "input"),
        (json!([]), "input"),
        (json!(["a"]), "input[0]"),
        (json!([{"content": "a"}]), "input[0].type"),
        (json!([{"type": 5}]), "input[0].type"),
        (json!([{"type": "item_reference", "id": "msg_1"}]), "input[0].type"),
        (json!([{"type": "computer_call"}]), "input"),
        (json!([{"type": "custom_tool_call", "call_id": "1", "name": "f", "input": 5}]), "input[0].input"),
        (json!([{"type": "function_call", "call_id": "1", "name": "f", "namespace": 5}]), "input[0].namespace"),
        (json!([{"role": "tool", "content": "a"}]), "input[0].role"),
        (json!([{"type": "message", "content": "a"}]), "input[0].role"),
        (json!([{"role": "user"}]), "input[0].content"),
        (json!([{"role": "user", "content": "a"}, {"type": "reasoning", "content": "x"}]), "input[1].content"),
        (json!([{"type": "reasoning", "summary": [{}]}]), "input[0].summary[0]"),
        (json!([{"type": "reasoning", "summary": []}]), "input"),
        (json!([{"role": "user", "content": [{"type": "input_image"}]}]), "input[0].content[0]"),
        (json!([{"type": "function_call", "call_id": "1", "name": ""}]), "input[0].name"),
        (json!([{"type": "function_call", "call_id": "1", "name": "f", "arguments": 5}]), "input[0].arguments"),
        (json!([{"type": "function_call_output", "call_id": "1", "output": 5}]), "input[0].output"),
        (json!([{"type": "function_call_output", "call_id": 1, "output": "x"}]), "input[0].call_id"),
        (json!([{"type": "function_call_output", "output": [{"type": "input_file"}]}]), "input[0].output[0]"),
    ];
    for (input, param) in rows {
        assert_eq!(read(None, input.clone()).unwrap_err().param(), Some(param), "{input}");
    }
}

#[test]
fn an_empty_content_or_output_is_an_empty_text() {
    let items = json!([
        {"role": "user", "content": []},
        {"role": "assistant", "content": null},
        {"role": "assistant"},
        {"type": "function_call_output", "call_id": "1", "output": []},
        {"type": "function_call_output", "call_id": "1", "output": null},
        {"type": "function_call_output", "call_id": "1"},
    ]);

    let contents: Vec<Value> = messages(items).as_array().unwrap().iter().map(|turn| turn["content"].clone()).collect();

    assert_eq!(contents, ["", "", "", "", "", ""]);
}

#[test]
fn calls_and_results_without_ids_belong_together_by_their_order() {
    let items = json!([
        {"type": "function_call", "name": "mcp.a", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "1", "name": "g", "input": "x"},
        {"type": "function_call_output", "output": "a"},
        {"type": "custom_tool_call_output", "output": "b"},
    ]);

    let turns = messages(items);

    assert_eq!((&turns[0]["tool_calls"][0]["id"], &turns[0]["tool_calls"][0]["function"]["name"]), (&json!("call_1"), &json!("mcp.a")));
    assert_eq!((&turns[1]["tool_call_id"], &turns[2]["tool_call_id"]), (&json!("call_1"), &json!("1")));
}

#[test]
fn what_a_part_says_besides_is_reported_under_the_key_that_it_is_in() {
    let part = json!([{"type": "input_text", "text": "a", "colour": "red"}]);
    let items = json!([
        {"role": "user", "content": part},
        {"type": "function_call_output", "call_id": "1", "output": part},
    ]);

    assert_eq!(read(None, items).unwrap().hidden, ["input[].content[].colour", "input[].output[].colour"]);
}

/// Codex's history (issue 14).
#[test]
fn calls_of_custom_tools_and_of_a_shell_are_calls_of_functions() {
    let action = json!({"type": "exec", "command": ["ls"]});
    let items = json!([
        {"role": "user", "content": "q"},
        {"type": "custom_tool_call", "id": "ctc_1", "call_id": "1", "name": "apply_patch", "input": "*** a", "status": "completed"},
        {"type": "custom_tool_call_output", "call_id": "1", "output": [{"type": "input_text", "text": "done"}]},
        {"type": "local_shell_call", "call_id": "2", "status": "completed", "action": action},
        {"type": "local_shell_call_output", "id": "2", "output": {"stdout": "a"}},
    ]);

    let call =
        |id: &str, name: &str, arguments: Value| json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments}});
    let expected = json!([
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "", "tool_calls": [call("1", "apply_patch", json!({"input": "*** a"}))]},
        {"role": "tool", "content": "done", "tool_call_id": "1"},
        {"role": "assistant", "content": "", "tool_calls": [call("2", "local_shell", action)]},
        {"role": "tool", "content": "{\"stdout\":\"a\"}", "tool_call_id": "2"},
    ]);
    assert_eq!(messages(items), expected);
}

#[test]
fn items_of_other_kinds_are_left_out_and_told() {
    let items = json!([
        {"role": "user", "content": "q"},
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search", "query": "x"}},
        {"type": "reasoning", "summary": [], "encrypted_content": "x"},
        {"type": "tool_search_output", "call_id": "1", "tools": []},
        {"type": "local_shell_call", "action": {}},
        {"type": "brand_new", "call_id": "1"},
        {"role": "assistant", "content": "a"},
    ]);

    let read = read(None, items).unwrap();

    assert_eq!(places(&read.conversation), ["input[0]", "input[6]"]);
    let told: Vec<String> = read.left_out.warnings().into_iter().map(|(at, _)| at).collect();
    assert_eq!(told, ["input[1]", "input[3]", "input[4]", "input[5]"]);
}

#[test]
fn a_call_in_a_namespace_has_the_name_that_the_model_knows() {
    let mut names = ToolNames::default();
    names.add("a", "f", true);
    let call = |namespace| json!({"type": "function_call", "call_id": "1", "namespace": namespace, "name": "f", "arguments": "{}"});

    let read = super::read(None, json!([call(json!("a")), call(json!("gone")), call(json!(null))]), &names).unwrap();

    let calls: Vec<&str> = read.conversation.messages[0].calls.iter().map(|call| call.name.as_str()).collect();
    assert_eq!(calls, ["a__f", "f", "f"]);
}

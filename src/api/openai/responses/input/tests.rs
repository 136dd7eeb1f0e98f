//! What items become, and what is refused by which name.

use super::*;

fn messages(input: Value) -> Value {
    read(None, input).unwrap().messages.into()
}

#[test]
fn a_text_is_a_user_and_instructions_are_the_system_before_it() {
    let conversation = read(Some("Be brief.".into()), json!("Hi")).unwrap();

    let expected = [json!({"role": "system", "content": "Be brief."}), json!({"role": "user", "content": "Hi"})];
    assert_eq!(conversation.messages, expected);
    assert_eq!(conversation.origins.iter().map(|origin| origin.at.as_str()).collect::<Vec<_>>(), ["instructions", "input"]);
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
        {"role": "developer", "content": "d"},
        {"role": "user", "content": parts},
        {"role": "assistant", "content": [{"type": "output_text", "text": "b", "annotations": []}]},
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

    let conversation = read(None, items).unwrap();

    let made = |id: &str| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let expected = json!([
        {"role": "user", "content": "q"},
        {"role": "assistant", "content": "I call.", "reasoning_content": "hm", "tool_calls": [made("1"), made("2")]},
        {"role": "tool", "tool_call_id": "1", "content": "one", "name": null},
        {"role": "tool", "tool_call_id": "2", "content": [{"type": "input_text", "text": "two"}], "name": null},
        {"role": "assistant", "content": "Done.", "reasoning_content": "short"},
    ]);
    assert_eq!(Value::from(conversation.messages), expected);
    assert_eq!(
        conversation.origins[1],
        Origin { at: "input[2]".into(), content: "content", calls: vec!["input[3]".into(), "input[4]".into()] }
    );
    assert_eq!(conversation.ignored, [""; 0]);
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
    assert_eq!(shapes, [json!(["a", null, null]), json!(["b", null, 1]), json!([null, "hm", 1])]);
}

#[test]
fn what_an_item_says_besides_is_reported_unless_it_is_null() {
    let items = json!([
        {"role": "user", "content": "a", "name": "Bob", "phase": null, "colour": null},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "x"},
        {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}", "namespace": "n"},
    ]);

    let conversation = read(None, items).unwrap();

    assert_eq!(conversation.ignored, ["input[0].name", "input[1].encrypted_content", "input[2].namespace"]);
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
        (json!([{"type": "computer_call"}]), "input[0].type"),
        (json!([{"role": "tool", "content": "a"}]), "input[0].role"),
        (json!([{"type": "message", "content": "a"}]), "input[0].role"),
        (json!([{"role": "user"}]), "input[0].content"),
        (json!([{"role": "user", "content": "a"}, {"type": "reasoning", "content": "x"}]), "input[1].content"),
        (json!([{"type": "reasoning", "summary": [{}]}]), "input[0].summary[0]"),
    ];
    for (input, param) in rows {
        assert_eq!(read(None, input.clone()).unwrap_err().param(), Some(param), "{input}");
    }
}

//! Fields inside `messages`, `tools` and `tool_choice` that neither this server nor a template reads.
//!
//! Keys of a message itself and of a tool's function are not included: those reach the template, and the caller finds
//! out whether the template shows them. Checks nothing; values of the wrong shape are refused elsewhere. Stores
//! nothing: a request can have hundreds of thousands of such fields.

use super::{ALLOWED_TOOLS, CUSTOM, FUNCTION, FUNCTION_CALL, TOOL_CALLS};
use serde_json::Value;

/// Calls `found` with the path and the name of each unread field of chat, such as `messages[].content[]` and
/// `cache_control`.
pub fn unread(messages: &Value, tools: Option<&Value>, tool_choice: Option<&Value>, found: &mut impl FnMut(&str, &str)) {
    for message in items(Some(messages)) {
        unread_in_parts(message.get("content"), "messages[].content[]", found);
        let has_calls = message.get(TOOL_CALLS).and_then(Value::as_array).is_some_and(|calls| !calls.is_empty());
        if has_calls && message.get(FUNCTION_CALL).is_some_and(|call| !call.is_null()) {
            found("messages[]", FUNCTION_CALL);
        }
        report("messages[].function_call", message.get(FUNCTION_CALL), &["name", "arguments"], found);
        for call in items(message.get(TOOL_CALLS)) {
            // Clients copy `index` from the chunks of a stream.
            report("messages[].tool_calls[]", Some(call), &["id", "type", kind_of(call), "index"], found);
            report("messages[].tool_calls[].function", call.get("function"), &["name", "arguments"], found);
            report("messages[].tool_calls[].custom", call.get("custom"), &["name", "input"], found);
        }
    }
    for tool in items(tools) {
        // A tool of another type is left out, and its type is told.
        let kind = kind_of(tool);
        if [FUNCTION, CUSTOM].contains(&kind) {
            report("tools[]", Some(tool), &["type", kind], found);
        }
        report("tools[].custom", tool.get(CUSTOM), &["name", "description", "format"], found);
    }
    let kind = tool_choice.map_or(FUNCTION, kind_of);
    report("tool_choice", tool_choice, &["type", kind], found);
    let (at, known): (_, &[&str]) = match kind {
        ALLOWED_TOOLS => ("tool_choice.allowed_tools", &["mode", "tools"]),
        CUSTOM => ("tool_choice.custom", &["name"]),
        FUNCTION => ("tool_choice.function", &["name"]),
        // It is not applied, and that is told.
        _ => return,
    };
    report(at, tool_choice.and_then(|choice| choice.get(kind)), known, found);
}

/// The `type` of a tool, a call or a choice, which is also the key of its fields.
fn kind_of(object: &Value) -> &str {
    object.get("type").and_then(Value::as_str).unwrap_or(FUNCTION)
}

/// Calls `found` with `at` and the name of each unread field in the parts of a message's content.
pub fn unread_in_parts(content: Option<&Value>, at: &str, found: &mut impl FnMut(&str, &str)) {
    for part in items(content) {
        report(at, Some(part), &["type", "text", "refusal"], found);
    }
}

fn items(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

/// Calls `found` for each key of an object that is not in `known`; keys with the value `null` are skipped.
fn report(at: &str, object: Option<&Value>, known: &[&str], found: &mut impl FnMut(&str, &str)) {
    for (key, value) in object.and_then(Value::as_object).into_iter().flatten() {
        if !value.is_null() && !known.contains(&key.as_str()) {
            found(at, key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::unread;
    use serde_json::{Value, json};

    #[test]
    fn fields_of_a_choice_are_named_by_its_kind_and_those_of_an_unknown_kind_are_not() {
        let names = |choice: Value| {
            let mut names = Vec::new();
            unread(&json!([]), None, Some(&choice), &mut |at, name| names.push(format!("{at}.{name}")));
            names
        };

        assert_eq!(names(json!({"type": "function", "function": {"name": "f", "x": 1}})), ["tool_choice.function.x"]);
        assert_eq!(names(json!({"type": "custom", "custom": {"name": "f", "x": 1}})), ["tool_choice.custom.x"]);
        assert_eq!(names(json!({"type": "mcp", "mcp": {"x": 1}})), [""; 0]);
    }
}

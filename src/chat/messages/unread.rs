//! Fields inside `messages`, `tools` and `tool_choice` that neither this server nor a template gets to see.
//!
//! Keys of a message itself and of a tool's function are not among them: those reach the template, and whether that shows
//! them is for the caller to find out. Checks nothing; what has the wrong shape is refused elsewhere.

use serde_json::{Map, Value};

/// Their names, each once: `messages[].content[].cache_control`.
#[must_use]
pub fn unread(messages: &Value, tools: Option<&Value>, tool_choice: Option<&Value>) -> Vec<String> {
    let mut names = Names(Vec::new());
    for message in items(Some(messages)) {
        for part in items(message.get("content")) {
            names.collect("messages[].content[]", Some(part), &["type", "text", "refusal"]);
        }
        for call in items(message.get("tool_calls")) {
            // `index` is what clients have left of a stream.
            names.collect("messages[].tool_calls[]", Some(call), &["id", "type", "function", "index"]);
            names.collect("messages[].tool_calls[].function", call.get("function"), &["name", "arguments"]);
        }
    }
    for tool in items(tools) {
        names.collect("tools[]", Some(tool), &["type", "function"]);
    }
    names.collect("tool_choice", tool_choice, &["type", "function"]);
    names.collect("tool_choice.function", tool_choice.and_then(|choice| choice.get("function")), &["name"]);
    names.0
}

fn items(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}

struct Names(Vec<String>);

impl Names {
    /// Adds the keys of an object that are not `known`; `null` is none.
    fn collect(&mut self, at: &str, object: Option<&Value>, known: &[&str]) {
        let empty = Map::new();
        let object = object.and_then(Value::as_object).unwrap_or(&empty);
        for (key, _) in object.iter().filter(|(key, value)| !value.is_null() && !known.contains(&key.as_str())) {
            let name = format!("{at}.{key}");
            if !self.0.contains(&name) {
                self.0.push(name);
            }
        }
    }
}

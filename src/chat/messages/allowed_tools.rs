//! The `tool_choice` of type `allowed_tools`: of the tools that were sent, some are offered, and a call of them may or
//! must be made.
//!
//! OpenAI nests `mode` and `tools` on chat, and the names in `tools` too; on responses all are flat.

use super::{FUNCTION, MessageError, Tools};
use crate::{chat::output::Calls, field_path::FieldPath};
use serde_json::{Map, Value};
use std::collections::HashSet;

/// The type of the choice, and chat's key for its fields.
pub const ALLOWED_TOOLS: &str = "allowed_tools";

/// Takes `mode` and `tools` from the fields at `at`, and removes the tools that they do not allow. `name_of` returns
/// the name by which the model knows an entry of the list. An entry of which `is_left_out` is true is a tool that was
/// sent and cannot be offered.
///
/// # Errors
/// The mode is neither `auto` nor `required`, the list is absent, an entry is none of the tools that were sent, or a
/// call is required and no tool is allowed.
pub fn allow_only(
    fields: &mut Map<String, Value>,
    at: &FieldPath,
    tools: &mut Tools,
    name_of: impl Fn(&Value) -> Option<String>,
    is_left_out: impl Fn(&Value) -> bool,
) -> Result<Calls, MessageError> {
    let is_required = match fields.shift_remove("mode") {
        None | Some(Value::Null) => false,
        Some(Value::String(mode)) if mode == "auto" => false,
        Some(Value::String(mode)) if mode == "required" => true,
        Some(_) => return Err(MessageError::new(at.field("mode"), "expected 'auto' or 'required'")),
    };
    let list_at = at.field("tools");
    let list = match fields.shift_remove("tools") {
        Some(Value::Array(list)) => list,
        None | Some(Value::Null) => return Err(MessageError::missing(list_at)),
        Some(other) => return Err(MessageError::wrong_type(list_at, "an array of tools", &other)),
    };
    let mut names = HashSet::new();
    for (index, entry) in list.iter().enumerate() {
        match name_of(entry).filter(|name| tools.has(name)) {
            Some(name) => {
                names.insert(name);
            }
            None if is_left_out(entry) => {}
            None => return Err(unknown(entry, list_at.index(index))),
        }
    }
    if is_required && names.is_empty() {
        return Err(MessageError::new(list_at, "the mode 'required' needs at least one of 'tools'"));
    }
    tools.keep(&names);
    Ok(if is_required { Calls::Required } else { tools.default_calls() })
}

/// The name in a choice, or in an entry of its list, flat or nested under its type.
pub fn name_in_choice(entry: &Value) -> Option<&str> {
    let kind = entry["type"].as_str().unwrap_or(FUNCTION);
    entry["name"].as_str().or(entry[kind]["name"].as_str())
}

fn unknown(entry: &Value, at: FieldPath) -> MessageError {
    match name_in_choice(entry).or(entry["type"].as_str()) {
        Some(name) => {
            let shown: String = name.chars().take(64).collect();
            MessageError::new(at, format!("'{shown}' is not among 'tools'"))
        }
        None => MessageError::wrong_type(at, "an object with 'type' and a name", entry),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chat::messages::{read_tool_choice, read_tools};
    use serde_json::json;

    /// The allowed tools of `f`, `g` and a search that was left out, and the calls.
    fn choose(mode: &str, entries: &Value) -> Result<(Vec<String>, Calls), MessageError> {
        let tool = |name: &str| json!({"type": "function", "function": {"name": name}});
        let mut tools = read_tools(json!([tool("f"), {"type": "custom", "custom": {"name": "g"}}]), &mut |_, _| ()).unwrap();
        let choice = json!({"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": entries}});
        let calls = read_tool_choice(choice, &mut tools, |entry| entry["type"] == "web_search")?;
        assert_eq!(tools.specs.len(), tools.values.len());
        Ok((tools.specs.into_iter().map(|spec| spec.name).collect(), calls))
    }

    #[test]
    fn only_the_allowed_tools_are_offered() {
        let f = json!({"type": "function", "function": {"name": "f"}});
        let g = json!({"type": "custom", "custom": {"name": "g"}});
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>();

        assert_eq!(choose("auto", &json!([g])), Ok((names(&["g"]), Calls::Auto)));
        assert_eq!(choose("required", &json!([f])), Ok((names(&["f"]), Calls::Required)));
        assert_eq!(choose("required", &json!([g, f, f])), Ok((names(&["f", "g"]), Calls::Required)));
        assert_eq!(choose("auto", &json!([f, {"type": "web_search"}])), Ok((names(&["f"]), Calls::Auto)));
        assert_eq!(choose("auto", &json!([])), Ok((vec![], Calls::None)));
    }

    #[test]
    fn an_allowed_tool_that_was_not_sent_is_named() {
        let error = |mode: &str, entries: &Value| choose(mode, entries).unwrap_err().to_string();
        let list = "Invalid 'tool_choice.allowed_tools.tools";

        let h = json!({"type": "function", "function": {"name": "h"}});
        assert_eq!(error("auto", &json!([h])), format!("{list}[0]': 'h' is not among 'tools'."));
        assert_eq!(error("auto", &json!([{"type": "mcp"}])), format!("{list}[0]': 'mcp' is not among 'tools'."));
        assert_eq!(error("auto", &json!([5])), format!("{list}[0]': expected an object with 'type' and a name, but got a number instead."));
        assert_eq!(error("required", &json!([])), format!("{list}': the mode 'required' needs at least one of 'tools'."));
        assert!(error("none", &json!([])).starts_with("Invalid 'tool_choice.allowed_tools.mode'"));
    }
}

//! A `tool_choice` that asks for tools which were left out: on every route the request is answered as if it had none,
//! and a warning says so. A choice of a tool that the request never had stays an error.

use super::left_out::LeftOut;
use crate::chat::messages::{ALLOWED_TOOLS, Tools, name_in_choice};
use serde_json::Value;

/// The warning and the field that it is about.
pub(in crate::api) const NOT_APPLIED: (&str, &str) = ("tool_choice", "tool_choice was not applied: the tool was left out");

/// True if this entry of `allowed_tools` is a tool that was left out.
pub(in crate::api) fn is_left_out(entry: &Value, left_out: &LeftOut) -> bool {
    // A built-in tool has its type alone.
    entry["type"].as_str().is_some_and(|kind| left_out.has_tool(kind)) || name_in_choice(entry).is_some_and(|name| left_out.has_tool(name))
}

/// True if this choice, on any route, asks for a tool that was left out, or for any tool when all were left out.
pub(in crate::api) fn asks_for_left_out(choice: Option<&Value>, tools: &Tools, left_out: &LeftOut) -> bool {
    let is_any = |word: &str| matches!(word, "required" | "any") && tools.specs.is_empty() && left_out.has_tools();
    let is_named_left_out = |name: &str| left_out.has_tool(name) && !tools.has(name);
    match choice {
        Some(Value::String(word)) => is_any(word),
        Some(choice) if choice["type"] == ALLOWED_TOOLS => {
            let fields = if choice[ALLOWED_TOOLS].is_object() { &choice[ALLOWED_TOOLS] } else { choice };
            let is_unmet = |entry: &Value| is_left_out(entry, left_out) && !name_in_choice(entry).is_some_and(|name| tools.has(name));
            let entries = fields["tools"].as_array().filter(|entries| !entries.is_empty() && fields["mode"] == "required");
            entries.is_some_and(|entries| entries.iter().all(is_unmet))
        }
        Some(choice @ Value::Object(_)) => {
            let kind = choice["type"].as_str().unwrap_or_default();
            let name = name_in_choice(choice);
            // A choice of a built-in tool has its type alone.
            is_any(kind) || left_out.has_tool(kind) || name.is_some_and(is_named_left_out)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{api::openai::shared::left_out::LeftOutPart, chat::messages::read_tools};
    use serde_json::json;

    #[test]
    fn a_choice_is_unmet_if_its_tool_or_every_tool_was_left_out() {
        let own = read_tools(json!([{"function": {"name": "f"}}]), &mut |_, _| ()).unwrap();
        let mut left_out = LeftOut::default();
        left_out.add(LeftOutPart::Tool, "web_search_20250305", &"tools[0]".into());
        left_out.add_tool_name("web_search");
        let asks = |choice: Value, tools: &Tools| asks_for_left_out(Some(&choice), tools, &left_out);

        for choice in [json!("required"), json!({"type": "any"})] {
            assert_eq!((asks(choice.clone(), &Tools::default()), asks(choice, &own)), (true, false));
        }
        assert!(asks(json!({"type": "tool", "name": "web_search"}), &own));
        assert!(asks(json!({"type": "web_search_20250305"}), &own));
        assert!(asks(json!({"type": "function", "function": {"name": "web_search"}}), &own));
        let allowed = |mode: &str, entries: Value| json!({"type": "allowed_tools", "mode": mode, "tools": entries});
        let (f, search) = (json!({"type": "function", "name": "f"}), json!({"type": "web_search_20250305"}));
        assert!(asks(allowed("required", json!([search])), &own));
        assert!(asks(json!({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [search]}}), &own));
        for choice in [allowed("required", json!([search, f])), allowed("auto", json!([search])), allowed("required", json!([]))] {
            assert!(!asks(choice.clone(), &own), "{choice}");
        }
        for choice in [json!({"type": "tool", "name": "f"}), json!({"type": "function", "name": "g"}), json!("auto"), json!(5)] {
            assert!(!asks(choice.clone(), &own), "{choice}");
        }
        assert!(!asks_for_left_out(Some(&json!("required")), &Tools::default(), &LeftOut::default()));
        assert!(!asks_for_left_out(None, &Tools::default(), &left_out));
    }
}

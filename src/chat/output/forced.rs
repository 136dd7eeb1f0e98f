//! The constraint for calls that must be made, and so the shape that the parser expects.
//!
//! For a named function that is its arguments alone; for any function, a list of `{"name": …, "parameters": {…}}`.
//! For a named tool whose input is a text with a grammar, it is that grammar.

use super::{Calls, OutputSpec, ToolInput, ToolSpec};
use crate::protocol::Constraint;
use serde_json::{Map, Value, json};

/// Marks a schema that is obeyed as far as possible rather than refused (`docs/STRUCTURED_OUTPUT.md`).
const LOOSE: &str = "x-llamero-loose";

/// The constraint under which text is generated for `Required` and `Named`, so that the output is always valid. There
/// is no constraint for [`Calls::None`] and [`Calls::Auto`], without tools, and if `Named` names none of the tools.
#[must_use]
pub fn forced_constraint(spec: &OutputSpec) -> Option<Constraint> {
    if let Some(ToolSpec { input: ToolInput::Text { grammar }, .. }) = spec.text_alone() {
        return grammar.clone();
    }
    let schema = match &spec.calls {
        Calls::None | Calls::Auto => return None,
        Calls::Named(name) => arguments(spec.tools.iter().find(|tool| tool.name == *name)?, ""),
        Calls::Required if spec.tools.is_empty() => return None,
        Calls::Required => list_of_calls(&spec.tools, spec.parallel),
    };
    Some(Constraint::JsonSchema(schema.to_string()))
}

/// True if there is a [`forced_constraint`].
pub(super) fn is_forced(spec: &OutputSpec) -> bool {
    match &spec.calls {
        Calls::None | Calls::Auto => false,
        Calls::Named(name) => spec.tools.iter().any(|tool| tool.name == *name),
        Calls::Required => !spec.tools.is_empty(),
    }
}

/// The longest message with a tool's name in it, characters: such messages go into a header.
const MAX_MESSAGE: usize = 240;

/// A message about [`forced_constraint`] whose place is one in the schema of a tool: `get_weather#/properties/city`. A
/// message that a name makes longer than 240 characters is cut.
#[must_use]
pub fn in_words_of_tools(spec: &OutputSpec, message: String) -> String {
    let length = message.chars().count();
    // Only the first place is the server's own; others may stand in names and texts of the schema.
    let message = match &spec.calls {
        Calls::None | Calls::Auto => message,
        Calls::Named(name) => message.replacen("#/", &format!("{name}#/"), 1),
        Calls::Required => {
            let named = |(at, tool): (usize, &ToolSpec)| {
                let place = format!("#{}", place_in_list(at));
                message.contains(&place).then(|| message.replacen(&place, &format!("{}#", tool.name), 1))
            };
            spec.tools.iter().enumerate().find_map(named).unwrap_or(message)
        }
    };
    message.chars().take(length.max(MAX_MESSAGE)).collect()
}

/// The place of a tool's arguments in the schema of the list of calls.
fn place_in_list(at: usize) -> String {
    format!("/items/anyOf/{at}/properties/parameters")
}

fn list_of_calls(tools: &[ToolSpec], parallel: bool) -> Value {
    let call = |(at, tool): (usize, &ToolSpec)| {
        json!({
            "type": "object",
            "properties": {
                "name": {"const": tool.name},
                "parameters": arguments(tool, &place_in_list(at)),
            },
            "required": ["name", "parameters"],
            "additionalProperties": false,
        })
    };
    let calls: Vec<Value> = tools.iter().enumerate().map(call).collect();
    let mut list = json!({"type": "array", "items": {"anyOf": calls}, "minItems": 1});
    if !parallel {
        list["maxItems"] = json!(1);
    }
    list
}

/// The schema of a tool's arguments, always an object, to be put at `pointer` in another schema.
fn arguments(tool: &ToolSpec, pointer: &str) -> Value {
    let mut schema = match &tool.parameters {
        Value::Object(schema) if !schema.is_empty() => schema.clone(),
        _ => Map::from_iter([("properties".to_owned(), json!({})), ("additionalProperties".to_owned(), json!(false))]),
    };
    // These two entries describe a whole document, and the schema is now part of one.
    schema.shift_remove("$schema");
    schema.shift_remove("$id");
    schema.insert("type".to_owned(), json!("object"));
    if !tool.strict {
        schema.insert(LOOSE.to_owned(), json!(true));
    }
    let mut schema = Value::Object(schema);
    if !pointer.is_empty() {
        move_references(&mut schema, pointer);
    }
    schema
}

/// Corrects references `#/…` for a schema that now stands at `pointer`. Recurses as deep as the JSON, which its reader
/// limits.
fn move_references(schema: &mut Value, pointer: &str) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(|item| move_references(item, pointer)),
        Value::Object(members) => {
            for (key, value) in members {
                match (key.as_str(), &mut *value) {
                    ("$ref", Value::String(target)) if target.starts_with('#') => target.insert_str(1, pointer),
                    // These hold data and no schemas.
                    ("const" | "enum" | "default" | "examples", _) => {}
                    // These map names, which may be any of the words here, to schemas.
                    ("properties" | "patternProperties" | "dependentSchemas" | "$defs" | "definitions", Value::Object(named)) => {
                        named.values_mut().for_each(|schema| move_references(schema, pointer));
                    }
                    _ => move_references(value, pointer),
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

//! The constraint for calls that must be made, and the shape that the parser then expects.
//!
//! A named function: its arguments, alone. Any function: a list of `{"name": …, "parameters": {…}}`.

use super::{Calls, OutputSpec, ToolSpec};
use crate::protocol::Constraint;
use serde_json::{Map, Value, json};

/// The constraint under which generation runs for `Required` and `Named`, so that the output is always valid; `None`
/// for the others. `Named` needs one of the tools; without it, or without any tool, there is none.
#[must_use]
pub fn forced_constraint(spec: &OutputSpec) -> Option<Constraint> {
    let schema = match &spec.calls {
        Calls::None | Calls::Auto => return None,
        Calls::Named(name) => arguments(spec.tools.iter().find(|tool| tool.name == *name)?, ""),
        Calls::Required if spec.tools.is_empty() => return None,
        Calls::Required => list_of_calls(&spec.tools, spec.parallel),
    };
    Some(Constraint::JsonSchema(schema.to_string()))
}

fn list_of_calls(tools: &[ToolSpec], parallel: bool) -> Value {
    let call = |(at, tool): (usize, &ToolSpec)| {
        json!({
            "type": "object",
            "properties": {
                "name": {"const": tool.name},
                "parameters": arguments(tool, &format!("/items/anyOf/{at}/properties/parameters")),
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

/// The schema of a tool's arguments, always an object, for a place `pointer` deep in another schema.
fn arguments(tool: &ToolSpec, pointer: &str) -> Value {
    let mut schema = match &tool.parameters {
        Value::Object(schema) if !schema.is_empty() => schema.clone(),
        _ => Map::from_iter([("properties".to_owned(), json!({})), ("additionalProperties".to_owned(), json!(false))]),
    };
    // They describe a whole document, and this is a part of one now.
    schema.shift_remove("$schema");
    schema.shift_remove("$id");
    schema.insert("type".to_owned(), json!("object"));
    let mut schema = Value::Object(schema);
    if !pointer.is_empty() {
        move_references(&mut schema, pointer);
    }
    schema
}

/// Makes `#/…` mean the same although the schema now stands at `pointer`. Recurses as deep as the JSON, which its
/// reader bounds.
fn move_references(schema: &mut Value, pointer: &str) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(|item| move_references(item, pointer)),
        Value::Object(members) => {
            for (key, value) in members {
                match (key.as_str(), &mut *value) {
                    ("$ref", Value::String(target)) if target.starts_with('#') => target.insert_str(1, pointer),
                    // Data, not schemas.
                    ("const" | "enum" | "default" | "examples", _) => {}
                    // Names, which may be any of these words, to schemas.
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

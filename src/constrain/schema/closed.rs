//! Closes objects: one that names its properties has no others, unless the schema says something about others. JSON
//! Schema leaves such objects open; small models then add keys until their tokens end. xgrammar (vLLM, SGLang) and
//! llama.cpp close them too.
//!
//! An object stays open where closing could exclude what the schema asks for: if several schemas describe the same
//! value (`allOf`, `$ref` beside other keywords and so on, also through references), a required name is not among the
//! properties, or their number is bounded. `"x-llamero-open": true` in a schema leaves it and all schemas within it as
//! JSON Schema has them.

use serde_json::{Map, Value};
use std::collections::HashSet;

/// The keyword that leaves a schema open, if it is true.
const MARK: &str = "x-llamero-open";
/// Keywords that say what other properties an object may have, or how many.
const ABOUT_OTHERS: [&str; 7] = [
    "additionalProperties",
    "unevaluatedProperties",
    "patternProperties",
    "propertyNames",
    "dependencies",
    "minProperties",
    "maxProperties",
];
/// Keywords that describe an object by themselves.
const OF_OBJECTS: [&str; 5] = ["properties", "required", "minProperties", "patternProperties", "additionalProperties"];
/// Keywords with schemas for the same value, of which one is to be fulfilled.
const CHOICES: [&str; 2] = ["anyOf", "oneOf"];
/// Keywords with schemas for the same value that apply beside others.
const BESIDE: [&str; 6] = ["not", "if", "then", "else", "dependentSchemas", "$dynamicRef"];
/// Keywords with objects of schemas for other values.
const NAMED: [&str; 4] = ["properties", "patternProperties", "$defs", "definitions"];
/// Keywords with a schema, or an array of them, for other values.
const PARTS: [&str; 7] =
    ["items", "prefixItems", "additionalItems", "additionalProperties", "contains", "unevaluatedItems", "unevaluatedProperties"];

/// Closes the objects of a schema. Returns true if one was closed.
pub(super) fn close(schema: &mut Value) -> bool {
    let open = described_elsewhere(schema);
    close_within(schema, "#", false, &open)
}

/// The references to schemas that apply beside others to the same value. Each is followed once.
fn described_elsewhere(root: &Value) -> HashSet<String> {
    let mut queue = Vec::new();
    survey(root, false, true, &mut queue);
    let mut found = HashSet::new();
    while let Some(reference) = queue.pop() {
        if let Some(target) = reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer))
            && found.insert(reference.clone())
        {
            survey(target, true, false, &mut queue);
        }
    }
    found
}

/// Collects the references in schemas that apply beside others. `is_shared` is true if `schema` does; `deep` visits
/// the schemas for other values too.
fn survey(schema: &Value, is_shared: bool, deep: bool, found: &mut Vec<String>) {
    let Value::Object(schema) = schema else { return };
    let is_shared = is_shared || has_company(schema);
    for (keyword, value) in schema {
        let is_same = keyword == "allOf" || CHOICES.contains(&keyword.as_str()) || BESIDE.contains(&keyword.as_str());
        match value {
            Value::String(reference) if keyword == "$ref" && is_shared => found.push(reference.clone()),
            Value::Array(schemas) if is_same => schemas.iter().for_each(|schema| survey(schema, is_shared, deep, found)),
            Value::Object(schemas) if keyword == "dependentSchemas" => {
                schemas.values().for_each(|schema| survey(schema, is_shared, deep, found));
            }
            schema if is_same => survey(schema, is_shared, deep, found),
            Value::Object(schemas) if deep && NAMED.contains(&keyword.as_str()) => {
                schemas.values().for_each(|schema| survey(schema, false, deep, found));
            }
            Value::Array(schemas) if deep && PARTS.contains(&keyword.as_str()) => {
                schemas.iter().for_each(|schema| survey(schema, false, deep, found));
            }
            schema if deep && PARTS.contains(&keyword.as_str()) => survey(schema, false, deep, found),
            _ => {}
        }
    }
}

/// True if several parts of this schema describe the same value.
fn has_company(schema: &Map<String, Value>) -> bool {
    let count = |keywords: &[&str]| keywords.iter().filter(|keyword| schema.contains_key(**keyword)).count();
    let own = usize::from(count(&OF_OBJECTS) > 0);
    let all = schema.get("allOf").and_then(Value::as_array).map_or(0, Vec::len);
    own + all + count(&["$ref"]) + count(&CHOICES) + 2 * count(&BESIDE) > 1
}

fn close_within(schema: &mut Value, at: &str, is_shared: bool, open: &HashSet<String>) -> bool {
    let Value::Object(schema) = schema else { return false };
    if schema.get(MARK) == Some(&Value::Bool(true)) {
        return false;
    }
    let is_shared = is_shared || has_company(schema) || open.contains(at);
    let mut closed = !is_shared && can_be_closed(schema);
    if closed {
        schema.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    for (keyword, value) in schema.iter_mut() {
        let here = format!("{at}/{keyword}");
        let is_same = keyword == "allOf" || CHOICES.contains(&keyword.as_str()) || BESIDE.contains(&keyword.as_str());
        let shared = is_same && is_shared;
        match value {
            Value::Array(schemas) if is_same || PARTS.contains(&keyword.as_str()) => {
                for (index, schema) in schemas.iter_mut().enumerate() {
                    closed |= close_within(schema, &format!("{here}/{index}"), shared, open);
                }
            }
            Value::Object(schemas) if NAMED.contains(&keyword.as_str()) || keyword == "dependentSchemas" => {
                for (name, schema) in schemas.iter_mut() {
                    closed |= close_within(schema, &format!("{here}/{name}"), shared, open);
                }
            }
            schema if is_same || PARTS.contains(&keyword.as_str()) => closed |= close_within(schema, &here, shared, open),
            _ => {}
        }
    }
    closed
}

/// True if the schema names the properties of an object, says nothing about others, and asks for none of them.
fn can_be_closed(schema: &Map<String, Value>) -> bool {
    let Some(Value::Object(properties)) = schema.get("properties") else { return false };
    let is_object = match schema.get("type") {
        None => true,
        Some(Value::Array(types)) => types.iter().any(|name| name == "object"),
        Some(name) => name == "object",
    };
    let required = schema.get("required").and_then(Value::as_array);
    let needs_others = required.into_iter().flatten().any(|name| name.as_str().is_none_or(|name| !properties.contains_key(name)));
    is_object && !needs_others && !ABOUT_OTHERS.iter().any(|keyword| schema.contains_key(*keyword))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn closed(mut schema: Value) -> Value {
        close(&mut schema);
        schema
    }

    fn object(more: &Value) -> Value {
        let mut object = json!({"type": "object", "properties": {"a": {}}});
        for (keyword, value) in more.as_object().unwrap() {
            object[keyword] = value.clone();
        }
        object
    }

    fn shut() -> Value {
        object(&json!({"additionalProperties": false}))
    }

    fn plain() -> Value {
        object(&json!({}))
    }

    #[test]
    fn an_object_with_named_properties_is_closed_wherever_it_stands() {
        for (schema, expected) in [
            (plain(), shut()),
            (json!({"items": plain()}), json!({"items": shut()})),
            (json!({"prefixItems": [plain()]}), json!({"prefixItems": [shut()]})),
            (json!({"anyOf": [plain(), {"type": "null"}]}), json!({"anyOf": [shut(), {"type": "null"}]})),
            (json!({"allOf": [plain()]}), json!({"allOf": [shut()]})),
            (json!({"$ref": "#/$defs/a", "$defs": {"a": plain()}}), json!({"$ref": "#/$defs/a", "$defs": {"a": shut()}})),
            (json!({"properties": {}}), json!({"properties": {}, "additionalProperties": false})),
            (json!({"additionalProperties": plain()}), json!({"additionalProperties": shut()})),
        ] {
            assert_eq!(closed(schema.clone()), expected, "{schema}");
        }
    }

    #[test]
    fn an_object_stays_open_if_the_schema_says_so_or_leaves_its_names_open() {
        for more in [
            json!({"additionalProperties": true}),
            json!({"additionalProperties": {"type": "string"}}),
            json!({"patternProperties": {"x": {}}}),
            json!({"unevaluatedProperties": true}),
            json!({"propertyNames": {"maxLength": 3}}),
            json!({"required": ["b"]}),
            json!({"minProperties": 1}),
            json!({"x-llamero-open": true}),
            json!({"type": "string"}),
        ] {
            assert_eq!(closed(object(&more)), object(&more), "{more}");
        }
        assert_eq!(closed(json!({"type": "object"})), json!({"type": "object"}));
    }

    #[test]
    fn an_object_stays_open_if_several_schemas_describe_it() {
        let reference = json!({"$ref": "#/$defs/a"});
        let defs = json!({"a": plain()});
        for schema in [
            json!({"allOf": [plain(), plain()]}),
            object(&json!({"anyOf": [plain()]})),
            object(&json!({"if": plain(), "then": plain()})),
            json!({"allOf": [reference, plain()], "$defs": defs}),
            object(&json!({"$ref": "#/$defs/a", "$defs": defs})),
            json!({"allOf": [{"$ref": "#/$defs/b"}, plain()], "$defs": {"a": plain(), "b": {"anyOf": [reference]}}}),
        ] {
            assert_eq!(closed(schema.clone()), schema, "{schema}");
        }
    }
}

//! Removes keywords that restrict nothing where they stand, though they are not supported elsewhere: `propertyNames:
//! {"type": "string"}`, `uniqueItems` of one item, `then` without `if`.

use super::{
    REFUSED,
    view::{RootSchema, Types},
};
use serde_json::{Map, Value};

/// Keywords that restrict a value and are supported.
const RESTRICTING: [&str; 27] = [
    "anyOf",
    "oneOf",
    "allOf",
    "$ref",
    "const",
    "enum",
    "type",
    "items",
    "additionalItems",
    "prefixItems",
    "minItems",
    "maxItems",
    "properties",
    "additionalProperties",
    "patternProperties",
    "required",
    "minProperties",
    "maxProperties",
    "minLength",
    "maxLength",
    "pattern",
    "format",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
];
/// Keywords that apply other schemas to the same value, which may evaluate properties and items of it.
const APPLICATORS: [&str; 7] = ["allOf", "anyOf", "oneOf", "$ref", "if", "dependentSchemas", "contains"];

/// Removes the keywords that restrict nothing, and rewrites `unevaluated…` where a plainer keyword means the same.
pub(super) fn remove(schema: &mut Map<String, Value>, document: &RootSchema) {
    say_plainly(schema);
    let harmless: Vec<String> = schema.keys().filter(|keyword| is_harmless(keyword, schema, document)).cloned().collect();
    for keyword in harmless {
        schema.shift_remove(&keyword);
    }
}

/// Without schemas that apply to the same value, "unevaluated" is "additional".
fn say_plainly(schema: &mut Map<String, Value>) {
    if APPLICATORS.iter().any(|keyword| schema.contains_key(*keyword)) {
        return;
    }
    if let Some(rest) = schema.shift_remove("unevaluatedProperties") {
        schema.entry("additionalProperties").or_insert(rest);
    }
    if !schema.get("items").is_some_and(Value::is_array)
        && let Some(rest) = schema.shift_remove("unevaluatedItems")
    {
        schema.entry("items").or_insert(rest);
    }
}

fn is_harmless(keyword: &str, schema: &Map<String, Value>, document: &RootSchema) -> bool {
    let value = &schema[keyword];
    let number = |keyword: &str| schema.get(keyword).and_then(Value::as_u64);
    let concerns = |types: Types| document.types(schema).has(types);
    match keyword {
        // All drafts are read alike.
        "$schema" => true,
        "nullable" => *value == Value::Bool(false),
        "$recursiveAnchor" | "$dynamicAnchor" => !document.mentions(&["$dynamicRef", "$recursiveRef"]),
        "uniqueItems" => *value == Value::Bool(false) || number("maxItems").is_some_and(|most| most <= 1) || !concerns(Types::ARRAY),
        "contains" => (number("minContains") == Some(0) && !schema.contains_key("maxContains")) || !concerns(Types::ARRAY),
        "minContains" | "maxContains" => !schema.contains_key("contains") || is_harmless("contains", schema, document),
        "propertyNames" => allows_all_strings(value) || !concerns(Types::OBJECT),
        "if" => ["then", "else"].iter().all(|keyword| schema.get(*keyword).is_none_or(allows_all)),
        "then" | "else" => !schema.contains_key("if") || allows_all(value),
        "not" => *value == Value::Bool(false),
        "dependencies" | "dependentRequired" | "dependentSchemas" => has_no_dependency(value) || !concerns(Types::OBJECT),
        "unevaluatedProperties" => allows_all(value) || !concerns(Types::OBJECT),
        "unevaluatedItems" => allows_all(value) || !concerns(Types::ARRAY),
        _ => false,
    }
}

/// True if a schema has no keyword that restricts values.
pub(super) fn allows_all(schema: &Value) -> bool {
    match schema {
        Value::Object(schema) => !schema.keys().any(|keyword| restricts(keyword)),
        _ => *schema == Value::Bool(true),
    }
}

/// True if a schema restricts no string.
fn allows_all_strings(schema: &Value) -> bool {
    match schema {
        Value::Object(map) => {
            let is_string = map.get("type").is_none_or(|types| *types == "string");
            is_string && !map.keys().any(|keyword| keyword != "type" && restricts(keyword))
        }
        _ => allows_all(schema),
    }
}

/// True if a keyword may restrict values. Others are annotations.
pub(super) fn restricts(keyword: &str) -> bool {
    RESTRICTING.contains(&keyword) || REFUSED.contains(&keyword)
}

fn has_no_dependency(dependencies: &Value) -> bool {
    let is_none = |dependency: &Value| dependency.as_array().is_some_and(Vec::is_empty) || allows_all(dependency);
    dependencies.as_object().is_some_and(|all| all.values().all(is_none))
}

//! Closes objects: one that names its properties has no others, unless the schema says something about others. JSON
//! Schema leaves such objects open; small models then add keys until their tokens end. xgrammar (vLLM, SGLang) and
//! llama.cpp close them too.
//!
//! An object stays open where closing could exclude what the schema asks for: if several schemas describe the same
//! value or a value around it (`allOf`, `$ref` beside other keywords and so on, also through references), if it is one
//! of several alternatives of a `oneOf` that do not exclude each other, if a required name is not among the properties,
//! or if their number is bounded. `"x-llamero-open": true` in a schema leaves it and all schemas within it as
//! JSON Schema has them.

use super::{NAMED, view::RootSchema};
use serde_json::{Map, Value};
use std::collections::HashSet;

/// The keyword that leaves a schema open, if it is true.
const MARK: &str = "x-llamero-open";
/// Keywords that say what other properties an object may have, or how many, or list whole objects.
const ABOUT_OTHERS: [&str; 9] = [
    "const",
    "enum",
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
/// Keywords with schemas for the values of properties.
const OF_PROPERTIES: [&str; 2] = ["properties", "patternProperties"];
/// Keywords whose schemas apply only where a `$ref` names them.
const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];
/// Keywords with a schema, or an array of them, for other values.
const PARTS: [&str; 7] =
    ["items", "prefixItems", "additionalItems", "additionalProperties", "contains", "unevaluatedItems", "unevaluatedProperties"];

/// Largest number of schemas that are visited to find those that are described elsewhere. A schema of 256 KiB in which
/// each part is described once has fewer.
const MAX_VISITS: usize = 200_000;

/// Closes the objects of a schema. Returns true if one was closed.
pub(super) fn close(schema: &mut Value) -> bool {
    let document = RootSchema::new(schema.clone());
    let mut survey = Survey { document: &document, references: Vec::new(), visits: 0 };
    let Some(open) = survey.described_elsewhere(schema) else { return false };
    close_within(schema, "#", false, (&document, &open))
}

/// The search for references to schemas that apply beside others to the same value.
struct Survey<'a> {
    document: &'a RootSchema,
    references: Vec<String>,
    visits: usize,
}

impl Survey<'_> {
    /// All such references; `None` if the search takes more than [`MAX_VISITS`].
    fn described_elsewhere(&mut self, root: &Value) -> Option<HashSet<String>> {
        self.visit(root, false);
        let mut found = HashSet::new();
        while let Some(reference) = self.references.pop() {
            if self.visits > MAX_VISITS {
                return None;
            }
            if let Some(target) = reference.strip_prefix('#').and_then(|pointer| root.pointer(pointer))
                && found.insert(reference.clone())
            {
                self.visit(target, true);
            }
        }
        (self.visits <= MAX_VISITS).then_some(found)
    }

    /// Visits a schema and those within it. `is_shared` is true if it applies beside others.
    fn visit(&mut self, schema: &Value, is_shared: bool) {
        let Value::Object(schema) = schema else { return };
        self.visits += 1;
        if self.visits > MAX_VISITS {
            return;
        }
        let is_shared = is_shared || has_company(schema) || overlaps(schema, self.document);
        let shares = shares_properties(schema);
        for (keyword, value) in schema {
            let keyword = keyword.as_str();
            let within = (is_shared && !DEFINITIONS.contains(&keyword)) || (shares && OF_PROPERTIES.contains(&keyword));
            match value {
                Value::String(reference) if keyword == "$ref" && is_shared => self.references.push(reference.clone()),
                Value::Array(schemas) if applies_to_same_value(keyword) || PARTS.contains(&keyword) => {
                    schemas.iter().for_each(|schema| self.visit(schema, within));
                }
                Value::Object(schemas) if NAMED.contains(&keyword) => schemas.values().for_each(|schema| self.visit(schema, within)),
                schema if applies_to_same_value(keyword) || PARTS.contains(&keyword) => self.visit(schema, within),
                _ => {}
            }
        }
    }
}

/// True if a keyword has schemas for the same value.
fn applies_to_same_value(keyword: &str) -> bool {
    keyword == "allOf" || CHOICES.contains(&keyword) || BESIDE.contains(&keyword)
}

/// True if the value of a property may be described by its name and by a pattern.
fn shares_properties(schema: &Map<String, Value>) -> bool {
    OF_PROPERTIES.iter().all(|keyword| schema.contains_key(*keyword))
}

/// True if a value may fulfil two alternatives of the schema's `oneOf`. Closed ones could exclude each other by names
/// that the open ones allow, and what is generated under one would then fulfil two of those that were asked for.
fn overlaps(schema: &Map<String, Value>, document: &RootSchema) -> bool {
    let Some(alternatives) = schema.get("oneOf").and_then(Value::as_array) else { return false };
    let mut beside = schema.clone();
    beside.remove("oneOf");
    !document.exclude_each_other(&beside, alternatives)
}

/// True if several parts of this schema describe the same value.
fn has_company(schema: &Map<String, Value>) -> bool {
    let count = |keywords: &[&str]| keywords.iter().filter(|keyword| schema.contains_key(**keyword)).count();
    let own = usize::from(count(&OF_OBJECTS) > 0);
    let all = schema.get("allOf").and_then(Value::as_array).map_or(0, Vec::len);
    own + all + count(&["$ref"]) + count(&CHOICES) + 2 * count(&BESIDE) > 1
}

/// Closes the objects of a schema and of the schemas within it. Leaves open each schema whose values another schema
/// describes too, and everything within it, because the other schema may describe those parts as well.
fn close_within(schema: &mut Value, at: &str, is_shared: bool, known: (&RootSchema, &HashSet<String>)) -> bool {
    let Value::Object(schema) = schema else { return false };
    if schema.get(MARK) == Some(&Value::Bool(true)) {
        return false;
    }
    let (document, open) = known;
    let is_shared = is_shared || has_company(schema) || open.contains(at) || overlaps(schema, document);
    let shares = shares_properties(schema);
    let mut closed = !is_shared && can_be_closed(schema);
    if closed {
        schema.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    for (keyword, value) in schema.iter_mut() {
        let (here, keyword) = (format!("{at}/{keyword}"), keyword.as_str());
        let shared = (is_shared && !DEFINITIONS.contains(&keyword)) || (shares && OF_PROPERTIES.contains(&keyword));
        match value {
            Value::Array(schemas) if applies_to_same_value(keyword) || PARTS.contains(&keyword) => {
                for (index, schema) in schemas.iter_mut().enumerate() {
                    closed |= close_within(schema, &format!("{here}/{index}"), shared, known);
                }
            }
            Value::Object(schemas) if NAMED.contains(&keyword) => {
                for (name, schema) in schemas.iter_mut() {
                    closed |= close_within(schema, &format!("{here}/{name}"), shared, known);
                }
            }
            schema if applies_to_same_value(keyword) || PARTS.contains(&keyword) => closed |= close_within(schema, &here, shared, known),
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

    /// An alternative that excludes those of other kinds.
    fn kind(kind: u32) -> Value {
        json!({"type": "object", "properties": {"k": {"const": kind}}, "required": ["k"]})
    }

    fn shut_kind(number: u32) -> Value {
        let mut shut = kind(number);
        shut["additionalProperties"] = json!(false);
        shut
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
            (json!({"oneOf": [kind(1), kind(2)]}), json!({"oneOf": [shut_kind(1), shut_kind(2)]})),
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
            json!({"enum": [{"a": 1, "b": 2}]}),
            json!({"const": {"a": 1, "b": 2}}),
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
            json!({"allOf": [{"properties": {"m": plain()}}, {"properties": {"m": plain()}}]}),
            json!({"allOf": [reference, {"properties": {"m": plain()}}], "$defs": {"a": {"properties": {"m": plain()}}}}),
            json!({"properties": {"m": plain()}, "patternProperties": {"^m": plain()}}),
            json!({"oneOf": [plain(), object(&json!({"required": ["a"]}))]}),
            json!({"allOf": [{"$ref": "#/$defs/b"}, plain()], "$defs": {"a": plain(), "b": {"anyOf": [reference]}}}),
        ] {
            assert_eq!(closed(schema.clone()), schema, "{schema}");
        }
    }
}

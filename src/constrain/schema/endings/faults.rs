//! The part of a schema that no value can fulfil although no recursion is to blame.

use super::{FiniteTargets, can_end, items, target_of};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// The place and the reason of the first fault in a schema that cannot be fulfilled even if all its references with
/// `true` can.
pub(super) fn find(root: &Value, ends: &FiniteTargets<'_>) -> Option<(String, String)> {
    Search { root, ends, followed: BTreeSet::new() }.schema(root, "#")
}

struct Search<'a> {
    root: &'a Value,
    ends: &'a FiniteTargets<'a>,
    /// The targets of references that have been searched: each is searched once, since schemas may refer to themselves.
    followed: BTreeSet<&'a str>,
}

impl<'a> Search<'a> {
    fn schema(&mut self, schema: &'a Value, at: &str) -> Option<(String, String)> {
        let ends = self.ends;
        if can_end(schema, ends) {
            return None;
        }
        let Value::Object(map) = schema else { return Some((at.to_owned(), "the schema 'false' allows nothing".to_owned())) };
        if let Some(target) = map.get("$ref").and_then(Value::as_str).filter(|target| ends.get(target) == Some(&false))
            && self.followed.insert(target)
            && let Some(fault) = target_of(self.root, target).and_then(|schema| self.schema(schema, target))
        {
            return Some(fault);
        }
        let in_all = map.get("allOf").and_then(Value::as_array).into_iter().flatten();
        for (index, schema) in in_all.enumerate() {
            if let Some(fault) = self.schema(schema, &format!("{at}/allOf/{index}")) {
                return Some(fault);
            }
        }
        for keyword in ["anyOf", "oneOf"] {
            let alternatives = map.get(keyword).and_then(Value::as_array);
            if alternatives.is_some_and(|schemas| !schemas.iter().any(|schema| can_end(schema, ends))) {
                return Some((format!("{at}/{keyword}"), "no value can fulfil any of the alternatives".to_owned()));
            }
        }
        self.object(map, at).or_else(|| self.array(map, at))
    }

    fn object(&mut self, map: &'a Map<String, Value>, at: &str) -> Option<(String, String)> {
        let names = map.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        let free = if map.contains_key("patternProperties") { None } else { map.get("additionalProperties") };
        for name in names {
            let own = map.get("properties").and_then(|properties| properties.get(name));
            let Some(schema) = own.or(free).filter(|schema| !can_end(schema, self.ends)) else { continue };
            let required = |reason: String| Some((format!("{at}/required"), reason));
            let fault = match (own, schema) {
                (None, Value::Bool(false)) => {
                    required(format!("'{name}' is required, but it is not among 'properties' and 'additionalProperties' is false"))
                }
                (_, Value::Bool(false)) => required(format!("'{name}' is required, but its schema is false")),
                (Some(_), schema) => self.schema(schema, &format!("{at}/properties/{name}")),
                (None, schema) => self.schema(schema, &format!("{at}/additionalProperties")),
            };
            if fault.is_some() {
                return fault;
            }
        }
        None
    }

    fn array(&mut self, map: &'a Map<String, Value>, at: &str) -> Option<(String, String)> {
        let least = map.get("minItems").and_then(Value::as_u64).unwrap_or(0);
        let ends = self.ends;
        items(map, least).filter(|schema| !can_end(schema, ends)).find_map(|schema| match schema {
            Value::Bool(false) => {
                Some((format!("{at}/minItems"), format!("{least} items are required, but the schema of one of them is false")))
            }
            schema => self.schema(schema, &format!("{at}/items")),
        })
    }
}

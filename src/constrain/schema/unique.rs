//! Rewrites `uniqueItems` where the items have few values: as an `enum` of all lists without a repetition.

use super::{
    place,
    view::{RootSchema, are_equal},
};
use crate::protocol::{ConstraintError, ConstraintErrorKind::Invalid};
use serde_json::{Map, Value, json};

/// Lists that an array is replaced by: all orders of 5 values, or all choices of 8 values in the order of the schema.
const MAX_LISTS: usize = 400;
/// Bytes of all these lists.
const MAX_BYTES: usize = 128 << 10;

/// Replaces `uniqueItems: true`, if the schema has it.
///
/// # Errors
/// The items have too many values.
pub(super) fn replace(schema: &mut Map<String, Value>, document: &RootSchema, at: &str) -> Result<(), ConstraintError> {
    if schema.shift_remove("uniqueItems").is_none_or(|value| value != Value::Bool(true)) || differ_anyway(schema, document) {
        return Ok(());
    }
    let Some(lists) = values(schema, document).and_then(|values| lists(schema, &values)) else {
        let message = "the keyword 'uniqueItems' is supported for items with up to 8 values, such as an 'enum', and for one item";
        return Err(place(&format!("{at}/uniqueItems")).sentence_first(Invalid, message));
    };
    let rule = match schema.get("type").and_then(Value::as_str) {
        Some(_) => json!({ "enum": lists }),
        None => json!({"anyOf": [{ "enum": lists }, {"type": ["object", "string", "number", "boolean", "null"]}]}),
    };
    // Among `allOf`, since there may be an `enum` already. An `allOf` that is no array is refused by the compiler.
    if let Value::Array(all) = schema.entry("allOf").or_insert_with(|| json!([])) {
        all.push(rule);
    }
    Ok(())
}

/// True if the array is a tuple of items that exclude each other.
fn differ_anyway(schema: &Map<String, Value>, document: &RootSchema) -> bool {
    let Some(Value::Array(items)) = schema.get("prefixItems").or(schema.get("items")) else { return false };
    let rest = if schema.contains_key("prefixItems") { schema.get("items") } else { schema.get("additionalItems") };
    let most = schema.get("maxItems").and_then(Value::as_u64).and_then(|most| usize::try_from(most).ok());
    let has_no_more = rest == Some(&Value::Bool(false)) || most.is_some_and(|most| most <= items.len());
    has_no_more && document.exclude_each_other(&Map::new(), &items[..most.unwrap_or(items.len()).min(items.len())])
}

/// The values that an item may have.
fn values(schema: &Map<String, Value>, document: &RootSchema) -> Option<Vec<Value>> {
    let items = schema.get("items").filter(|items| items.is_object() && !schema.contains_key("prefixItems"))?;
    Some(document.values(items)?.into_iter().cloned().collect())
}

/// All lists of different values that the bounds allow; `None` if there are too many.
fn lists(schema: &Map<String, Value>, values: &[Value]) -> Option<Vec<Value>> {
    let bound = |keyword: &str| schema.get(keyword).and_then(Value::as_u64).and_then(|bound| usize::try_from(bound).ok());
    let (least, most) = (bound("minItems").unwrap_or(0), bound("maxItems").unwrap_or(usize::MAX).min(values.len()));
    let lists = extended(values, most, true).or_else(|| extended(values, most, false))?;
    let bytes: usize = lists.iter().flatten().map(|value| value.to_string().len()).sum();
    let long_enough = lists.into_iter().filter(|list| list.len() >= least);
    (bytes <= MAX_BYTES).then(|| long_enough.map(|list| list.into_iter().cloned().collect()).collect())
}

/// All lists of up to `most` different values, in any order or in the given one.
fn extended(values: &[Value], most: usize, any_order: bool) -> Option<Vec<Vec<&Value>>> {
    let mut all: Vec<Vec<&Value>> = vec![Vec::new()];
    let mut at = 0;
    while at < all.len() {
        let list = all[at].clone();
        at += 1;
        if list.len() == most {
            continue;
        }
        let is_last = |value: &Value| list.last().is_some_and(|last| are_equal(last, value));
        let first = if any_order { 0 } else { values.iter().position(is_last).map_or(0, |at| at + 1) };
        for value in values[first..].iter().filter(|value| !list.iter().any(|known| are_equal(known, value))) {
            if all.len() >= MAX_LISTS {
                return None;
            }
            all.push([list.as_slice(), &[value]].concat());
        }
    }
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(values: usize, bounds: &Value) -> Option<usize> {
        let values: Vec<Value> = (0..values).map(|value| json!(value)).collect();
        lists(bounds.as_object().unwrap(), &values).map(|lists| lists.len())
    }

    #[test]
    fn few_values_come_in_any_order_more_in_the_order_of_the_schema_and_many_not_at_all() {
        assert_eq!(count(3, &json!({})), Some(16));
        assert_eq!(count(5, &json!({})), Some(326));
        assert_eq!(count(6, &json!({})), Some(64));
        assert_eq!(count(8, &json!({})), Some(256));
        assert_eq!(count(9, &json!({})), None);
    }

    #[test]
    fn lengths_bound_the_lists() {
        assert_eq!(count(3, &json!({"minItems": 1, "maxItems": 1})), Some(3));
        assert_eq!(count(15, &json!({"maxItems": 2})), Some(226));
        assert_eq!(count(2, &json!({"minItems": 3})), Some(0));
    }
}

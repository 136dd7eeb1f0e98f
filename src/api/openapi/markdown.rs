//! `docs/API.md`, and the table of fields in `README.md`: the tables as people read them.

use super::{
    operations::{Body, OPERATIONS, Operation},
    structured::STRUCTURED,
};
use crate::api::{
    fields::spec::{AnySpec, Specs, Support},
    openai::shared::{ending::ENDING, sampling::specs::SAMPLING},
};
use serde_json::Value;
use std::fmt::Write;

/// Tables that several routes share, and what `README.md` calls them.
const GROUPS: [(&str, Specs); 3] = [("sampling", SAMPLING), ("ending", ENDING), ("structured output", STRUCTURED)];

/// The whole of `docs/API.md`.
pub(super) fn file() -> String {
    let mut text = String::from(
        "# Routes and fields\n\nMade from the specs by which the code in `src/api` reads the fields; do not edit by hand.\n\n\
         **works**: as OpenAI, or for `/v1/messages` Anthropic, specifies it. **extra**: works, and their API does not have it. **accepted**: without effect by its nature.\n\
         **refused**: a 400 that names it, unless its value has no effect. Any other field is ignored and named in `x-llamero-warnings`, or\n\
         refused with `x-llamero-strict: 1`. `null` equals absence.\n",
    );
    for (at, operation) in OPERATIONS.iter().enumerate() {
        describe(operation, &OPERATIONS[..at], &mut text);
    }
    text
}

fn describe(operation: &Operation, before: &[Operation], text: &mut String) {
    let Operation { method, path, about, body, .. } = operation;
    writeln!(text, "\n## `{} {path}`\n\n{about}", method.to_uppercase()).expect("writing to a string cannot fail");
    let Some(body) = body else { return };
    if let Some(same) = before.iter().find(|other| other.body.is_some_and(|other| same_fields(&other, body))) {
        writeln!(text, "\nIts fields are those of `POST {}`.", same.path).expect("writing to a string cannot fail");
        return;
    }
    text.push_str("\n| field | | type | range | default | |\n| --- | --- | --- | --- | --- | --- |\n");
    for field in body.specs() {
        describe_field(field, body.required.contains(&field.name()), text);
    }
}

fn describe_field(field: &dyn AnySpec, required: bool, text: &mut String) {
    let (name, support, schema) = (field.name(), word(field.support()), field.schema());
    let required = if required { ", required" } else { "" };
    let default = schema.get("default").map(|default| format!("`{default}`")).unwrap_or_default();
    let (range, about) = (range(&schema), field.about());
    let (kind, example) = match field.support() {
        Support::Refused => (String::new(), format!(" Example: `{}`.", field.example())),
        Support::Works | Support::Extra | Support::Accepted => (kind(&schema, ""), String::new()),
    };
    writeln!(text, "| `{name}` | {support}{required} | {kind} | {range} | {default} | {about}{example} |")
        .expect("writing to a string cannot fail");
}

/// The type of a value in words, such as `array of strings`; `plural` is `s` for several values.
fn kind(schema: &Value, plural: &str) -> String {
    if let Some(options) = schema["anyOf"].as_array() {
        return listed(options.iter().map(|option| kind(option, plural)), " or ");
    }
    if let Some(word) = schema.get("const") {
        return format!("`{word}`");
    }
    if let Some(words) = schema["enum"].as_array() {
        return listed(words.iter().filter(|word| !word.is_null()).map(|word| format!("`{word}`")), ", ");
    }
    match &schema["type"] {
        Value::String(kind) if kind == "array" && schema.get("items").is_some() => format!("array{plural} of {}", kind_of_items(schema)),
        Value::String(kind) => format!("{kind}{plural}"),
        Value::Array(kinds) => listed(kinds.iter().filter_map(Value::as_str).map(|kind| format!("{kind}{plural}")), " or "),
        _ => "any".to_owned(),
    }
}

fn kind_of_items(schema: &Value) -> String {
    kind(&schema["items"], "s")
}

/// The range of a number, the length of a text and how many entries a list or an object has.
fn range(schema: &Value) -> String {
    if let Some(options) = schema["anyOf"].as_array() {
        return listed(options.iter().map(range).filter(|range| !range.is_empty()), "; ");
    }
    let between = |least: &str, greatest: &str, unit: &str| match (schema.get(least), schema.get(greatest)) {
        (Some(min), Some(max)) => Some(format!("{min} to {max}{unit}")),
        (Some(min), None) => Some(format!("{min} or more{unit}")),
        (None, Some(max)) => Some(format!("up to {max}{unit}")),
        (None, None) => None,
    };
    let above = schema.get("exclusiveMinimum").zip(schema.get("maximum")).map(|(min, max)| format!("above {min}, to {max}"));
    let ranges = [
        above.or_else(|| between("minimum", "maximum", "")),
        between("minLength", "maxLength", " characters"),
        between("minItems", "maxItems", " entries"),
        between("minProperties", "maxProperties", " entries"),
        schema.get("items").map(range).filter(|range| !range.is_empty()).map(|range| format!("each {range}")),
    ];
    listed(ranges.into_iter().flatten(), ", ")
}

/// Each text once.
fn listed(texts: impl Iterator<Item = String>, between: &str) -> String {
    let mut distinct: Vec<String> = Vec::new();
    for text in texts {
        if !distinct.contains(&text) {
            distinct.push(text);
        }
    }
    distinct.join(between)
}

/// The table of `README.md`: a row for each kind of body, and one for each group of fields that several of them have.
pub(super) fn table() -> String {
    let mut text = String::from("| route | works | extra | refused | accepted without effect |\n| --- | --- | --- | --- | --- |\n");
    let mut seen: Vec<&Body> = Vec::new();
    for body in OPERATIONS.iter().filter_map(|operation| operation.body.as_ref()) {
        if seen.iter().any(|other| same_fields(other, body)) {
            continue;
        }
        seen.push(body);
        let mut paths: Vec<String> = Vec::new();
        for operation in OPERATIONS {
            let path = format!("`{}`", operation.path);
            if operation.body.is_some_and(|other| same_fields(&other, body)) && !paths.contains(&path) {
                paths.push(path);
            }
        }
        let is_there = |group: Specs| body.fields.iter().any(|table| same_names(table, group));
        let groups: Vec<_> = GROUPS.iter().filter(|(_, group)| is_there(group)).collect();
        let in_group = |name: &str| groups.iter().any(|(_, group)| group.iter().any(|field| field.name() == name));
        let own: Vec<_> = body.specs().filter(|field| !in_group(field.name())).collect();
        let shared: Vec<String> = groups.iter().map(|(name, _)| format!("*{name}*")).collect();
        row(&paths.join(" "), &own, &shared, &mut text);
    }
    for (name, group) in GROUPS {
        row(&format!("*{name}*"), group, &[], &mut text);
    }
    text
}

fn row(what: &str, fields: &[&dyn AnySpec], shared: &[String], text: &mut String) {
    let of = |support: Support| fields.iter().filter(move |field| field.support() == support).map(|field| format!("`{}`", field.name()));
    let works: Vec<String> = of(Support::Works).chain(shared.iter().cloned()).collect();
    let [extra, refused, accepted] =
        [Support::Extra, Support::Refused, Support::Accepted].map(|status| of(status).collect::<Vec<_>>().join(" "));
    writeln!(text, "| {what} | {} | {extra} | {refused} | {accepted} |", works.join(" ")).expect("writing to a string cannot fail");
}

fn same_fields(left: &Body, right: &Body) -> bool {
    left.fields.len() == right.fields.len() && left.fields.iter().zip(right.fields).all(|(left, right)| same_names(left, right))
}

fn same_names(left: Specs, right: Specs) -> bool {
    left.iter().map(|field| field.name()).eq(right.iter().map(|field| field.name()))
}

fn word(support: Support) -> &'static str {
    match support {
        Support::Works => "works",
        Support::Extra => "extra",
        Support::Accepted => "accepted",
        Support::Refused => "refused",
    }
}

//! `docs/API.md`, and the table of fields in `README.md`: the tables as people read them.

use super::{
    field::{Field, Status},
    listed::{OPERATIONS, Operation},
    operations::Body,
    shared::{ENDING, SAMPLING, STRUCTURED},
};
use std::fmt::Write;

/// Tables that several routes share, and what `README.md` calls them.
const GROUPS: [(&str, &[Field]); 3] = [("sampling", SAMPLING), ("ending", ENDING), ("structured output", STRUCTURED)];

/// The whole of `docs/API.md`.
pub(super) fn file() -> String {
    let mut text = String::from(
        "# Routes and fields\n\nMade from the tables in `src/api/openapi`, which tests hold against the code; do not edit by hand.\n\n\
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
    let row = |text: &mut String, field: &Field| {
        let required = if body.required.contains(&field.name) { ", required" } else { "" };
        let about =
            if field.status == Status::Refused { format!("{} Example: `{}`.", field.about, field.example) } else { field.about.to_owned() };
        writeln!(text, "| `{}` | {}{required} | {about} |", field.name, word(field.status)).expect("writing to a string cannot fail");
    };
    text.push_str("\n| field | | |\n| --- | --- | --- |\n");
    for field in body.fields.iter().copied().flatten() {
        row(text, field);
    }
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
        for operation in &*OPERATIONS {
            let path = format!("`{}`", operation.path);
            if operation.body.is_some_and(|other| same_fields(&other, body)) && !paths.contains(&path) {
                paths.push(path);
            }
        }
        let groups = GROUPS.iter().filter(|(_, group)| body.fields.iter().any(|table| same_names(table, group)));
        let own = body.fields.iter().filter(|table| !GROUPS.iter().any(|(_, group)| same_names(table, group))).copied().flatten();
        let shared: Vec<String> = groups.map(|(name, _)| format!("*{name}*")).collect();
        row(&paths.join(" "), &own.collect::<Vec<_>>(), &shared, &mut text);
    }
    for (name, group) in GROUPS {
        row(&format!("*{name}*"), &group.iter().collect::<Vec<_>>(), &[], &mut text);
    }
    text
}

fn row(what: &str, fields: &[&Field], shared: &[String], text: &mut String) {
    let of = |status: Status| fields.iter().filter(move |field| field.status == status).map(|field| format!("`{}`", field.name));
    let works: Vec<String> = of(Status::Works).chain(shared.iter().cloned()).collect();
    let [extra, refused, accepted] =
        [Status::Extra, Status::Refused, Status::Accepted].map(|status| of(status).collect::<Vec<_>>().join(" "));
    writeln!(text, "| {what} | {} | {extra} | {refused} | {accepted} |", works.join(" ")).expect("writing to a string cannot fail");
}

fn same_fields(left: &Body, right: &Body) -> bool {
    left.fields.len() == right.fields.len() && left.fields.iter().zip(right.fields).all(|(left, right)| same_names(left, right))
}

fn same_names(left: &[Field], right: &[Field]) -> bool {
    left.iter().map(|field| field.name).eq(right.iter().map(|field| field.name))
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Works => "works",
        Status::Extra => "extra",
        Status::Accepted => "accepted",
        Status::Refused => "refused",
    }
}

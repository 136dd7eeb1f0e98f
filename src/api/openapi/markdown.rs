//! `docs/API.md`: the tables as people read them.

use super::{
    field::{Field, Status},
    operations::{Body, OPERATIONS, Operation},
    shared::{ENDING, SAMPLING, STRUCTURED},
};
use crate::config::prose::wrapped;
use std::fmt::Write;

/// Why a `write!` may be expected to work.
const NEVER_FAILS: &str = "writing to a string cannot fail";

/// Tables that several routes share, and their names in the overview.
const GROUPS: [(&str, &[Field]); 3] = [("sampling", SAMPLING), ("ending", ENDING), ("structured output", STRUCTURED)];

/// The beginning of the file.
const HEAD: &str = "\
# Routes and fields

This file is generated from the tables in `src/api/openapi`, and tests hold these tables against the code that reads the
requests. Do not edit it by hand: `LLAMERO_WRITE_DOCS=1 cargo test --release documents` writes it.

Each field of a request has one of four states. `null` equals absence.

| state | meaning |
| --- | --- |
| works | as OpenAI specifies it; on `/v1/messages`, as Anthropic specifies it |
| extra | works, and the API that the route follows does not have it |
| accepted | accepted without effect, because it cannot change the answer |
| refused | a 400 that names the field, unless its value has no effect |

## Fields that are ignored

Nothing is ignored in silence. The answer's header `x-llamero-warnings` names each field that this server does not know
or obeys only in part. The first 16 are named and the others counted. This holds for fields inside fields, and for parts
of a request that the model's chat template does not show, such as `tools` of a model without them.

- With the request header `x-llamero-warnings: body` the names also stand in the body's `warnings`.
- With the request header `x-llamero-strict: 1`, or a server started with `--strict`, such a request is a 400.

## Control tokens in texts

In chat, only the template's own words become control tokens, whatever messages, tools and their results spell. Texts
for `suffix`, `/infill`, embeddings, rerank and score are plain too.

A `prompt` of completions or `/generate` is raw: the control tokens that it spells become those tokens, as in vLLM and
llama-server. A text for `/tokenize` is raw unless `parse_special` is false.
";

/// The whole of `docs/API.md`.
pub(super) fn file() -> String {
    let mut text = format!("{HEAD}\n## Routes\n\n| route | purpose |\n| --- | --- |\n");
    let headings: Vec<String> =
        OPERATIONS.iter().map(|Operation { method, path, .. }| format!("{} {path}", method.to_uppercase())).collect();
    for (at, operation) in OPERATIONS.iter().enumerate() {
        let heading = &headings[at];
        let link = match headings[..at].iter().filter(|other| *other == heading).count() {
            0 => anchor(heading),
            repeated => format!("{}-{repeated}", anchor(heading)),
        };
        writeln!(text, "| [`{heading}`](#{link}) | {} |", operation.about).expect(NEVER_FAILS);
    }
    overview(&mut text);
    for (at, operation) in OPERATIONS.iter().enumerate() {
        describe(operation, &OPERATIONS[..at], &mut text);
    }
    text
}

/// The name under which GitHub links to a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

fn describe(operation: &Operation, before: &[Operation], text: &mut String) {
    let Operation { method, path, about, body, .. } = operation;
    writeln!(text, "\n## `{} {path}`\n\n{}", method.to_uppercase(), wrapped("", "", about)).expect(NEVER_FAILS);
    let Some(body) = body else { return };
    if let Some(same) = before.iter().find(|other| other.body.is_some_and(|other| same_fields(&other, body))) {
        writeln!(text, "\nIts fields are those of `POST {}`.", same.path).expect(NEVER_FAILS);
        return;
    }
    let row = |text: &mut String, field: &Field| {
        let required = if body.required.contains(&field.name) { ", required" } else { "" };
        let about =
            if field.status == Status::Refused { format!("{} Example: `{}`.", field.about, field.example) } else { field.about.to_owned() };
        writeln!(text, "| `{}` | {}{required} | {about} |", field.name, word(field.status)).expect(NEVER_FAILS);
    };
    text.push_str("\n| field | state | meaning |\n| --- | --- | --- |\n");
    for field in body.fields.iter().copied().flatten() {
        row(text, field);
    }
}

/// The names of all fields: a list for each kind of body, and one for each group of fields that several of them have.
fn overview(text: &mut String) {
    text.push_str("\n## Fields by route\n");
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
        let groups = GROUPS.iter().filter(|(_, group)| body.fields.iter().any(|table| same_names(table, group)));
        let own = body.fields.iter().filter(|table| !GROUPS.iter().any(|(_, group)| same_names(table, group))).copied().flatten();
        let shared: Vec<String> = groups.map(|(name, _)| format!("*{name}*")).collect();
        names(&paths.join(", "), &own.collect::<Vec<_>>(), &shared, text);
    }
    for (name, group) in GROUPS {
        names(&format!("*{name}*"), &group.iter().collect::<Vec<_>>(), &[], text);
    }
}

/// The names of `fields` by their state, and of the groups that belong to them.
fn names(title: &str, fields: &[&Field], groups: &[String], text: &mut String) {
    writeln!(text, "\n{title}:\n").expect(NEVER_FAILS);
    for status in [Status::Works, Status::Extra, Status::Refused, Status::Accepted] {
        let named = fields.iter().filter(|field| field.status == status).map(|field| format!("`{}`", field.name));
        let shared = groups.iter().filter(|_| status == Status::Works).cloned();
        let all: Vec<String> = named.chain(shared).collect();
        if !all.is_empty() {
            writeln!(text, "{}", wrapped("- ", "  ", &format!("{}: {}", word(status), all.join(" ")))).expect(NEVER_FAILS);
        }
    }
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

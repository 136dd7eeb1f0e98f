//! `docs/API.md`: the tables as people read them.

use super::{
    docs::Body,
    listed::{OPERATIONS, Operation},
    refusals::REFUSALS,
};
use crate::{
    api::{
        fields::spec::{AnySpec, Specs, Support},
        openai::shared::{ending::ENDING, sampling::specs::SAMPLING, structured::specs::STRUCTURED},
    },
    config::prose::wrapped,
};
use serde_json::Value;
use std::fmt::Write;

/// The reason why no `write!` in this file fails.
const NEVER_FAILS: &str = "writing to a string cannot fail";

/// Tables that several routes share, and their names in the overview.
const GROUPS: [(&str, Specs); 3] = [("sampling", SAMPLING), ("ending", ENDING), ("structured output", STRUCTURED)];

/// The beginning of the file.
const HEAD: &str = "\
# Routes and fields

This file is generated from the specifications by which the code in `src/api` reads each field. Do not edit it by hand:
`LLAMERO_WRITE_DOCS=1 cargo test --release documents` writes it.

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
of a request that the model's chat template does not show, such as the reasoning of earlier turns.

- With the request header `x-llamero-warnings: body` the names also stand in the body's `warnings`, on
  `/v1/completions`, `/v1/chat/completions`, `/v1/responses` and `/v1/messages`. Other routes have the header alone.
- With the request header `x-llamero-strict: 1`, or a server started with `--strict`, such a request is a 400.

The header also says that objects of a schema were closed (docs/STRUCTURED_OUTPUT.md), and that `truncation: auto` left
out turns; this is no 400.

## Limits above the context, and other names of models

`max_tokens` and its other names are upper bounds. A limit above the room that the prompt leaves in the context is
reduced to it, and `x-llamero-warnings` names the field that was sent. -1 is as many tokens as fit, except on
`/v1/messages` and `/generate`, which refuse it. A prompt that leaves no room is [refused](#prompts-and-lengths).

The one model that is served answers to every `model`, and to requests without one; `x-llamero-warnings` says so. A
strict request must name one of the served names: otherwise it is a 404, or a 400 without a name. On llama-server's and
vLLM's own routes, such as `/completion`, `/infill` and `/tokenize`, a request without `model` gets the first one
without a warning, strict or not.

## Tools and chat templates

Where the model's chat template shows no tools, the system turn describes them, and a warning says so. The model then
calls by `<tool_call>{\"name\": …, \"arguments\": {…}}</tool_call>` or by the JSON object alone. Earlier calls are written
in the same way, and results as `<tool_response>` in users' turns. Calls that must be made (`required`, or a named
function) are constrained, as with any template. `capabilities` of `/v1/models` has `generic_tools` for such a model.
`--no-generic-tools` leaves tools out that the template does not show, and no text is a call then. Where the description
does not fit into the context, tools that need not be called are left out, and a warning says so.

A tool of a type that nothing here can run is left out with a warning, and a `tool_choice` that asks for it counts as
`auto`. A note takes the place of an image or another medium in older turns and in results of tools.
[Messages and media](#messages-and-media) and [Tools](#tools) say what is refused.

## Control tokens in texts

In chat, only the template's own words become control tokens, whatever messages, tools and their results spell. Texts
for `suffix`, `/infill`, embeddings, rerank and score are plain too.

A `prompt` of completions, `/completion` or `/generate` is raw: the control tokens that it spells become those tokens,
as in vLLM and llama-server. A text for `/tokenize` is raw unless `parse_special` is false.
";

/// The whole text of `docs/API.md`.
pub(super) fn file() -> String {
    let mut text = format!("{HEAD}\n{REFUSALS}\n## Routes\n\n| route | purpose |\n| --- | --- |\n");
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
    text.push_str("\n| field | state | type | range | default | meaning |\n| --- | --- | --- | --- | --- | --- |\n");
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
    writeln!(text, "| `{name}` | {support}{required} | {kind} | {range} | {default} | {about}{example} |").expect(NEVER_FAILS);
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

/// The range of a number, the length of a text and the number of entries of a list or an object. Lists inside lists are
/// left to the description of the field.
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
        schema
            .get("items")
            .filter(|items| items["type"] != "array")
            .map(range)
            .filter(|range| !range.is_empty())
            .map(|range| format!("each {range}")),
    ];
    listed(ranges.into_iter().flatten(), ", ")
}

/// Joins the texts, each once.
fn listed(texts: impl Iterator<Item = String>, between: &str) -> String {
    let mut distinct: Vec<String> = Vec::new();
    for text in texts {
        if !distinct.contains(&text) {
            distinct.push(text);
        }
    }
    distinct.join(between)
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
        for operation in &*OPERATIONS {
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
        names(&paths.join(", "), &own, &shared, text);
    }
    for (name, group) in GROUPS {
        names(&format!("*{name}*"), group, &[], text);
    }
}

/// The names of `fields` by their state, and of the groups that belong to them.
fn names(title: &str, fields: &[&dyn AnySpec], groups: &[String], text: &mut String) {
    writeln!(text, "\n{title}:\n").expect(NEVER_FAILS);
    for support in [Support::Works, Support::Extra, Support::Refused, Support::Accepted] {
        let named = fields.iter().filter(|field| field.support() == support).map(|field| format!("`{}`", field.name()));
        let shared = groups.iter().filter(|_| support == Support::Works).cloned();
        let all: Vec<String> = named.chain(shared).collect();
        if !all.is_empty() {
            writeln!(text, "{}", wrapped("- ", "  ", &format!("{}: {}", word(support), all.join(" ")))).expect(NEVER_FAILS);
        }
    }
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

//! `docs/API.md`: the tables as people read them.

use super::{
    field::{Field, Status},
    operations::{OPERATIONS, Operation},
};
use std::fmt::Write;

/// The whole file.
pub(super) fn file() -> String {
    let mut text = String::from(
        "# Routes and fields\n\nMade from the tables in `src/api/openapi`, which tests hold against the code; do not edit by hand.\n\n\
         **works**: as OpenAI, or for `/v1/messages` Anthropic, specifies it. **extra**: works, and their API does not have it. **accepted**: without effect by its nature.\n\
         **refused**: a 400 that names it, unless its value has no effect. Any other field is ignored and named in `x-llamero-warnings`, or\n\
         refused with `x-llamero-strict: 1`. `null` equals absence.\n",
    );
    for operation in OPERATIONS {
        describe(operation, &mut text);
    }
    text
}

fn describe(operation: &Operation, text: &mut String) {
    let Operation { method, path, about, body, .. } = operation;
    writeln!(text, "\n## `{} {path}`\n\n{about}", method.to_uppercase()).expect("writing to a string cannot fail");
    let Some(body) = body else { return };
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

fn word(status: Status) -> &'static str {
    match status {
        Status::Works => "works",
        Status::Extra => "extra",
        Status::Accepted => "accepted",
        Status::Refused => "refused",
    }
}

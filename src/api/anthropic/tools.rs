//! `tools` and `tool_choice`, read into chat's types.
//!
//! The client's own tools are accepted. Tools that Anthropic runs, or that its models were trained for, are left out
//! and reported.

use super::specs;
use crate::{
    api::{
        fields::{FieldError, Fields, ignored::Ignored},
        openai::shared::{
            left_out::{LeftOut, LeftOutPart},
            unmet_choice::{NOT_APPLIED, asks_for_left_out},
        },
    },
    chat::{
        messages::{Tools, read_name, settle_schema_type},
        output::Calls,
    },
    field_path::{FieldPath, PathStyle},
};
use serde_json::{Map, Value, json};

/// The functions that may be called, and the rules for calling them.
pub(super) struct Offer {
    pub(super) tools: Tools,
    pub(super) calls: Calls,
    /// True if several may be called at once.
    pub(super) parallel: bool,
    /// Tools that are left out because of their type.
    pub(super) left_out: LeftOut,
    /// The warning for a choice that is not applied.
    pub(super) partly: Vec<(&'static str, &'static str)>,
}

/// Reads `tools` and `tool_choice`, and adds the paths of fields without effect to `ignored`.
///
/// # Errors
/// The first place at fault.
pub(super) fn read(f: &mut Fields, ignored: &mut Ignored) -> Result<Offer, FieldError> {
    const CHOICE: &str = specs::TOOL_CHOICE.name;
    let path = FieldPath::from(specs::TOOLS.name);
    let values = match f.get(&specs::TOOLS)? {
        None => Vec::new(),
        Some(Value::Array(values)) => values,
        Some(other) => return Err(FieldError::wrong_type(path, "an array of tools", &other)),
    };
    let (mut tools, mut left_out) = (Tools::default(), LeftOut::default());
    let mut own = Vec::new();
    for (index, value) in values.into_iter().enumerate() {
        match value.get("type").and_then(Value::as_str) {
            None | Some("custom") => own.push((path.index(index), value)),
            Some(kind) => {
                left_out.add(LeftOutPart::Tool, kind, &path.index(index));
                value.get("name").and_then(Value::as_str).into_iter().for_each(|name| left_out.add_tool_name(name));
            }
        }
    }
    Tools::check_count(own.len())?;
    for (at, value) in own {
        let function = function(value, &at, ignored)?;
        tools.add(function, &at, specs::MAX_TOOL_NAME)?;
    }
    let mut offer = Offer { calls: tools.default_calls(), tools, parallel: true, left_out, partly: Vec::new() };
    if let Some(choice) = f.get(&specs::TOOL_CHOICE)? {
        let is_unmet = asks_for_left_out(Some(&Value::Object(choice.clone())), &offer.tools, &offer.left_out);
        let mut choice = Fields::new(choice);
        if is_unmet {
            for name in ["type", "name"] {
                choice.take(name);
            }
            offer.partly.push(NOT_APPLIED);
        } else {
            offer.calls = chosen(&mut choice, &offer.tools)?;
        }
        let alone = choice.boolean("disable_parallel_tool_use").map_err(|error| error.inside(CHOICE))?;
        offer.parallel = alone != Some(true);
        ignored.extend_inside(CHOICE, &choice.finish());
    }
    Tools::check_size(offer.tools.values.iter())?;
    Ok(offer)
}

/// The function of a tool in the form that templates expect.
fn function(value: Value, at: &FieldPath, ignored: &mut Ignored) -> Result<Map<String, Value>, FieldError> {
    let inside = |error: FieldError| error.inside(at);
    let mut tool = object(value, at)?;
    // Tools of other types were left out before.
    tool.string("type").map_err(inside)?;
    let name = name(&mut tool, at)?;
    let schema_at = at.field("input_schema");
    let mut schema = tool.object("input_schema").map_err(inside)?.ok_or_else(|| FieldError::missing(&schema_at))?;
    if !settle_schema_type(&mut schema) {
        return Err(FieldError::invalid(schema_at.field("type"), "expected 'object'"));
    }
    let mut function = Map::from_iter([("name".to_owned(), name.into()), ("parameters".to_owned(), schema.into())]);
    if let Some(description) = tool.string("description").map_err(inside)? {
        function.insert("description".to_owned(), description.into());
    }
    if let Some(strict) = tool.boolean("strict").map_err(inside)? {
        function.insert("strict".to_owned(), strict.into());
    }
    // Arguments are always streamed as they arrive, and every tool is always available.
    for name in ["cache_control", "eager_input_streaming"] {
        tool.take(name);
    }
    if tool.boolean("defer_loading").map_err(inside)? == Some(true) {
        ignored.add_inside(&at.spelled(PathStyle::Dots), "defer_loading");
    }
    if tool.take("allowed_callers").is_some_and(|callers| callers != json!(["direct"])) {
        ignored.add_inside(&at.spelled(PathStyle::Dots), "allowed_callers");
    }
    ignored.extend_inside(&at.spelled(PathStyle::Dots), &tool.finish());
    Ok(function)
}

/// The calls that `tool_choice` asks for or allows.
fn chosen(choice: &mut Fields, tools: &Tools) -> Result<Calls, FieldError> {
    let at = FieldPath::from(specs::TOOL_CHOICE.name);
    match string(choice, "type", &at)?.as_str() {
        "auto" => Ok(tools.default_calls()),
        "none" => Ok(Calls::None),
        "any" if tools.specs.is_empty() => Err(FieldError::invalid(at, "'any' needs at least one of 'tools'")),
        "any" => Ok(Calls::Required),
        "tool" => {
            let name = name(choice, &at)?;
            if !tools.specs.iter().any(|spec| spec.name == name) {
                return Err(FieldError::invalid(at.field("name"), format!("'{name}' is not among 'tools'")));
            }
            Ok(Calls::Named(name))
        }
        _ => Err(FieldError::invalid(at.field("type"), "expected 'auto', 'any', 'tool' or 'none'")),
    }
}

/// The required field `name`, of a tool or a choice.
fn name(fields: &mut Fields, at: &FieldPath) -> Result<String, FieldError> {
    Ok(read_name(fields.take("name"), &at.field("name"), specs::MAX_TOOL_NAME)?)
}

/// A required string of an object at `at`.
pub(super) fn string(fields: &mut Fields, name: &str, at: &FieldPath) -> Result<String, FieldError> {
    let value = fields.string(name).map_err(|error| error.inside(at))?;
    value.ok_or_else(|| FieldError::missing(at.field(name)))
}

/// The value at `at` as an object.
pub(super) fn object(value: Value, at: &FieldPath) -> Result<Fields, FieldError> {
    match value {
        Value::Object(fields) => Ok(Fields::new(fields)),
        other => Err(FieldError::wrong_type(at, "an object", &other)),
    }
}

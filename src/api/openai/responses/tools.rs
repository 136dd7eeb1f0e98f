//! `tools`, `tool_choice` and `text.format` of the Responses API, which are flat where chat's are nested.
//!
//! Refuses OpenAI's built-in tools, which the server would run. The rules that functions and formats share with chat's
//! are checked by chat's code.

use super::specs;
use crate::{
    api::{
        fields::{FieldError, Fields, ignored::Ignored},
        openai::shared::structured::{Constrained, read_format, read_json_schema},
    },
    chat::{
        messages::{MAX_FUNCTION_NAME, Tools, function_type, named_function, read_tool_choice},
        output::Calls,
    },
    field_path::FieldPath,
};
use serde_json::{Map, Value, json};

/// Reads `tools`. Returns them also in the form in which a response repeats them.
///
/// # Errors
/// The field is no list of objects, a tool is no function, or a function breaks a rule of chat's.
pub(super) fn tools(f: &mut Fields, ignored: &mut Ignored) -> Result<(Tools, Vec<Value>), FieldError> {
    let path = FieldPath::from(specs::TOOLS.name);
    let tools = match f.get(&specs::TOOLS)? {
        None => return Ok((Tools::default(), Vec::new())),
        Some(Value::Array(tools)) => tools,
        Some(other) => return Err(FieldError::wrong_type(path, "an array of tools", &other)),
    };
    let (mut nested, mut shown) = (Vec::new(), Vec::new());
    for (index, tool) in tools.into_iter().enumerate() {
        let at = path.index(index);
        let Value::Object(mut tool) = tool else { return Err(FieldError::wrong_type(at, "a tool object", &tool)) };
        tool.retain(|_, value| !value.is_null());
        let mut tool = Fields::new(tool);
        match tool.string("type").map_err(|error| error.inside(&at))?.as_deref() {
            Some("function") => {}
            None => return Err(FieldError::missing(at.field("type"))),
            Some(other) => {
                let shown: String = other.chars().take(32).collect();
                let reason = format!("'{shown}' is not supported: only functions are, which the caller runs");
                return Err(FieldError::invalid(at.field("type"), reason));
            }
        }
        let [name, description, parameters, strict] = ["name", "description", "parameters", "strict"].map(|name| tool.take(name));
        let function = json!({"name": name, "description": description, "parameters": parameters, "strict": strict});
        nested.push(json!({"type": "function", "function": function}));
        let strict = strict.unwrap_or(Value::Bool(false));
        shown.push(json!({"type": "function", "name": name, "description": description, "parameters": parameters, "strict": strict}));
        ignored.extend_inside(at.as_str(), &tool.finish());
    }
    Tools::check_size(&nested)?;
    let mut read = Tools::default();
    for (index, mut tool) in nested.into_iter().enumerate() {
        if let Value::Object(function) = tool["function"].take() {
            read.add(function, &path.index(index), MAX_FUNCTION_NAME)?;
        }
    }
    Ok((read, shown))
}

/// Reads `tool_choice`. Returns it also in the form in which a response repeats it. Adds members without effect to
/// `ignored`.
///
/// # Errors
/// The value is no choice, or names a function that is not among `tools`.
pub(super) fn tool_choice(f: &mut Fields, tools: &Tools, ignored: &mut Ignored) -> Result<(Calls, Value), FieldError> {
    let given = f.get(&specs::TOOL_CHOICE)?;
    let shown = given.clone().unwrap_or_else(|| "auto".into());
    let calls = match given {
        Some(Value::Object(mut choice)) => {
            let at = FieldPath::from(specs::TOOL_CHOICE.name);
            function_type(&choice, &at)?;
            choice.shift_remove("type");
            let calls = named_function(choice.shift_remove("name"), &at.field("name"), tools)?;
            ignored.extend_inside(at.as_str(), &Fields::new(choice).finish());
            calls
        }
        other => read_tool_choice(other.unwrap_or(Value::Null), tools)?,
    };
    Ok((calls, shown))
}

/// Reads `text.format`, whose schema is not nested. Adds fields without effect: those that chat knows to `hidden`,
/// others to `ignored`.
///
/// # Errors
/// The errors of chat's `response_format`.
pub(super) fn text_format(
    format: Map<String, Value>,
    hidden: &mut Ignored,
    ignored: &mut Ignored,
) -> Result<Option<Constrained>, FieldError> {
    const NAME: &str = "text.format";
    let path = FieldPath::from(NAME);
    let has_schema = format.get("type").and_then(Value::as_str) == Some("json_schema");
    let mut format = Fields::new(format);
    let constraint = if has_schema {
        format.take("type");
        let known = format.pick(["name", "description", "schema", "strict"]);
        ignored.extend_inside(NAME, &format.finish());
        format = known;
        Some(read_json_schema(&mut format, &path)?)
    } else {
        read_format(&mut format, &path)?
    };
    hidden.extend_inside(NAME, &format.finish());
    Ok(constraint.map(|constraint| Constrained { constraint, path }))
}

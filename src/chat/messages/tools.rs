//! `tools` and `tool_choice`: which functions a model may, must or must not call.

use super::{MessageError, function_type, object, read_name};
use crate::chat::output::{Calls, ToolSpec};
use serde_json::{Map, Value, json};
use std::collections::HashSet;

/// Tools of one request.
pub const MAX_TOOLS: usize = 128;

/// Bytes of all tools of a request together, as JSON. Templates, schemas and grammars are made of them.
pub const MAX_TOOL_BYTES: usize = 256 * 1024;

/// The functions of a request, in its order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tools {
    /// For the constraint and the parser.
    pub specs: Vec<ToolSpec>,
    /// For the template: as they came, but without `null` and `strict`, which is for the server.
    pub values: Vec<Value>,
}

/// Reads `tools`; `null` and an empty list are none.
///
/// # Errors
/// If there are more than [`MAX_TOOLS`] or they are longer than [`MAX_TOOL_BYTES`], one is no function, or a name comes
/// twice.
pub fn read_tools(value: Value) -> Result<Tools, MessageError> {
    let tools = match value {
        Value::Null => return Ok(Tools::default()),
        Value::Array(tools) => tools,
        other => return Err(MessageError::wrong_type("tools", "an array of tools", &other)),
    };
    if tools.len() > MAX_TOOLS {
        return Err(MessageError::new("tools", format!("expected at most {MAX_TOOLS} tools, but got {} instead", tools.len())));
    }
    let bytes: usize = tools.iter().map(|tool| tool.to_string().len()).sum();
    if bytes > MAX_TOOL_BYTES {
        let reason = format!("expected at most {MAX_TOOL_BYTES} bytes of JSON in all tools together, but got {bytes} instead");
        return Err(MessageError::new("tools", reason));
    }
    let mut read = Tools::default();
    let mut names = HashSet::new();
    for (at, tool) in tools.into_iter().enumerate() {
        let (spec, value) = read_tool(tool, &format!("tools[{at}]"))?;
        if !names.insert(spec.name.clone()) {
            return Err(MessageError::new(format!("tools[{at}].function.name"), format!("'{}' is there twice", spec.name)));
        }
        read.specs.push(spec);
        read.values.push(value);
    }
    Ok(read)
}

fn read_tool(tool: Value, at: &str) -> Result<(ToolSpec, Value), MessageError> {
    let mut fields = object(tool, at, "an object with 'type' and 'function'")?;
    function_type(&fields, at)?;
    let at = format!("{at}.function");
    let Some(function) = fields.shift_remove("function") else {
        return Err(MessageError::missing(at));
    };
    let mut function = object(function, &at, "an object with 'name' and 'parameters'")?;
    function.retain(|_, value| !value.is_null());
    let name = read_name(function.get("name").cloned(), &format!("{at}.name"))?;
    if let Some(other) = function.get("description").filter(|value| !value.is_string()) {
        return Err(MessageError::wrong_type(format!("{at}.description"), "a string", other));
    }
    let strict = match function.shift_remove("strict") {
        None => false,
        Some(Value::Bool(strict)) => strict,
        Some(other) => return Err(MessageError::wrong_type(format!("{at}.strict"), "a boolean", &other)),
    };
    let parameters = match function.get("parameters") {
        None => Value::Object(Map::new()),
        Some(Value::Object(schema)) if schema.get("type").is_none_or(|kind| kind == "object") => Value::Object(schema.clone()),
        Some(Value::Object(_)) => return Err(MessageError::new(format!("{at}.parameters.type"), "expected 'object'")),
        Some(other) => return Err(MessageError::wrong_type(format!("{at}.parameters"), "a JSON Schema object", other)),
    };
    let value = json!({"type": "function", "function": function});
    Ok((ToolSpec { name, parameters, strict }, value))
}

/// Reads `tool_choice`; `null` is `auto` if there are tools, else `none`.
///
/// # Errors
/// If it is neither `none`, `auto`, `required` nor one of the functions, or asks for a call and there is no tool.
pub fn read_tool_choice(value: Value, tools: &[ToolSpec]) -> Result<Calls, MessageError> {
    const AT: &str = "tool_choice";
    let unknown = || MessageError::new(AT, "expected 'none', 'auto', 'required' or an object that names a function");
    let free = if tools.is_empty() { Calls::None } else { Calls::Auto };
    let mut fields = match value {
        Value::Null => return Ok(free),
        Value::Object(fields) => fields,
        Value::String(choice) => {
            return match choice.as_str() {
                "none" => Ok(Calls::None),
                "auto" => Ok(free),
                "required" if tools.is_empty() => Err(MessageError::new(AT, "'required' needs at least one of 'tools'")),
                "required" => Ok(Calls::Required),
                _ => Err(unknown()),
            };
        }
        _ => return Err(unknown()),
    };
    function_type(&fields, AT)?;
    let Some(function) = fields.shift_remove("function") else {
        return Err(MessageError::missing(format!("{AT}.function")));
    };
    let at = format!("{AT}.function.name");
    let name = object(function, "tool_choice.function", "an object with 'name'")?.shift_remove("name");
    let name = read_name(name, &at)?;
    if tools.iter().any(|tool| tool.name == name) {
        Ok(Calls::Named(name))
    } else {
        Err(MessageError::new(at, format!("'{name}' is not among 'tools'")))
    }
}

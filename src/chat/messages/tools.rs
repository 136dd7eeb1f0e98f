//! `tools` and `tool_choice`: the functions that a model may, must or must not call.

use super::{
    MAX_FUNCTION_NAME, MessageError,
    allowed_tools::{ALLOWED_TOOLS, allow_only, name_in_choice},
    object, read_name,
    text_tools::TextTool,
};
use crate::{
    chat::output::{Calls, ToolInput, ToolSpec},
    field_path::FieldPath,
};
use serde_json::{Map, Value, json};
use std::collections::HashSet;

/// Maximum number of tools in one request.
pub const MAX_TOOLS: usize = 128;

/// Maximum size of all tools of a request together, bytes of JSON. Templates, schemas and grammars are made from them.
pub const MAX_TOOL_BYTES: usize = 256 * 1024;

/// The functions of a request, in the request's order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tools {
    /// The functions for the constraint and the parser.
    pub specs: Vec<ToolSpec>,
    /// The functions for the template, as they were sent, but without `null` and without `strict`, which is for the
    /// server.
    pub values: Vec<Value>,
    /// Names of tools that were sent more than once with equal contents, and are here once.
    pub repeated: Vec<String>,
}

impl Tools {
    /// Checks the number of tools before any of them is read: reading compares each name with all earlier ones.
    ///
    /// # Errors
    /// There are more than [`MAX_TOOLS`].
    pub fn check_count(tools: usize) -> Result<(), MessageError> {
        if tools > MAX_TOOLS {
            return Err(MessageError::new("tools", format!("expected at most {MAX_TOOLS} tools, but got {tools} instead")));
        }
        Ok(())
    }

    /// Checks the number of a request's tools, and their size in chat's shape.
    ///
    /// # Errors
    /// There are more than [`MAX_TOOLS`], or they are larger than [`MAX_TOOL_BYTES`].
    pub fn check_size<'a>(tools: impl ExactSizeIterator<Item = &'a Value>) -> Result<(), MessageError> {
        Self::check_count(tools.len())?;
        let bytes: usize = tools.map(|tool| tool.to_string().len()).sum();
        if bytes > MAX_TOOL_BYTES {
            let reason = format!("expected at most {MAX_TOOL_BYTES} bytes of JSON in all tools together, but got {bytes} instead");
            return Err(MessageError::new("tools", reason));
        }
        Ok(())
    }

    /// Adds the function whose fields have the path `at`; `null` counts as absent. Its name has at most `longest_name`
    /// characters.
    ///
    /// # Errors
    /// A field has the wrong type, the name breaks the rule of [`read_name`], or another tool has it.
    pub fn add(&mut self, function: Map<String, Value>, at: &FieldPath, longest_name: usize) -> Result<(), MessageError> {
        self.add_with(function, ToolInput::Arguments, at, longest_name)
    }

    fn add_with(
        &mut self,
        mut function: Map<String, Value>,
        input: ToolInput,
        at: &FieldPath,
        longest_name: usize,
    ) -> Result<(), MessageError> {
        function.retain(|_, value| !value.is_null());
        let name = read_name(function.get("name").cloned(), &at.field("name"), longest_name)?;
        if let Some(other) = function.get("description").filter(|value| !value.is_string()) {
            return Err(MessageError::wrong_type(at.field("description"), "a string", other));
        }
        let strict = match function.shift_remove("strict") {
            None => false,
            Some(Value::Bool(strict)) => strict,
            Some(other) => return Err(MessageError::wrong_type(at.field("strict"), "a boolean", &other)),
        };
        let parameters_at = at.field("parameters");
        let parameters = match function.get_mut("parameters") {
            None => Value::Object(Map::new()),
            Some(Value::Object(schema)) => {
                if !settle_schema_type(schema) {
                    return Err(MessageError::new(parameters_at.field("type"), "expected 'object'"));
                }
                Value::Object(schema.clone())
            }
            Some(other) => return Err(MessageError::wrong_type(parameters_at, "a JSON Schema object", other)),
        };
        let spec = ToolSpec { name, parameters, strict, input };
        let value = json!({"type": "function", "function": function});
        match self.specs.iter().position(|known| known.name == spec.name) {
            None => {
                self.specs.push(spec);
                self.values.push(value);
            }
            Some(place) if self.specs[place] == spec && self.values[place] == value => {
                if !self.repeated.contains(&spec.name) {
                    self.repeated.push(spec.name);
                }
            }
            Some(_) => {
                let reason = format!("'{}' is there twice, with different contents", spec.name);
                return Err(MessageError::new(at.field("name"), reason));
            }
        }
        Ok(())
    }

    /// Adds a tool whose input is a text.
    ///
    /// # Errors
    /// As [`Tools::add`].
    pub fn add_text(&mut self, tool: TextTool, at: &FieldPath, longest_name: usize) -> Result<(), MessageError> {
        self.add_with(tool.function, ToolInput::Text { grammar: tool.grammar }, at, longest_name)
    }

    /// True if there is a tool of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.specs.iter().any(|spec| spec.name == name)
    }

    /// Removes the tools with other names.
    pub(super) fn keep(&mut self, names: &HashSet<String>) {
        let kept: Vec<bool> = self.specs.iter().map(|spec| names.contains(&spec.name)).collect();
        let mut is_kept = kept.iter();
        self.specs.retain(|_| is_kept.next() == Some(&true));
        is_kept = kept.iter();
        self.values.retain(|_| is_kept.next() == Some(&true));
    }

    /// The calls that are allowed for a request without `tool_choice`.
    #[must_use]
    pub fn default_calls(&self) -> Calls {
        if self.specs.is_empty() { Calls::None } else { Calls::Auto }
    }
}

/// Reads chat's `tools`; `null` and an empty list mean none. Calls `left_out` with the place and the type of each tool
/// that is neither a function nor a `custom` tool, because nothing here could run it.
///
/// # Errors
/// There are more than [`MAX_TOOLS`], they are larger than [`MAX_TOOL_BYTES`], one lacks a part, or a name occurs
/// twice.
pub fn read_tools(value: Value, left_out: &mut impl FnMut(&FieldPath, &str)) -> Result<Tools, MessageError> {
    let at = FieldPath::from("tools");
    let tools = match value {
        Value::Null => return Ok(Tools::default()),
        Value::Array(tools) => tools,
        other => return Err(MessageError::wrong_type(at, "an array of tools", &other)),
    };
    let mut own = Vec::new();
    for (index, tool) in tools.into_iter().enumerate() {
        let at = at.index(index);
        match tool.get("type").and_then(Value::as_str) {
            None | Some("function" | "custom") => own.push((at, tool)),
            Some(kind) => left_out(&at, kind),
        }
    }
    Tools::check_size(own.iter().map(|(_, tool)| tool))?;
    let mut read = Tools::default();
    for (at, tool) in own {
        let mut fields = object(tool, &at, "an object with 'type' and 'function'")?;
        let kind = tool_kind(&fields, &at)?;
        let at = at.field(kind);
        let Some(tool) = fields.shift_remove(kind) else {
            return Err(MessageError::missing(at));
        };
        let mut tool = object(tool, &at, "an object with 'name'")?;
        if kind == CUSTOM {
            let tool = TextTool::read(&mut tool, &at)?;
            read.add_text(tool, &at, MAX_FUNCTION_NAME)?;
        } else {
            read.add(tool, &at, MAX_FUNCTION_NAME)?;
        }
    }
    Ok(read)
}

/// Reads the `type` of a tool's schema: `null` and `["object"]` become `object`. False if it is another type.
pub fn settle_schema_type(schema: &mut Map<String, Value>) -> bool {
    match schema.get_mut("type") {
        None => true,
        Some(kind) => {
            if kind.is_null() || *kind == json!([OBJECT]) {
                *kind = OBJECT.into();
            }
            kind == OBJECT
        }
    }
}

/// Reads chat's `tool_choice`; `null` means `auto` if there are tools, else `none`. Tools that a choice of
/// [`ALLOWED_TOOLS`] does not name are removed; `is_left_out` is as for [`allow_only`].
///
/// # Errors
/// The value is neither `none`, `auto`, `required` nor some of the tools, or asks for a call although there is no tool.
pub fn read_tool_choice(value: Value, tools: &mut Tools, is_left_out: impl Fn(&Value) -> bool) -> Result<Calls, MessageError> {
    let at = FieldPath::from("tool_choice");
    let mut fields = match value {
        Value::Null => return Ok(tools.default_calls()),
        Value::Object(fields) => fields,
        Value::String(choice) if choice == "none" => return Ok(Calls::None),
        Value::String(choice) if choice == "auto" => return Ok(tools.default_calls()),
        Value::String(choice) if choice == "required" => {
            if tools.specs.is_empty() {
                return Err(MessageError::new(at, "'required' needs at least one of 'tools' that is a function or a 'custom' tool"));
            }
            return Ok(Calls::Required);
        }
        _ => return Err(MessageError::new(at, "expected 'none', 'auto', 'required' or an object that names a function")),
    };
    if fields.get("type").is_some_and(|kind| kind == ALLOWED_TOOLS) {
        let at = at.field(ALLOWED_TOOLS);
        let inner = fields.shift_remove(ALLOWED_TOOLS).ok_or_else(|| MessageError::missing(&at))?;
        let mut inner = object(inner, &at, "an object with 'mode' and 'tools'")?;
        return allow_only(&mut inner, &at, tools, |entry| name_in_choice(entry).map(str::to_owned), is_left_out);
    }
    let kind = tool_kind(&fields, &at)?;
    let at = at.field(kind);
    let Some(function) = fields.shift_remove(kind) else {
        return Err(MessageError::missing(at));
    };
    let name = object(function, &at, "an object with 'name'")?.shift_remove("name");
    named_function(name, &at.field("name"), tools, MAX_FUNCTION_NAME)
}

/// The choice of the tool named in the field `at`, by at most `longest` characters.
///
/// # Errors
/// The value is no name, or not that of one of `tools`.
pub fn named_function(name: Option<Value>, at: &FieldPath, tools: &Tools, longest: usize) -> Result<Calls, MessageError> {
    let name = read_name(name, at, longest)?;
    if tools.has(&name) { Ok(Calls::Named(name)) } else { Err(MessageError::new(at, format!("'{name}' is not among 'tools'"))) }
}

/// The type of a schema for the arguments of a function.
const OBJECT: &str = "object";
/// The type of a function, and chat's key for its fields.
pub const FUNCTION: &str = "function";
/// The type of a tool whose input is a text, and chat's key for its fields.
pub const CUSTOM: &str = "custom";

/// The `type` of a tool, a call or a choice at `at`: [`FUNCTION`], which is the default, or [`CUSTOM`].
///
/// # Errors
/// The type is another one: the server runs no tools itself.
pub fn tool_kind(fields: &Map<String, Value>, at: &FieldPath) -> Result<&'static str, MessageError> {
    match fields.get("type") {
        None | Some(Value::Null) => Ok(FUNCTION),
        Some(Value::String(kind)) => match [FUNCTION, CUSTOM].into_iter().find(|known| kind == known) {
            Some(known) => Ok(known),
            None => {
                let shown: String = kind.chars().take(32).collect();
                let reason =
                    format!("'{shown}' is not supported: only 'function' and 'custom' are, because this server runs no tools itself");
                Err(MessageError::new(at.field("type"), reason))
            }
        },
        Some(other) => Err(MessageError::wrong_type(at.field("type"), "a string", other)),
    }
}

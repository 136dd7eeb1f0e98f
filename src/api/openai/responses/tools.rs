//! `tools`, `tool_choice` and `text.format` of the Responses API, which are flat where chat's are nested.
//!
//! Functions and custom tools are offered to the model, those in namespaces too. Tools that somebody else would have to
//! run (OpenAI's built-in tools, MCP servers, types that are not known here) are left out and reported. The rules that
//! functions and formats share with chat's are checked by chat's code.

use super::{names::ToolNames, specs};
use crate::{
    api::{
        fields::{FieldError, Fields, ignored::Ignored},
        openai::shared::{
            left_out::{LeftOut, LeftOutPart},
            structured::{Constrained, read_format, read_json_schema},
            unmet_choice::{asks_for_left_out, is_left_out},
        },
    },
    chat::{
        messages::{
            ALLOWED_TOOLS, CUSTOM, FUNCTION, MAX_FUNCTION_NAME, TextTool, Tools, allow_only, name_in_choice, named_function, read_name,
            read_tool_choice, tool_kind,
        },
        output::Calls,
    },
    field_path::FieldPath,
};
use serde_json::{Map, Value, json};
use std::collections::{HashMap, HashSet};

/// The type of a group of tools.
const NAMESPACE: &str = "namespace";
/// The longest name of a tool for the model, characters: a namespace, two underscores and a name.
const MAX_MODEL_NAME: usize = 2 * MAX_FUNCTION_NAME + 2;

/// The tools of a request.
#[derive(Debug, Default)]
pub(super) struct ToolOffer {
    /// The tools under the names that the model knows.
    pub(super) tools: Tools,
    pub(super) names: ToolNames,
    /// The tools that are not left out, in the form in which a response repeats them.
    pub(super) shown: Vec<Value>,
    /// The tools that are left out.
    pub(super) left_out: LeftOut,
}

/// A tool that is not left out.
struct ListedTool {
    at: FieldPath,
    namespace: Option<String>,
    name: String,
    tool: OfferedTool,
}

/// A tool in the form in which the model is offered it.
enum OfferedTool {
    Function(Map<String, Value>),
    Text(TextTool),
}

/// Reads the elements of `tools`.
#[derive(Default)]
struct ToolReader {
    listed: Vec<ListedTool>,
    shown: Vec<Value>,
    left_out: LeftOut,
}

/// Reads `tools`. Adds members without effect to `ignored`.
///
/// # Errors
/// The field is no list of objects with a type, or a function, a custom tool or a namespace breaks a rule.
pub(super) fn tools(f: &mut Fields, ignored: &mut Ignored) -> Result<ToolOffer, FieldError> {
    let path = FieldPath::from(specs::TOOLS.name);
    let tools = match f.get(&specs::TOOLS)? {
        None => return Ok(ToolOffer::default()),
        Some(Value::Array(tools)) => tools,
        Some(other) => return Err(FieldError::wrong_type(path, "an array of tools", &other)),
    };
    let mut reader = ToolReader::default();
    for (index, tool) in tools.into_iter().enumerate() {
        reader.tool(tool, &path.index(index), ignored)?;
    }
    reader.offer()
}

impl ToolReader {
    /// Reads one element of `tools`.
    fn tool(&mut self, tool: Value, at: &FieldPath, ignored: &mut Ignored) -> Result<(), FieldError> {
        let (kind, mut tool) = typed(tool, at)?;
        match kind.as_str() {
            FUNCTION | CUSTOM => {
                let shown = self.own(&kind, &mut tool, at, None)?;
                self.shown.push(shown);
            }
            NAMESPACE => {
                let shown = self.namespace(&mut tool, at, ignored)?;
                self.shown.push(shown);
            }
            _ => {
                self.left_out.add(LeftOutPart::Tool, &kind, at);
                return Ok(());
            }
        }
        ignored.extend_inside(at.as_str(), &Fields::new(tool).finish());
        Ok(())
    }

    /// Reads a tool that the caller runs, and removes the fields that were read. Returns its form in a response.
    fn own(&mut self, kind: &str, tool: &mut Map<String, Value>, at: &FieldPath, namespace: Option<&str>) -> Result<Value, FieldError> {
        let mut shown = Map::from_iter([("type".to_owned(), Value::from(kind))]);
        let fields: &[&str] =
            if kind == CUSTOM { &["name", "description", "format"] } else { &["name", "description", "parameters", "strict"] };
        for name in fields {
            shown.insert((*name).to_owned(), tool.get(*name).cloned().unwrap_or(Value::Null));
        }
        let name = read_name(tool.get("name").cloned(), &at.field("name"), MAX_FUNCTION_NAME)?;
        let offered = if kind == CUSTOM {
            shown.retain(|_, value| !value.is_null());
            OfferedTool::Text(TextTool::read(tool, at)?)
        } else {
            let function = fields.iter().filter_map(|name| Some(((*name).to_owned(), tool.shift_remove(*name)?)));
            let function = function.collect();
            if shown["strict"].is_null() {
                shown.insert("strict".to_owned(), false.into());
            }
            OfferedTool::Function(function)
        };
        self.listed.push(ListedTool { at: at.clone(), namespace: namespace.map(str::to_owned), name, tool: offered });
        Ok(Value::Object(shown))
    }

    /// Reads a namespace: its tools, and its description, which is told with the first of them.
    fn namespace(&mut self, group: &mut Map<String, Value>, at: &FieldPath, ignored: &mut Ignored) -> Result<Value, FieldError> {
        let mut take = |name: &str| group.shift_remove(name);
        let name = read_name(take("name"), &at.field("name"), MAX_FUNCTION_NAME)?;
        let description = match take("description") {
            None => None,
            Some(Value::String(text)) => Some(text),
            Some(other) => return Err(FieldError::wrong_type(at.field("description"), "a string", &other)),
        };
        let tools = match take("tools") {
            None => Vec::new(),
            Some(Value::Array(tools)) => tools,
            Some(other) => return Err(FieldError::wrong_type(at.field("tools"), "an array of tools", &other)),
        };
        let (first, mut shown) = (self.listed.len(), Vec::new());
        for (index, tool) in tools.into_iter().enumerate() {
            let at = at.field("tools").index(index);
            let (kind, mut tool) = typed(tool, &at)?;
            if matches!(kind.as_str(), FUNCTION | CUSTOM) {
                shown.push(self.own(&kind, &mut tool, &at, Some(&name))?);
                ignored.extend_inside(at.as_str(), &Fields::new(tool).finish());
            } else {
                self.left_out.add(LeftOutPart::Tool, &kind, &at);
            }
        }
        if let (Some(name), Some(description)) = (self.listed.get(first).map(|tool| tool.name.clone()), &description) {
            // The same tool may be listed again.
            let listed = self.listed[first..].iter_mut().filter(|tool| tool.name == name);
            listed.for_each(|tool| tool.tool.describe(description));
        }
        Ok(json!({"type": NAMESPACE, "name": name, "description": description, "tools": shown}))
    }

    /// Gives each tool its name for the model.
    fn offer(self) -> Result<ToolOffer, FieldError> {
        // Before any pair of names is compared.
        Tools::check_count(self.listed.len())?;
        let mut namespaces: HashMap<String, HashSet<Option<String>>> = HashMap::new();
        for tool in &self.listed {
            namespaces.entry(tool.name.clone()).or_default().insert(tool.namespace.clone());
        }
        let mut offer = ToolOffer { shown: self.shown, left_out: self.left_out, ..ToolOffer::default() };
        for ListedTool { at, namespace, name, mut tool } in self.listed {
            if let Some(namespace) = namespace {
                let model_name = offer.names.add(&namespace, &name, namespaces.get(&name).is_some_and(|namespaces| namespaces.len() > 1));
                tool.function().insert("name".to_owned(), model_name.into());
            }
            match tool {
                OfferedTool::Function(function) => offer.tools.add(function, &at, MAX_MODEL_NAME)?,
                OfferedTool::Text(tool) => offer.tools.add_text(tool, &at, MAX_MODEL_NAME)?,
            }
        }
        Tools::check_size(offer.tools.values.iter())?;
        Ok(offer)
    }
}

impl OfferedTool {
    fn function(&mut self) -> &mut Map<String, Value> {
        match self {
            Self::Function(function) => function,
            Self::Text(tool) => &mut tool.function,
        }
    }

    /// Puts the description of a namespace before that of the tool. A description that is no text is refused later.
    fn describe(&mut self, namespace: &str) {
        let description = self.function().entry("description").or_insert(Value::Null);
        match description {
            Value::Null => *description = namespace.into(),
            Value::String(text) => *text = format!("{namespace}\n\n{text}"),
            _ => {}
        }
    }
}

/// The type of a tool and its fields, without those that are null.
fn typed(tool: Value, at: &FieldPath) -> Result<(String, Map<String, Value>), FieldError> {
    let Value::Object(mut tool) = tool else { return Err(FieldError::wrong_type(at, "a tool object", &tool)) };
    tool.retain(|_, value| !value.is_null());
    match tool.shift_remove("type") {
        Some(Value::String(kind)) => Ok((kind, tool)),
        Some(other) => Err(FieldError::wrong_type(at.field("type"), "a string", &other)),
        None => Err(FieldError::missing(at.field("type"))),
    }
}

/// The calls that `tool_choice` asks for or allows.
#[derive(Debug)]
pub(super) struct ToolChoice {
    pub(super) calls: Calls,
    /// The form in which a response repeats it.
    pub(super) shown: Value,
    /// False if it asks for a tool that was left out.
    pub(super) is_applied: bool,
}

/// Reads `tool_choice`, and removes the tools that it does not allow. Adds members without effect to `ignored`.
///
/// # Errors
/// The value is no choice, or names a tool that is not among `tools`.
pub(super) fn tool_choice(f: &mut Fields, offer: &mut ToolOffer, ignored: &mut Ignored) -> Result<ToolChoice, FieldError> {
    let given = f.get(&specs::TOOL_CHOICE)?;
    if asks_for_left_out(given.as_ref(), &offer.tools, &offer.left_out) {
        return Ok(ToolChoice { calls: offer.tools.default_calls(), shown: "auto".into(), is_applied: false });
    }
    let shown = given.clone().unwrap_or_else(|| "auto".into());
    let at = FieldPath::from(specs::TOOL_CHOICE.name);
    let left_out = &offer.left_out;
    let calls = match given {
        Some(Value::Object(mut choice)) if choice.get("type").is_some_and(|kind| kind == ALLOWED_TOOLS) => {
            choice.shift_remove("type");
            let names = &offer.names;
            let name_of = |entry: &Value| match entry["namespace"].as_str() {
                Some(namespace) => names.offered(namespace, name_in_choice(entry)?),
                None => name_in_choice(entry).map(str::to_owned),
            };
            let calls = allow_only(&mut choice, &at, &mut offer.tools, name_of, |entry| is_left_out(entry, left_out))?;
            ignored.extend_inside(at.as_str(), &Fields::new(choice).finish());
            calls
        }
        Some(Value::Object(mut choice)) => {
            tool_kind(&choice, &at)?;
            choice.shift_remove("type");
            let namespace = choice.shift_remove("namespace").filter(|namespace| !namespace.is_null());
            let mut name = choice.shift_remove("name");
            if let Some(namespace) = namespace {
                name = Some(namespaced(namespace, name, &at, offer)?.into());
            }
            let calls = named_function(name, &at.field("name"), &offer.tools, MAX_MODEL_NAME)?;
            ignored.extend_inside(at.as_str(), &Fields::new(choice).finish());
            calls
        }
        other => read_tool_choice(other.unwrap_or(Value::Null), &mut offer.tools, |_| false)?,
    };
    Ok(ToolChoice { calls, shown, is_applied: true })
}

/// The model's name for the tool `name` in `namespace`, both fields of the choice `at`.
fn namespaced(namespace: Value, name: Option<Value>, at: &FieldPath, offer: &ToolOffer) -> Result<String, FieldError> {
    let namespace = read_name(Some(namespace), &at.field("namespace"), MAX_FUNCTION_NAME)?;
    let name = read_name(name, &at.field("name"), MAX_FUNCTION_NAME)?;
    let unknown = || FieldError::invalid(at.field("name"), format!("'{namespace}.{name}' is not among 'tools'"));
    offer.names.offered(&namespace, &name).ok_or_else(unknown)
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

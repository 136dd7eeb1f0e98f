//! The constraint for an answer in a format beside calls that the model may make: either the whole answer obeys the
//! format, or it is calls in the syntax of the model's family.
//!
//! A grammar in llguidance's Lark notation with both branches. Names are those of the tools; arguments are JSON
//! objects, which may miss their schema, as wherever the model decides. The parser tells the branches apart by the
//! first characters (`Reasoning::Excluded`), so that a text is either calls or an answer in the format.

use super::{ToolFormat, ToolSpec};
use crate::protocol::{Constraint, MAX_GRAMMAR_BYTES, MAX_GRAMMAR_DEPTH, Token, bracket_depth};
use serde_json::{Map, Value, json};

/// The maximum length of a schema beside calls, bytes. A grammar may have 64 KiB, and the names of tools need room.
const MAX_SCHEMA_BYTES: usize = 40 << 10;

/// The deepest nesting of a schema beside calls. The rules of the grammar around the schema need some levels.
const MAX_DEPTH: usize = MAX_GRAMMAR_DEPTH - 10;

/// The schema of a format that can stand beside calls: `None` for formats that are no JSON, and for schemas that are no
/// object, too long or too deep.
fn schema_beside_calls(format: &Constraint) -> Option<Map<String, Value>> {
    match format {
        Constraint::JsonObject => Some(Map::from_iter([("type".to_owned(), "object".into())])),
        Constraint::JsonSchema(text) if text.len() <= MAX_SCHEMA_BYTES && bracket_depth(text) <= MAX_DEPTH => {
            serde_json::from_str(text).ok()
        }
        Constraint::JsonSchema(_) | Constraint::Regex(_) | Constraint::Choice(_) | Constraint::Grammar(_) => None,
    }
}

/// True if the schema describes objects that look like a call without a mark: it has properties for a name and
/// arguments, and demands nothing that a call does not have. An answer would be taken for a call.
fn describes_calls(schema: &Map<String, Value>) -> bool {
    let has = |name: &str| schema.get("properties").and_then(|properties| properties.get(name)).is_some();
    let is_of_call = |name: &Value| ["name", "arguments", "parameters", "id", "type"].iter().any(|known| name == known);
    let required = schema.get("required").and_then(Value::as_array);
    has("name") && (has("arguments") || has("parameters")) && required.into_iter().flatten().all(is_of_call)
}

/// The constraint under which generation runs if the model may call `tools` in this syntax or answer in `format`.
/// `control` finds a control token by its text. `None` if no grammar says both: there are no tools, the format is no
/// JSON, the syntax is no JSON, the grammar would be too long or too deep, or answers would look like calls.
#[must_use]
pub fn offered_constraint(
    tools: &[ToolSpec],
    parallel: bool,
    syntax: ToolFormat,
    format: &Constraint,
    control: impl Fn(&str) -> Option<Token>,
) -> Option<Constraint> {
    if tools.is_empty() {
        return None;
    }
    let schema = schema_beside_calls(format)?;
    if matches!(syntax, ToolFormat::Json | ToolFormat::Llama3Json) && describes_calls(&schema) {
        return None;
    }
    let schema = Value::Object(schema);
    let grammar = CallGrammar { names: tools.iter().map(|tool| tool.name.as_str()).collect(), parallel, control };
    let calls = grammar.calls(syntax)?;
    let grammar = format!("start: answer | calls\nanswer: %json {schema}\n{calls}");
    (grammar.len() <= MAX_GRAMMAR_BYTES).then_some(Constraint::Grammar(grammar))
}

/// Writes the rule `calls` and those that it needs. Whatever these rules allow, the parser must take for calls.
struct CallGrammar<'a, F> {
    names: Vec<&'a str>,
    parallel: bool,
    control: F,
}

impl<F: Fn(&str) -> Option<Token>> CallGrammar<'_, F> {
    /// The rules; `None` for a syntax whose calls no grammar describes as the parser reads them.
    fn calls(&self, format: ToolFormat) -> Option<String> {
        let mark = |text: &str| self.mark(text);
        let more = |separator: &str| if self.parallel { format!("({separator} call)*") } else { String::new() };
        let (call, list) = (self.object("arguments"), self.list());
        let name = format!("name: {}\n", self.names.iter().map(|name| quoted(name)).collect::<Vec<String>>().join(" | "));
        let arguments = "arguments: %json {\"type\":\"object\"}\n";
        let rules = match format {
            ToolFormat::Hermes => {
                let (open, close) = (mark("<tool_call>"), mark("</tool_call>"));
                format!("calls: call {}\ncall: {open} \"\\n\"? object \"\\n\"? {close}\n{call}", more("\"\\n\"?"))
            }
            ToolFormat::Json => {
                let (open, close) = (mark("<tool_call>"), mark("</tool_call>"));
                format!("calls: object | call {}\ncall: {open} \"\\n\"? object \"\\n\"? {close}\n{call}", more("\"\\n\"?"))
            }
            ToolFormat::Llama3Json => {
                format!("calls: {}? call {}\ncall: object\n{}", mark("<|python_tag|>"), more("\";\" \" \"?"), self.object("parameters"))
            }
            ToolFormat::ToolCallList => format!("calls: {} list\n{list}", mark("<|tool_call|>")),
            ToolFormat::Functools => format!("calls: \"functools\" list\n{list}"),
            ToolFormat::Mistral => {
                let (open, middle) = (mark("[TOOL_CALLS]"), mark("[ARGS]"));
                format!("calls: {open} \" \"? list | call {}\ncall: {open} name {middle} arguments\n{list}{name}{arguments}", more(""))
            }
            ToolFormat::DeepSeek => {
                let [begin, open, middle, close, end] =
                    ["<｜tool▁calls▁begin｜>", "<｜tool▁call▁begin｜>", "<｜tool▁sep｜>", "<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>"]
                        .map(mark);
                let fenced = format!("\"function\" {middle} name \"\\n```json\\n\" arguments \"\\n```\"");
                format!(
                    "calls: {begin} call {} {end}\ncall: {open} ({fenced} | name {middle} arguments) {close}\n{name}{arguments}",
                    more("\"\\n\"?")
                )
            }
            ToolFormat::Pythonic | ToolFormat::FunctionXml => return None,
        };
        Some(rules)
    }

    /// A mark in a rule: the control token with this text, else the text.
    fn mark(&self, text: &str) -> String {
        (self.control)(text).map_or_else(|| quoted(text), |Token(id)| format!("<[{id}]>"))
    }

    /// A call as a JSON object, with this key for its arguments.
    fn object(&self, arguments: &str) -> String {
        format!("object: %json {}\n", self.schema(arguments))
    }

    fn list(&self) -> String {
        let mut list = json!({"type": "array", "items": self.schema("arguments"), "minItems": 1});
        if !self.parallel {
            list["maxItems"] = json!(1);
        }
        format!("list: %json {list}\n")
    }

    fn schema(&self, arguments: &str) -> Value {
        json!({
            "type": "object",
            "properties": {"name": {"enum": self.names}, arguments: {"type": "object"}},
            "required": ["name", arguments],
            "additionalProperties": false,
        })
    }
}

/// A text in a rule.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

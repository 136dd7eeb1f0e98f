//! The constraint for an answer in a format beside calls that the model may make: either the whole answer obeys the
//! format, or it is calls in the syntax of the model's family.
//!
//! A grammar in llguidance's Lark notation with both branches. Names are those of the tools; arguments are JSON
//! objects, which may miss their schema, as wherever the model decides. The parser takes calls out as it does without
//! a format.

use super::{Calls, OutputSpec, ToolFormat};
use crate::protocol::{Constraint, Token};
use serde_json::{Map, Value, json};

/// The maximum length of a schema beside calls, bytes. A grammar may have 64 KiB, and the names of tools need room.
const MAX_SCHEMA_BYTES: usize = 40 << 10;

/// The schema of a format that can stand beside calls: `None` for formats that are no JSON, and for schemas that are no
/// object or too long.
#[must_use]
pub fn schema_beside_calls(format: &Constraint) -> Option<Map<String, Value>> {
    match format {
        Constraint::JsonObject => Some(Map::from_iter([("type".to_owned(), "object".into())])),
        Constraint::JsonSchema(text) if text.len() <= MAX_SCHEMA_BYTES => serde_json::from_str(text).ok(),
        Constraint::JsonSchema(_) | Constraint::Regex(_) | Constraint::Choice(_) | Constraint::Grammar(_) => None,
    }
}

/// The constraint under which generation runs for `Auto` beside `format`; `None` if calls are not the model's choice,
/// or [`schema_beside_calls`] has none. `control` finds a control token by its text.
#[must_use]
pub fn offered_constraint(spec: &OutputSpec, format: &Constraint, control: impl Fn(&str) -> Option<Token>) -> Option<Constraint> {
    if spec.calls != Calls::Auto || spec.tools.is_empty() {
        return None;
    }
    let schema = Value::Object(schema_beside_calls(format)?);
    let grammar = CallGrammar { names: spec.tools.iter().map(|tool| tool.name.as_str()).collect(), parallel: spec.parallel, control };
    let calls = grammar.calls(spec.format);
    Some(Constraint::Grammar(format!("start: answer | calls\nanswer: %json {schema}\n{calls}")))
}

/// Writes the rule `calls` and those that it needs.
struct CallGrammar<'a, F> {
    names: Vec<&'a str>,
    parallel: bool,
    control: F,
}

impl<F: Fn(&str) -> Option<Token>> CallGrammar<'_, F> {
    fn calls(&self, format: ToolFormat) -> String {
        let mark = |text: &str| self.mark(text);
        let more = |separator: &str| if self.parallel { format!("({separator} call)*") } else { String::new() };
        let (call, list) = (self.object("arguments"), self.list());
        let name = format!("name: {}\n", self.names.iter().map(|name| quoted(name)).collect::<Vec<String>>().join(" | "));
        let arguments = "arguments: %json {\"type\":\"object\"}\n";
        let rest = "rest: /(.|\\n)*/\n";
        match format {
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
            ToolFormat::Pythonic => {
                let (open, close) = (mark("<|python_start|>"), mark("<|python_end|>"));
                format!("calls: {open}? \"[\" name python {close}?\npython: /\\([^\\n]*\\)\\]/\n{name}")
            }
            ToolFormat::FunctionXml => {
                format!("calls: ({} \"\\n\"?)? \"<function=\" name \">\" rest\n{name}{rest}", mark("<tool_call>"))
            }
        }
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

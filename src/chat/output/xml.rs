//! Reads one call in the syntax `<function=f><parameter=a>1</parameter></function>`, and writes its arguments as JSON.
//!
//! The syntax has no types. A parameter that the schema calls a string is one; one of another type is read as JSON if
//! it is JSON; all others are strings. A JSON object instead of parameters has all arguments.

use super::python::WholeStep;
use serde_json::{Map, Value};

const END: &str = "</function>";
const PARAMETER: &str = "<parameter=";
const PARAMETER_END: &str = "</parameter>";

/// One call, as far as it was read; at its end it is parsed, once.
#[derive(Debug)]
pub(super) struct XmlCall {
    pub(super) name: String,
    /// JSON Schema of the arguments.
    schema: Value,
    inside: String,
}

impl XmlCall {
    /// Creates the reader for the text after the opening tag.
    pub(super) fn new(name: &str, schema: &Value) -> Self {
        Self { name: name.to_owned(), schema: schema.clone(), inside: String::new() }
    }

    pub(super) fn push(&mut self, c: char) -> WholeStep {
        self.inside.push(c);
        match self.inside.strip_suffix(END) {
            None => WholeStep::More,
            Some(inside) => {
                self.arguments(inside.trim()).map_or(WholeStep::Bad, |arguments| WholeStep::Done(Value::Object(arguments).to_string()))
            }
        }
    }

    fn arguments(&self, inside: &str) -> Option<Map<String, Value>> {
        if inside.starts_with('{') {
            return serde_json::from_str(inside).ok();
        }
        let mut arguments = Map::new();
        let mut rest = inside;
        while !rest.is_empty() {
            let (name, after) = rest.strip_prefix(PARAMETER)?.split_once('>')?;
            let (text, after) = after.split_once(PARAMETER_END)?;
            if arguments.insert(name.to_owned(), self.value(name, text)).is_some() {
                return None;
            }
            rest = after.trim_start();
        }
        Some(arguments)
    }

    /// The value of the text between a parameter's tags; the line breaks next to the tags are not part of it.
    fn value(&self, name: &str, text: &str) -> Value {
        let text = text.strip_prefix('\n').unwrap_or(text);
        let text = text.strip_suffix('\n').unwrap_or(text);
        let string = || Value::String(text.to_owned());
        match self.schema.get("properties").and_then(|all| all.get(name)?.get("type")) {
            Some(kind) if kind != "string" => match text.trim() {
                "True" => Value::Bool(true),
                "False" => Value::Bool(false),
                "None" => Value::Null,
                text => serde_json::from_str(text).unwrap_or_else(|_| string()),
            },
            _ => string(),
        }
    }
}

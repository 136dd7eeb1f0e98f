//! Tools whose input is a text: OpenAI's `custom` tools, with an optional grammar for the text.
//!
//! Templates and models know functions only. So the tool becomes a function with one argument, a string, and the
//! grammar is told in its description; the parser of answers takes the text out again.

use super::{MessageError, object};
use crate::{
    chat::output::TEXT_ARGUMENT,
    field_path::FieldPath,
    protocol::{Constraint, without_outer_anchors},
};
use serde_json::{Map, Value, json};

/// A tool whose input is a text, in the form of a function.
#[derive(Debug, Clone, PartialEq)]
pub struct TextTool {
    /// The function that the model is offered.
    pub function: Map<String, Value>,
    /// The grammar of the text.
    pub grammar: Option<Constraint>,
}

impl TextTool {
    /// Reads `name`, `description` and `format` from the fields at `at`, and removes them. The name is checked where
    /// the tool is added.
    ///
    /// # Errors
    /// A field has the wrong type, or the format is none of OpenAI's.
    pub fn read(fields: &mut Map<String, Value>, at: &FieldPath) -> Result<Self, MessageError> {
        let mut take = |name: &str| fields.shift_remove(name).filter(|value| !value.is_null());
        let (name, description) = (take("name"), take("description"));
        let format = take("format").map(|format| read_format(format, &at.field("format"))).transpose()?.flatten();
        let mut function = Map::new();
        function.extend(name.map(|name| ("name".to_owned(), name)));
        let description = match description {
            None => String::new(),
            Some(Value::String(text)) => text,
            Some(other) => return Err(MessageError::wrong_type(at.field("description"), "a string", &other)),
        };
        let told = format.as_ref().map_or_else(String::new, |format| {
            let Format { syntax, definition } = format;
            format!("The input must match this {}:\n{definition}", syntax.name())
        });
        let description = [description, told].into_iter().filter(|text| !text.is_empty()).collect::<Vec<String>>().join("\n\n");
        if !description.is_empty() {
            function.insert("description".to_owned(), description.into());
        }
        function.insert("parameters".to_owned(), parameters(format.as_ref()));
        Ok(Self { function, grammar: format.map(Format::into_constraint) })
    }
}

/// The arguments of a past call of such a tool.
#[must_use]
pub fn text_arguments(input: &str) -> Value {
    json!({TEXT_ARGUMENT: input})
}

/// The format of a text.
struct Format {
    syntax: GrammarSyntax,
    definition: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum GrammarSyntax {
    Lark,
    Regex,
}

impl GrammarSyntax {
    fn name(self) -> &'static str {
        match self {
            Self::Lark => "Lark grammar",
            Self::Regex => "regular expression",
        }
    }
}

impl Format {
    fn into_constraint(self) -> Constraint {
        match self.syntax {
            GrammarSyntax::Lark => Constraint::Grammar(self.definition),
            GrammarSyntax::Regex => Constraint::Regex(self.definition),
        }
    }
}

/// Reads `format`: `{type: text}`, or `{type: grammar, syntax, definition}`, whose last two fields chat puts into an
/// object `grammar`.
fn read_format(format: Value, at: &FieldPath) -> Result<Option<Format>, MessageError> {
    let mut format = object(format, at, "an object with 'type'")?;
    match format.get("type").and_then(Value::as_str) {
        Some("text") => return Ok(None),
        Some("grammar") => {}
        Some(_) => return Err(MessageError::new(at.field("type"), "expected 'text' or 'grammar'")),
        None => return Err(MessageError::missing(at.field("type"))),
    }
    let (mut grammar, at) = match format.shift_remove("grammar").filter(|grammar| !grammar.is_null()) {
        Some(grammar) => (object(grammar, &at.field("grammar"), "an object with 'syntax' and 'definition'")?, at.field("grammar")),
        None => (format, at.clone()),
    };
    let mut text = |name: &str| match grammar.shift_remove(name) {
        Some(Value::String(text)) => Ok(text),
        None | Some(Value::Null) => Err(MessageError::missing(at.field(name))),
        Some(other) => Err(MessageError::wrong_type(at.field(name), "a string", &other)),
    };
    let syntax = match text("syntax")?.as_str() {
        "lark" => GrammarSyntax::Lark,
        "regex" => GrammarSyntax::Regex,
        _ => return Err(MessageError::new(at.field("syntax"), "expected 'lark' or 'regex'")),
    };
    Ok(Some(Format { syntax, definition: text("definition")? }))
}

/// The schema of the function's arguments. It holds a regular expression, and no other grammar.
fn parameters(format: Option<&Format>) -> Value {
    let mut input = json!({"type": "string", "description": "The input of the tool, as it is."});
    if let Some(Format { definition, .. }) = format.filter(|format| format.syntax == GrammarSyntax::Regex) {
        input["pattern"] = format!("^(?:{})$", without_outer_anchors(definition)).into();
    }
    json!({"type": "object", "properties": {TEXT_ARGUMENT: input}, "required": [TEXT_ARGUMENT], "additionalProperties": false})
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(tool: Value) -> Result<TextTool, MessageError> {
        let Value::Object(mut fields) = tool else { panic!("an object") };
        TextTool::read(&mut fields, &"tools[0]".into())
    }

    #[test]
    fn a_text_is_the_only_argument_of_a_function() {
        let tool = read(json!({"name": "f", "description": "d", "format": {"type": "text"}})).unwrap();

        assert_eq!((&tool.function["name"], &tool.function["description"]), (&json!("f"), &json!("d")));
        assert_eq!(tool.function["parameters"]["required"], json!(["input"]));
        assert_eq!(tool.grammar, None);
        assert_eq!(read(json!({"name": "f"})).unwrap().function.get("description"), None);
    }

    #[test]
    fn a_grammar_is_told_and_kept_in_both_apis_shapes() {
        let flat = json!({"type": "grammar", "syntax": "lark", "definition": "start: /a+/"});
        let nested = json!({"type": "grammar", "grammar": {"syntax": "regex", "definition": "a|b"}});

        let lark = read(json!({"name": "f", "description": "d", "format": flat})).unwrap();
        let regex = read(json!({"name": "f", "format": nested})).unwrap();

        assert_eq!(lark.grammar, Some(Constraint::Grammar("start: /a+/".into())));
        assert_eq!(lark.function["description"], "d\n\nThe input must match this Lark grammar:\nstart: /a+/");
        assert_eq!(regex.grammar, Some(Constraint::Regex("a|b".into())));
        assert_eq!(regex.function["parameters"]["properties"]["input"]["pattern"], "^(?:a|b)$");
    }

    #[test]
    fn a_regular_expression_with_anchors_is_a_pattern_with_one_pair_of_them() {
        for (definition, pattern) in [("^a|b$", "^(?:a|b)$"), ("^a", "^(?:a)$"), ("a\\$", "^(?:a\\$)$"), ("a\\\\$", "^(?:a\\\\)$")] {
            let format = json!({"type": "grammar", "syntax": "regex", "definition": definition});

            let tool = read(json!({"name": "f", "format": format})).unwrap();

            assert_eq!(tool.function["parameters"]["properties"]["input"]["pattern"], pattern, "{definition}");
            assert_eq!(tool.grammar, Some(Constraint::Regex(definition.to_owned())));
        }
    }

    #[test]
    fn formats_that_break_a_rule_are_refused_by_name() {
        let rows = [
            (json!({"description": 5}), "tools[0].description"),
            (json!({"format": 5}), "tools[0].format"),
            (json!({"format": {}}), "tools[0].format.type"),
            (json!({"format": {"type": "json"}}), "tools[0].format.type"),
            (json!({"format": {"type": "grammar"}}), "tools[0].format.syntax"),
            (json!({"format": {"type": "grammar", "syntax": "bnf", "definition": "x"}}), "tools[0].format.syntax"),
            (json!({"format": {"type": "grammar", "syntax": "lark"}}), "tools[0].format.definition"),
            (json!({"format": {"type": "grammar", "grammar": {"syntax": 5}}}), "tools[0].format.grammar.syntax"),
            (json!({"format": {"type": "grammar", "grammar": "x"}}), "tools[0].format.grammar"),
        ];
        for (tool, place) in rows {
            assert_eq!(read(tool.clone()).unwrap_err().path.as_str(), place, "{tool}");
        }
    }
}

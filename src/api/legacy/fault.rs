//! Faults of a request body in the words of pydantic 2.14, and the `{"detail":[…]}` that FastAPI makes of them.

use super::json::{Json, quoted};
use std::fmt::Write as _;

/// The input that FastAPI reports for a body that is no JSON.
static EMPTY_OBJECT: Json = Json::Object(Vec::new());
/// The input that FastAPI reports when there is no body.
static NOTHING: Json = Json::Null;

/// A bound of a range. The message shows `1` for both kinds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Bound {
    /// The bound of an integer field; `ctx` shows it as `1`.
    Integer(i64),
    /// The bound of a float field; `ctx` shows it as `1.0`.
    Float(f64),
}

impl Bound {
    fn message(self) -> String {
        match self {
            Self::Integer(bound) => bound.to_string(),
            Self::Float(bound) => bound.to_string(),
        }
    }

    fn context(self) -> String {
        match self {
            Self::Integer(bound) => bound.to_string(),
            Self::Float(bound) => format!("{bound:?}"),
        }
    }
}

/// A rule that a value breaks; named as pydantic's error types.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Rule {
    Missing,
    /// The body is no JSON. The text is CPython's message.
    JsonInvalid(&'static str),
    ModelAttributesType,
    StringType,
    /// The text has more than this many characters.
    StringTooLong(usize),
    StringTooShort,
    IntType,
    IntParsing,
    IntParsingSize,
    IntFromFloat,
    FloatType,
    FloatParsing,
    FiniteNumber,
    GreaterThan(Bound),
    GreaterThanEqual(Bound),
    LessThanEqual(Bound),
    ListType,
    /// A list of `actual` items, of which at most `max` are allowed.
    TooLong {
        max: usize,
        actual: usize,
    },
    /// The texts of a list have `actual` bytes together, of which at most `max` are allowed. pydantic has no such rule;
    /// this is its form for a validator of one's own.
    TooManyBytes {
        max: usize,
        actual: usize,
    },
}

impl Rule {
    fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::JsonInvalid(_) => "json_invalid",
            Self::ModelAttributesType => "model_attributes_type",
            Self::StringType => "string_type",
            Self::StringTooLong(_) => "string_too_long",
            Self::StringTooShort => "string_too_short",
            Self::IntType => "int_type",
            Self::IntParsing => "int_parsing",
            Self::IntParsingSize => "int_parsing_size",
            Self::IntFromFloat => "int_from_float",
            Self::FloatType => "float_type",
            Self::FloatParsing => "float_parsing",
            Self::FiniteNumber => "finite_number",
            Self::GreaterThan(..) => "greater_than",
            Self::GreaterThanEqual(..) => "greater_than_equal",
            Self::LessThanEqual(..) => "less_than_equal",
            Self::ListType => "list_type",
            Self::TooLong { .. } => "too_long",
            Self::TooManyBytes { .. } => "value_error",
        }
    }

    fn message(self) -> String {
        let text = match self {
            Self::Missing => "Field required",
            Self::JsonInvalid(_) => "JSON decode error",
            Self::ModelAttributesType => "Input should be a valid dictionary or object to extract fields from",
            Self::StringType => "Input should be a valid string",
            Self::StringTooLong(max) => return format!("String should have at most {max} characters"),
            Self::StringTooShort => "String should have at least 1 character",
            Self::IntType => "Input should be a valid integer",
            Self::IntParsing => "Input should be a valid integer, unable to parse string as an integer",
            Self::IntParsingSize => "Unable to parse input string as an integer, exceeded maximum size",
            Self::IntFromFloat => "Input should be a valid integer, got a number with a fractional part",
            Self::FloatType => "Input should be a valid number",
            Self::FloatParsing => "Input should be a valid number, unable to parse string as a number",
            Self::FiniteNumber => "Input should be a finite number",
            Self::GreaterThan(bound) => return format!("Input should be greater than {}", bound.message()),
            Self::GreaterThanEqual(bound) => return format!("Input should be greater than or equal to {}", bound.message()),
            Self::LessThanEqual(bound) => return format!("Input should be less than or equal to {}", bound.message()),
            Self::ListType => "Input should be a valid list",
            Self::TooLong { max, actual } => return format!("List should have at most {max} items after validation, not {actual}"),
            Self::TooManyBytes { max, actual } => {
                return format!("Value error, List should have at most {max} bytes in all items together, not {actual}");
            }
        };
        text.to_owned()
    }

    /// The object `ctx`, for the rules that have one.
    fn context(self) -> Option<String> {
        match self {
            Self::JsonInvalid(message) => Some(format!("{{\"error\":{}}}", quoted(message))),
            Self::StringTooLong(max) => Some(format!("{{\"max_length\":{max}}}")),
            Self::StringTooShort => Some("{\"min_length\":1}".to_owned()),
            Self::GreaterThan(bound) => Some(format!("{{\"gt\":{}}}", bound.context())),
            Self::GreaterThanEqual(bound) => Some(format!("{{\"ge\":{}}}", bound.context())),
            Self::LessThanEqual(bound) => Some(format!("{{\"le\":{}}}", bound.context())),
            Self::TooLong { max, actual } => Some(format!("{{\"field_type\":\"List\",\"max_length\":{max},\"actual_length\":{actual}}}")),
            Self::TooManyBytes { .. } => Some("{\"error\":{}}".to_owned()),
            _ => None,
        }
    }
}

/// A value that breaks a rule.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ValidationFault<'a> {
    pub(super) rule: Rule,
    /// The field of the body; `None` for the body as a whole.
    pub(super) field: Option<&'static str>,
    /// The index of the item in a list, or of the character in a body that is no JSON.
    pub(super) index: Option<usize>,
    /// The value that FastAPI echoes.
    pub(super) input: &'a Json,
}

impl<'a> ValidationFault<'a> {
    /// The body as a whole is at fault.
    pub(super) fn of_body(rule: Rule, input: &'a Json) -> Self {
        Self { rule, field: None, index: None, input }
    }

    /// There is no body.
    pub(super) fn no_body() -> Self {
        Self::of_body(Rule::Missing, &NOTHING)
    }

    /// The body is no JSON at this character.
    pub(super) fn not_json(message: &'static str, position: usize) -> Self {
        Self { rule: Rule::JsonInvalid(message), field: None, index: Some(position), input: &EMPTY_OBJECT }
    }

    fn write(&self, out: &mut String) {
        let mut location = "\"body\"".to_owned();
        if let Some(field) = self.field {
            location += &format!(",\"{field}\"");
        }
        if let Some(index) = self.index {
            location += &format!(",{index}");
        }
        let (name, message) = (self.rule.name(), quoted(&self.rule.message()));
        let context = self.rule.context().map(|context| format!(",\"ctx\":{context}")).unwrap_or_default();
        // Writing into a String cannot fail.
        let _ = write!(out, "{{\"type\":\"{name}\",\"loc\":[{location}],\"msg\":{message},\"input\":{}{context}}}", self.input);
    }
}

/// The body of a 422, key order included.
pub(super) fn detail(faults: &[ValidationFault<'_>]) -> String {
    let mut body = "{\"detail\":[".to_owned();
    for (index, fault) in faults.iter().enumerate() {
        if index > 0 {
            body.push(',');
        }
        fault.write(&mut body);
    }
    body + "]}"
}

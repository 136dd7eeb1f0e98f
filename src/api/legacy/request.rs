//! The body of `POST /generate`: fields, defaults, ranges, and FastAPI's answers to invalid values.
//!
//! Types and defaults are those of the FastAPI script that this route replaces. There, ranges were checked later, by
//! vLLM's `SamplingParams`, and a violation ended in a 500; here it is a 422 in the shape that pydantic gives a bounded
//! field.

pub(in crate::api) mod specs;

use super::{
    coerce,
    fault::{Bound, Rule, ValidationFault, detail},
    json::{self, Json, JsonError},
};
use crate::api::{
    fields::{
        ignored::Ignored,
        spec::FieldSpec,
        values::{Numbers, Or},
    },
    openai::shared::ending::MAX_STOP_BYTES_TOGETHER,
};
use axum::http::{HeaderMap, StatusCode, header};
use std::borrow::Cow;

/// The maximum length of a stop string, characters.
const MAX_STOP_CHARACTERS: usize = 256;
/// FastAPI's words for a body on which its JSON reader fails.
const UNREADABLE: &str = r#"{"detail":"There was an error parsing the body"}"#;

/// A validated request.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::api) struct GenerateRequest {
    /// The text to continue.
    pub(super) prompt: String,
    /// The maximum number of tokens to generate, ≥ 1; may exceed the context.
    pub(super) max_tokens: u64,
    /// The temperature, ≥ 0 and finite; 0 is greedy.
    pub(super) temperature: f32,
    /// The `top_p` of the request, 0 < p ≤ 1.
    pub(super) top_p: f32,
    /// The stop strings, none empty.
    pub(super) stop: Vec<String>,
    /// Names of fields that were sent and mean nothing on this route, in order.
    pub(super) ignored: Ignored,
}

/// A refusal, as FastAPI words it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The response's status, 400 or 422.
    pub(super) status: StatusCode,
    /// The response's body, JSON text with FastAPI's order of keys.
    pub(super) body: String,
}

impl GenerateRequest {
    /// Reads a request from its headers and body, with at most `max_stop_strings`.
    ///
    /// # Errors
    /// The answer that FastAPI would give.
    pub(super) fn read(headers: &HeaderMap, body: &[u8], max_stop_strings: usize) -> Result<Self, Refusal> {
        if body.is_empty() {
            return Err(unprocessable(&[ValidationFault::no_body()]));
        }
        let body = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body);
        let text = std::str::from_utf8(body).map_err(|_| unreadable())?;
        let document = if is_json(headers) {
            json::parse(text).map_err(|error| match error {
                JsonError::Syntax { message, position } => unprocessable(&[ValidationFault::not_json(message, position)]),
                JsonError::TooBig => unreadable(),
            })?
        } else {
            Json::String(text.to_owned())
        };
        match &document {
            Json::Object(members) => {
                let mut request = Self::from_members(&document, members, max_stop_strings)?;
                if matches!(crate::surrogates::without_lone(body), Cow::Owned(_)) {
                    request.ignored.change("", crate::surrogates::REPLACED.to_owned());
                }
                Ok(request)
            }
            _ => Err(unprocessable(&[ValidationFault::of_body(Rule::ModelAttributesType, &document)])),
        }
    }

    fn from_members(body: &Json, members: &[(String, Json)], max_stop_strings: usize) -> Result<Self, Refusal> {
        let mut fields = LegacyFields { body, members, faults: Vec::new(), taken: Vec::new() };
        let request = Self {
            prompt: fields.prompt(),
            max_tokens: fields.max_tokens(),
            temperature: fields.number(&specs::TEMPERATURE),
            top_p: fields.number(&specs::TOP_P),
            stop: fields.stop(max_stop_strings),
            ignored: fields.leftovers(),
        };
        if fields.faults.is_empty() { Ok(request) } else { Err(unprocessable(&fields.faults)) }
    }
}

/// Reads the fields in the order in which pydantic reports their faults. A faulty field reads as a default that is
/// never used.
struct LegacyFields<'a> {
    body: &'a Json,
    members: &'a [(String, Json)],
    faults: Vec<ValidationFault<'a>>,
    taken: Vec<&'static str>,
}

impl<'a> LegacyFields<'a> {
    fn take(&mut self, name: &'static str) -> Option<&'a Json> {
        self.taken.push(name);
        self.members.iter().find(|(key, _)| key == name).map(|(_, value)| value)
    }

    fn take_unless_null(&mut self, name: &'static str) -> Option<&'a Json> {
        self.take(name).filter(|value| **value != Json::Null)
    }

    fn fault(&mut self, rule: Rule, field: &'static str, index: Option<usize>, input: &'a Json) {
        self.faults.push(ValidationFault { rule, field: Some(field), index, input });
    }

    fn prompt(&mut self) -> String {
        const NAME: &str = specs::PROMPT.name;
        match self.take(NAME) {
            Some(Json::String(prompt)) => return prompt.clone(),
            Some(other) => self.fault(Rule::StringType, NAME, None, other),
            None => self.fault(Rule::Missing, NAME, None, self.body),
        }
        String::new()
    }

    fn max_tokens(&mut self) -> u64 {
        const NAME: &str = specs::MAX_TOKENS.name;
        let Or { values, default } = specs::MAX_TOKENS.values;
        let value = self.take_unless_null(NAME);
        let number = value.map_or(Ok(default), coerce::int);
        let checked = number.and_then(|number| {
            let allowed = u64::try_from(number).ok().filter(|_| number >= values.min);
            allowed.ok_or(Rule::GreaterThanEqual(Bound::Integer(values.min)))
        });
        checked.unwrap_or_else(|rule| {
            self.fault(rule, NAME, None, value.unwrap_or(&Json::Null));
            1
        })
    }

    fn number(&mut self, spec: &FieldSpec<Or<Numbers>>) -> f32 {
        let Or { values, default } = spec.values;
        let value = self.take_unless_null(spec.name);
        let number = value.map_or(Ok(default), coerce::float);
        let checked = number.and_then(|number| broken_rule(&values, number).map_or(Ok(number), Err));
        let number = checked.unwrap_or_else(|rule| {
            self.fault(rule, spec.name, None, value.unwrap_or(&Json::Null));
            default
        });
        // The number is finite as f32 too; tiny ones become 0.
        number.min(f64::from(f32::MAX)) as f32
    }

    fn stop(&mut self, max_strings: usize) -> Vec<String> {
        const NAME: &str = specs::STOP.name;
        let Some(value) = self.take_unless_null(NAME) else { return Vec::new() };
        let Json::Array(items) = value else {
            self.fault(Rule::ListType, NAME, None, value);
            return Vec::new();
        };
        if items.len() > max_strings {
            self.fault(Rule::TooLong { max: max_strings, actual: items.len() }, NAME, None, value);
            return Vec::new();
        }
        let mut stop = Vec::new();
        for (index, item) in items.iter().enumerate() {
            match item {
                Json::String(text) if text.is_empty() => self.fault(Rule::StringTooShort, NAME, Some(index), item),
                Json::String(text) if text.chars().count() > MAX_STOP_CHARACTERS => {
                    self.fault(Rule::StringTooLong(MAX_STOP_CHARACTERS), NAME, Some(index), item);
                }
                Json::String(text) => stop.push(text.clone()),
                _ => self.fault(Rule::StringType, NAME, Some(index), item),
            }
        }
        let actual = stop.iter().map(String::len).sum();
        if actual > MAX_STOP_BYTES_TOGETHER {
            self.fault(Rule::TooManyBytes { max: MAX_STOP_BYTES_TOGETHER, actual }, NAME, None, value);
        }
        stop
    }

    fn leftovers(&self) -> Ignored {
        let names = self.members.iter().map(|(name, _)| name.as_str());
        names.filter(|name| !self.taken.contains(name)).collect()
    }
}

/// The rule of a range that a number breaks.
fn broken_rule(range: &Numbers, number: f64) -> Option<Rule> {
    match number {
        number if !number.is_finite() => Some(Rule::FiniteNumber),
        number if range.open && number <= range.min => Some(Rule::GreaterThan(Bound::Float(range.min))),
        number if number < range.min => Some(Rule::GreaterThanEqual(Bound::Float(range.min))),
        number if number > range.max => Some(Rule::LessThanEqual(Bound::Float(range.max))),
        _ => None,
    }
}

/// True if FastAPI reads the body as JSON: `application/json`, `application/*+json`, or no type at all, as FastAPI did
/// until its `strict_content_type`.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return true };
    let value = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
    let essence = value.split(';').next().unwrap_or_default().trim();
    essence.is_empty() || essence.strip_prefix("application/").is_some_and(|kind| kind == "json" || kind.ends_with("+json"))
}

fn unprocessable(faults: &[ValidationFault<'_>]) -> Refusal {
    Refusal { status: StatusCode::UNPROCESSABLE_ENTITY, body: detail(faults) }
}

fn unreadable() -> Refusal {
    Refusal { status: StatusCode::BAD_REQUEST, body: UNREADABLE.to_owned() }
}

#[cfg(test)]
mod tests;

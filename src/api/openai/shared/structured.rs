//! Reads the fields that constrain an output, for all endpoints, and asks the engine whether the constraint compiles.
//!
//! | field | of |
//! | --- | --- |
//! | `response_format` | OpenAI; `schema` beside `type` as llama-server takes it |
//! | `structured_outputs` | vLLM |
//! | `guided_json`, `guided_regex`, `guided_choice`, `guided_grammar` | vLLM before 0.12 |
//! | `json_schema`, `grammar` | llama-server |
//! | `regex`, `ebnf`, and `json_schema` as JSON text | SGLang |
//!
//! A request may use one of them, or several that say the same. Empty ones are absent. `specs` has name and description
//! of each. `protocol::Constraint` defines the meaning of a constraint; nothing is compiled here.

pub(in crate::api) mod specs;

use crate::{
    api::{
        error::ApiError,
        fields::{FieldError, Fields, spec::FieldSpec, values::Strings},
        warnings::Warnings,
    },
    field_path::FieldPath,
    gateway::{error::CheckError, handle::EngineHandle},
    protocol::{Constraint, OBJECTS_ARE_CLOSED},
    telemetry::metrics::WarningName,
};
use serde_json::Value;

/// The maximum length of `response_format.json_schema.name`, bytes: a label without effect, which responses repeat.
const MAX_NAME_BYTES: usize = 1024;

/// A constraint and the field that it came in.
#[derive(Debug, Clone, PartialEq)]
pub struct Constrained {
    /// The constraint that the output must obey.
    pub constraint: Constraint,
    /// The field that the constraint came in, for errors and warnings.
    pub path: FieldPath,
}

/// Reads all fields that constrain an output; `None` if the output is free.
///
/// # Errors
/// A field has the wrong shape, an option is not supported, or there is more than one constraint.
pub fn read_constraint(f: &mut Fields) -> Result<Option<Constrained>, FieldError> {
    let format = response_format(f)?;
    read_constraint_beside(format, f)
}

/// As [`read_constraint`] for a route that has another field in place of `response_format`, and has read it into
/// `format`.
///
/// # Errors
/// As [`read_constraint`].
pub fn read_constraint_beside(format: Option<Constrained>, f: &mut Fields) -> Result<Option<Constrained>, FieldError> {
    let others = [
        (specs::STRUCTURED_OUTPUTS.name, structured_outputs(f)?),
        (specs::GUIDED_JSON.name, schema(f.get(&specs::GUIDED_JSON)?, specs::GUIDED_JSON.name)?),
        (specs::GUIDED_REGEX.name, text(f, &specs::GUIDED_REGEX)?.map(Constraint::Regex)),
        (specs::GUIDED_CHOICE.name, choice(f.get(&specs::GUIDED_CHOICE)?, specs::GUIDED_CHOICE.name)?),
        (specs::GUIDED_GRAMMAR.name, text(f, &specs::GUIDED_GRAMMAR)?.map(Constraint::Grammar)),
        (specs::REGEX.name, text(f, &specs::REGEX)?.map(Constraint::Regex)),
        (specs::EBNF.name, text(f, &specs::EBNF)?.map(Constraint::Grammar)),
    ];
    let others = others.into_iter().chain(llama_servers(f)?);
    only_one(format, others.filter_map(|(param, found)| Some(Constrained { constraint: found?, path: param.into() })))
}

/// Reads llama-server's own fields, `json_schema` and `grammar`, for its own routes.
///
/// # Errors
/// As [`read_constraint`].
pub fn read_llama_servers_constraint(f: &mut Fields) -> Result<Option<Constrained>, FieldError> {
    let found = llama_servers(f)?.into_iter();
    only_one(None, found.filter_map(|(param, found)| Some(Constrained { constraint: found?, path: param.into() })))
}

fn llama_servers(f: &mut Fields) -> Result<[(&'static str, Option<Constraint>); 2], FieldError> {
    Ok([
        (specs::JSON_SCHEMA.name, schema(f.get(&specs::JSON_SCHEMA)?, specs::JSON_SCHEMA.name)?),
        (specs::GRAMMAR.name, text(f, &specs::GRAMMAR)?.map(Constraint::Grammar)),
    ])
}

/// The only constraint of a request. Clients that know several generations of servers send the same one in several
/// fields; the first counts.
fn only_one(first: Option<Constrained>, others: impl Iterator<Item = Constrained>) -> Result<Option<Constrained>, FieldError> {
    let mut found = first;
    for other in others {
        match &found {
            None => found = Some(other),
            Some(earlier) if is_same(&earlier.constraint, &other.constraint) => {}
            Some(Constrained { path, .. }) => {
                let reason = format!("it cannot be used together with '{path}'; send one of them");
                return Err(FieldError::invalid(other.path, reason));
            }
        }
    }
    Ok(found)
}

/// True if two constraints say the same; schemas may be written differently.
fn is_same(one: &Constraint, other: &Constraint) -> bool {
    match (one, other) {
        (Constraint::JsonSchema(one), Constraint::JsonSchema(other)) if one != other => {
            let parsed = |text: &str| serde_json::from_str::<Value>(text).ok();
            parsed(one).is_some_and(|one| parsed(other) == Some(one))
        }
        (one, other) => one == other,
    }
}

/// Reads a text; clients send an empty one for none.
fn text(f: &mut Fields, spec: &FieldSpec<Strings>) -> Result<Option<String>, FieldError> {
    Ok(f.get(spec)?.filter(|text| !text.is_empty()))
}

/// Asks the engine whether the constraint compiles, and warns of the parts that text will not be held to. `reword` gets
/// the engine's messages about places in the constraint.
///
/// # Errors
/// A 400 that names the field and the fault, a 503 if the constraint cannot be compiled now, or the engine is not
/// available.
pub(in crate::api) async fn check(
    engine: &EngineHandle,
    constrained: Option<&Constrained>,
    warnings: &mut Warnings,
    reword: impl Fn(String) -> String,
) -> Result<(), ApiError> {
    let Some(Constrained { constraint, path }) = constrained else { return Ok(()) };
    let notes = engine.check_constraint(constraint.clone()).await.map_err(|error| match error {
        CheckError::Refused(reason) => FieldError::invalid(path, reword(reason).trim_end_matches('.')).into(),
        CheckError::Busy { reason, retry_after } => {
            ApiError::Overloaded { message: format!("'{path}' could not be compiled now: {}.", reason.trim_end_matches('.')), retry_after }
        }
        CheckError::EngineDied(_) => ApiError::EngineDied,
        CheckError::Engine(error) => ApiError::from(error),
    })?;
    for note in notes {
        if note == OBJECTS_ARE_CLOSED {
            warnings.note(WarningName::Format, format!("{path}: {note}"));
        } else {
            warnings.clamped(&path.to_string(), format!("{path}: {}", reword(note)));
        }
    }
    Ok(())
}

fn response_format(f: &mut Fields) -> Result<Option<Constrained>, FieldError> {
    const NAME: &str = specs::RESPONSE_FORMAT.name;
    let Some(format) = f.get(&specs::RESPONSE_FORMAT)? else { return Ok(None) };
    let mut format = Fields::new(format);
    let path = FieldPath::from(NAME);
    let constraint = read_format(&mut format, &path)?;
    f.leave(NAME, format);
    Ok(constraint.map(|constraint| Constrained { constraint, path }))
}

/// Reads the format at `at`: OpenAI's `text`, `json_object` and `json_schema`. `strict` makes no difference: the schema
/// is always obeyed.
///
/// # Errors
/// The kind is none of these, or the schema is missing or no object.
pub fn read_format(format: &mut Fields, at: &FieldPath) -> Result<Option<Constraint>, FieldError> {
    const SCHEMA: &str = "json_schema";
    let kind = format.string("type").map_err(|error| error.inside(at))?;
    let beside = schema(format.take("schema"), at.field("schema"))?;
    match kind.as_deref() {
        None => Err(FieldError::missing(at.field("type"))),
        Some("text") => {
            if beside.is_some() {
                format.report("schema");
            }
            Ok(None)
        }
        Some("json_object") => Ok(Some(beside.unwrap_or(Constraint::JsonObject))),
        Some("json_schema") => match (format.object(SCHEMA).map_err(|error| error.inside(at))?, beside) {
            (Some(object), beside) => {
                let mut object = Fields::new(object);
                let constraint = read_json_schema(&mut object, &at.field(SCHEMA))?;
                format.leave(SCHEMA, object);
                if beside.is_some() {
                    format.report("schema");
                }
                Ok(Some(constraint))
            }
            (None, Some(constraint)) => Ok(Some(constraint)),
            (None, None) => Err(FieldError::missing(at.field(SCHEMA).field("schema"))),
        },
        Some(other) => {
            let shown: String = other.chars().take(32).collect();
            let reason = format!("expected 'text', 'json_object' or 'json_schema', but got '{shown}' instead");
            Err(FieldError::invalid(at.field("type"), reason))
        }
    }
}

/// Reads the object at `at` with OpenAI's `name`, `description`, `strict` and `schema`.
///
/// # Errors
/// The name is too long, or the schema is missing or no object.
pub fn read_json_schema(object: &mut Fields, at: &FieldPath) -> Result<Constraint, FieldError> {
    let inside = |error: FieldError| error.inside(at);
    if let Some(name) = object.string("name").map_err(inside)?.filter(|name| name.len() > MAX_NAME_BYTES) {
        let reason = format!("it has {} bytes; at most {MAX_NAME_BYTES} are accepted", name.len());
        return Err(FieldError::invalid(at.field("name"), reason));
    }
    // OpenAI shows the description to the model; here no template has a place for it.
    if object.string("description").map_err(inside)?.is_some() {
        object.report("description");
    }
    object.boolean("strict").map_err(inside)?;
    let constraint = schema(object.take("schema"), at.field("schema"))?;
    constraint.ok_or_else(|| FieldError::missing(at.field("schema")))
}

/// Reads vLLM's `structured_outputs`. Options that say how white space is written are reported; an option that asks for
/// another kind of constraint is refused.
fn structured_outputs(f: &mut Fields) -> Result<Option<Constraint>, FieldError> {
    const NAME: &str = specs::STRUCTURED_OUTPUTS.name;
    let Some(options) = f.get(&specs::STRUCTURED_OUTPUTS)? else { return Ok(None) };
    let mut options = Fields::new(options);
    let at = FieldPath::from(NAME);
    let inner = |error: FieldError| error.inside(NAME);
    let text = |options: &mut Fields, name| options.string(name).map(|text| text.filter(|text| !text.is_empty())).map_err(inner);
    let found = [
        ("json", schema(options.take("json"), at.field("json"))?),
        ("regex", text(&mut options, "regex")?.map(Constraint::Regex)),
        ("choice", choice(options.take("choice"), at.field("choice"))?),
        ("grammar", text(&mut options, "grammar")?.map(Constraint::Grammar)),
        ("json_object", options.boolean("json_object").map_err(inner)?.filter(|wanted| *wanted).map(|_| Constraint::JsonObject)),
    ];
    // `disable_fallback` chooses another way to compile, which would not change the output; here there is only one way.
    options.boolean("disable_fallback").map_err(inner)?;
    let mut without_effect = Fields::new(serde_json::Map::new());
    for name in ["whitespace_pattern", "disable_any_whitespace"] {
        if options.take(name).is_some_and(|value| value != Value::Bool(false)) {
            without_effect.report(name);
        }
    }
    if let Some(name) = options.finish().shown().next() {
        return Err(FieldError::unsupported(
            at.field(name),
            "is not supported; 'json', 'regex', 'choice', 'grammar' and 'json_object' are",
        ));
    }
    f.leave(NAME, without_effect);
    let found = found.into_iter().filter_map(|(name, found)| Some(Constrained { constraint: found?, path: at.field(name) }));
    Ok(only_one(None, found)?.map(|constrained| constrained.constraint))
}

/// Reads a schema, an object or JSON text.
fn schema(sent: Option<Value>, at: impl Into<FieldPath>) -> Result<Option<Constraint>, FieldError> {
    match sent {
        None => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(Constraint::JsonSchema(text))),
        Some(object @ Value::Object(_)) => Ok(Some(Constraint::JsonSchema(object.to_string()))),
        Some(other) => Err(FieldError::wrong_type(at, "an object", &other)),
    }
}

/// Reads a list of texts, one of which the output must be.
fn choice(sent: Option<Value>, at: impl Into<FieldPath>) -> Result<Option<Constraint>, FieldError> {
    let at = at.into();
    let values = match sent {
        None => return Ok(None),
        Some(Value::Array(values)) if values.is_empty() => return Ok(None),
        Some(Value::Array(values)) => values,
        Some(other) => return Err(FieldError::wrong_type(at, "an array of strings", &other)),
    };
    let text = |value| match value {
        Value::String(text) => Ok(text),
        other => Err(FieldError::wrong_type(&at, "an array of strings", &other)),
    };
    values.into_iter().map(text).collect::<Result<_, _>>().map(|texts| Some(Constraint::Choice(texts)))
}

#[cfg(test)]
mod tests;

//! The Jinja environment of a chat template, set up as in transformers' `apply_chat_template`.
//!
//! Owns whitespace rules, filters, functions and limits. Differences from transformers: dates are UTC, and fuel, output
//! and recursion have limits, because a model file, and so its template, may come from anybody.

use super::{
    json::{MARKER, python_float, tojson},
    rendering::TemplateError,
};
use minijinja::{
    Environment, Error, ErrorKind, State, UndefinedBehavior, Value, escape_formatter,
    syntax::SyntaxConfig,
    value::{Kwargs, Rest, ValueKind},
};
use minijinja_contrib::pycompat::unknown_method_callback;
use std::fmt;

/// Name under which the only template is stored. It is no file name, so nothing is escaped for HTML.
pub(super) const NAME: &str = "chat";
/// Longest template, bytes; the longest known ones have about 30,000.
const MAX_SOURCE: usize = 1 << 20;
/// Maximum nesting of blocks, calls and expressions while rendering; a macro counts for about ten.
const MAX_RECURSION: usize = 250;
/// Names that a request may not set, because the template needs their usual meaning.
pub(super) const RESERVED: [&str; 12] = [
    "messages",
    "tools",
    "add_generation_prompt",
    "continue_final_message",
    "bos_token",
    "eos_token",
    "raise_exception",
    "strftime_now",
    "namespace",
    "range",
    "dict",
    MARKER,
];

/// The message that a template passed to `raise_exception`; [`failure`] finds it in the chain of sources of the
/// engine's error.
#[derive(Debug)]
struct Raised(String);

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Raised {}

/// Compiles a template.
pub(super) fn compile(source: &str) -> Result<Environment<'static>, TemplateError> {
    if source.len() > MAX_SOURCE {
        return Err(TemplateError::Failed(format!("it has {} bytes; {MAX_SOURCE} is the most", source.len())));
    }
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(false).build();
    environment.set_syntax(syntax.map_err(|error| failure(&error))?);
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    environment.set_recursion_limit(MAX_RECURSION);
    environment.set_unknown_method_callback(unknown_method_callback);
    environment.set_formatter(|out, state, value| match f64::try_from(value.clone()) {
        Ok(number) if value.kind() == ValueKind::Number && !value.is_integer() => Ok(out.write_str(&python_float(number))?),
        _ => escape_formatter(out, state, value),
    });
    environment.add_filter("tojson", |state: &State<'_, '_>, value: &Value, by_place: Rest<Value>, named: Kwargs| {
        tojson(state, value, &by_place, &named)
    });
    environment.add_test("iterable", is_iterable);
    environment.add_test("sequence", |value: &Value| is_iterable(value) && value.kind() != ValueKind::Iterable);
    environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, "raise_exception").with_source(Raised(message)))
    });
    environment.add_function("strftime_now", |format: &str| -> Result<String, Error> {
        let now = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC);
        let text = jiff::fmt::strtime::format(format, &now);
        text.map_err(|error| Error::new(ErrorKind::InvalidOperation, format!("strftime_now: {error}")))
    });
    environment.add_template_owned(NAME, without_generation(source)).map_err(|error| failure(&error))?;
    Ok(environment)
}

/// True for everything that Python's `iter` takes, Jinja's undefined value among it; minijinja counts none, too.
fn is_iterable(value: &Value) -> bool {
    match value.kind() {
        ValueKind::None | ValueKind::Bool | ValueKind::Number => false,
        ValueKind::Undefined | ValueKind::String | ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => true,
        _ => value.try_iter().is_ok(),
    }
}

/// Converts an engine's error: `Raised` if the template itself refused.
pub(super) fn failure(error: &Error) -> TemplateError {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(cause) = source {
        if let Some(Raised(message)) = cause.downcast_ref::<Raised>() {
            return TemplateError::Raised(message.clone());
        }
        source = cause.source();
    }
    if error.kind() == ErrorKind::OutOfFuel {
        return TemplateError::Failed("it takes too long or builds too much text".to_owned());
    }
    TemplateError::Failed(error.to_string())
}

/// Replaces `{% generation %}`, which marks an answer for training and prints nothing, by a plain scope.
fn without_generation(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at + 2);
        out.push_str(before);
        let inner = tag.trim_start_matches(['-', '+']).trim_start();
        let word_end = inner.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(inner.len());
        let replacement = match &inner[..word_end] {
            "generation" => Some("with"),
            "endgeneration" => Some("endwith"),
            _ => None,
        };
        match replacement {
            Some(word) => {
                out.push_str(&tag[..tag.len() - inner.len()]);
                out.push_str(word);
                rest = &inner[word_end..];
            }
            None => rest = tag,
        }
    }
    out.push_str(rest);
    out
}

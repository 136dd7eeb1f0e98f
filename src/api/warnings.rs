//! Warnings: parts of a request that had no effect or were changed. The header `x-llamero-warnings` lists them, and on
//! request the body too. If the request or the server is strict, the request is refused instead. The rules are the same
//! on every route.

use crate::{
    api::{error::ApiError, fields::ignored::Ignored},
    config::ApiConfig,
    telemetry::metrics::WarningName,
};
use axum::{
    http::{HeaderMap, HeaderName, HeaderValue},
    response::Response,
};

/// The header with the warnings of an answer. In requests, its value `body` asks for them in the answer's body too.
pub(super) const X_LLAMERO_WARNINGS: HeaderName = HeaderName::from_static("x-llamero-warnings");
/// The header by which a request is strict: `1` or `true` makes every warning a 400; `0` or `false` undoes `--strict`.
const X_LLAMERO_STRICT: HeaderName = HeaderName::from_static("x-llamero-strict");
/// The maximum length of a name, characters.
const MAX_NAME_LENGTH: usize = 64;
/// The maximum length of all warnings in a log line, characters.
const MAX_LOGGED: usize = 500;

/// The way in which warnings are reported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct WarningPolicy {
    /// True if a request that would be answered with a warning is refused.
    strict: bool,
    /// True if the body of the answer has the warnings too.
    in_body: bool,
}

impl WarningPolicy {
    /// The policy by the request's headers, else by the server's configuration.
    pub(super) fn of(headers: &HeaderMap, config: &ApiConfig) -> Self {
        let value = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
        let strict = match value(&X_LLAMERO_STRICT) {
            Some("1" | "true") => true,
            Some("0" | "false") => false,
            Some(_) | None => config.strict,
        };
        Self { strict, in_body: value(&X_LLAMERO_WARNINGS) == Some("body") }
    }

    /// True if a request that would be answered with a warning is refused.
    pub(super) fn is_strict(self) -> bool {
        self.strict
    }
}

/// The parts of a request that had no effect or were changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Warnings {
    /// Names of fields without effect, as the client wrote them.
    ignored: Ignored,
    /// Fields that were obeyed only in part, each with its warning.
    clamped: Vec<(String, String)>,
    /// Notes on how the request was understood, each with the name under which it is counted. A strict request is not
    /// refused for them.
    notes: Vec<(WarningName, String)>,
}

impl Warnings {
    /// Warnings about these ignored fields, if there are any.
    pub(super) fn ignored(fields: Ignored) -> Self {
        let mut warnings = Self::default();
        warnings.ignore(fields);
        warnings
    }

    /// Adds ignored fields, and those that a reader changed.
    pub(super) fn ignore(&mut self, mut fields: Ignored) {
        self.clamped.extend(fields.take_changed());
        self.ignored.extend(fields);
    }

    /// Adds that a field was obeyed only in part; `text` is visible ASCII and spaces. The name is empty for the body as
    /// a whole.
    pub(super) fn clamped(&mut self, param: &str, text: String) {
        self.clamped.push((param.to_owned(), text));
    }

    /// Adds the warnings of another part of the request.
    pub(super) fn extend(&mut self, others: Self) {
        self.ignored.extend(others.ignored);
        self.clamped.extend(others.clamped);
        self.notes.extend(others.notes);
    }

    /// Adds a note, which a strict request gets too; `text` is visible ASCII and spaces.
    pub(super) fn note(&mut self, name: WarningName, text: String) {
        self.notes.push((name, text));
    }

    /// Accepts the warnings, unless the policy is strict and there is one.
    ///
    /// # Errors
    /// A 400 that names the first field concerned and contains all the warnings.
    pub(super) fn enforce(self, policy: WarningPolicy) -> Result<Reported, ApiError> {
        let names: Vec<String> = self.ignored.shown().map(visible).collect();
        let param = names.first().or(self.clamped.first().map(|(param, _)| param)).filter(|param| !param.is_empty()).cloned();
        let mut texts = Vec::new();
        if !names.is_empty() {
            let rest = match self.ignored.len() - names.len() {
                0 => String::new(),
                more => format!(", and {more} more"),
            };
            texts.push(format!("ignored fields: {}{rest}", names.join(", ")));
        }
        let of_fields = (!names.is_empty()).then_some(WarningName::IgnoredFields);
        let mut kinds: Vec<WarningName> = of_fields.into_iter().chain(self.clamped.iter().map(|(param, _)| name_of(param))).collect();
        texts.extend(self.clamped.into_iter().map(|(_, text)| text));
        if policy.strict && !texts.is_empty() {
            let message = format!("Strict request not carried out: {}.", texts.join("; "));
            return Err(ApiError::BadRequest { message, param, code: Some("unsupported_parameter") });
        }
        for (name, text) in self.notes {
            kinds.push(name);
            texts.push(text);
        }
        Ok(Reported { texts, names: kinds, in_body: policy.in_body })
    }
}

/// The name under which a warning about this field is counted.
fn name_of(param: &str) -> WarningName {
    let field = param.split(['.', '[']).next().unwrap_or_default();
    match field {
        "model" => WarningName::Model,
        "tools" | "tool_choice" | "parallel_tool_calls" => WarningName::Tools,
        "messages" | "input" | "instructions" | "system" | "prompt" | "query" | "documents" => WarningName::Messages,
        "max_tokens" | "max_completion_tokens" | "max_output_tokens" | "n_predict" | "truncate_prompt_tokens" => WarningName::Length,
        "response_format" | "text" | "output_config" | "structured_outputs" | "grammar" | "json_schema" | "regex" | "ebnf" => {
            WarningName::Format
        }
        field if field.starts_with("guided_") => WarningName::Format,
        _ => WarningName::Other,
    }
}

/// The part of a client's word, such as the name of a field, that is safe to repeat in a header.
pub(super) fn visible(name: &str) -> String {
    name.chars().filter(char::is_ascii_graphic).take(MAX_NAME_LENGTH).collect()
}

/// The warnings of a request that was accepted with them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reported {
    texts: Vec<String>,
    names: Vec<WarningName>,
    in_body: bool,
}

impl Reported {
    /// All warnings, in order.
    pub(super) fn all(&self) -> &[String] {
        &self.texts
    }

    /// The names under which the warnings are counted, in order.
    pub(super) fn names(&self) -> &[WarningName] {
        &self.names
    }

    /// The warnings for the log line of the request, at most 500 characters; `None` without warnings.
    pub(super) fn for_log(&self) -> Option<String> {
        (!self.texts.is_empty()).then(|| self.texts.join("; ").chars().take(MAX_LOGGED).collect())
    }

    /// The warnings for the body, if the request asked for them there.
    pub(super) fn for_body(&self) -> Option<Vec<String>> {
        self.in_body.then(|| self.texts.clone())
    }

    /// Adds the header to the response, if there are warnings.
    pub(super) fn write_header(&self, response: &mut Response) {
        if self.texts.is_empty() {
            return;
        }
        // The texts contain only visible ASCII and spaces.
        if let Ok(value) = HeaderValue::try_from(self.texts.join("; ")) {
            response.headers_mut().insert(X_LLAMERO_WARNINGS, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::response::IntoResponse;

    fn header(warnings: Warnings) -> Option<String> {
        let mut response = ().into_response();
        warnings.enforce(WarningPolicy::default()).unwrap().write_header(&mut response);
        response.headers().get(X_LLAMERO_WARNINGS).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn warnings_name_what_was_ignored_in_plain_characters() {
        let numbered = |count: usize| (0..count).map(|i| format!("f{i}")).collect::<Vec<_>>();
        let header_of = |names: &[String]| header(Warnings::ignored(names.iter().map(String::as_str).collect()));

        assert_eq!(header_of(&[]), None);
        assert_eq!(header_of(&["foo".into(), "a\r\nb: ü".into()]).unwrap(), "ignored fields: foo, ab:");
        assert!(header_of(&numbered(16)).unwrap().ends_with(", f15"));
        assert!(header_of(&numbered(17)).unwrap().ends_with(", f15, and 1 more"));
        assert!(header_of(&numbered(100_000)).unwrap().ends_with(", f15, and 99984 more"));
        assert_eq!(header_of(&["x".repeat(1000)]).unwrap().len(), "ignored fields: ".len() + 64);
    }

    #[test]
    fn a_strict_request_is_refused_by_the_first_field_that_would_be_reported() {
        let strict = WarningPolicy { strict: true, in_body: false };
        let mut warnings = Warnings::ignored(["foo"].into_iter().collect());
        warnings.clamped("max_tokens", "max_tokens was reduced to 5".into());

        let error = warnings.enforce(strict).unwrap_err();

        assert_eq!((error.status().as_u16(), error.param(), error.code()), (400, Some("foo"), Some("unsupported_parameter")));
        assert_eq!(error.detail(), "Strict request not carried out: ignored fields: foo; max_tokens was reduced to 5.");
        assert_eq!(Warnings::default().enforce(strict), Ok(Reported::default()));
        let mut noted = Warnings::default();
        noted.note(WarningName::Format, "objects are closed".into());
        assert_eq!(noted.enforce(strict).unwrap().all(), ["objects are closed"]);
    }

    #[test]
    fn warnings_are_counted_by_names_of_a_closed_set_whatever_the_client_writes() {
        let mut warnings = Warnings::ignored(["foo", "bar"].into_iter().collect());
        for param in ["max_tokens", "text.format", "guided_choice", "messages[3].content", "frobnicate"] {
            warnings.clamped(param, "x".repeat(400));
        }

        let reported = warnings.enforce(WarningPolicy::default()).unwrap();

        use WarningName::{Format, IgnoredFields, Length, Messages, Other};
        assert_eq!(reported.names(), [IgnoredFields, Length, Format, Format, Messages, Other]);
        assert_eq!(reported.for_log().unwrap().len(), MAX_LOGGED);
        assert_eq!(Reported::default().for_log(), None);
    }

    #[test]
    fn the_body_has_warnings_only_where_they_were_asked_for() {
        let warnings = Warnings::ignored(["foo"].into_iter().collect());
        let asked = WarningPolicy { strict: false, in_body: true };

        assert_eq!(warnings.clone().enforce(WarningPolicy::default()).unwrap().for_body(), None);
        assert_eq!(warnings.enforce(asked).unwrap().for_body(), Some(vec!["ignored fields: foo".to_owned()]));
        assert_eq!(Warnings::default().enforce(asked).unwrap().for_body(), Some(vec![]));
    }
}

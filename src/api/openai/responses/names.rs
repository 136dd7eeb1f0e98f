//! What fields of chat are called in the Responses API, so that errors and warnings name what the caller sent.

use super::input::Origin;
use crate::api::{error::ApiError, warnings::Warnings};
use axum::http::StatusCode;

/// Chat's names and what they were made of; so are names inside them.
const NAMES: [(&str, &str); 7] = [
    ("max_completion_tokens", "max_output_tokens"),
    ("max_tokens", "max_output_tokens"),
    ("reasoning_effort", "reasoning.effort"),
    ("verbosity", "text.verbosity"),
    ("response_format.json_schema", "text.format"),
    ("response_format", "text.format"),
    ("tool_choice.function", "tool_choice"),
];

/// Names of one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Names {
    /// Of each of chat's messages.
    pub(super) origins: Vec<Origin>,
}

impl Names {
    /// The caller's name of a field of chat; any other text is returned as it is.
    pub(super) fn of(&self, chat: &str) -> String {
        if let Some(rest) = chat.strip_prefix("messages") {
            return self.of_message(rest).unwrap_or_else(|| chat.to_owned());
        }
        if chat.starts_with("tools[") {
            return chat.replacen("].function", "]", 1);
        }
        let inside = |name: &str| chat.strip_prefix(name).filter(|rest| rest.is_empty() || rest.starts_with('.'));
        let renamed = NAMES.iter().find_map(|(old, new)| inside(old).map(|rest| format!("{new}{rest}")));
        renamed.unwrap_or_else(|| chat.to_owned())
    }

    /// What follows `messages` in a name.
    fn of_message(&self, rest: &str) -> Option<String> {
        if rest.is_empty() {
            return Some("input".to_owned());
        }
        if let Some(any) = rest.strip_prefix("[]") {
            // Of some items. A call is an item of its own, and so is what was thought.
            let any = any.replacen(".tool_calls", ".function_call", 1).replacen(".reasoning_content", ".reasoning", 1);
            return Some(format!("input[]{any}"));
        }
        let (index, field) = indexed(rest)?;
        let origin = self.origins.get(index)?;
        let at = &origin.at;
        if let Some(call) = field.strip_prefix(".tool_calls") {
            let (index, field) = indexed(call)?;
            let call = origin.calls.get(index)?;
            return Some(match field {
                ".id" => format!("{call}.call_id"),
                field => format!("{call}{}", field.replacen(".function", "", 1)),
            });
        }
        if let Some(inner) = field.strip_prefix(".content") {
            // A text that is the whole of a field has no content of its own.
            return Some(if at.contains('[') { format!("{at}.{}{inner}", origin.content) } else { at.clone() });
        }
        Some(format!("{at}{}", field.replacen(".tool_call_id", ".call_id", 1)))
    }

    /// An error about this request in the caller's words. The server's own faults stay what they are.
    pub(super) fn error(&self, error: ApiError) -> ApiError {
        if error.status() != StatusCode::BAD_REQUEST {
            return error;
        }
        // Names stand in quotes. What else stands between two of them is no name, and stays.
        let message = error.to_string().split('\'').map(|part| self.of(part)).collect::<Vec<_>>().join("'");
        ApiError::BadRequest { message, param: error.param().map(|param| self.of(param)), code: error.code() }
    }

    /// Warnings in the caller's words.
    pub(super) fn warnings(&self, mut warnings: Warnings) -> Warnings {
        warnings.rename(|name| self.of(name));
        warnings
    }
}

/// `[3].role` is 3 and `.role`.
fn indexed(text: &str) -> Option<(usize, &str)> {
    let (index, rest) = text.strip_prefix('[')?.split_once(']')?;
    Some((index.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let origin = |at: &str, content, calls: &[&str]| Origin {
            at: at.to_owned(),
            content,
            calls: calls.iter().map(|call| (*call).to_owned()).collect(),
        };
        let origins = vec![
            origin("instructions", "content", &[]),
            origin("input[0]", "content", &["input[1]", "input[2]"]),
            origin("input[3]", "output", &[]),
        ];
        Names { origins }
    }

    #[test]
    fn every_name_of_chat_is_the_one_that_the_caller_wrote() {
        let rows = [
            ("messages[].tool_calls", "input[].function_call"),
            ("messages", "input"),
            ("messages[0].content", "instructions"),
            ("messages[1].content[2].text", "input[0].content[2].text"),
            ("messages[1].tool_calls[0].id", "input[1].call_id"),
            ("messages[1].tool_calls[1].function.name", "input[2].name"),
            ("messages[2].content", "input[3].output"),
            ("messages[2].tool_call_id", "input[3].call_id"),
            ("max_tokens", "max_output_tokens"),
            ("max_completion_tokens", "max_output_tokens"),
            ("response_format.json_schema.name", "text.format.name"),
            ("response_format.type", "text.format.type"),
            ("tools[2].function.parameters.type", "tools[2].parameters.type"),
            ("tool_choice.function.name", "tool_choice.name"),
            ("reasoning_effort", "reasoning.effort"),
            ("verbosity", "text.verbosity"),
            ("top_k", "top_k"),
            ("response_formats", "response_formats"),
        ];
        for (chat, caller) in rows {
            assert_eq!(names().of(chat), caller);
        }
    }

    #[test]
    fn an_error_names_the_callers_fields_in_its_text_too() {
        let error = ApiError::BadRequest {
            message: "Invalid 'messages': the model's template refuses them, and 'max_tokens' too.".to_owned(),
            param: Some("messages".to_owned()),
            code: Some("invalid_value"),
        };

        let error = names().error(error);

        assert_eq!(error.to_string(), "Invalid 'input': the model's template refuses them, and 'max_output_tokens' too.");
        assert_eq!((error.param(), error.code()), (Some("input"), Some("invalid_value")));
        assert_eq!(names().error(ApiError::Internal), ApiError::Internal);
    }

    #[test]
    fn what_does_not_fit_the_context_is_told_with_the_same_code() {
        let error = names().error(ApiError::ContextLength { prompt_tokens: 50, max_tokens: 60, max_model_len: 100 });

        assert_eq!(
            (error.status().as_u16(), error.param(), error.code()),
            (400, Some("max_output_tokens"), Some("context_length_exceeded"))
        );
    }
}

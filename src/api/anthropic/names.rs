//! The fields that chat reads under other names than the Messages API has for them.
//!
//! What the code of chat says of a field (an error, a warning) is told under the name that the client sent.

use crate::api::error::ApiError;

/// Translates. Depends on the request, as two of our fields are one of chat's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::api) struct Names {
    /// Where chat's `reasoning_effort` came from.
    pub(super) effort: &'static str,
    /// Where chat's `response_format` came from.
    pub(super) format: &'static str,
}

impl Names {
    /// The error with our names, in its message too.
    pub(super) fn of_error(self, error: ApiError) -> ApiError {
        match error {
            ApiError::BadRequest { message, param, code } => {
                // Only in quotes is this word a field's name for certain.
                let message = self.of_text(&message).replace("'stop'", "'stop_sequences'");
                let param = param.map(|param| if param == "stop" { "stop_sequences".to_owned() } else { self.of_text(&param) });
                ApiError::BadRequest { message, param, code }
            }
            ApiError::Field(error) => {
                let (message, param, code) = (error.to_string(), error.param().map(str::to_owned), Some(error.code()));
                self.of_error(ApiError::BadRequest { message, param, code })
            }
            other => other,
        }
    }

    /// A warning's text, or a field's name.
    pub(super) fn of_text(self, text: &str) -> String {
        text.replace("response_format.json_schema", "response_format")
            .replace("response_format", self.format)
            .replace("reasoning_effort", self.effort)
            .replace("`continue_final_message`", "a last message of the assistant")
            .replace("messages[].tool_calls", "messages.content.tool_use")
            .replace("messages[].reasoning_content", "messages.content.thinking")
            .replace("messages[].", "messages.")
            .replace("tools[].function.", "tools.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fields::FieldError;

    const NAMES: Names = Names { effort: "thinking", format: "output_config.format" };

    #[test]
    fn what_chat_says_is_told_under_the_names_of_this_route() {
        let rows = [
            ("stop", "stop_sequences"),
            ("response_format", "output_config.format"),
            ("response_format.json_schema.schema", "output_config.format.schema"),
            ("reasoning_effort", "thinking"),
            ("tools", "tools"),
            ("tools[].function.description", "tools.description"),
            ("messages[].tool_calls", "messages.content.tool_use"),
            ("max_tokens", "max_tokens"),
        ];
        for (theirs, ours) in rows {
            let error = NAMES.of_error(FieldError::invalid(theirs, "x").into());
            assert_eq!((error.param(), error.detail()), (Some(ours), format!("Invalid '{ours}': x.")));
        }
        assert_eq!(NAMES.of_error(ApiError::Internal), ApiError::Internal);
        assert_eq!(
            NAMES.of_text("response_format was not applied: tool_choice asks for a call"),
            "output_config.format was not applied: tool_choice asks for a call"
        );
    }
}

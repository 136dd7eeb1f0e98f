//! The names of the request's fields that an engine's refusal or failure is about.

use crate::{
    api::{error::ApiError, fields::FieldError},
    field_path::FieldPath,
    gateway::error::SubmitError,
    protocol::GenerationError,
};

/// The fields of a request that errors name after all of its fields were read.
#[derive(Debug, Clone)]
pub struct RequestFields {
    /// The field that the prompts come from.
    pub prompt: &'static str,
    /// The field with the number of choices.
    pub choices: &'static str,
    /// The field of the constraint; `None` without one.
    pub constraint: Option<FieldPath>,
}

impl RequestFields {
    /// The error for a refusal of this number of prompts.
    pub(super) fn refused(&self, refusal: SubmitError, prompts: usize) -> ApiError {
        match refusal {
            SubmitError::TooMany { capacity, .. } => {
                let field = if prompts > capacity { self.prompt } else { self.choices };
                FieldError::invalid(field, refusal.to_string()).into()
            }
            other => other.into(),
        }
    }

    /// The error for a generation that failed.
    pub(super) fn failed(&self, failure: GenerationError) -> ApiError {
        match (&failure, &self.constraint) {
            // The request's own constraint is at fault: it compiled, but then no token of this model could follow. A
            // retry would fail again.
            (GenerationError::Constraint(_), Some(constraint)) => FieldError::invalid(constraint, failure.to_string()).into(),
            _ => failure.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOO_MANY: SubmitError = SubmitError::TooMany { count: 12, capacity: 5 };

    fn fields(constraint: Option<FieldPath>) -> RequestFields {
        RequestFields { prompt: "input", choices: "best_of", constraint }
    }

    #[test]
    fn too_many_sequences_are_the_fault_of_the_prompts_or_else_of_the_number_of_choices() {
        let param = |prompts| fields(None).refused(TOO_MANY, prompts).param().map(str::to_owned);

        assert_eq!(param(6).as_deref(), Some("input"));
        assert_eq!(param(5).as_deref(), Some("best_of"));
        let message = "Invalid 'best_of': the prompts times n are 12 sequences; at most 5 are taken in.";
        assert_eq!(fields(None).refused(TOO_MANY, 3).to_string(), message);
        assert_eq!(fields(None).refused(SubmitError::ShuttingDown, 1), ApiError::ShuttingDown);
    }

    #[test]
    fn a_constraint_that_fails_while_text_is_generated_is_named_by_its_field() {
        let failure = GenerationError::Constraint("no token can follow".to_owned());
        let named = fields(Some(FieldPath::from("text").field("format"))).failed(failure.clone());

        assert_eq!((named.status().as_u16(), named.param(), named.code()), (400, Some("text.format"), Some("invalid_value")));
        assert_eq!(named.to_string(), "Invalid 'text.format': the output cannot be constrained: no token can follow.");
        assert_eq!(fields(None).failed(failure).param(), None);
        assert_eq!(fields(None).failed(GenerationError::ShuttingDown), ApiError::ShuttingDown);
    }
}

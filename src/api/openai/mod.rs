//! OpenAI's routes: completions and models.

pub mod completion_request;
pub mod prompt;
pub mod sampling;

//! OpenAI's routes: completions and models.

pub mod completion_request;
pub mod prompt;
pub mod sampling;

/// Replaced by the completions branch.
pub fn routes() -> axum::Router<super::state::AppState> {
    axum::Router::new()
}

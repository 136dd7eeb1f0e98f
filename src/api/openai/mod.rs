//! (in work)
/// until the completions branch
pub fn routes() -> axum::Router<super::state::AppState> {
    axum::Router::new()
}

//! The state of the engine as others may see it: published by the run loop, read by handles and by the API.
//!
//! Plain data. `handle` decides which requests are accepted in which state.

/// The state of the engine.
#[derive(Debug, Clone, PartialEq)]
pub enum EngineState {
    /// There is no engine yet: the model file is being fetched or checked.
    Preparing,
    /// The model is loaded for the first time; the share that is done, 0–1.
    Loading(f32),
    /// The engine serves requests.
    Ready,
    /// The engine died and is being started again; the cause of the death.
    Restarting(String),
    /// The engine will not be started again; the reason.
    Failed(String),
    /// The server is stopping and accepts no new requests.
    Draining,
}

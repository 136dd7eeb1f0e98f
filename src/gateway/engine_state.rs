//! The state of the engine as everybody may know it: published by the run loop, read by handles and by the API.
//!
//! Plain data. `handle` decides which requests are taken in in each state.

/// The state of the engine.
#[derive(Debug, Clone, PartialEq)]
pub enum EngineState {
    /// No engine yet: the model file is being fetched or checked.
    Preparing,
    /// The first load, share done 0–1.
    Loading(f32),
    /// It serves requests.
    Ready,
    /// It died and is being started again; why it died.
    Restarting(String),
    /// It will not be started again; why.
    Failed(String),
    /// The server is stopping: no new requests.
    Draining,
}

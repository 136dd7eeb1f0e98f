//! Messages between the engine and a trial process, framed as those between gateway and engine.

use crate::protocol::{Constraint, ConstraintError};
use serde::{Deserialize, Serialize};

/// Engine → trial process, behind the first frame, which holds the vocabulary's `Words`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum ToTrial {
    /// Compile this and follow it for some tokens. Answered by `Tried`.
    Try(Constraint),
}

/// Trial process → engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum FromTrial {
    /// Answer to the vocabulary: constraints are welcome, or why not.
    Ready(Result<(), String>),
    /// Answer to `Try`: the memory of the compiled constraint, bytes, or why it cannot be used.
    Tried(Result<u64, ConstraintError>),
}

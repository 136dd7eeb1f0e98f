//! Messages between the engine and a trial process, framed like those between gateway and engine.

use crate::protocol::{Constraint, ConstraintError};
use serde::{Deserialize, Serialize};

/// Engine → trial process, after a first frame that holds the vocabulary's `Words`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum ToTrial {
    /// Compile this constraint and follow it for some tokens. Answered by `Tried`.
    Try(Constraint),
}

/// Trial process → engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum FromTrial {
    /// Answer to the vocabulary: it can be used, or the reason why it cannot.
    Ready(Result<(), ConstraintError>),
    /// Answer to `Try`: the memory of the compiled constraint, bytes, or the reason why it cannot be used.
    Tried(Result<u64, ConstraintError>),
}

//! Messages between the engine and a trial process, framed as those between gateway and engine.

use crate::protocol::{Constraint, ConstraintError};
use serde::{Deserialize, Serialize};

/// Engine → trial process, after the first frame, which holds the vocabulary's `Words`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum ToTrial {
    /// Compile this and follow it for some tokens. Answered by `Tried`.
    Try(Constraint),
}

/// Trial process → engine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum FromTrial {
    /// Answer to the vocabulary: it can be used, or the reason why not.
    Ready(Result<(), ConstraintError>),
    /// Answer to `Try`: the memory of the compiled constraint, bytes, or the reason why it cannot be used.
    Tried(Result<u64, ConstraintError>),
}

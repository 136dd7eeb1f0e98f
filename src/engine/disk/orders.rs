//! The messages between the engine thread and the thread of the folder: contents that were read, and changes to write.

use crate::engine::{runner::ParkedState, scheduler::ParkedContent};
use std::sync::Weak;

/// A content that was read.
pub(super) struct Stored {
    pub(super) name: String,
    pub(super) content: ParkedContent,
    pub(super) state: ParkedState,
}

/// A change of the folder.
pub(super) enum FolderOrder {
    /// Write this, unless host memory has dropped it meanwhile.
    Write { name: String, content: ParkedContent, state: Weak<ParkedState> },
    /// It was used: among the last to go.
    Touch { name: String },
    /// Host memory dropped it.
    Remove { name: String },
}

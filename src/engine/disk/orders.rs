//! The messages between the engine thread and the folder's thread: contents that were read, and changes to write.

use crate::engine::{runner::ParkedState, scheduler::ParkedContent};
use std::sync::Weak;

/// A content that was read from the folder.
pub(super) struct Stored {
    pub(super) name: String,
    pub(super) content: ParkedContent,
    pub(super) state: ParkedState,
}

/// A change to the folder.
pub(super) enum FolderOrder {
    /// Write this content, unless host memory has dropped it in the meantime.
    Write { name: String, content: ParkedContent, state: Weak<ParkedState> },
    /// The content was used, so it must be among the last to be dropped.
    Touch { name: String },
    /// Host memory dropped the content.
    Remove { name: String },
}

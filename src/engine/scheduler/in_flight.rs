//! What the scheduler remembers of a planned step until it is completed or failed, beside the step itself.

/// The step that was planned and is neither completed nor failed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct InFlight {
    /// Its prompt rows.
    pub(super) prompt_rows: u32,
    /// Its rows of drafts.
    pub(super) draft_rows: u32,
    /// Bytes that it saves to host memory and loads from there.
    pub(super) moved_bytes: u64,
}

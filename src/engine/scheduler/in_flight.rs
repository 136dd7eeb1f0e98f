//! Facts about the step in flight that the scheduler needs when the step is completed, in addition to the step itself.

/// The step that was planned and is neither completed nor failed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct StepInFlight {
    /// Number of prompt rows in the step.
    pub(super) prompt_rows: u32,
    /// Number of rows of drafts in the step.
    pub(super) draft_rows: u32,
    /// Number of bytes that the step saves to host memory and loads from there.
    pub(super) moved_bytes: u64,
}

//! Finds out whether a constraint can be compiled, in a process that may die of it.
//!
//! ```text
//! engine: TrialProcess ── socket ──▶ `llamero constraint-trial`: the same vocabulary, the same compiler
//!         Words once, then one Constraint at a time ◀── its memory, or an error
//! ```
//!
//! llguidance parses texts of strangers, recurses and allocates as they demand, and cannot be stopped from outside. So
//! each constraint is compiled and followed for some tokens here first: on a stack as large as the engine's, with a
//! limit of memory, and killed when its CPU time is used up. Both are deterministic, so that a constraint that passes
//! here compiles in the engine, too, which does so after that. Owns starting, feeding, watching and ending that
//! process. It remembers no constraint: the results are kept by its caller.

mod inside;
mod messages;
mod process;
#[cfg(test)]
mod tests;
mod usage;

pub use inside::main;
pub use process::{TrialLimits, TrialProcess};

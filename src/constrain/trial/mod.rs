//! Finds out whether a constraint can be compiled, in a process that may die while it does.
//!
//! ```text
//! engine: TrialProcess ── socket ──▶ `llamero constraint-trial`: the same vocabulary, the same compiler
//!         Words once, then one Constraint at a time ◀── its memory, or an error
//! ```
//!
//! llguidance parses texts of strangers, recurses and allocates as they demand, and cannot be stopped from outside. So
//! each constraint is first compiled and followed for some tokens here: on a stack as large as the engine's, with a
//! memory limit, and killed when its CPU time is used up. Compiler and stack are the same in both processes, so a
//! constraint that passes here also compiles in the engine, which compiles it afterwards. Owns starting, feeding,
//! watching and ending the process. Remembers no constraint: the caller keeps the results.

mod inside;
mod messages;
mod process;
#[cfg(test)]
mod tests;
mod usage;

pub use inside::main;
pub use process::{TrialLimits, TrialProcess};

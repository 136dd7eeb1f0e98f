//! The priority of threads that yield to the computing of steps where both need a core, in either process.

use rustix::process::setpriority_process;

/// Sets the niceness of this thread, 1–19 (`setpriority(2)`: on Linux it is a thread's own). Where that fails, the
/// priority stays.
pub fn give_way(niceness: i32) {
    if let Err(error) = setpriority_process(None, niceness) {
        tracing::debug!(%error, "a thread keeps the priority of steps");
    }
}

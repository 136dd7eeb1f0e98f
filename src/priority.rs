//! The priority of threads that yield a core to the threads that compute steps, in the gateway and in the engine.

use rustix::process::setpriority_process;

/// Sets the niceness of this thread, 1–19 (`setpriority(2)`: on Linux each thread has its own). If that fails, the
/// priority stays as it is.
pub fn give_way(niceness: i32) {
    if let Err(error) = setpriority_process(None, niceness) {
        tracing::debug!(%error, "a thread keeps the priority of steps");
    }
}

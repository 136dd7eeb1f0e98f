//! First steps of a process that this program starts from its own binary: the process asks the kernel to kill it when
//! its parent ends, and takes the socket to its parent from its standard input.
//!
//! Owns nothing. The parents start the processes and send them messages.

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use std::{io, os::fd::AsFd, os::unix::net::UnixStream};

/// Asks the kernel to kill this process when the thread that started it ends, and to kill it early when memory runs
/// out: `oom_score` is 0 to 1,000, and the process with the highest goes first.
///
/// # Errors
/// If the parent, whose process id is `parent_pid`, is gone already.
pub fn die_with(parent_pid: u32, oom_score: u16) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have died before the line above.
    if getppid().map(Pid::as_raw_nonzero).map(|pid| pid.get().unsigned_abs()) != Some(parent_pid) {
        return Err(io::Error::other("the process that started this one is gone"));
    }
    if let Err(error) = std::fs::write("/proc/self/oom_score_adj", oom_score.to_string()) {
        tracing::debug!(%error, "the out-of-memory score stays as it is");
    }
    Ok(())
}

/// Takes the socket to the parent from standard input.
///
/// # Errors
/// If standard input is no socket.
pub fn socket_to_parent() -> io::Result<UnixStream> {
    let stream = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    stream.local_addr().map_err(|_| io::Error::other("standard input is not a socket"))?;
    Ok(stream)
}

//! The check, before anything is started, that the system allows what a server needs: a clear message now, instead of
//! an engine that cannot be started or a panic.

use anyhow::{Context as _, ensure};
use std::{io, path::Path, sync::mpsc, thread};

/// Threads that the gateway and its engine need together, at least.
const THREADS: usize = 16;

/// Checks the surroundings.
///
/// # Errors
/// A sentence with the remedy.
pub(super) fn check() -> anyhow::Result<()> {
    check_proc(Path::new("/proc/self/exe"))?;
    check_threads(THREADS).context(
        "no more threads can be started: the limit of processes and threads is too low; raise it with `ulimit -u`, or in a container \
         with its pids limit",
    )
}

fn check_proc(program: &Path) -> anyhow::Result<()> {
    ensure!(
        !cfg!(target_os = "linux") || program.symlink_metadata().is_ok(),
        "{} is missing: the engine is started from it, so /proc must be mounted",
        program.display()
    );
    Ok(())
}

/// Starts as many threads at once, and ends them.
fn check_threads(count: usize) -> io::Result<()> {
    let started: io::Result<Vec<_>> = (0..count)
        .map(|_| {
            let (end, ended) = mpsc::channel::<()>();
            // The wait ends with an error when `end` is dropped.
            let thread = thread::Builder::new().stack_size(64 << 10).spawn(move || ended.recv().is_ok())?;
            Ok((end, thread))
        })
        .collect();
    for (end, thread) in started? {
        drop(end);
        thread.join().map_err(|_| io::Error::other("a thread ended early"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn these_surroundings_are_fine_and_a_missing_proc_is_named() {
        check().unwrap();

        let missing = check_proc(Path::new("/no/such/exe")).unwrap_err().to_string();
        assert_eq!(missing, "/no/such/exe is missing: the engine is started from it, so /proc must be mounted");
    }
}

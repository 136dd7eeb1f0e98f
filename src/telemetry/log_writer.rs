//! Writes log lines to standard error, or to a file, without delaying the threads that log: a bounded queue, and one
//! thread that writes.
//!
//! A line for which there is no room, or that cannot be written (a closed pipe, a full disk), is lost and counted,
//! without other effects. Owns the queue, the thread and the count of lost lines. The thread is never joined, because a
//! stalled reader may block it for ever; it ends with the process. The crate `tracing-appender` is not used: it does
//! not count failed writes, leaves torn lines, and prints its own errors with a macro that panics if standard error has
//! failed.

use super::log_file::LogFile;
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    stdio,
};
use std::{
    collections::VecDeque,
    io::{self, Write},
    path::Path,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

/// Maximum number of lines that wait to be written.
const MAX_LINES: usize = 4096;
/// Maximum bytes of all lines that wait.
const MAX_BYTES: usize = 1 << 20;

static PROCESS_LOG: OnceLock<LogWriter> = OnceLock::new();
/// The file that lines go to; without one they go to standard error.
static LOG_FILE: OnceLock<LogFile> = OnceLock::new();

/// The writer of this process's log lines. The first call starts its thread.
///
/// # Errors
/// No thread can be started.
pub fn process_log() -> io::Result<&'static LogWriter> {
    if let Some(writer) = PROCESS_LOG.get() {
        return Ok(writer);
    }
    // Two first calls at the same time would start two threads, one of which gets no line; that is harmless.
    let writer = LogWriter::start(ProcessOutput)?;
    Ok(PROCESS_LOG.get_or_init(|| writer))
}

/// From now on, lines go to the file at `path` instead of standard error. Only the first call counts.
///
/// # Errors
/// The file can neither be opened nor created.
pub fn write_to_file(path: &Path) -> io::Result<()> {
    let file = LogFile::open(path)?;
    LOG_FILE.get_or_init(|| file);
    Ok(())
}

/// True if lines go to a file.
#[must_use]
pub fn writes_to_file() -> bool {
    LOG_FILE.get().is_some()
}

/// Opens the log file again, because it was renamed. False if lines go to standard error. Blocks on the disk.
///
/// # Errors
/// The file cannot be opened; lines then go where they went.
pub fn reopen_file() -> io::Result<bool> {
    LOG_FILE.get().map_or(Ok(false), |file| file.reopen().map(|()| true))
}

/// Number of log lines of this process that were lost so far.
#[must_use]
pub fn lines_lost() -> u64 {
    PROCESS_LOG.get().map_or(0, LogWriter::lost)
}

/// Takes lines from any thread and never waits. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LogWriter {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<LineQueue>,
    /// Signals that a line was added.
    added: Condvar,
    /// Signals that the queue is empty and nothing is being written.
    idle: Condvar,
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct LineQueue {
    lines: VecDeque<Vec<u8>>,
    /// Number of bytes in `lines`.
    bytes: usize,
    /// True if the thread is writing a line taken from the queue.
    writing: bool,
}

impl LogWriter {
    /// Starts a thread that writes to `output`.
    ///
    /// # Errors
    /// No thread can be started.
    pub(crate) fn start(output: impl Write + Send + 'static) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let of_thread = Arc::clone(&shared);
        let _detached = thread::Builder::new().name("log".to_owned()).spawn(move || of_thread.write_all(output))?;
        Ok(Self { shared })
    }

    /// Queues one or more whole lines. They are lost if there is no room.
    pub fn push(&self, lines: Vec<u8>) {
        let mut queue = self.shared.lock();
        if queue.lines.len() >= MAX_LINES || queue.bytes.saturating_add(lines.len()) > MAX_BYTES {
            drop(queue);
            self.shared.count_lost(&lines);
            return;
        }
        queue.bytes += lines.len();
        queue.lines.push_back(lines);
        drop(queue);
        self.shared.added.notify_one();
    }

    /// Waits until all queued lines are written, but not longer than `patience`. True if they are written.
    pub fn flush(&self, patience: Duration) -> bool {
        let is_busy = |queue: &mut LineQueue| queue.writing || !queue.lines.is_empty();
        let queue = self.shared.lock();
        let (queue, timeout) = self.shared.idle.wait_timeout_while(queue, patience, is_busy).unwrap_or_else(PoisonError::into_inner);
        drop(queue);
        !timeout.timed_out()
    }

    /// Number of lines lost so far.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.shared.lost.load(Ordering::Relaxed)
    }
}

/// `tracing-subscriber` writes each line with one call.
impl Write for LogWriter {
    fn write(&mut self, lines: &[u8]) -> io::Result<usize> {
        self.push(lines.to_vec());
        Ok(lines.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, LineQueue> {
        // No holder of the lock leaves the queue half changed, so a panic there does no harm.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the lines of a text; a text without a line break counts as one.
    fn count_lost(&self, lines: &[u8]) {
        let count = lines.iter().filter(|byte| **byte == b'\n').count().max(1);
        self.lost.fetch_add(u64::try_from(count).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The main function of the thread.
    fn write_all(&self, mut output: impl Write) {
        let mut torn = false;
        let mut reported = 0;
        loop {
            let (line, is_last) = self.next();
            match write_line(&mut output, &line, &mut torn) {
                Ok(()) => {
                    let lost = self.lost.load(Ordering::Relaxed);
                    // Only once the reader has caught up: a notice within a backlog would lengthen it.
                    if lost > reported && is_last {
                        tracing::warn!("{} log lines were lost: they could not be written", lost - reported);
                        reported = lost;
                    }
                }
                Err(_) => self.count_lost(&line),
            }
        }
    }

    /// Waits for a line. Returns it, and true if it is the last one in the queue.
    fn next(&self) -> (Vec<u8>, bool) {
        let mut queue = self.lock();
        queue.writing = false;
        loop {
            if let Some(line) = queue.lines.pop_front() {
                queue.bytes -= line.len();
                queue.writing = true;
                return (line, queue.lines.is_empty());
            }
            self.idle.notify_all();
            queue = self.added.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Writes a whole line. If an earlier line was `torn`, begins a new line first.
fn write_line(output: &mut impl Write, line: &[u8], torn: &mut bool) -> io::Result<()> {
    if *torn {
        output.write_all(b"\n")?;
        *torn = false;
    }
    let mut rest = line;
    while !rest.is_empty() {
        match output.write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => {
                rest = rest.get(written..).unwrap_or_default();
                *torn = !rest.is_empty();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The log file, or descriptor 2 without the lock of `std::io::stderr`: a thread that held that lock while a reader
/// stalls would delay other threads.
struct ProcessOutput;

impl Write for ProcessOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(file) = LOG_FILE.get() {
            return file.write(bytes);
        }
        loop {
            match rustix::io::write(stdio::stderr(), bytes) {
                // Another process made the pipe non-blocking: wait for room as if it were blocking.
                Err(Errno::AGAIN) => wait_until_writable()?,
                outcome => return outcome.map_err(io::Error::from),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits, for at most `patience`, until standard error takes a line without blocking. False if it does not.
#[must_use]
pub fn is_writable_within(patience: Duration) -> bool {
    let patience = patience.try_into().ok();
    poll(&mut [PollFd::from_borrowed_fd(stdio::stderr(), PollFlags::OUT)], patience.as_ref()).is_ok_and(|ready| ready > 0)
}

fn wait_until_writable() -> Result<(), Errno> {
    match poll(&mut [PollFd::from_borrowed_fd(stdio::stderr(), PollFlags::OUT)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;

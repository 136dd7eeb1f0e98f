//! The engine's side of a trial process: started when it is needed, watched while it works, replaced when it has died,
//! was killed or grew.
//!
//! The kernel kills the process when the *thread* that started it ends, so only one thread uses it.

use super::{
    inside::MAX_MEMORY_BYTES,
    messages::{FromTrial, ToTrial},
    usage,
};
use crate::{
    constrain::Words,
    protocol::{
        Constraint, ConstraintError,
        ConstraintErrorKind::{Busy, TooCostly},
        FrameError, read_frame, write_frame,
    },
};
use rustix::net::{RecvFlags, recv};
use std::{
    io,
    os::{
        fd::OwnedFd,
        unix::{
            net::UnixStream,
            process::{CommandExt, ExitStatusExt},
        },
    },
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

/// Time between two checks of the CPU time that the process has used.
const CHECK_INTERVAL: Duration = Duration::from_millis(20);
/// Growth of a process since its start at which it is replaced, bytes: it has compiled a large constraint and did not
/// give the memory back.
const MAX_GROWTH_BYTES: u64 = 16 << 20;
/// The hidden subcommand, and its flag for the id of the process with which the child must die.
const ARGUMENTS: [&str; 2] = ["constraint-trial", "--parent-pid"];
/// Signals of a process that crashed by itself: SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV. Other signals come
/// from outside, or because the machine has no memory, and prove nothing about a constraint.
const CRASHES: [i32; 6] = [4, 5, 6, 7, 8, 11];

/// Limits of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrialLimits {
    /// Longest CPU time for compiling one constraint and following it for some tokens.
    pub cpu: Duration,
    /// Longest wait until a process has read its vocabulary: the largest vocabularies take a second on an idle machine.
    pub start: Duration,
    /// Longest wait for the result of a constraint. A slower constraint is not refused: the machine may be busy, or
    /// asleep.
    pub wait: Duration,
}

impl Default for TrialLimits {
    fn default() -> Self {
        Self { cpu: Duration::from_secs(2), start: Duration::from_secs(30), wait: Duration::from_secs(10) }
    }
}

/// Tries constraints out, one at a time, in a process that it starts with the first one. Dropping it ends that process.
#[derive(Debug)]
pub struct TrialProcess {
    program: PathBuf,
    limits: TrialLimits,
    running: Option<Running>,
}

/// The end of one attempt to have a constraint compiled by a process.
enum TrialEnd {
    Answered(Result<u64, ConstraintError>),
    OutOfCpuTime,
    Late,
    Died(ExitStatus),
}

impl TrialProcess {
    /// A trial process that will run `program`, a build of this crate's binary. Nothing is started yet.
    #[must_use]
    pub fn new(program: PathBuf, limits: TrialLimits) -> Self {
        Self { program, limits, running: None }
    }

    /// The id of the process, while there is one.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.child.id())
    }

    /// Compiles a constraint and follows it for some tokens. `words` supplies the vocabulary when a process starts.
    /// Returns the memory of the compiled constraint, bytes, estimated from the pages that the process holds.
    ///
    /// # Errors
    /// The constraint does not compile within its limits. The kind is `Busy` if that could not be found out.
    pub fn try_out(&mut self, constraint: &Constraint, words: &dyn Fn() -> Result<Words, ConstraintError>) -> Result<u64, ConstraintError> {
        let mut last = None;
        // A process that tried other constraints before may have died of them. Then a new process decides.
        for _ in 0..2 {
            let mut running = self.running.take().map_or_else(|| self.start(words), Ok)?;
            let is_fresh = running.tried == 0;
            match running.ask(constraint, &self.limits) {
                Ok(TrialEnd::Answered(result)) => {
                    // A process without memory for a thread would be busy for ever.
                    let is_busy = result.as_ref().is_err_and(|error| !error.is_final());
                    self.running = Some(running).filter(|running| !is_busy && !running.has_grown());
                    return result;
                }
                Ok(TrialEnd::OutOfCpuTime) => return Err(self.out_of_cpu_time()),
                Ok(TrialEnd::Late) => {
                    let message = "it was not compiled in time, on a machine that has other things to do";
                    return Err(ConstraintError::new(Busy, message));
                }
                Ok(TrialEnd::Died(status)) => {
                    tracing::warn!(%status, is_fresh, "a constraint was tried out in a process of its own, which died");
                    if is_fresh && status.signal().is_some_and(|signal| CRASHES.contains(&signal)) {
                        return Err(crashed_on_it());
                    }
                    last = Some(status.to_string());
                }
                Err(error) => last = Some(error.to_string()),
            }
        }
        Err(ConstraintError::new(Busy, format!("the process that compiles ended ({})", last.unwrap_or_default())))
    }

    fn out_of_cpu_time(&self) -> ConstraintError {
        let limit = self.limits.cpu.as_secs_f64();
        ConstraintError::new(TooCostly, format!("it takes longer than {limit} s of CPU time to compile and to follow for some tokens"))
    }

    /// Starts a process and waits until it has the vocabulary.
    fn start(&self, words: &dyn Fn() -> Result<Words, ConstraintError>) -> Result<Running, ConstraintError> {
        let words = words().map_err(cannot_start)?;
        let mut running = self.spawn().map_err(|error| cannot_start(format!("no process can be started ({error})")))?;
        let answer = write_frame(&mut running.socket, &words).and_then(|()| running.answer(None, self.limits.start));
        match answer {
            Ok(TrialAnswer::Message(FromTrial::Ready(result))) => result.map_err(cannot_start)?,
            Ok(TrialAnswer::Message(FromTrial::Tried(_))) => return Err(cannot_start("the process mixed up its answers")),
            Ok(TrialAnswer::Nothing | TrialAnswer::OutOfCpuTime) => return Err(cannot_start("the process was not ready in time")),
            Err(error) => return Err(cannot_start(format!("the process ended ({error})"))),
        }
        running.resident_at_start = usage::resident_bytes(running.child.id()).unwrap_or(0);
        Ok(running)
    }

    fn spawn(&self) -> io::Result<Running> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_write_timeout(Some(self.limits.start))?;
        let child = Command::new(&self.program)
            .arg0("llamero")
            .args(ARGUMENTS)
            .arg(std::process::id().to_string())
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            // The text of a panic may quote the constraint, which must not appear in a log.
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Running { child, socket: ours, tried: 0, resident_at_start: 0 })
    }
}

fn cannot_start(reason: impl std::fmt::Display) -> ConstraintError {
    ConstraintError::new(Busy, format!("nothing can be compiled: {reason}"))
}

fn crashed_on_it() -> ConstraintError {
    let mib = MAX_MEMORY_BYTES >> 20;
    ConstraintError::new(TooCostly, format!("the compiler needs more than {mib} MiB of memory or of its stack for it, or fails on it"))
}

/// A process that has the vocabulary.
#[derive(Debug)]
struct Running {
    child: Child,
    socket: UnixStream,
    /// Number of constraints that the process was given.
    tried: u64,
    resident_at_start: u64,
}

/// The end of a wait for a message of the process.
enum TrialAnswer {
    Message(FromTrial),
    OutOfCpuTime,
    Nothing,
}

impl Running {
    fn ask(&mut self, constraint: &Constraint, limits: &TrialLimits) -> io::Result<TrialEnd> {
        self.tried += 1;
        let used = usage::cpu_time(self.child.id()).unwrap_or_default();
        let sent = write_frame(&mut self.socket, &ToTrial::Try(constraint.clone()));
        match sent.and_then(|()| self.answer(Some(used + limits.cpu), limits.wait)) {
            Ok(TrialAnswer::Message(FromTrial::Tried(result))) => Ok(TrialEnd::Answered(result)),
            Ok(TrialAnswer::Message(FromTrial::Ready(_))) => Err(io::Error::other("it mixed up its answers")),
            Ok(TrialAnswer::OutOfCpuTime) => Ok(TrialEnd::OutOfCpuTime),
            Ok(TrialAnswer::Nothing) => Ok(TrialEnd::Late),
            Err(FrameError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(TrialEnd::Late),
            // The process closed its socket. It may have written half an answer, and may not have ended yet.
            Err(_) => {
                self.kill();
                self.child.wait().map(TrialEnd::Died)
            }
        }
    }

    /// Waits for the next message. Checks every [`CHECK_INTERVAL`] whether the process's CPU time has reached
    /// `max_cpu`.
    fn answer(&mut self, max_cpu: Option<Duration>, wait: Duration) -> Result<TrialAnswer, FrameError> {
        let begun = Instant::now();
        self.socket.set_read_timeout(Some(CHECK_INTERVAL))?;
        loop {
            match recv(&self.socket, &mut [0_u8; 1], RecvFlags::PEEK) {
                Ok(_) => break,
                Err(error) if error == rustix::io::Errno::AGAIN || error == rustix::io::Errno::INTR => {}
                Err(error) => return Err(io::Error::from(error).into()),
            }
            if max_cpu.is_some_and(|max| usage::cpu_time(self.child.id()).is_some_and(|used| used > max)) {
                return Ok(TrialAnswer::OutOfCpuTime);
            }
            if begun.elapsed() > wait {
                return Ok(TrialAnswer::Nothing);
            }
        }
        // An answer is one small packet; a process that stops in the middle of it is broken.
        self.socket.set_read_timeout(Some(wait))?;
        read_frame(&mut self.socket).map(TrialAnswer::Message)
    }

    fn has_grown(&self) -> bool {
        usage::resident_bytes(self.child.id()).is_none_or(|now| now > self.resident_at_start + MAX_GROWTH_BYTES)
    }

    fn kill(&mut self) {
        // Fails if the process has ended already; then there is nothing to kill.
        let _ = self.child.kill();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        // Fails if the process was waited for already.
        let _ = self.child.wait();
    }
}

//! A trial process as its engine sees it: started when it is needed, watched while it works, replaced when it died, was
//! killed or grew.
//!
//! The kernel kills it when the *thread* that started it ends, so one thread keeps it.

use super::{
    inside::MAX_MEMORY_BYTES,
    messages::{FromTrial, ToTrial},
    usage,
};
use crate::{
    constrain::Words,
    protocol::{Constraint, ConstraintError, FrameError, read_frame, write_frame},
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

/// Time between two looks at the CPU time that the process has used.
const LOOK: Duration = Duration::from_millis(20);
/// A process that holds so much more than at its start is replaced, bytes: it has had a large constraint, and did not give its memory
/// back.
const MAX_GROWTH_BYTES: u64 = 16 << 20;
/// The hidden subcommand, and the flag with the process that the child must die with.
const ARGUMENTS: [&str; 2] = ["constraint-trial", "--parent-pid"];
/// Signals of a process that crashed by itself: SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV. Others come from outside, or because
/// the machine has no memory, and say nothing of a constraint.
const CRASHES: [i32; 6] = [4, 5, 6, 7, 8, 11];

/// Limits of a trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrialLimits {
    /// CPU time of compiling one constraint and following it for some tokens.
    pub cpu: Duration,
    /// Time that passes until nobody waits any more for a process to read its vocabulary: a second on an idle machine for
    /// the largest there are.
    pub start: Duration,
    /// Time that passes until nobody waits any more for a constraint. Says nothing of it: the machine may be busy, or asleep.
    pub wait: Duration,
}

impl Default for TrialLimits {
    fn default() -> Self {
        Self { cpu: Duration::from_secs(2), start: Duration::from_secs(30), wait: Duration::from_secs(10) }
    }
}

/// The result of a trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It compiles, within its limits.
    Sound {
        /// The memory of the compiled constraint, estimated from the pages that the process holds.
        bytes: u64,
    },
    /// It never will; what is wrong with it.
    Refused(String),
    /// Nobody knows; what was in the way.
    Unknown(String),
}

/// Tries constraints out, one at a time, in a process that it starts with the first one. Dropping it ends the process.
#[derive(Debug)]
pub struct TrialProcess {
    program: PathBuf,
    limits: TrialLimits,
    running: Option<Running>,
}

/// The end of one attempt: of handing a constraint to one process.
enum Outcome {
    Answered(Result<u64, ConstraintError>),
    OutOfCpuTime,
    Late,
    Died(ExitStatus),
}

impl TrialProcess {
    /// With `program`, a build of this crate's binary. Nothing is started yet.
    #[must_use]
    pub fn new(program: PathBuf, limits: TrialLimits) -> Self {
        Self { program, limits, running: None }
    }

    /// The process, while there is one.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.child.id())
    }

    /// Compiles a constraint and follows it for some tokens. `words` is the vocabulary, asked for when a process starts.
    pub fn try_out(&mut self, constraint: &Constraint, words: &dyn Fn() -> Result<Words, String>) -> Verdict {
        let mut last = None;
        // A process that had other constraints before may have died of them: then a new one decides.
        for _ in 0..2 {
            let mut running = match self.running.take().map_or_else(|| self.start(words), Ok) {
                Ok(running) => running,
                Err(reason) => return Verdict::Unknown(format!("nothing can be compiled: {reason}")),
            };
            let is_fresh = running.tried == 0;
            match running.ask(constraint, &self.limits) {
                Ok(Outcome::Answered(result)) => {
                    // A process that has no memory left for a thread would be busy for ever.
                    let is_busy = matches!(result, Err(ConstraintError::Busy(_)));
                    self.running = Some(running).filter(|running| !is_busy && !running.has_grown());
                    return match result {
                        Ok(bytes) => Verdict::Sound { bytes },
                        Err(ConstraintError::Refused(reason)) => Verdict::Refused(reason),
                        Err(ConstraintError::Busy(reason)) => Verdict::Unknown(reason),
                    };
                }
                Ok(Outcome::OutOfCpuTime) => return Verdict::Refused(self.out_of_cpu_time()),
                Ok(Outcome::Late) => {
                    return Verdict::Unknown("it was not compiled in time, on a machine that has other things to do".to_owned());
                }
                Ok(Outcome::Died(status)) => {
                    tracing::warn!(%status, is_fresh, "a constraint was tried out in a process of its own, which died");
                    if is_fresh && status.signal().is_some_and(|signal| CRASHES.contains(&signal)) {
                        return Verdict::Refused(died_of_it());
                    }
                    last = Some(status.to_string());
                }
                Err(error) => last = Some(error.to_string()),
            }
        }
        Verdict::Unknown(format!("the process that compiles ended ({})", last.unwrap_or_default()))
    }

    fn out_of_cpu_time(&self) -> String {
        format!("it takes longer than {} s of CPU time to compile and to follow for some tokens", self.limits.cpu.as_secs_f64())
    }

    fn start(&self, words: &dyn Fn() -> Result<Words, String>) -> Result<Running, String> {
        let words = words()?;
        let mut running = self.spawn().map_err(|error| format!("no process can be started ({error})"))?;
        let fed = write_frame(&mut running.socket, &words).and_then(|()| running.answer(None, self.limits.start));
        match fed {
            Ok(Heard::Message(FromTrial::Ready(result))) => result?,
            Ok(Heard::Message(FromTrial::Tried(_))) => return Err("the process mixed up its answers".to_owned()),
            Ok(Heard::Nothing | Heard::OutOfCpuTime) => return Err("the process was not ready in time".to_owned()),
            Err(error) => return Err(format!("the process ended ({error})")),
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

fn died_of_it() -> String {
    format!("the compiler needs more than {} MiB of memory or of its stack for it, or fails on it", MAX_MEMORY_BYTES >> 20)
}

/// A process that has the vocabulary.
#[derive(Debug)]
struct Running {
    child: Child,
    socket: UnixStream,
    /// Constraints it was handed.
    tried: u64,
    resident_at_start: u64,
}

/// The end of waiting for a message of a process.
enum Heard {
    Message(FromTrial),
    OutOfCpuTime,
    Nothing,
}

impl Running {
    fn ask(&mut self, constraint: &Constraint, limits: &TrialLimits) -> io::Result<Outcome> {
        self.tried += 1;
        let used = usage::cpu_time(self.child.id()).unwrap_or_default();
        let sent = write_frame(&mut self.socket, &ToTrial::Try(constraint.clone()));
        match sent.and_then(|()| self.answer(Some(used + limits.cpu), limits.wait)) {
            Ok(Heard::Message(FromTrial::Tried(result))) => Ok(Outcome::Answered(result)),
            Ok(Heard::Message(FromTrial::Ready(_))) => Err(io::Error::other("it mixed up its answers")),
            Ok(Heard::OutOfCpuTime) => Ok(Outcome::OutOfCpuTime),
            Ok(Heard::Nothing) => Ok(Outcome::Late),
            Err(FrameError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(Outcome::Late),
            // It hung up. It may have written half an answer, or not be gone yet.
            Err(_) => {
                self.kill();
                self.child.wait().map(Outcome::Died)
            }
        }
    }

    /// The next message; looks now and then whether its CPU time has reached `max_cpu`.
    fn answer(&mut self, max_cpu: Option<Duration>, wait: Duration) -> Result<Heard, FrameError> {
        let begun = Instant::now();
        self.socket.set_read_timeout(Some(LOOK))?;
        loop {
            match recv(&self.socket, &mut [0_u8; 1], RecvFlags::PEEK) {
                Ok(_) => break,
                Err(error) if error == rustix::io::Errno::AGAIN || error == rustix::io::Errno::INTR => {}
                Err(error) => return Err(io::Error::from(error).into()),
            }
            if max_cpu.is_some_and(|max| usage::cpu_time(self.child.id()).is_some_and(|used| used > max)) {
                return Ok(Heard::OutOfCpuTime);
            }
            if begun.elapsed() > wait {
                return Ok(Heard::Nothing);
            }
        }
        // An answer is one small packet; who stops in the middle of it is broken.
        self.socket.set_read_timeout(Some(wait))?;
        read_frame(&mut self.socket).map(Heard::Message)
    }

    fn has_grown(&self) -> bool {
        usage::resident_bytes(self.child.id()).is_none_or(|now| now > self.resident_at_start + MAX_GROWTH_BYTES)
    }

    fn kill(&mut self) {
        // Fails when it has ended already, which is what is wanted.
        let _ = self.child.kill();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
        // Fails when it was waited for already.
        let _ = self.child.wait();
    }
}

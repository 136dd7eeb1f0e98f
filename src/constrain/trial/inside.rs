//! The trial process itself: reads a vocabulary, then compiles constraints until its engine hangs up.
//!
//! It keeps nothing of a constraint, answers each with one frame and takes no care of time: the engine watches that.

use super::{
    messages::{FromTrial, ToTrial},
    usage,
};
use crate::{
    child_process::{die_with, socket_to_parent},
    constrain::{Compiler, Vocabulary, Words, compiler::STACK_BYTES},
    protocol::{Constraint, ConstraintError, FrameError, read_frame, write_frame},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{io, os::unix::net::UnixStream, process::ExitCode, sync::Arc};

/// The kernel's first choice when memory runs out.
const OOM_SCORE: u16 = 1000;
/// Memory for one constraint, above what the vocabulary takes and the stack may grow to, bytes.
pub(super) const MAX_MEMORY_BYTES: u64 = 512 << 20;

/// Memory of one compiled constraint at most, bytes: a quarter of what the engine keeps (`cache`). 2,000 required names take some 5 MB.
const MAX_COMPILED_BYTES: u64 = 64 << 20;

/// Runs the trial process of the engine with this process id until the engine hangs up.
#[must_use]
pub fn main(parent_pid: u32) -> ExitCode {
    match prepare(parent_pid).map_err(FrameError::from).and_then(serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "no constraint can be tried out; this is started by an engine and not by hand");
            ExitCode::FAILURE
        }
    }
}

fn prepare(parent_pid: u32) -> io::Result<UnixStream> {
    die_with(parent_pid, OOM_SCORE)?;
    // A crash is an answer here, and nobody reads its core.
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    socket_to_parent()
}

fn serve(mut engine: UnixStream) -> Result<(), FrameError> {
    let words: Words = read_frame(&mut engine)?;
    // Forced tokens are spelled by the engine, which has the tokenizer; which tokens may come does not depend on it.
    let vocabulary = Vocabulary::new(&words, Arc::new(|_: &str| Vec::new()));
    drop(words);
    let compiler = match vocabulary {
        Ok(vocabulary) => Compiler::new(vocabulary),
        Err(reason) => return write_frame(&mut engine, &FromTrial::Ready(Err(reason))),
    };
    limit_memory()?;
    let before = usage::own_resident_bytes().unwrap_or_default();
    write_frame(&mut engine, &FromTrial::Ready(Ok(())))?;
    loop {
        match read_frame(&mut engine) {
            Ok(ToTrial::Try(constraint)) => write_frame(&mut engine, &FromTrial::Tried(measure(&compiler, &constraint, before)))?,
            Err(FrameError::Closed) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Compiles a constraint. Returns its memory, bytes: what this process holds now and did not hold `before` the first one. That is too
/// much by what earlier ones left behind, of which the engine allows 16 MiB.
fn measure(compiler: &Compiler, constraint: &Constraint, before: u64) -> Result<u64, ConstraintError> {
    let _compiled = compiler.try_out(constraint)?;
    let bytes = usage::own_resident_bytes().unwrap_or_default().saturating_sub(before);
    if bytes > MAX_COMPILED_BYTES {
        let (mib, most) = (bytes >> 20, MAX_COMPILED_BYTES >> 20);
        return Err(ConstraintError::Refused(format!("it takes {mib} MiB of memory when it is compiled; at most {most} MiB are allowed")));
    }
    Ok(bytes)
}

/// From here on, memory beyond the limit ends this process. A lower limit that was inherited stays.
fn limit_memory() -> io::Result<()> {
    let used = usage::own_address_space().ok_or_else(|| io::Error::other("the kernel does not say what this process has mapped"))?;
    let stack = u64::try_from(STACK_BYTES).unwrap_or(u64::MAX);
    let wanted = used.saturating_add(stack).saturating_add(MAX_MEMORY_BYTES);
    let inherited = getrlimit(Resource::As);
    let limit = [inherited.current, inherited.maximum].into_iter().flatten().fold(wanted, u64::min);
    Ok(setrlimit(Resource::As, Rlimit { current: Some(limit), maximum: Some(limit) })?)
}

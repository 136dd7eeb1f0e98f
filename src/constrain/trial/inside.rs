//! The trial process itself: reads a vocabulary, then compiles constraints until its engine hangs up.
//!
//! It keeps no constraint, answers each with one frame and has no time limit: the engine watches its CPU time.

use super::{
    messages::{FromTrial, ToTrial},
    usage,
};
use crate::{
    child_process::{die_with, socket_to_parent},
    constrain::{Compiler, Vocabulary, Words, compiler::STACK_BYTES},
    protocol::{ConstraintError, ConstraintErrorKind, FrameError, read_frame, write_frame},
};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::{io, os::unix::net::UnixStream, process::ExitCode, sync::Arc};

/// The out-of-memory score: the kernel kills this process first when memory runs out.
const OOM_SCORE: u16 = 1000;
/// Memory for one constraint, bytes, beyond the memory of the vocabulary and the largest stack.
pub(super) const MAX_MEMORY_BYTES: u64 = 512 << 20;

/// Largest memory of one compiled constraint, bytes: a quarter of the engine's cache. 2,000 required names take some 5
/// MB.
const MAX_COMPILED_BYTES: u64 = 64 << 20;

/// Runs the trial process of the engine with this process id until the engine hangs up.
#[must_use]
pub fn main(parent_pid: u32) -> ExitCode {
    match prepare(parent_pid).map_err(FrameError::from).and_then(serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "cannot try constraints out; this command is started by an engine and not by hand");
            ExitCode::FAILURE
        }
    }
}

fn prepare(parent_pid: u32) -> io::Result<UnixStream> {
    die_with(parent_pid, OOM_SCORE)?;
    // A crash is an ordinary result here, and its core dump has no use.
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    socket_to_parent()
}

fn serve(mut engine: UnixStream) -> Result<(), FrameError> {
    let words: Words = read_frame(&mut engine)?;
    // Empty: the engine, which has the tokenizer, spells forced tokens, and the tokens that may come next do not depend
    // on it.
    let vocabulary = Vocabulary::new(&words, Arc::new(|_: &str| Vec::new()));
    drop(words);
    let compiler = match vocabulary {
        Ok(vocabulary) => Compiler::new(vocabulary),
        Err(reason) => return write_frame(&mut engine, &FromTrial::Ready(Err(reason))),
    };
    limit_memory()?;
    let at_start = resident()?;
    write_frame(&mut engine, &FromTrial::Ready(Ok(())))?;
    loop {
        match read_frame(&mut engine) {
            Ok(ToTrial::Try(constraint)) => {
                let held = resident()?;
                let tried = compiler.try_out(&constraint);
                let now = resident()?;
                let result = tried.and_then(|_compiled| memory(at_start, held, now));
                write_frame(&mut engine, &FromTrial::Tried(result))?;
            }
            Err(FrameError::Closed) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// The memory that this process holds, bytes.
fn resident() -> io::Result<u64> {
    usage::own_resident_bytes().ok_or_else(|| io::Error::other("the kernel does not say how much memory this process holds"))
}

/// The memory of a compiled constraint, bytes, computed from the memory of this process at its start, before it
/// compiled the constraint, and now.
///
/// The result includes memory that earlier constraints did not give back, of which the engine allows 16 MiB: the engine
/// then keeps too few constraints rather than too many. The limit counts the growth for this constraint alone, so that
/// no other one can cause a refusal.
///
/// # Errors
/// The kind is `TooCostly` if the growth is larger than [`MAX_COMPILED_BYTES`].
fn memory(at_start: u64, held: u64, now: u64) -> Result<u64, ConstraintError> {
    let grown = now.saturating_sub(held);
    if grown > MAX_COMPILED_BYTES {
        let (mib, limit) = (grown >> 20, MAX_COMPILED_BYTES >> 20);
        let message = format!("it takes {mib} MiB of memory when it is compiled; {limit} MiB are allowed");
        return Err(ConstraintError::new(ConstraintErrorKind::TooCostly, message));
    }
    Ok(now.saturating_sub(at_start))
}

/// Sets the memory limit; beyond it this process dies. A lower limit that was inherited stays.
fn limit_memory() -> io::Result<()> {
    let used = usage::own_address_space().ok_or_else(|| io::Error::other("the kernel does not say what this process has mapped"))?;
    let stack = u64::try_from(STACK_BYTES).unwrap_or(u64::MAX);
    let wanted = used.saturating_add(stack).saturating_add(MAX_MEMORY_BYTES);
    let inherited = getrlimit(Resource::As);
    let limit = [inherited.current, inherited.maximum].into_iter().flatten().fold(wanted, u64::min);
    Ok(setrlimit(Resource::As, Rlimit { current: Some(limit), maximum: Some(limit) })?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn memory_that_earlier_constraints_did_not_give_back_is_counted_but_no_reason_to_refuse() {
        assert_eq!(memory(10 * MIB, 10 * MIB, 15 * MIB), Ok(5 * MIB));
        assert_eq!(memory(10 * MIB, 26 * MIB, 90 * MIB), Ok(80 * MIB));
        assert_eq!(memory(10 * MIB, 26 * MIB, 9 * MIB), Ok(0));
    }

    #[test]
    fn a_constraint_of_more_memory_than_is_allowed_is_refused_with_both_figures() {
        let refused = memory(0, 10 * MIB, 10 * MIB + MAX_COMPILED_BYTES + MIB).unwrap_err();

        assert_eq!(refused.kind, ConstraintErrorKind::TooCostly);
        assert!(refused.message.contains("65 MiB") && refused.message.contains("64 MiB"), "{refused:?}");
    }
}

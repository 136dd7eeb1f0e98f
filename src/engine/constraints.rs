//! Submissions under a constraint, and checks of constraints: compiled on threads of their own, so that neither the
//! engine thread nor the tokenizers wait for one.
//!
//! ```text
//! inbox ─ Submit with constraint ─▶ queue ─ compile ─▶ engine thread, with its matcher
//!       └ Check ──────────────────▶       └──────────▶ outbox
//! ```
//!
//! Owns the queue. A cancellation that arrives before the engine thread has the submission ends it here: both happen
//! under one lock, so that it is either forgotten or cancelled there, never lost.

use crate::constrain::{Compiler, Matcher, Piece, Vocabulary};
use crate::engine::{runner::Tokenizer, worker::Command};
use crate::protocol::{CallId, Constraint, FromEngine, GenerationError, SequenceId, SequenceRequest, SpecialText};
use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError, mpsc::SyncSender},
};

/// Threads that compile; one constraint that takes long must not hold up all others.
pub(super) const THREADS: usize = 2;

/// The queue, shared by the inbox and the threads that work on it.
#[derive(Debug)]
pub(super) struct Constraints {
    queue: Mutex<Queue>,
    filled: Condvar,
}

/// Bounded by the gateway: as many submissions as may wait (`max_waiting`), and 64 calls.
#[derive(Debug)]
struct Queue {
    jobs: VecDeque<Job>,
    /// Submissions that are in `jobs` or being compiled, and not cancelled.
    submitted: HashSet<SequenceId>,
    /// Where compiled submissions go; `None` when the gateway is gone.
    commands: Option<SyncSender<Command>>,
}

#[derive(Debug)]
enum Job {
    Check { call: CallId, constraint: Constraint },
    Submit(Box<SequenceRequest>),
}

impl Constraints {
    /// An empty queue in front of the engine thread's.
    pub(super) fn new(commands: SyncSender<Command>) -> Self {
        let queue = Queue { jobs: VecDeque::new(), submitted: HashSet::new(), commands: Some(commands) };
        Self { queue: Mutex::new(queue), filled: Condvar::new() }
    }

    /// Answers whether a constraint can be generated.
    pub(super) fn check(&self, call: CallId, constraint: Constraint) {
        self.lock().jobs.push_back(Job::Check { call, constraint });
        self.filled.notify_one();
    }

    /// Takes in a submission with a constraint.
    pub(super) fn submit(&self, request: Box<SequenceRequest>) {
        let mut queue = self.lock();
        queue.submitted.insert(request.id);
        queue.jobs.push_back(Job::Submit(request));
        drop(queue);
        self.filled.notify_one();
    }

    /// Forgets a submission. `false` if it is not here (any more): the engine thread may have it.
    pub(super) fn cancel(&self, id: SequenceId) -> bool {
        self.lock().submitted.remove(&id)
    }

    /// The gateway is gone: the threads end with what they are at.
    pub(super) fn close(&self) {
        let mut queue = self.lock();
        queue.commands = None;
        queue.jobs.clear();
        drop(queue);
        self.filled.notify_all();
    }

    /// Works until the gateway is gone: the body of a thread.
    pub(super) fn work(&self, tokenizer: &Arc<dyn Tokenizer>, compiler: &LazyCompiler, outbox: &SyncSender<FromEngine>) {
        while let Some(job) = self.next() {
            match job {
                Job::Check { call, constraint } => {
                    let result = compiler.get(tokenizer).and_then(|compiler| compiler.compile(&constraint)).map(drop);
                    if outbox.send(FromEngine::Checked { call, result }).is_err() {
                        return;
                    }
                }
                Job::Submit(request) => {
                    let id = request.id;
                    let command = match matcher(compiler, tokenizer, &request) {
                        Ok(matcher) => Command::Submit { request, matcher: Some(Box::new(matcher)) },
                        Err(reason) => Command::Refuse(id, GenerationError::Constraint(reason)),
                    };
                    self.pass_on(id, command);
                }
            }
        }
    }

    /// The next job that was not cancelled; `None` at the end.
    fn next(&self) -> Option<Job> {
        let mut queue = self.lock();
        loop {
            queue.commands.as_ref()?;
            match queue.jobs.pop_front() {
                Some(Job::Submit(request)) if !queue.submitted.contains(&request.id) => {}
                Some(job) => return Some(job),
                None => queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Hands a submission to the engine thread, unless it was cancelled meanwhile.
    fn pass_on(&self, id: SequenceId, command: Command) {
        // The lock is held while sending: a cancellation comes before (and wins here) or after (and is sent behind).
        let mut queue = self.lock();
        if queue.submitted.remove(&id)
            && let Some(commands) = &queue.commands
        {
            // Fails when the engine thread has ended; the inbox finds out by itself.
            let _ = commands.send(command);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Every change is one call on a collection, so that a panic elsewhere leaves it sound.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The compiler of the loaded model, made when the first constraint comes: that takes a good part of a second for large
/// vocabularies, and memory, which servers without constrained requests do not pay.
#[derive(Debug, Default)]
pub(super) struct LazyCompiler(OnceLock<Result<Compiler, String>>);

impl LazyCompiler {
    fn get(&self, tokenizer: &Arc<dyn Tokenizer>) -> Result<&Compiler, String> {
        let make = || {
            let (speller, pieces) = (Arc::clone(tokenizer), tokenizer.as_ref());
            // What the tokenizer refuses, llguidance spells.
            let spell = move |text: &str| speller.encode(text, false, &SpecialText::Continuation).unwrap_or_default();
            Vocabulary::new(tokenizer.vocabulary_size(), |token| piece(pieces, token), Arc::new(spell)).map(Compiler::new)
        };
        self.0.get_or_init(make).as_ref().map_err(Clone::clone)
    }
}

fn piece(tokenizer: &dyn Tokenizer, token: crate::protocol::Token) -> Piece<'_> {
    match tokenizer.piece(token, false) {
        // Also where the vocabulary shows it as text: it would end a text that is not complete.
        _ if tokenizer.is_eog(token) => Piece::End(tokenizer.piece(token, true)),
        b"" => Piece::Special(tokenizer.piece(token, true)),
        bytes => Piece::Text(bytes),
    }
}

/// The matcher of a submission, behind the tokens that an earlier engine generated.
fn matcher(compiler: &LazyCompiler, tokenizer: &Arc<dyn Tokenizer>, request: &SequenceRequest) -> Result<Matcher, String> {
    let constraint = request.constraint.as_ref().ok_or("there is no constraint")?;
    let mut matcher = compiler.get(tokenizer)?.compile(constraint)?.matcher();
    request.resume.iter().try_for_each(|&token| matcher.advance(token))?;
    Ok(matcher)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};

    fn constraints() -> (Constraints, Receiver<Command>) {
        let (commands, received) = sync_channel(8);
        (Constraints::new(commands), received)
    }

    fn request(id: u64) -> Box<SequenceRequest> {
        Box::new(SequenceRequest { id: SequenceId(id), constraint: Some(Constraint::JsonObject), ..SequenceRequest::default() })
    }

    #[test]
    fn a_cancellation_before_its_turn_ends_a_submission() {
        let (constraints, received) = constraints();
        constraints.submit(request(1));
        constraints.submit(request(2));

        assert!(constraints.cancel(SequenceId(1)));

        assert!(matches!(constraints.next(), Some(Job::Submit(request)) if request.id == SequenceId(2)));
        assert!(matches!(received.try_recv(), Err(TryRecvError::Empty)));
    }

    #[test]
    fn a_cancellation_while_it_is_compiled_ends_a_submission() {
        let (constraints, received) = constraints();
        constraints.submit(request(1));
        assert!(constraints.next().is_some());

        assert!(constraints.cancel(SequenceId(1)));
        constraints.pass_on(SequenceId(1), Command::Submit { request: request(1), matcher: None });

        assert!(matches!(received.try_recv(), Err(TryRecvError::Empty)));
    }

    #[test]
    fn a_cancellation_behind_a_submission_is_the_engine_thread_s() {
        let (constraints, received) = constraints();
        constraints.submit(request(1));
        assert!(constraints.next().is_some());

        constraints.pass_on(SequenceId(1), Command::Submit { request: request(1), matcher: None });

        assert!(!constraints.cancel(SequenceId(1)));
        assert!(matches!(received.try_recv(), Ok(Command::Submit { .. })));
    }

    #[test]
    fn when_the_gateway_is_gone_the_threads_end_and_so_does_the_engine_s_queue() {
        let (constraints, received) = constraints();
        constraints.submit(request(1));

        constraints.close();

        assert!(constraints.next().is_none());
        assert!(matches!(received.try_recv(), Err(TryRecvError::Disconnected)));
    }
}

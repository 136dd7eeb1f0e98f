//! Submissions under a constraint, and checks of constraints. Constraints are compiled on threads of their own, so that
//! neither the engine thread nor the tokenizers wait for them.
//!
//! ```text
//!                                      ┌ known ──────────────────────────┐
//! inbox ─ Submit with constraint ─▶────┤                                 ├─ compile ─▶ engine thread, with its matcher
//!       └ Check ──────────────────▶    └ new, callers take turns ─ trial ┘         └──▶ outbox
//! ```
//!
//! Owns the queue. A new constraint waits in a queue in which callers take turns, and is tried out in another process
//! first (`compiling`); a known one waits for neither. A cancellation that arrives before the engine thread has the
//! submission ends it here. Both happen under one lock, so a submission is either forgotten here or cancelled there,
//! never lost.

mod compiling;
#[cfg(test)]
mod tests;

pub(super) use compiling::LazyCompiler;

use crate::constrain::{Compiled, trial::TrialProcess};
use crate::engine::commands::WorkerCommand;
use crate::fair_queue::{FairQueue, Share};
use crate::priority::give_way;
use crate::protocol::{
    Asked, CheckConstraint, Constraint, ConstraintError, ConstraintErrorKind::Busy, FromEngine, SequenceId, SequenceRequest,
};
use std::{
    collections::{HashSet, VecDeque},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc::SyncSender},
    time::{Duration, Instant},
};

/// Number of threads that compile new constraints, each with a trial process: a slow constraint must not hold up all
/// others.
pub(super) const PLACES: usize = 2;
/// Number of places that one caller may have.
const SHARE: usize = PLACES - 1;
/// Number of new constraints of one caller that may wait to be checked.
const MAX_WAITING: usize = 16;
/// Longest wait of a check for a place before its caller gets `Busy`: the time of four of the slowest constraints.
/// Shorter than any wait of the gateway for an answer.
const PATIENCE: Duration = Duration::from_secs(8);
/// Niceness of the threads and of their trial processes, which inherit it: compiling takes seconds of a core, and a
/// step is as slow as its slowest thread.
const NICE: i32 = 5;
/// Largest number of trials of one submission that end with `Busy`. The gateway has had the constraint checked before.
const MAX_ATTEMPTS: u32 = 3;

/// The queue, shared by the inbox and the threads that work on it.
#[derive(Debug)]
pub(super) struct Constraints {
    queue: Mutex<JobQueue>,
    filled: Condvar,
}

/// The queue's contents. The gateway bounds them: at most as many submissions as may wait (`max_waiting`), and 16
/// checks (`Lane::Constraint`).
#[derive(Debug)]
struct JobQueue {
    /// Jobs whose constraints were known when they came, or have become known since.
    known: VecDeque<Job>,
    /// Jobs with constraints that are not known.
    new: FairQueue<Job>,
    /// Submissions that are in the queue or being compiled, and not cancelled.
    submitted: HashSet<SequenceId>,
    /// Set once a model is loaded.
    compiler: Option<Arc<LazyCompiler>>,
    /// The queue of the engine thread, for compiled submissions; `None` when the gateway is gone.
    commands: Option<SyncSender<WorkerCommand>>,
}

#[derive(Debug)]
enum Job {
    Check {
        asked: Asked<CheckConstraint>,
        /// The time at which the check came.
        since: Instant,
    },
    Submit {
        request: Box<SequenceRequest>,
        /// Number of trials that ended with `Busy`.
        attempts: u32,
    },
}

impl Job {
    fn constraint(&self) -> Option<&Constraint> {
        match self {
            Self::Check { asked, .. } => Some(&asked.question.constraint),
            Self::Submit { request, .. } => request.constraint.as_ref(),
        }
    }

    fn caller(&self) -> u64 {
        match self {
            Self::Check { asked, .. } => asked.question.namespace,
            Self::Submit { request, .. } => request.namespace,
        }
    }
}

/// A job that a thread works on.
#[derive(Debug)]
struct AssignedJob {
    job: Job,
    /// The caller whose place the job has, if it has one.
    place: Option<u64>,
}

impl Constraints {
    /// An empty queue in front of the engine thread's.
    pub(super) fn new(commands: SyncSender<WorkerCommand>) -> Self {
        let (known, new) = (VecDeque::new(), FairQueue::new(PLACES, Share::AtMost(SHARE)));
        let queue = JobQueue { known, new, submitted: HashSet::new(), compiler: None, commands: Some(commands) };
        Self { queue: Mutex::new(queue), filled: Condvar::new() }
    }

    /// Notes that a model was loaded. Threads must call [`Self::work`] from now on.
    pub(super) fn open(&self, compiler: Arc<LazyCompiler>) {
        self.lock().compiler = Some(compiler);
    }

    /// Queues the check of a constraint, which is answered later. Returns the answer if it can be given at once: the
    /// caller has too many checks in the queue.
    pub(super) fn check(&self, asked: Asked<CheckConstraint>) -> Option<FromEngine> {
        let mut queue = self.lock();
        let is_known = queue.knows(&asked.question.constraint);
        if !is_known && queue.new.waiting(asked.question.namespace) >= MAX_WAITING {
            let error = ConstraintError::new(Busy, format!("{MAX_WAITING} others of this caller wait to be compiled"));
            return Some(asked.reply(Err(error)));
        }
        queue.put_as(is_known, Job::Check { asked, since: Instant::now() });
        drop(queue);
        self.filled.notify_all();
        None
    }

    /// Queues a submission with a constraint.
    pub(super) fn submit(&self, request: Box<SequenceRequest>) {
        let mut queue = self.lock();
        queue.submitted.insert(request.id);
        queue.put(Job::Submit { request, attempts: 0 });
        drop(queue);
        self.filled.notify_all();
    }

    /// Forgets a submission. Returns `false` if it is not here (any more): the engine thread may have it.
    pub(super) fn cancel(&self, id: SequenceId) -> bool {
        self.lock().submitted.remove(&id)
    }

    /// Ends the threads after their present job: the gateway is gone.
    pub(super) fn close(&self) {
        let mut queue = self.lock();
        queue.commands = None;
        queue.known.clear();
        queue.new.clear();
        drop(queue);
        self.filled.notify_all();
    }

    /// The body of a thread: works until the gateway is gone. With `trial` it takes all jobs, without it only jobs with
    /// known constraints.
    pub(super) fn work(&self, compiler: &LazyCompiler, mut trial: Option<TrialProcess>, outbox: &SyncSender<FromEngine>) {
        give_way(NICE);
        while let Some(AssignedJob { job, place }) = self.next(trial.is_some()) {
            let Some(constraint) = job.constraint().cloned() else {
                tracing::error!("a submission without a constraint was queued to be compiled; it is dropped");
                place.into_iter().for_each(|caller| self.lock().new.leave(caller));
                continue;
            };
            let compiled = match (&mut trial, &job) {
                (_, Job::Check { since, .. }) if place.is_some() && since.elapsed() > PATIENCE => {
                    Some(Err(ConstraintError::new(Busy, "others are being compiled")))
                }
                (Some(trial), _) => Some(compiler.compile(&constraint, trial)),
                (None, _) => compiler.known(&constraint),
            };
            if let Some(caller) = place {
                self.leave(caller, &constraint);
            }
            // `None`: the constraint was known, and was forgotten in the meantime in favour of newer ones.
            let alive = match compiled {
                Some(compiled) => self.answer(job, compiled, outbox),
                None => self.put_back(job),
            };
            if !alive {
                return;
            }
        }
    }

    /// Sends the result of a job to the gateway or the engine thread. Returns `false` if the gateway is gone.
    fn answer(&self, job: Job, compiled: Result<Compiled, ConstraintError>, outbox: &SyncSender<FromEngine>) -> bool {
        match (job, compiled) {
            (Job::Check { asked, .. }, compiled) => outbox.send(asked.reply(compiled.map(|compiled| compiled.notes().to_vec()))).is_ok(),
            (Job::Submit { request, attempts }, Err(error)) if !error.is_final() && attempts + 1 < MAX_ATTEMPTS => {
                self.put_back(Job::Submit { request, attempts: attempts + 1 })
            }
            (Job::Submit { request, .. }, compiled) => {
                let id = request.id;
                let command = match compiled.and_then(|compiled| compiling::matcher(&compiled, &request)) {
                    Ok(matcher) => WorkerCommand::Submit { request, matcher: Some(Box::new(matcher)) },
                    Err(error) => WorkerCommand::Refuse(id, error.into()),
                };
                self.pass_on(id, command);
                true
            }
        }
    }

    /// Puts a job back after the others of its caller. Returns true: the gateway is there, as far as is known.
    fn put_back(&self, job: Job) -> bool {
        let mut queue = self.lock();
        queue.put(job);
        drop(queue);
        self.filled.notify_all();
        true
    }

    /// Waits for the next job that was not cancelled, with a known constraint or, with `also_new`, any; `None` at the
    /// end.
    fn next(&self, also_new: bool) -> Option<AssignedJob> {
        let mut queue = self.lock();
        loop {
            queue.commands.as_ref()?;
            let known = queue.known.pop_front().map(|job| AssignedJob { job, place: None });
            let taken = known.or_else(|| {
                let (caller, job) = if also_new { queue.new.take() } else { None }?;
                Some(AssignedJob { job, place: Some(caller) })
            });
            match taken {
                Some(AssignedJob { job: Job::Submit { request, .. }, place }) if !queue.submitted.contains(&request.id) => {
                    place.into_iter().for_each(|caller| queue.new.leave(caller));
                }
                Some(taken) => return Some(taken),
                None => queue = self.filled.wait(queue).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Gives a caller's place back. If the constraint is now known, no job with it needs a place any more.
    fn leave(&self, caller: u64, constraint: &Constraint) {
        let mut queue = self.lock();
        queue.new.leave(caller);
        if queue.knows(constraint) {
            let same = queue.new.take_out(|job| job.constraint() == Some(constraint));
            queue.known.extend(same);
        }
        drop(queue);
        self.filled.notify_all();
    }

    /// Passes a submission to the engine thread, unless it was cancelled in the meantime.
    fn pass_on(&self, id: SequenceId, command: WorkerCommand) {
        // The lock is held while sending. So a cancellation comes either before the send, and takes effect here, or
        // after it, and is sent after the submission.
        let mut queue = self.lock();
        if queue.submitted.remove(&id)
            && let Some(commands) = &queue.commands
        {
            // Fails if the engine thread has ended; the inbox notices that by itself.
            let _ = commands.send(command);
        }
    }

    fn lock(&self) -> MutexGuard<'_, JobQueue> {
        // Every change is one call on a collection, so a panic elsewhere leaves the queue sound.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl JobQueue {
    fn knows(&self, constraint: &Constraint) -> bool {
        self.compiler.as_ref().is_some_and(|compiler| compiler.known(constraint).is_some())
    }

    fn put(&mut self, job: Job) {
        let is_known = job.constraint().is_some_and(|constraint| self.knows(constraint));
        self.put_as(is_known, job);
    }

    fn put_as(&mut self, is_known: bool, job: Job) {
        if is_known {
            self.known.push_back(job);
        } else {
            self.new.push(job.caller(), job);
        }
    }
}

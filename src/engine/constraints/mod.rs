//! Submissions under a constraint, and checks of constraints: compiled on threads of their own, so that neither the
//! engine thread nor the tokenizers wait for one.
//!
//! ```text
//!                                      ┌ known ──────────────────────────┐
//! inbox ─ Submit with constraint ─▶────┤                                 ├─ compile ─▶ engine thread, with its matcher
//!       └ Check ──────────────────▶    └ new, callers take turns ─ trial ┘         └──▶ outbox
//! ```
//!
//! Owns the queue. A new constraint waits in a queue in which callers take turns and is tried out in another process
//! first (`compiling`); a known one does not wait for that. A cancellation that arrives before the engine thread has
//! the submission ends it here: both happen under one lock, so that it is either forgotten or cancelled there, never
//! lost.

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

/// Threads that compile new constraints, each with a trial process: a constraint that takes long must not hold up all
/// others.
pub(super) const PLACES: usize = 2;
/// Places that one caller may have.
const SHARE: usize = PLACES - 1;
/// New constraints of one caller that may wait to be checked.
const MAX_WAITING: usize = 16;
/// Longest wait of a check for a place before its caller gets `Busy`: four of the slowest constraints. Below the least
/// time that the gateway waits for answers.
const PATIENCE: Duration = Duration::from_secs(8);
/// Niceness of the threads and of their trial processes, which inherit it: compiling takes seconds of a core, and a
/// step is as slow as its slowest thread.
const NICE: i32 = 5;
/// Trials of one submission that may end with `Busy`. The gateway has had its constraint checked.
const MAX_ATTEMPTS: u32 = 3;

/// The queue, shared by the inbox and the threads that work on it.
#[derive(Debug)]
pub(super) struct Constraints {
    queue: Mutex<JobQueue>,
    filled: Condvar,
}

/// Bounded by the gateway: as many submissions as may wait (`max_waiting`), and 16 checks (`Lane::Constraint`).
#[derive(Debug)]
struct JobQueue {
    /// Of constraints that were known when they came, or have become so.
    known: VecDeque<Job>,
    /// The others.
    new: FairQueue<Job>,
    /// Submissions that are in the queue or being compiled, and not cancelled.
    submitted: HashSet<SequenceId>,
    /// There once a model is loaded.
    compiler: Option<Arc<LazyCompiler>>,
    /// Takes compiled submissions; `None` when the gateway is gone.
    commands: Option<SyncSender<WorkerCommand>>,
}

#[derive(Debug)]
enum Job {
    Check {
        asked: Asked<CheckConstraint>,
        /// The time at which it came.
        since: Instant,
    },
    Submit {
        request: Box<SequenceRequest>,
        /// Trials that ended with `Busy`.
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
    /// The caller whose place it has, if it has one.
    place: Option<u64>,
}

impl Constraints {
    /// An empty queue in front of the engine thread's.
    pub(super) fn new(commands: SyncSender<WorkerCommand>) -> Self {
        let (known, new) = (VecDeque::new(), FairQueue::new(PLACES, Share::AtMost(SHARE)));
        let queue = JobQueue { known, new, submitted: HashSet::new(), compiler: None, commands: Some(commands) };
        Self { queue: Mutex::new(queue), filled: Condvar::new() }
    }

    /// A model was loaded. Threads are to [`Self::work`] from now on.
    pub(super) fn open(&self, compiler: Arc<LazyCompiler>) {
        self.lock().compiler = Some(compiler);
    }

    /// Answers whether a constraint of this caller can be generated: later, or now with an answer that is returned.
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

    /// Takes in a submission with a constraint.
    pub(super) fn submit(&self, request: Box<SequenceRequest>) {
        let mut queue = self.lock();
        queue.submitted.insert(request.id);
        queue.put(Job::Submit { request, attempts: 0 });
        drop(queue);
        self.filled.notify_all();
    }

    /// Forgets a submission. `false` if it is not here (any more): the engine thread may have it.
    pub(super) fn cancel(&self, id: SequenceId) -> bool {
        self.lock().submitted.remove(&id)
    }

    /// The gateway is gone: the threads end after their present job.
    pub(super) fn close(&self) {
        let mut queue = self.lock();
        queue.commands = None;
        queue.known.clear();
        queue.new.clear();
        drop(queue);
        self.filled.notify_all();
    }

    /// Works until the gateway is gone: the body of a thread. With `trial` it takes all jobs, and without only those of
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
            // `None`: it was known and has been forgotten meanwhile, since others were newer.
            let alive = match compiled {
                Some(compiled) => self.answer(job, compiled, outbox),
                None => self.put_back(job),
            };
            if !alive {
                return;
            }
        }
    }

    /// Sends the result of a job to the gateway or the engine thread. `false` if the gateway is gone.
    fn answer(&self, job: Job, compiled: Result<Compiled, ConstraintError>, outbox: &SyncSender<FromEngine>) -> bool {
        match (job, compiled) {
            (Job::Check { asked, .. }, compiled) => outbox.send(asked.reply(compiled.map(drop))).is_ok(),
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

    /// Puts a job after the others of its caller.
    fn put_back(&self, job: Job) -> bool {
        let mut queue = self.lock();
        queue.put(job);
        drop(queue);
        self.filled.notify_all();
        true
    }

    /// The next job that was not cancelled, of those that are known or also of the others; `None` at the end.
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

    /// Gives a place back. If the constraint is now known, all jobs with it need no place any more.
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

    /// Hands a submission to the engine thread, unless it was cancelled meanwhile.
    fn pass_on(&self, id: SequenceId, command: WorkerCommand) {
        // The lock is held while sending: a cancellation comes before (and wins here) or after (and is sent after it).
        let mut queue = self.lock();
        if queue.submitted.remove(&id)
            && let Some(commands) = &queue.commands
        {
            // Fails when the engine thread has ended; the inbox finds out by itself.
            let _ = commands.send(command);
        }
    }

    fn lock(&self) -> MutexGuard<'_, JobQueue> {
        // Every change is one call on a collection, so that a panic elsewhere leaves it sound.
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

//! An engine on a connection: the inbox thread, the tokenizer threads, the constraint threads, the engine thread and
//! the outbox thread.
//!
//! The engine ends when the gateway hangs up. Used by the engine process with llama.cpp, and by tests with a fake
//! model.

use crate::constrain::trial::{TrialLimits, TrialProcess};
use crate::engine::{
    commands::{ENGINE_STACK_BYTES, StepProgress, WorkerCommand, spawn},
    constraints::{Constraints, LazyCompiler, PLACES},
    disk::Folder,
    embedder::Embedder,
    embedding::EmbeddingWorker,
    runner::{ModelRunner, Tokenizer},
    tokenizers::{self, TextCalls, TextInbox},
    worker::Worker,
};
use crate::protocol::{
    Asked, CallId, EmbedBatch, EngineCall, EngineOptions, FrameError, FromEngine, LoadError, ModelInfo, PROTOCOL_VERSION, ToEngine,
    read_frame, write_frame,
};
use std::{
    net::Shutdown,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

/// Number of frames that may wait for the socket. If the queue is full, the engine thread waits: the gateway has
/// stopped reading.
const OUTBOX_FRAMES: usize = 1024;
/// Number of commands that may wait: a submission and a cancellation for each of the sequences that the gateway may let
/// wait (`max_waiting`). If the queue were full, pings after a command would go unanswered.
const INBOX_COMMANDS: usize = 2 * (65_536 + 256);
/// Number of calls for vectors that may wait; the gateway has at most a few dozen sent.
const INBOX_EMBEDS: usize = 1024;

/// An opened model, lent to the engine thread.
pub struct Opened<'a> {
    /// The runner or embedder, which computes the model's steps or batches.
    pub model: EngineModel<'a>,
    /// The model's vocabulary.
    pub tokenizer: Arc<dyn Tokenizer>,
    /// The model's description for the gateway.
    pub info: ModelInfo,
}

/// An opened model, by its kind.
pub enum EngineModel<'a> {
    /// The model generates.
    Generates {
        /// Executes the model's steps.
        runner: &'a mut dyn ModelRunner,
        /// Executes steps of a smaller model with the same tokens, to guess ahead.
        draft: Option<&'a mut dyn ModelRunner>,
    },
    /// The model embeds.
    Embeds(&'a mut dyn Embedder),
}

/// Opens a model on the engine thread and lends it to `body`. It cannot return the model, because a runner borrows it.
pub trait Host: Send + 'static {
    /// Loads the model as `options` say, reports the loaded share (0–1) to `progress`, and calls `body` once.
    ///
    /// # Errors
    /// If the model cannot be opened; `body` is not called then.
    fn open(self, options: &EngineOptions, progress: Box<dyn FnMut(f32)>, body: &mut dyn FnMut(Opened<'_>)) -> Result<(), LoadError>;

    /// A build of this crate's binary, for work that is done in another process: the running binary, unless that is a
    /// test.
    fn program(&self) -> PathBuf {
        PathBuf::from("/proc/self/exe")
    }
}

/// The reason why an engine's work failed.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The model could not be opened; the gateway has been told.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The connection broke, or carried something else than this protocol.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The first message was not a `Load` of this version.
    #[error("the first message was not a load of protocol version {PROTOCOL_VERSION}")]
    Handshake,
    /// The engine thread panicked; the reason is on stderr.
    #[error("the engine thread panicked")]
    Panicked,
}

/// Serves one gateway on `stream` until it hangs up.
///
/// # Errors
/// See [`ServeError`]; a gateway that hangs up is no error.
pub fn serve(mut stream: UnixStream, host: impl Host) -> Result<(), ServeError> {
    let ToEngine::Load { version: PROTOCOL_VERSION, options } = read_frame(&mut stream)? else { return Err(ServeError::Handshake) };
    let (outbox, frames) = sync_channel(OUTBOX_FRAMES);
    let (commands, command_inbox) = sync_channel(INBOX_COMMANDS);
    let (embeds, embed_inbox) = sync_channel(INBOX_EMBEDS);
    let (texts, text_inbox) = tokenizers::channel();
    let progress = Arc::new(StepProgress::default());
    let writer = stream.try_clone().map_err(FrameError::from)?;
    let hang_up = HangUp(stream.try_clone().map_err(FrameError::from)?);
    let constraints = Arc::new(Constraints::new(commands.clone()));

    let outbox_thread = spawn("outbox", 0, move || write_frames(writer, &frames))?;
    let engine = EngineThread {
        options: *options,
        outbox: outbox.clone(),
        constraints: Arc::clone(&constraints),
        progress: Arc::clone(&progress),
        _hang_up: hang_up,
    };
    let queues = Queues { commands: command_inbox, embeds: embed_inbox, texts: text_inbox };
    let engine_thread = spawn("engine", ENGINE_STACK_BYTES, move || engine.run(host, queues))?;
    let inbox = Inbox { commands, embeds, texts, constraints: Arc::clone(&constraints), outbox, progress }.read(&mut stream);
    constraints.close();
    let ended = engine_thread.join().map_err(|_| ServeError::Panicked)?;
    // The outbox thread ends when its last sender is gone. A panic there means that the socket is gone, which `inbox`
    // reports too.
    let _ = outbox_thread.join();
    ended?;
    inbox
}

/// Unblocks the inbox when it is dropped, in whatever way the engine thread ends, by a panic too.
struct HangUp(UnixStream);

impl Drop for HangUp {
    fn drop(&mut self) {
        // An error means that the socket is closed already.
        let _ = self.0.shutdown(Shutdown::Read);
    }
}

/// The ends of the queues from which the engine thread and the tokenizers take work. As soon as the kind of the model
/// is known, the queue for the other kind of work is dropped: the gateway knows the kind too, and sends no such work.
struct Queues {
    commands: Receiver<WorkerCommand>,
    embeds: Receiver<Asked<EmbedBatch>>,
    texts: TextInbox,
}

/// The things that the engine thread owns.
struct EngineThread {
    options: EngineOptions,
    outbox: SyncSender<FromEngine>,
    constraints: Arc<Constraints>,
    progress: Arc<StepProgress>,
    _hang_up: HangUp,
}

impl EngineThread {
    /// Opens the model, starts the other threads, and works until the gateway hangs up.
    fn run(self, host: impl Host, queues: Queues) -> Result<(), ServeError> {
        let (mut queues, program) = (Some(queues), host.program());
        let mut spawned = Ok(());
        let mut folder = match self.options.prefix_cache.as_ref().map(Folder::open).transpose() {
            Ok(folder) => folder,
            Err(error) if self.options.prefix_cache.as_ref().is_some_and(|folder| folder.discard) => {
                // The folder could be used when the server started, and the server goes on without it.
                tracing::error!(%error, "no more prompts are kept on disk");
                None
            }
            Err(error) => return self.refuse(error),
        };
        // Here and below, a send fails only if the gateway is gone, which the worker notices at once.
        let loading = self.outbox.clone();
        let on_progress = Box::new(move |share| drop(loading.send(FromEngine::LoadProgress(share))));
        let opened = host.open(&self.options, on_progress, &mut |opened: Opened<'_>| {
            let Some(Queues { commands, embeds, texts }) = queues.take() else { return };
            spawned =
                texts.spawn(&opened.tokenizer, &self.outbox).and_then(|()| self.spawn_constraint_threads(&opened.tokenizer, &program));
            if spawned.is_err() {
                return;
            }
            drop(self.outbox.send(FromEngine::Ready(Box::new(opened.info))));
            let (outbox, progress) = (self.outbox.clone(), Arc::clone(&self.progress));
            match opened.model {
                EngineModel::Generates { runner, draft } => {
                    drop(embeds);
                    let worker = Worker::new(runner, opened.tokenizer, &self.options, outbox, progress);
                    worker.with_draft_model(draft).with_folder(folder.take()).run(&commands);
                }
                EngineModel::Embeds(embedder) => {
                    drop(commands);
                    if folder.is_some() {
                        tracing::warn!("--prefix-cache-dir has no effect with an embedding model");
                    }
                    EmbeddingWorker::new(embedder, outbox, progress).run(&embeds);
                }
            }
        });
        match opened {
            Ok(()) => Ok(spawned?),
            Err(error) => self.refuse(error),
        }
    }

    /// Starts a thread for each place, and one more, so that known constraints do not wait for new ones.
    fn spawn_constraint_threads(&self, tokenizer: &Arc<dyn Tokenizer>, program: &Path) -> Result<(), FrameError> {
        let compiler = Arc::new(LazyCompiler::new(Arc::clone(tokenizer)));
        self.constraints.open(Arc::clone(&compiler));
        let trials = (0..PLACES).map(|_| Some(TrialProcess::new(program.to_owned(), TrialLimits::default())));
        for trial in trials.chain([None]) {
            let (constraints, compiler, outbox) = (Arc::clone(&self.constraints), Arc::clone(&compiler), self.outbox.clone());
            // The threads are detached: they end when the queue is closed.
            spawn("constraint", ENGINE_STACK_BYTES, move || constraints.work(&compiler, trial, &outbox))?;
        }
        Ok(())
    }

    fn refuse(&self, error: LoadError) -> Result<(), ServeError> {
        drop(self.outbox.send(FromEngine::LoadFailed(error.clone())));
        Err(error.into())
    }
}

/// The body of the outbox thread: writes one frame per message, until all senders are gone or the socket breaks.
fn write_frames(mut socket: UnixStream, frames: &Receiver<FromEngine>) {
    while let Ok(message) = frames.recv() {
        if let Err(error) = write_frame(&mut socket, &message) {
            tracing::debug!(%error, "the gateway cannot be written to");
            return;
        }
    }
}

/// Passes messages to the threads that work on them.
struct Inbox {
    commands: SyncSender<WorkerCommand>,
    embeds: SyncSender<Asked<EmbedBatch>>,
    texts: TextCalls,
    constraints: Arc<Constraints>,
    outbox: SyncSender<FromEngine>,
    progress: Arc<StepProgress>,
}

impl Inbox {
    /// Reads until the gateway hangs up. Answers pings itself, whatever the engine thread is doing.
    fn read(self, stream: &mut UnixStream) -> Result<(), ServeError> {
        loop {
            let message = match read_frame(stream) {
                Ok(message) => message,
                Err(FrameError::Closed) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            let alive = match message {
                ToEngine::Load { .. } => return Err(ServeError::Handshake),
                ToEngine::Submit(request) if request.constraint.is_some() => {
                    self.constraints.submit(request);
                    true
                }
                ToEngine::Submit(request) => self.commands.send(WorkerCommand::Submit { request, matcher: None }).is_ok(),
                ToEngine::Cancel(id) => self.constraints.cancel(id) || self.commands.send(WorkerCommand::Cancel(id)).is_ok(),
                ToEngine::Call { id, call } => self.route(id, call),
                ToEngine::Ping { nonce } => {
                    let (steps, busy) = (self.progress.steps.load(Ordering::Relaxed), self.progress.busy.load(Ordering::Relaxed));
                    self.outbox.send(FromEngine::Pong { nonce, steps, busy }).is_ok()
                }
            };
            if !alive {
                // Either the engine thread has ended, and joining it gives the reason; or this is work for the other
                // kind of model.
                tracing::warn!("the engine takes no more work, or none of this kind");
                return Ok(());
            }
        }
    }

    /// Passes a question to the threads that answer it. Returns `false` if they have ended.
    fn route(&self, id: CallId, call: EngineCall) -> bool {
        match call {
            EngineCall::Tokenize(question) => self.texts.send(Asked { id, question }, tokenizers::tokenize),
            EngineCall::Detokenize(question) => self.texts.send(Asked { id, question }, tokenizers::detokenize),
            EngineCall::Spell(question) => self.texts.send(Asked { id, question }, tokenizers::spell),
            EngineCall::Forecast(question) => self.commands.send(WorkerCommand::Forecast(Asked { id, question })).is_ok(),
            EngineCall::Embed(question) => self.embeds.send(Asked { id, question }).is_ok(),
            EngineCall::Check(question) => {
                let refused = self.constraints.check(Asked { id, question });
                refused.is_none_or(|refused| self.outbox.send(refused).is_ok())
            }
        }
    }
}

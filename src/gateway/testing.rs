//! Engines for tests: the other end of the socket, which the test drives message by message.
//!
//! `let (launcher, mut engines) = scripted();` gives a launcher for `start`; each engine that it launches is returned
//! by `engines.next()`. Nothing here computes: the test gives the engine's answers, or a closure does.

use super::{
    death::DeathCause,
    handle::EngineHandle,
    launcher::{EngineChild, Launched, Launcher, LoadWork},
    link::codec,
    supervisor::{Supervisor, start},
};
use crate::{
    config::{Preemption, SupervisionConfig},
    protocol::{
        EmbeddingInfo, EngineOptions, EngineStats, EngineTotals, FromEngine, GenerationInfo, KvLayout, KvType, ModelInfo, ModelKind,
        Pooling, SequenceId, SequenceOutput, SequenceRequest, Started, StepReport, ToEngine, Token, decode, encode,
    },
};
use futures_util::{SinkExt, StreamExt};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    net::UnixStream,
    sync::{mpsc, watch},
};
use tokio_util::{bytes::Bytes, codec::Framed};

/// A launcher, and the receiver of the engines that it launches.
pub(crate) fn scripted() -> (ScriptedLauncher, ScriptedEngines) {
    let (launched, engines) = mpsc::channel(16);
    (ScriptedLauncher { launched }, ScriptedEngines { engines })
}

/// Starts supervision of scripted engines for `max_num_seqs` running and `max_waiting` waiting sequences. Engines are
/// restarted at once and up to four times in a row.
pub(crate) fn start_scripted(max_num_seqs: u32, max_waiting: usize) -> (EngineHandle, Supervisor, ScriptedEngines) {
    let (launcher, engines) = scripted();
    let (handle, supervisor) = start(launcher, options(max_num_seqs), supervision(max_waiting));
    (handle, supervisor, engines)
}

/// Launches scripted engines.
#[derive(Debug)]
pub(crate) struct ScriptedLauncher {
    launched: mpsc::Sender<ScriptedEngine>,
}

/// The engines that were launched, in order.
#[derive(Debug)]
pub(crate) struct ScriptedEngines {
    engines: mpsc::Receiver<ScriptedEngine>,
}

impl ScriptedEngines {
    /// The next engine, before it has read any message.
    pub(crate) async fn next(&mut self) -> ScriptedEngine {
        self.engines.recv().await.expect("the launcher lives as long as its supervisor")
    }

    /// The next engine, with its model loaded; `None` after supervision has ended.
    pub(crate) async fn next_if_any(&mut self) -> Option<ScriptedEngine> {
        let mut engine = self.engines.recv().await?;
        engine.load(model_info()).await;
        Some(engine)
    }

    /// The next engine, with its model loaded.
    pub(crate) async fn next_ready(&mut self) -> ScriptedEngine {
        self.next_ready_with(model_info()).await
    }

    /// The next engine, with `model` loaded.
    pub(crate) async fn next_ready_with(&mut self, model: ModelInfo) -> ScriptedEngine {
        let mut engine = self.next().await;
        engine.load(model).await;
        engine
    }
}

impl Launcher for ScriptedLauncher {
    type Child = ScriptedChild;

    async fn launch(&mut self) -> io::Result<Launched<ScriptedChild>> {
        let (ours, theirs) = UnixStream::pair()?;
        let exit = watch::Sender::new(None);
        let work = Arc::new(AtomicU64::new(0));
        let unkillable = Arc::new(AtomicBool::new(false));
        let child = ScriptedChild { exit: exit.clone(), work: Arc::clone(&work), unkillable: Arc::clone(&unkillable) };
        let engine = ScriptedEngine { frames: Framed::new(theirs, codec()), exit, work, unkillable, steps: 0 };
        self.launched.send(engine).await.map_err(io::Error::other)?;
        Ok(Launched { stream: ours, child })
    }
}

/// The supervisor's end of a scripted engine.
#[derive(Debug)]
pub(crate) struct ScriptedChild {
    exit: watch::Sender<Option<DeathCause>>,
    work: Arc<AtomicU64>,
    unkillable: Arc<AtomicBool>,
}

impl EngineChild for ScriptedChild {
    fn pid(&self) -> Option<u32> {
        Some(4711)
    }

    fn load_work(&self) -> Option<LoadWork> {
        let bytes = self.work.load(Ordering::Relaxed);
        Some(LoadWork { count: bytes, bytes })
    }

    async fn wait(&mut self) -> DeathCause {
        let mut exit = self.exit.subscribe();
        let cause = exit.wait_for(Option::is_some).await.expect("the sender is ours");
        cause.expect("waited for")
    }

    fn kill(&mut self) {
        if !self.unkillable.load(Ordering::Relaxed) {
            end(&self.exit, DeathCause::Signal(9));
        }
    }

    fn last_lines(&self) -> Vec<String> {
        vec!["last words".to_owned()]
    }
}

impl Drop for ScriptedChild {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sets the cause of an end; later causes are ignored.
fn end(exit: &watch::Sender<Option<DeathCause>>, cause: DeathCause) {
    exit.send_if_modified(|exit| exit.is_none() && exit.replace(cause).is_none());
}

/// The engine's side of a connection.
#[derive(Debug)]
pub(crate) struct ScriptedEngine {
    frames: Framed<UnixStream, tokio_util::codec::LengthDelimitedCodec>,
    exit: watch::Sender<Option<DeathCause>>,
    work: Arc<AtomicU64>,
    unkillable: Arc<AtomicBool>,
    steps: u64,
}

impl ScriptedEngine {
    /// Receives the message to load, and answers that `model` is loaded.
    async fn load(&mut self, model: ModelInfo) {
        assert!(matches!(self.receive().await, Some(ToEngine::Load { .. })));
        self.send(FromEngine::Ready(Box::new(model))).await;
    }

    /// Makes the engine ignore kills from now on.
    pub(crate) fn cannot_be_killed(&self) {
        self.unkillable.store(true, Ordering::Relaxed);
    }

    /// The next message that is no ping; pings are answered as an idle engine does. `None` after the gateway closed the
    /// connection.
    pub(crate) async fn receive(&mut self) -> Option<ToEngine> {
        loop {
            match self.receive_any().await? {
                ToEngine::Ping { nonce } => self.send(FromEngine::Pong { nonce, steps: self.steps, busy: false }).await,
                message => return Some(message),
            }
        }
    }

    /// The next message, pings included.
    pub(crate) async fn receive_any(&mut self) -> Option<ToEngine> {
        let frame = self.frames.next().await?.ok()?;
        Some(decode(&frame).expect("the gateway speaks the protocol"))
    }

    /// The next message, which must be a submission.
    pub(crate) async fn receive_submit(&mut self) -> SequenceRequest {
        match self.receive().await {
            Some(ToEngine::Submit(request)) => *request,
            other => panic!("expected Submit, got {other:?}"),
        }
    }

    /// Sends a message. It is lost if the gateway has closed the connection.
    pub(crate) async fn send(&mut self, message: FromEngine) {
        self.send_raw(encode(&message).expect("small")).await;
    }

    /// Sends the body of a frame, valid or not.
    pub(crate) async fn send_raw(&mut self, body: Vec<u8>) {
        let _ = self.frames.send(Bytes::from(body)).await;
    }

    /// The bare connection.
    pub(crate) fn stream(&mut self) -> &mut UnixStream {
        self.frames.get_mut()
    }

    /// Reports one more step with these outputs.
    pub(crate) async fn step(&mut self, outputs: Vec<SequenceOutput>) {
        self.steps += 1;
        let stats = EngineStats { totals: EngineTotals { steps: self.steps, ..EngineTotals::default() }, ..EngineStats::default() };
        self.send(FromEngine::Step(StepReport { outputs, stats })).await;
    }

    /// Answers every message as `script` says, until the gateway closes the connection.
    pub(crate) async fn run(mut self, mut script: impl FnMut(ToEngine) -> Vec<FromEngine>) {
        while let Some(message) = self.receive().await {
            for answer in script(message) {
                self.send(answer).await;
            }
        }
        self.die(DeathCause::Exit(0));
    }

    /// Sets the bytes that the engine's process has read, as the kernel counts.
    pub(crate) fn has_read(&self, bytes: u64) {
        self.work.store(bytes, Ordering::Relaxed);
    }

    /// Ends the engine: the connection closes, and `wait` returns `cause`.
    pub(crate) fn die(self, cause: DeathCause) {
        end(&self.exit, cause);
    }

    /// Waits until the supervisor has killed the engine.
    pub(crate) async fn killed(&self) -> DeathCause {
        let mut exit = self.exit.subscribe();
        let cause = *exit.wait_for(Option::is_some).await.expect("the sender is ours");
        cause.expect("waited for")
    }
}

/// An output of `id`: the engine has begun with the sequence.
pub(crate) fn begun(id: SequenceId) -> SequenceOutput {
    SequenceOutput { started: Some(Started { cached_tokens: 0, queue_us: 7 }), ..SequenceOutput::empty(id) }
}

/// An output of `id`: one token and its text.
pub(crate) fn token(id: SequenceId, token: u32, text: &str) -> SequenceOutput {
    SequenceOutput { tokens: vec![Token(token)], text: text.to_owned(), ..SequenceOutput::empty(id) }
}

/// A request for `max_tokens` tokens after a prompt of three.
pub(crate) fn request(max_tokens: u32) -> SequenceRequest {
    SequenceRequest { prompt: vec![Token(1), Token(2), Token(3)], max_tokens, ..SequenceRequest::default() }
}

/// Options of an engine that loads nothing.
pub(crate) fn options(max_num_seqs: u32) -> EngineOptions {
    EngineOptions { max_num_seqs: Some(max_num_seqs), ..EngineOptions::new("model.gguf".into()) }
}

/// A configuration that restarts engines at once, up to four times in a row.
pub(crate) fn supervision(max_waiting: usize) -> SupervisionConfig {
    let (stall_timeout, load_timeout) = (Duration::from_secs(20), Duration::from_secs(300));
    SupervisionConfig {
        max_waiting,
        stall_timeout,
        load_timeout,
        restart_backoff: Duration::ZERO,
        max_restarts: 5,
        canary_interval: None,
        preemption: Preemption::None,
    }
}

/// A small model.
pub(crate) fn model_info() -> ModelInfo {
    ModelInfo {
        name: "tiny".to_owned(),
        architecture: "llama".to_owned(),
        quantization: "Q4_1".to_owned(),
        parameters: 1_000,
        size_bytes: 1_000,
        n_ctx_train: 128,
        max_model_len: 128,
        max_num_seqs: 4,
        max_num_batched_tokens: 512,
        vocabulary_size: 256,
        bos: Some(Token(0)),
        adds_bos: true,
        eos: None,
        fim: None,
        chat_templates: Vec::new(),
        control_tokens: Vec::new(),
        longest_piece: Some(4),
        dropped_bytes: Vec::new(),
        tokenizer: "llama".to_owned(),
        memory: Vec::new(),
        threads: 1,
        threads_adapt: false,
        device: "CPU".to_owned(),
        slow_kernels: None,
        load_ms: 1,
        kind: ModelKind::Generates(GenerationInfo {
            kv_layout: KvLayout::Split,
            kv_cells: 512,
            kv_bytes: 512,
            kv_window: None,
            kv_type: KvType::F16,
            swap_bytes: 0,
            tile: 1,
        }),
    }
}

/// Facts about a small model that embeds: texts between tokens 1 and 2, pairs as 1 q 2 d 2.
pub(crate) fn embedding_info() -> EmbeddingInfo {
    let token = |id| vec![Token(id)];
    EmbeddingInfo {
        dimensions: 4,
        pooling: Pooling::Mean,
        max_input_tokens: 16,
        batch_tokens: 32,
        batch_inputs: 4,
        around_text: (token(1), token(2)),
        around_pair: (token(1), token(2), token(2)),
    }
}

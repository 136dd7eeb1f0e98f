//! Engines on threads of this process, with the fake model: the real worker, protocol and supervision, no llama.cpp.
//!
//! Their steps can be held at a gate, so that a test decides, without a clock, what happens before and after a moment.

use super::fake_runner::{BOS, EOG, FakeRunner, FakeTokenizer, MARKS, VOCABULARY_SIZE};
use llamero::chat::FALLBACK;
use llamero::engine::{
    runner::{Limits, ModelRunner, Parked, ParkedState, Step, StepError, Tokenizer},
    serve::{EngineModel, Host, Opened, serve},
};
use llamero::gateway::{
    death::DeathCause,
    launcher::{EngineChild, Launched, Launcher},
};
use llamero::protocol::{
    EngineOptions, FimTokens, GenerationInfo, KvLayout, LoadError, ModelInfo, ModelKind, SpecialText, TextError, Token,
};
use std::{
    io,
    net::Shutdown,
    os::unix::net::UnixStream,
    path::PathBuf,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::sync::watch;

/// An engine dies when it tokenizes a text that contains this.
pub(crate) const DEADLY_TEXT: &str = "\u{6}";
/// An engine dies when it computes a prompt that contains this.
pub(crate) const DEADLY_PROMPT: &str = "\u{7}";
const DEADLY_TOKEN: Token = Token(7);

/// The number of steps that engines may still take; `None` is unlimited.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<Option<u32>>, Condvar)>);

impl Gate {
    /// Lets `steps` more steps through, then none.
    pub(crate) fn hold_after(&self, steps: u32) {
        self.set(Some(steps));
    }

    /// Lets all steps through.
    pub(crate) fn open(&self) {
        self.set(None);
    }

    /// Opens a gate that lets nothing through, so that a thread that waits there can end; a gate with steps left stays
    /// as it is.
    fn free(&self) {
        if *self.0.0.lock().unwrap() == Some(0) {
            self.open();
        }
    }

    fn set(&self, permits: Option<u32>) {
        *self.0.0.lock().unwrap() = permits;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let mut permits = self.0.1.wait_while(self.0.0.lock().unwrap(), |permits| *permits == Some(0)).unwrap();
        *permits = permits.map(|permits| permits - 1);
    }
}

/// Starts engines on threads.
#[derive(Debug, Clone)]
pub(crate) struct ThreadLauncher {
    pub(crate) limits: Limits,
    pub(crate) gate: Gate,
    /// The running engine's end of the connection.
    current: Arc<Mutex<Option<UnixStream>>>,
}

impl ThreadLauncher {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits: Limits { vocabulary_size: VOCABULARY_SIZE, ..limits }, gate: Gate::default(), current: Arc::default() }
    }

    /// Ends the running engine like `kill -9`: between two bytes, without a message. The next one may take `steps`.
    pub(crate) fn kill(&self, steps: Option<u32>) {
        hang_up(&self.current.lock().unwrap().take().expect("an engine runs"));
        // The old engine's thread takes one or a few of these steps before it ends.
        self.gate.set(steps);
    }
}

fn hang_up(stream: &UnixStream) {
    // Closing fails if the gateway closed the connection first.
    let _ = stream.shutdown(Shutdown::Both);
}

impl Launcher for ThreadLauncher {
    type Child = ThreadEngine;

    async fn launch(&mut self) -> io::Result<Launched<ThreadEngine>> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        *self.current.lock().unwrap() = Some(theirs.try_clone()?);
        let life = Life { stream: Arc::new(theirs.try_clone()?), is_at_fault: Arc::default() };
        let (ended, watched) = watch::channel(false);
        let child = ThreadEngine { stream: Some(theirs.try_clone()?), gate: self.gate.clone(), life: life.clone(), ended: watched };
        let host = FakeHost { limits: self.limits, gate: self.gate.clone(), life };
        std::thread::spawn(move || {
            // An engine whose connection was closed reports an error; its gateway knows.
            let _ = serve(theirs, host);
            ended.send_replace(true);
        });
        Ok(Launched { stream: tokio::net::UnixStream::from_std(ours)?, child })
    }
}

/// An engine thread, seen from the gateway.
#[derive(Debug)]
pub(crate) struct ThreadEngine {
    stream: Option<UnixStream>,
    gate: Gate,
    life: Life,
    ended: watch::Receiver<bool>,
}

impl EngineChild for ThreadEngine {
    fn pid(&self) -> Option<u32> {
        None
    }

    async fn wait(&mut self) -> DeathCause {
        // A dropped sender means the same: the thread has ended.
        let _ = self.ended.wait_for(|ended| *ended).await;
        // 6 is an abort, 9 a kill from outside.
        DeathCause::Signal(if self.life.is_at_fault.load(Ordering::Relaxed) { 6 } else { 9 })
    }

    fn kill(&mut self) {
        if let Some(stream) = self.stream.take() {
            hang_up(&stream);
        }
        self.gate.free();
    }

    fn last_lines(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The engine's socket, which it closes to look like an engine that crashed.
#[derive(Debug, Clone)]
struct Life {
    stream: Arc<UnixStream>,
    /// True if the engine ended by its own fault.
    is_at_fault: Arc<AtomicBool>,
}

impl Life {
    /// Ends the engine as its own fault would: its later messages are lost.
    fn end(&self) {
        self.is_at_fault.store(true, Ordering::Relaxed);
        hang_up(&self.stream);
    }
}

struct FakeHost {
    limits: Limits,
    gate: Gate,
    life: Life,
}

impl Host for FakeHost {
    fn open(self, options: &EngineOptions, mut progress: Box<dyn FnMut(f32)>, body: &mut dyn FnMut(Opened<'_>)) -> Result<(), LoadError> {
        progress(1.0);
        let tokenizer = Arc::new(MortalTokenizer { inner: FakeTokenizer::default(), life: self.life.clone() });
        let mut runner = GatedRunner { inner: FakeRunner::new(self.limits), gate: self.gate, life: self.life };
        let model = EngineModel::Generates { runner: &mut runner, draft: None };
        body(Opened { model, tokenizer, info: info(&self.limits, options) });
        Ok(())
    }

    fn program(&self) -> PathBuf {
        PathBuf::from(env!("CARGO_BIN_EXE_llamero"))
    }
}

struct MortalTokenizer {
    inner: FakeTokenizer,
    life: Life,
}

impl Tokenizer for MortalTokenizer {
    fn encode(&self, text: &str, add_special: bool, special: &SpecialText) -> Result<Vec<Token>, TextError> {
        if text.contains(DEADLY_TEXT) {
            self.life.end();
        }
        self.inner.encode(text, add_special, special)
    }

    fn piece(&self, token: Token, special: bool) -> &[u8] {
        self.inner.piece(token, special)
    }

    fn is_eog(&self, token: Token) -> bool {
        self.inner.is_eog(token)
    }

    fn vocabulary_size(&self) -> u32 {
        self.inner.vocabulary_size()
    }
}

struct GatedRunner {
    inner: FakeRunner,
    gate: Gate,
    life: Life,
}

impl ModelRunner for GatedRunner {
    fn limits(&self) -> Limits {
        self.inner.limits()
    }

    fn execute(&mut self, step: &Step) -> Result<(), StepError> {
        self.gate.pass();
        if step.rows.iter().any(|row| row.token == DEADLY_TOKEN) {
            self.life.end();
            return Err(StepError::Decode { code: -1 });
        }
        self.inner.execute(step)
    }

    fn state_format(&self) -> Option<String> {
        self.inner.state_format()
    }

    fn parked(&self, parked: Parked) -> Option<Arc<ParkedState>> {
        self.inner.parked(parked)
    }

    fn adopt(&mut self, parked: Parked, state: Arc<ParkedState>) -> bool {
        self.inner.adopt(parked, state)
    }

    fn logits(&self, row: usize) -> Option<&[f32]> {
        self.inner.logits(row)
    }
}

pub(crate) fn info(limits: &Limits, options: &EngineOptions) -> ModelInfo {
    ModelInfo {
        name: "fake".to_owned(),
        architecture: "fake".to_owned(),
        quantization: "F32".to_owned(),
        parameters: 1,
        size_bytes: 1,
        n_ctx_train: limits.max_model_len,
        max_model_len: limits.max_model_len,
        max_num_seqs: limits.slots,
        max_num_batched_tokens: limits.max_rows,
        vocabulary_size: limits.vocabulary_size,
        bos: Some(BOS),
        adds_bos: true,
        eos: Some(EOG),
        fim: Some(FimTokens { prefix: MARKS[0], suffix: MARKS[1], middle: MARKS[2], repository: None, file: None }),
        chat_templates: vec![("default".to_owned(), FALLBACK.to_owned())],
        control_tokens: vec![("<s>".to_owned(), BOS), ("</s>".to_owned(), EOG)],
        longest_piece: Some(4),
        dropped_bytes: Vec::new(),
        tokenizer: "llama".to_owned(),
        memory: Vec::new(),
        threads: options.threads.unwrap_or(1),
        threads_adapt: false,
        device: "none".to_owned(),
        slow_kernels: None,
        load_ms: 0,
        kind: ModelKind::Generates(GenerationInfo {
            kv_layout: KvLayout::Split,
            kv_cells: limits.kv_cells,
            kv_bytes: 0,
            kv_window: None,
            kv_type: options.kv_cache_dtype,
            swap_bytes: 0,
            tile: 1,
        }),
    }
}

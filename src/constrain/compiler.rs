//! Compiles constraints, in bounded time, and remembers the last ones.

use super::{cache::Cache, limits, matcher::Matcher, source, vocabulary::Vocabulary};
use crate::protocol::Constraint;
use llguidance::ParserFactory;
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc::{RecvTimeoutError, sync_channel},
    },
    thread,
    time::Duration,
};

/// A constraint that takes longer to compile is refused. The engine's answers are awaited for 20 s.
const MAX_TIME: Duration = Duration::from_secs(2);
/// Compilations under way at once, those included that were given up and still run: nothing can stop them.
const MAX_RUNNING: usize = 8;
/// The parsers of schemas, regexes and grammars recurse; untouched pages cost nothing.
const STACK_BYTES: usize = 128 << 20;
/// Longest message about a constraint, characters.
const MAX_MESSAGE: usize = 600;

/// A compiled constraint; cheap to clone.
#[derive(Clone)]
pub struct Compiled(Arc<llguidance::Matcher>);

impl std::fmt::Debug for Compiled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compiled").finish_non_exhaustive()
    }
}

impl Compiled {
    /// The beginning of a text. It shares nothing with others, so that what a text may become depends on itself alone.
    #[must_use]
    pub fn matcher(&self) -> Matcher {
        Matcher::new(self.0.deep_clone())
    }
}

/// Compiles constraints for one vocabulary. Any thread may call it.
pub struct Compiler {
    factory: Arc<ParserFactory>,
    writes: [bool; 256],
    cache: Mutex<Cache>,
    running: Arc<AtomicUsize>,
}

impl std::fmt::Debug for Compiler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compiler").field("running", &self.running).finish_non_exhaustive()
    }
}

impl Compiler {
    /// A compiler that knows no constraint yet.
    #[must_use]
    pub fn new(vocabulary: Vocabulary) -> Self {
        Self { factory: Arc::new(vocabulary.factory), writes: vocabulary.writes, cache: Mutex::default(), running: Arc::default() }
    }

    /// Compiles a constraint, or finds it compiled. Returns within about 2 s.
    ///
    /// # Errors
    /// What is wrong with it, in words for whoever wrote it: too long, no such keyword, impossible to fulfil, too complex.
    pub fn compile(&self, constraint: &Constraint) -> Result<Compiled, String> {
        limits::check(constraint)?;
        self.can_write(constraint)?;
        if let Some(known) = self.cache().get(constraint) {
            return known;
        }
        let Some(running) = Running::begin(&self.running) else {
            return Err("too many constraints that take long are being compiled; try again later".to_owned());
        };
        let (done, result) = sync_channel(1);
        let (factory, owned) = (Arc::clone(&self.factory), constraint.clone());
        let compile = move || {
            // Fails when it took too long and nobody waits any more.
            let _ = done.send(compile(&factory, &owned));
            drop(running);
        };
        let thread = thread::Builder::new().name("compile".to_owned()).stack_size(STACK_BYTES).spawn(compile);
        thread.map_err(|error| format!("no thread to compile it: {error}"))?;
        let compiled = match result.recv_timeout(MAX_TIME) {
            Ok(compiled) => compiled,
            Err(RecvTimeoutError::Timeout) => Err(format!("it takes longer than {} s to compile", MAX_TIME.as_secs())),
            Err(RecvTimeoutError::Disconnected) => Err("the compiler failed on it".to_owned()),
        };
        self.cache().insert(constraint.clone(), compiled.clone());
        compiled
    }

    /// A choice is of texts that the model can write: it could else begin one and find no token to go on with.
    fn can_write(&self, constraint: &Constraint) -> Result<(), String> {
        let Constraint::Choice(texts) = constraint else { return Ok(()) };
        let stray = texts.iter().flat_map(|text| text.chars()).find(|c| {
            let mut buffer = [0; 4];
            c.encode_utf8(&mut buffer).bytes().any(|byte| !self.writes[usize::from(byte)])
        });
        match stray {
            Some(c) => Err(format!(
                "a text of the choice has the character {c:?} (U+{:04X}), which no token of this model can write",
                u32::from(c)
            )),
            None => Ok(()),
        }
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        // A cache is sound whatever its users were about to do.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of [`MAX_RUNNING`] places.
struct Running(Arc<AtomicUsize>);

impl Running {
    fn begin(count: &Arc<AtomicUsize>) -> Option<Self> {
        let place = Self(Arc::clone(count));
        (count.fetch_add(1, Ordering::Relaxed) < MAX_RUNNING).then_some(place)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

fn compile(factory: &ParserFactory, constraint: &Constraint) -> Result<Compiled, String> {
    let grammar = source::grammar(constraint)?;
    let parser = factory.create_parser(grammar).map_err(|error| readable(&format!("{error:#}")))?;
    let matcher = llguidance::Matcher::new(Ok(parser));
    if let Some(error) = matcher.get_error() {
        return Err(readable(&error));
    }
    // What cannot even begin with this vocabulary is refused now, and not when the first token is to be drawn.
    let mut probe = matcher.deep_clone();
    match probe.compute_mask_or_eos() {
        Ok(mask) if !mask.is_zero() => Ok(Compiled(Arc::new(matcher))),
        Ok(_) => Err("no text of this model can fulfil it".to_owned()),
        Err(error) => Err(readable(&format!("no text can fulfil it: {error}"))),
    }
}

/// llguidance's message without what is for its developers.
pub(super) fn readable(message: &str) -> String {
    let message = message.split("\n<").next().unwrap_or_default().trim();
    if message.contains("oneOf constraints are not supported") {
        return "the alternatives of a 'oneOf' must exclude each other by their types or by a required property with different \
                'const' values; otherwise use 'anyOf'"
            .to_owned();
    }
    let message = match message.strip_prefix("panic: ") {
        Some(reason) => format!("the compiler failed on it ({reason})"),
        None => message.to_owned(),
    };
    match message.char_indices().nth(MAX_MESSAGE) {
        Some((at, _)) => format!("{}…", &message[..at]),
        None => message,
    }
}

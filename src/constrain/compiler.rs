//! Compiles constraints on a stack that is large enough, and remembers the last ones.
//!
//! Compiling has no time limit here: the engine compiles only constraints that a trial process has compiled before
//! (`trial`).

use super::{
    cache::Cache,
    compiled::Compiled,
    limits,
    message::{is_about_one_of, readable},
    schema::{Loosen, Notes},
    source::{self, CompilerInput},
    vocabulary::Vocabulary,
    walk,
};
use crate::protocol::{
    Constraint, ConstraintError,
    ConstraintErrorKind::{Busy, Impossible, Invalid, TooCostly},
    ConstraintPlace,
};
use llguidance::ParserFactory;
use std::{
    borrow::Cow,
    sync::{Mutex, PoisonError},
    thread,
};

/// Stack for compiling, bytes. The parsers of schemas, regexes and grammars recurse; untouched pages cost nothing.
pub(super) const STACK_BYTES: usize = 128 << 20;

/// Largest number of times that a constraint which cannot be compiled is tried again with some of its parts loosened.
const MAX_LOOSENED: usize = 8;

/// Compiles constraints for one vocabulary. Callable from any thread.
pub struct Compiler {
    factory: ParserFactory,
    writes: [bool; 256],
    cache: Mutex<Cache>,
}

impl std::fmt::Debug for Compiler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compiler").finish_non_exhaustive()
    }
}

impl Compiler {
    /// A compiler that knows no constraint yet.
    #[must_use]
    pub fn new(vocabulary: Vocabulary) -> Self {
        Self { factory: vocabulary.factory, writes: vocabulary.writes, cache: Mutex::default() }
    }

    /// The result for a constraint that is among the last ones, or that is refused without being compiled: too large,
    /// or a choice with a character that no token can write. `None` if it would have to be compiled.
    #[must_use]
    pub fn known(&self, constraint: &Constraint) -> Option<Result<Compiled, ConstraintError>> {
        let cached = self.cache().get(constraint);
        cached.or_else(|| limits::check(constraint).and_then(|()| self.can_write(constraint)).err().map(Err))
    }

    /// Compiles a constraint, or finds it compiled.
    ///
    /// # Errors
    /// The constraint is at fault: too long, an unsupported keyword, impossible to fulfil, too complex. The kind is
    /// `Busy` if no thread could be started to compile it.
    pub fn compile(&self, constraint: &Constraint) -> Result<Compiled, ConstraintError> {
        self.compile_measured(constraint, 0)
    }

    /// Compiles as [`Self::compile`] does. `bytes` is the memory of the compiled constraint: the least recently used
    /// ones are dropped until all fit.
    ///
    /// # Errors
    /// As [`Self::compile`].
    pub fn compile_measured(&self, constraint: &Constraint, bytes: u64) -> Result<Compiled, ConstraintError> {
        if let Some(known) = self.known(constraint) {
            return known;
        }
        let compiled = on_large_stack(|| self.compile_new(constraint));
        if compiled.as_ref().err().is_none_or(ConstraintError::is_final) {
            self.cache().insert(constraint.clone(), compiled.clone(), bytes);
        }
        compiled
    }

    /// Compiles as [`Self::compile`] does, but remembers nothing: for the trial process.
    ///
    /// # Errors
    /// As [`Self::compile`].
    pub fn try_out(&self, constraint: &Constraint) -> Result<Compiled, ConstraintError> {
        limits::check(constraint)?;
        self.can_write(constraint)?;
        on_large_stack(|| self.compile_new(constraint))
    }

    /// Compiles a constraint, in the trial process and in the engine alike. A constraint is refused here, not when a
    /// token is to be drawn, if no token of this vocabulary can begin it or some token takes too much work.
    fn compile_new(&self, constraint: &Constraint) -> Result<Compiled, ConstraintError> {
        let mut notes = Notes::default();
        let mut loosened = Cow::Borrowed(constraint);
        let mut compiled = self.compile_once(&loosened, &notes);
        let mut attempts = MAX_LOOSENED - 1; // The last one loosens all parts.
        while attempts > 0
            && let Some(error) = final_error(&compiled)
            && let Some((next, note)) = source::loosened(&loosened, error, Loosen::AtFault)
        {
            attempts -= 1;
            notes.append(&note);
            loosened = Cow::Owned(next);
            compiled = self.compile_once(&loosened, &notes);
        }
        let Some(error) = final_error(&compiled) else { return compiled };
        // The cost is that of all parts together.
        let parts = if error.kind == TooCostly { 0..0 } else { 0..attempts };
        for part in parts {
            let Some((next, note)) = source::loosened(&loosened, error, Loosen::One(part)) else { break };
            let mut with_note = notes.clone();
            with_note.append(&note);
            let compiled = self.compile_once(&next, &with_note);
            if final_error(&compiled).is_none() {
                return compiled;
            }
        }
        let Some((next, note)) = source::loosened(&loosened, error, Loosen::All) else { return compiled };
        notes.append(&note);
        self.compile_once(&next, &notes)
    }

    fn compile_once(&self, constraint: &Constraint, notes: &Notes) -> Result<Compiled, ConstraintError> {
        let compiled = compile(&self.factory, constraint, notes)?;
        walk::through(|| compiled.matcher())?;
        Ok(compiled)
    }

    /// Remembers the reason why a constraint cannot be used.
    pub fn refuse(&self, constraint: &Constraint, reason: ConstraintError) {
        self.cache().insert(constraint.clone(), Err(reason), 0);
    }

    /// Checks that the model can write all texts of a choice. Otherwise it could begin a text and find no token to
    /// continue.
    fn can_write(&self, constraint: &Constraint) -> Result<(), ConstraintError> {
        let Constraint::Choice(texts) = constraint else { return Ok(()) };
        let stray = texts.iter().flat_map(|text| text.chars()).find(|c| {
            let mut buffer = [0; 4];
            c.encode_utf8(&mut buffer).bytes().any(|byte| !self.writes[usize::from(byte)])
        });
        match stray {
            Some(c) => {
                let message = format!("has the character {c:?} (U+{:04X}), which no token of this model can write", u32::from(c));
                Err(ConstraintPlace::ChoiceText.predicate(Impossible, message))
            }
            None => Ok(()),
        }
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        // A panic of another user leaves the cache sound.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The reason why a constraint can never be compiled.
fn final_error(compiled: &Result<Compiled, ConstraintError>) -> Option<&ConstraintError> {
    compiled.as_ref().err().filter(|error| error.is_final())
}

/// Runs `work` on a stack of [`STACK_BYTES`] and waits for it.
fn on_large_stack<T: Send>(work: impl FnOnce() -> Result<T, ConstraintError> + Send) -> Result<T, ConstraintError> {
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("compile".to_owned()).stack_size(STACK_BYTES).spawn_scoped(scope, work);
        let thread = thread.map_err(|error| ConstraintError::new(Busy, format!("no thread to compile it: {error}")))?;
        thread.join().unwrap_or_else(|_| Err(ConstraintError::new(Invalid, "the compiler failed on it")))
    })
}

/// Compiles a constraint. `known` are the notes that there are already.
fn compile(factory: &ParserFactory, constraint: &Constraint, known: &Notes) -> Result<Compiled, ConstraintError> {
    let CompilerInput { grammar, notes, overlapping } = source::read(constraint)?;
    let mut all = known.clone();
    all.append(&notes);
    let placed = |error: ConstraintError| match &overlapping {
        Some(place) if is_about_one_of(&error) => place.clone().sentence(error.kind, error.message),
        _ => error,
    };
    let parser = factory.create_parser(grammar).map_err(|error| placed(readable(&format!("{error:#}"))))?;
    let matcher = llguidance::Matcher::new(Ok(parser));
    if let Some(error) = matcher.get_error() {
        return Err(placed(readable(&error)));
    }
    // A constraint that no token of this vocabulary can begin is refused now, and not when the first token is to be
    // drawn.
    let mut probe = matcher.deep_clone();
    match probe.compute_mask_or_eos() {
        Ok(mask) if !mask.is_zero() => Ok(Compiled::new(matcher, all)),
        Ok(_) => Err(ConstraintError::new(Impossible, "no text of this model can fulfil it")),
        Err(error) => Err(match readable(&error.to_string()) {
            costly if costly.kind == TooCostly => costly,
            error => ConstraintError::new(Impossible, format!("no text can fulfil it: {error}")),
        }),
    }
}

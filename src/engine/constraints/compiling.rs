//! The way from a constraint to a matcher: the constraint is known already, or it is tried out in a process that may
//! die of it and then compiled here.
//!
//! Owns the compiler of the loaded model, which all threads share. Each thread that may compile has a trial process of
//! its own.

use crate::constrain::{Compiled, Compiler, Matcher, Piece, Vocabulary, Words, trial::TrialProcess};
use crate::engine::runner::Tokenizer;
use crate::protocol::{Constraint, ConstraintError, SequenceRequest, SpecialText, Token};
use std::sync::{Arc, OnceLock};

/// The compiler of the loaded model, made when the first constraint comes. Making it takes a good part of a second for
/// large vocabularies, and memory; servers without constrained requests do not pay for that.
pub(in crate::engine) struct LazyCompiler {
    tokenizer: Arc<dyn Tokenizer>,
    made: OnceLock<Result<Compiler, ConstraintError>>,
}

impl std::fmt::Debug for LazyCompiler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LazyCompiler").field("made", &self.made).finish_non_exhaustive()
    }
}

impl LazyCompiler {
    /// A compiler that is not made yet.
    pub(in crate::engine) fn new(tokenizer: Arc<dyn Tokenizer>) -> Self {
        Self { tokenizer, made: OnceLock::new() }
    }

    /// The result for a constraint that is known already. Takes microseconds: nothing is made or compiled.
    pub(super) fn known(&self, constraint: &Constraint) -> Option<Result<Compiled, ConstraintError>> {
        let compiler = self.made.get()?.as_ref().ok()?;
        compiler.known(constraint)
    }

    /// Compiles a constraint, tried out in `trial` first if it is new. Errors that would come again are remembered;
    /// `Busy` is not.
    pub(super) fn compile(&self, constraint: &Constraint, trial: &mut TrialProcess) -> Result<Compiled, ConstraintError> {
        let compiler = self.get()?;
        if let Some(known) = self.known(constraint) {
            return known;
        }
        // `{"type":"object"}` is not written by a client and needs no trial.
        let tried = if *constraint == Constraint::JsonObject { Ok(0) } else { trial.try_out(constraint, &|| self.words()) };
        match tried {
            Ok(bytes) => compiler.compile_measured(constraint, bytes),
            Err(error) => {
                if error.is_final() {
                    compiler.refuse(constraint, error.clone());
                }
                Err(error)
            }
        }
    }

    /// The compiler, made at the first call. An error is kept, since the vocabulary stays the same.
    fn get(&self) -> Result<&Compiler, ConstraintError> {
        let make = || {
            let speller = Arc::clone(&self.tokenizer);
            // If the tokenizer refuses a text, llguidance chooses the tokens itself.
            let spell = move |text: &str| speller.encode(text, false, &SpecialText::Continuation).unwrap_or_default();
            Vocabulary::new(&self.words()?, Arc::new(spell)).map(Compiler::new)
        };
        self.made.get_or_init(make).as_ref().map_err(ConstraintError::clone)
    }

    fn words(&self) -> Result<Words, ConstraintError> {
        Words::new(self.tokenizer.vocabulary_size(), |token| piece(self.tokenizer.as_ref(), token))
    }
}

fn piece(tokenizer: &dyn Tokenizer, token: Token) -> Piece<'_> {
    match tokenizer.piece(token, false) {
        // A token that ends a generation, even if the vocabulary shows it as text: it would end a text that is not
        // complete.
        _ if tokenizer.is_eog(token) => Piece::End(tokenizer.piece(token, true)),
        b"" => Piece::Special(tokenizer.piece(token, true)),
        bytes => Piece::Text(bytes),
    }
}

/// The matcher of a submission, advanced by the tokens that an earlier engine generated.
///
/// # Errors
/// If one of those tokens is not allowed.
pub(super) fn matcher(compiled: &Compiled, request: &SequenceRequest) -> Result<Matcher, ConstraintError> {
    let mut matcher = compiled.matcher();
    request.resume.iter().try_for_each(|&token| matcher.advance(token))?;
    // The first mask is computed here, and not on the engine thread. An error comes again when the token is drawn, and
    // ends the text there.
    let _ = matcher.allowed();
    Ok(matcher)
}

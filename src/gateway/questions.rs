//! The questions that the handle asks the engine: tokenize, detokenize, spell, forecast, check a constraint.
//!
//! Defines for each question in which lane it waits and which of its parts make its fingerprint (`calls` keeps the
//! table of open ones). Vectors are asked for in `embeds`, because it cuts requests into batches.

use super::{
    calls::{Ask, Lane, MAX_TEXT_BYTES},
    error::{CheckError, SubmitError, TokenizeError},
    fingerprint::{Fingerprint, Fingerprints},
    handle::EngineHandle,
};
use crate::protocol::{
    CheckConstraint, Constraint, Detokenize, Forecast, Prospect, Question, SpecialText, Spell, TextError, Token, Tokenize,
};

impl Ask for Tokenize {
    fn lane(&self) -> Lane {
        Lane::of_text(self.bytes())
    }

    fn fingerprint(&self, fingerprints: &Fingerprints) -> Fingerprint {
        fingerprints.of(Self::NAME, self)
    }
}

impl Ask for Detokenize {
    fn lane(&self) -> Lane {
        Lane::of_text(self.bytes())
    }

    fn fingerprint(&self, fingerprints: &Fingerprints) -> Fingerprint {
        fingerprints.of(Self::NAME, self)
    }
}

impl Ask for Spell {
    fn lane(&self) -> Lane {
        Lane::of_text(self.bytes())
    }

    fn fingerprint(&self, fingerprints: &Fingerprints) -> Fingerprint {
        fingerprints.of(Self::NAME, self)
    }
}

impl Ask for Prospect {
    fn lane(&self) -> Lane {
        Lane::Forecast
    }

    fn fingerprint(&self, fingerprints: &Fingerprints) -> Fingerprint {
        fingerprints.of(Self::NAME, self)
    }
}

impl Ask for CheckConstraint {
    fn lane(&self) -> Lane {
        Lane::Constraint
    }

    fn fingerprint(&self, fingerprints: &Fingerprints) -> Fingerprint {
        fingerprints.of(Self::NAME, &self.constraint)
    }
}

impl EngineHandle {
    /// Converts text to tokens, in the engine process. The question is asked again if the engine dies meanwhile, until
    /// it is refused because engines died of it.
    ///
    /// Waits for its turn: short texts pass long ones, and keys take turns. Ends in bounded time: an engine that owes
    /// an answer for longer than the stall timeout is killed.
    ///
    /// # Errors
    /// `Text` if this text cannot be tokenized, `Engine` if there is no engine to ask.
    pub async fn tokenize(&self, text: String, add_special: bool, special: SpecialText) -> Result<Vec<Token>, TokenizeError> {
        Ok(self.ask_of_bounded_size(Tokenize { text, add_special, special }).await??)
    }

    /// Converts tokens to text, with special tokens written out.
    ///
    /// # Errors
    /// As [`Self::tokenize`].
    pub async fn detokenize(&self, tokens: Vec<Token>) -> Result<String, TokenizeError> {
        Ok(self.ask_of_bounded_size(Detokenize { tokens }).await??)
    }

    /// Converts tokens to the bytes of each, with special tokens written out.
    ///
    /// # Errors
    /// As [`Self::tokenize`].
    pub async fn spell(&self, tokens: Vec<Token>) -> Result<Vec<Vec<u8>>, TokenizeError> {
        Ok(self.ask_of_bounded_size(Spell { tokens }).await??)
    }

    /// Predicts how soon a request would be served if it came now. Answered between two steps; changes nothing.
    ///
    /// # Errors
    /// `NotGenerating` if the model embeds; else as [`Self::tokenize`].
    pub async fn forecast(&self, prospect: Prospect) -> Result<Forecast, TokenizeError> {
        if self.model().is_some_and(|model| model.embedding().is_some()) {
            return Err(SubmitError::NotGenerating.into());
        }
        self.ask_of_bounded_size(prospect).await
    }

    /// Has the engine process compile a constraint, which shows that text can be generated under it. A submission that
    /// follows finds the constraint compiled. Callers take turns. Returns the parts of the constraint that text is not
    /// held to, in words for its author.
    ///
    /// # Errors
    /// `Refused` if the constraint is wrong, `Busy` if it could not be checked for now; the others as
    /// [`Self::tokenize`].
    pub async fn check_constraint(&self, constraint: Constraint) -> Result<Vec<String>, CheckError> {
        let namespace = self.key();
        Ok(self.ask_of_bounded_size(CheckConstraint { constraint, namespace }).await??)
    }

    /// Asks a question of at most [`MAX_TEXT_BYTES`].
    async fn ask_of_bounded_size<Q: Ask>(&self, question: Q) -> Result<Q::Answer, TokenizeError> {
        let long = |bytes: usize| u64::try_from(bytes).unwrap_or(u64::MAX);
        let bytes = question.bytes();
        if bytes > MAX_TEXT_BYTES {
            return Err(TextError::TooLong { len: long(bytes), max: long(MAX_TEXT_BYTES) }.into());
        }
        self.ask(question).await
    }
}

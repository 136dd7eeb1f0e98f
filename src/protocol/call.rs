//! Calls: questions that the gateway asks an engine. Each is answered once, with the answer type that its question type
//! names.
//!
//! A new question touches three places: its type and its entry in `calls!` here, the engine's inbox that routes it
//! (`engine/serve.rs`), and the gateway's method that asks it (`gateway/questions.rs`). This module knows neither who
//! asks nor who answers.

use super::{Constraint, ConstraintError, EmbedBatch, EmbedError, Forecast, Prospect, TextError, Token};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Matches an answer to its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CallId(pub u64);

/// A question, with the type of its answer.
pub trait Question: Sized {
    /// The type of the answer.
    type Answer: Answer;

    /// The question's name in logs.
    const NAME: &'static str;

    /// The size of the question, bytes: those of its texts, and four for each of its tokens.
    fn bytes(&self) -> usize;

    /// The question as the gateway sends it.
    fn into_call(self) -> EngineCall;

    /// The answer as the engine sends it.
    fn reply(answer: Self::Answer) -> EngineReply;

    /// The answer in a reply; `None` for a reply to another kind of question.
    fn answer(reply: EngineReply) -> Option<Self::Answer>;
}

/// The answer to a question.
pub trait Answer: fmt::Debug + Send {
    /// True if the question could not be answered.
    fn is_error(&self) -> bool;
}

impl<T: fmt::Debug + Send, E: fmt::Debug + Send> Answer for Result<T, E> {
    fn is_error(&self) -> bool {
        self.is_err()
    }
}

impl Answer for Forecast {
    fn is_error(&self) -> bool {
        false
    }
}

/// Declares all questions: the variants of [`EngineCall`] and [`EngineReply`], and the answer type of each question.
macro_rules! calls {
    ($($(#[$doc:meta])* $kind:ident($question:ty) -> $answer:ty, named $name:literal, bytes: $bytes:expr;)*) => {
        /// A question to the engine.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub enum EngineCall {
            $($(#[$doc])* $kind($question),)*
        }

        /// The engine's answer to a call of the same name.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub enum EngineReply {
            $(#[doc = concat!("Answers [`EngineCall::", stringify!($kind), "`].")] $kind($answer),)*
        }

        $(impl Question for $question {
            type Answer = $answer;

            const NAME: &'static str = $name;

            fn bytes(&self) -> usize {
                let bytes: fn(&Self) -> usize = $bytes;
                bytes(self)
            }

            fn into_call(self) -> EngineCall {
                EngineCall::$kind(self)
            }

            fn reply(answer: Self::Answer) -> EngineReply {
                EngineReply::$kind(answer)
            }

            fn answer(reply: EngineReply) -> Option<Self::Answer> {
                match reply {
                    EngineReply::$kind(answer) => Some(answer),
                    _ => None,
                }
            }
        })*
    };
}

calls! {
    /// Text → tokens.
    Tokenize(Tokenize) -> Result<Vec<Token>, TextError>, named "tokenize", bytes: |question| question.text.len();
    /// Tokens → text, special tokens written out; bytes that are not UTF-8 as U+FFFD.
    Detokenize(Detokenize) -> Result<String, TextError>, named "detokenize", bytes: |question| token_bytes(&question.tokens);
    /// Tokens → the bytes of each in order, special tokens written out.
    Spell(Spell) -> Result<Vec<Vec<u8>>, TextError>, named "spell", bytes: |question| token_bytes(&question.tokens);
    /// Predicts the cached tokens and the times of a request, as if it came now; changes nothing. Answered between two
    /// steps.
    Forecast(Prospect) -> Forecast, named "forecast", bytes: |prospect| prospect.prompts.iter().map(|prompt| token_bytes(prompt)).sum();
    /// Asks whether text under a constraint can be generated. A later `Submit` with the same constraint finds it
    /// compiled. The answer lists the parts of the constraint that texts are not held to.
    Check(CheckConstraint) -> Result<Vec<String>, ConstraintError>, named "check", bytes: |question| question.constraint.text_bytes();
    /// Tokens → a vector of `EmbeddingInfo::dimensions` finite numbers for each input, as the model computes it: not
    /// normalised. Only for an engine whose model embeds; the message `Embedding` precedes the answer.
    Embed(EmbedBatch) -> Result<Vec<Vec<f32>>, EmbedError>, named "embed",
        bytes: |batch| batch.inputs.iter().map(|input| token_bytes(input)).sum();
}

fn token_bytes(tokens: &[Token]) -> usize {
    size_of_val(tokens)
}

/// Text → tokens.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tokenize {
    /// The text.
    pub text: String,
    /// True if BOS (and whatever else the vocabulary asks for) is put in front, unless the text begins with BOS
    /// already.
    pub add_special: bool,
    /// The reading of control tokens that the text spells out.
    pub special: SpecialText,
}

/// Tokens → text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Detokenize {
    /// The tokens.
    pub tokens: Vec<Token>,
}

/// Tokens → the bytes of each.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Spell {
    /// The tokens.
    pub tokens: Vec<Token>,
}

/// Asks whether text under a constraint can be generated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckConstraint {
    /// The constraint that an output would have to obey.
    pub constraint: Constraint,
    /// The caller, as in `SequenceRequest::namespace`: callers take turns.
    pub namespace: u64,
}

/// The size class of a text, or of tokens, by the time that a tokenizer needs for it. The gateway sends only a few
/// texts of each class at a time, and the engine has threads for each class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TextSize {
    /// Takes up to some tens of milliseconds; nearly all prompts are short.
    Short,
    /// Takes up to a second.
    Middle,
    /// Takes up to several seconds.
    Long,
}

impl TextSize {
    /// Largest size of a short text, bytes.
    pub const SHORT_BYTES: usize = 16 << 10;
    /// Largest size of a text of middle size, bytes. SmolLM2's tokenizer takes 0.05–0.6 s for such a text.
    pub const MIDDLE_BYTES: usize = 256 << 10;

    /// The size class of a text of `bytes` bytes.
    #[must_use]
    pub fn of(bytes: usize) -> Self {
        if bytes <= Self::SHORT_BYTES {
            Self::Short
        } else if bytes <= Self::MIDDLE_BYTES {
            Self::Middle
        } else {
            Self::Long
        }
    }
}

/// The meaning of control tokens that a text spells out, such as `<s>`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SpecialText {
    /// Spelled-out control tokens become those tokens, as in OpenAI's and vLLM's completions.
    Recognised,
    /// All of them are plain text: a user's own words.
    Plain,
    /// As `Plain`, for text that continues other text: without the space that SentencePiece puts in front (Meta's
    /// `encode_infilling`).
    Continuation,
    /// They become those tokens, except one that spans any of these byte offsets (sorted, each inside the text). The
    /// offsets mark a user's words in a template that a server wrote.
    RecognisedOutside(Vec<u32>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_found_in_the_reply_to_its_own_kind_of_question_and_in_no_other() {
        let reply = Tokenize::reply(Ok(vec![Token(1)]));

        assert_eq!(Spell::answer(reply.clone()), None);
        assert_eq!(Tokenize::answer(reply), Some(Ok(vec![Token(1)])));
        assert_eq!(Tokenize::answer(Detokenize::reply(Ok("a".to_owned()))), None, "both are about text");
    }

    #[test]
    fn the_size_of_a_question_is_the_bytes_of_its_texts_and_four_for_each_token() {
        let prospect = Prospect { prompts: vec![vec![Token(1)], vec![Token(1), Token(2)]], choices: 2, namespace: 3, scored: false };

        assert_eq!(Tokenize { text: "äb".to_owned(), add_special: true, special: SpecialText::Plain }.bytes(), 3);
        assert_eq!((Spell { tokens: vec![Token(1), Token(2)] }.bytes(), prospect.bytes()), (8, 12));
        assert_eq!(CheckConstraint { constraint: Constraint::Regex("abc".to_owned()), namespace: 0 }.bytes(), 3);
    }
}

//! Calls: questions that the gateway asks an engine. Each is answered
//! once, with the answer type that its question type names.
//!
//! A new question touches three places: its type and its entry in `calls!` here,
//! the engine's inbox that routes it (`engine/serve.rs`), and the gateway's method
//! that asks it (`gateway/questions.rs`). Knows neither who asks nor who answers.

use super::{Constraint, ConstraintError, EmbedBatch, EmbedError, Forecast, Prospect, TextError, Token};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Matches an answer to its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CallId(pub u64);

/// Something that can be asked, with the type of its answer.
pub trait Question: Sized {
    /// The type of the answer.
    type Answer: Answer;

    /// Its name in logs.
    const NAME: &'static str;

    /// Bytes of its texts, and four for each of its tokens.
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

/// Declares all questions: the variants of [`EngineCall`] and [`EngineReply`], and which question has which answer.
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
    /// Predicts how a request would fare if it came now; changes nothing. Answered between two steps.
    Forecast(Prospect) -> Forecast, named "forecast", bytes: |prospect| prospect.prompts.iter().map(|prompt| token_bytes(prompt)).sum();
    /// Asks whether text under a constraint can be generated. A
    /// `Submit` with the same constraint then finds it compiled.
    Check(CheckConstraint) -> Result<(), ConstraintError>, named "check", bytes: |question| question.constraint.text_bytes();
    /// Tokens → a vector of `EmbeddingInfo::dimensions` finite numbers for each input, as the model computes it: not
    /// normalised. For an engine whose model embeds; `Embedding` precedes the answer.
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
    /// Put BOS (and whatever else the vocabulary asks for) in front, unless the text begins with BOS already.
    pub add_special: bool,
    /// True if control tokens that the text spells out become those tokens.
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

/// The size of a text, or of tokens, by the time that a tokenizer needs for it. The gateway sends few texts of each
/// size at a time, and the engine has threads for each size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TextSize {
    /// Nearly all prompts: up to some tens of milliseconds.
    Short,
    /// Up to a second.
    Middle,
    /// Up to several seconds.
    Long,
}

impl TextSize {
    /// A short text has at most so many bytes.
    pub const SHORT_BYTES: usize = 16 << 10;
    /// A text of middle size has at most so many bytes. SmolLM2's tokenizer takes 0.05–0.6 s for as much.
    pub const MIDDLE_BYTES: usize = 256 << 10;

    /// The size of so many bytes.
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
    /// They become those tokens, as OpenAI's and vLLM's completions do.
    Recognised,
    /// They are plain text, all of them: a user's own words.
    Plain,
    /// As `Plain`, for text that goes on other text: without the space
    /// that SentencePiece puts in front (Meta's `encode_infilling`).
    Continuation,
    /// They become those tokens, except one that spans any of these byte offsets (sorted, each inside the text): words
    /// of a user in a template that a server wrote.
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

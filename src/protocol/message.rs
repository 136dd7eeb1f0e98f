//! The messages of both directions. One enum each; a new message goes last, and changes the version.

use super::{
    Constraint, ConstraintError, EmbedError, EngineOptions, Forecast, LoadError, ModelInfo, Prospect, SequenceId, SequenceRequest,
    StepReport, TextError, Token,
};
use serde::{Deserialize, Serialize};

/// Both sides are the same binary; a mismatch means somebody ran two builds. Checked in `Load`.
pub const PROTOCOL_VERSION: u16 = 8;

/// The size of a text, or of tokens, by the time that a tokenizer needs for it. The gateway sends few texts of each size at a time, and
/// the engine has threads for each size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TextSize {
    /// Nearly all prompts: up to some tens of milliseconds.
    Short,
    /// Up to a second.
    Middle,
    /// Seconds.
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

/// Matches an answer to its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct CallId(pub u64);

/// What a text's spelled-out control tokens, such as `<s>`, become.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SpecialText {
    /// Those tokens, as OpenAI's and vLLM's completions do.
    Recognised,
    /// Plain text, all of them: a user's own words.
    Plain,
    /// As `Plain`, for text that goes on other text: without the space that SentencePiece puts in front (Meta's
    /// `encode_infilling`).
    Continuation,
    /// Those tokens, except one that spans any of these byte offsets (sorted, each inside the text): words of a user
    /// in a template that a server wrote.
    RecognisedOutside(Vec<u32>),
}

/// Gateway → engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ToEngine {
    /// First and only once: load this model. Answered by `LoadProgress`…, then `Ready` or `LoadFailed`.
    Load {
        /// Must equal [`PROTOCOL_VERSION`].
        version: u16,
        /// What to load and how.
        options: EngineOptions,
    },
    /// Text → tokens. Answered by `Tokenized`.
    Tokenize {
        /// Comes back in the answer.
        call: CallId,
        /// The text.
        text: String,
        /// Put BOS (and what else the vocabulary asks for) in front, unless the text begins with BOS already.
        add_special: bool,
        /// Whether control tokens that the text spells out become those tokens.
        special: SpecialText,
    },
    /// Tokens → text, special tokens written out. Answered by `Detokenized`.
    Detokenize {
        /// Comes back in the answer.
        call: CallId,
        /// The tokens.
        tokens: Vec<Token>,
    },
    /// Generate. Answered by outputs in `Step` reports, the last one with a `finish`.
    Submit(Box<SequenceRequest>),
    /// Forget a sequence within one step. Nothing more is said about it; an unknown id is no error.
    Cancel(SequenceId),
    /// Answered by `Pong` from the inbox thread, whatever the engine thread is doing.
    Ping {
        /// Comes back in the answer.
        nonce: u64,
    },
    /// Tokens → vectors, by an engine whose model embeds. Answered by `Embedding` and `Embedded`.
    Embed {
        /// Comes back in the answers.
        call: CallId,
        /// What to embed, special tokens included: 1 to `EmbeddingInfo::batch_inputs` inputs, each of them not empty.
        inputs: Vec<Vec<Token>>,
        /// Compute it in a batch of its own: an engine has died of it or of its company.
        alone: bool,
    },
    /// Tokens → the bytes of each, special tokens written out. Answered by `Pieces`.
    Spell {
        /// Comes back in the answer.
        call: CallId,
        /// The tokens.
        tokens: Vec<Token>,
    },
    /// What would become of a request now; nothing is changed. Answered by `Forecast` between two steps.
    Foresee {
        /// Comes back in the answer.
        call: CallId,
        /// The request.
        prospect: Prospect,
    },
    /// Can this be generated? Answered by `Checked`. A `Submit` with the same constraint then finds it compiled.
    Check {
        /// Comes back in the answer.
        call: CallId,
        /// What an output would have to obey.
        constraint: Constraint,
        /// The caller, as in `SequenceRequest::namespace`: callers take turns.
        namespace: u64,
    },
}

/// Engine → gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FromEngine {
    /// Share of the model that is loaded, 0–1.
    LoadProgress(f32),
    /// The model is loaded and requests are welcome.
    Ready(Box<ModelInfo>),
    /// It never will be; the engine exits after this.
    LoadFailed(LoadError),
    /// Answer to `Tokenize`.
    Tokenized {
        /// Which call.
        call: CallId,
        /// The tokens.
        result: Result<Vec<Token>, TextError>,
    },
    /// Answer to `Detokenize`.
    Detokenized {
        /// Which call.
        call: CallId,
        /// The text; bytes that are not UTF-8 as U+FFFD.
        result: Result<String, TextError>,
    },
    /// What a step produced; also sent without outputs when the engine's state changed.
    Step(StepReport),
    /// Answer to `Ping`.
    Pong {
        /// Which ping.
        nonce: u64,
        /// Steps finished so far: a busy engine whose count stands still is stuck.
        steps: u64,
        /// Whether the engine thread has work.
        busy: bool,
    },
    /// These `Embed` calls are computed next. If it kills this process, the gateway knows whom to suspect.
    Embedding(Vec<CallId>),
    /// Answer to `Embed`.
    Embedded {
        /// Which call.
        call: CallId,
        /// A vector of `EmbeddingInfo::dimensions` finite numbers for each input, as the model computes it: not normalised.
        result: Result<Vec<Vec<f32>>, EmbedError>,
    },
    /// Answer to `Spell`.
    Pieces {
        /// Which call.
        call: CallId,
        /// The bytes of each token, in order.
        result: Result<Vec<Vec<u8>>, TextError>,
    },
    /// Answer to `Foresee`.
    Forecast {
        /// Which call.
        call: CallId,
        /// What was found.
        forecast: Forecast,
    },
    /// Answer to `Check`.
    Checked {
        /// Which call.
        call: CallId,
        /// Whether it can be generated.
        result: Result<(), ConstraintError>,
    },
}

//! The messages between the gateway and an engine, and the one definition of a generation request.
//!
//! Owns the message types, their version and the framing. It knows neither HTTP nor llama.cpp; gateway and engine
//! depend on it, and it depends on no other module of this crate.

mod call;
mod constraint;
mod embedding;
mod engine_options;
mod event;
mod forecast;
mod frame;
mod message;
mod model_info;
mod request;
mod stats;

pub use call::{Answer, CallId, CheckConstraint, Detokenize, EngineCall, EngineReply, Question, SpecialText, Spell, TextSize, Tokenize};
pub use constraint::{
    Constraint, ConstraintError, ConstraintErrorKind, ConstraintPlace, MAX_GRAMMAR_BYTES, MAX_GRAMMAR_DEPTH, OBJECTS_ARE_CLOSED,
    bracket_depth, without_outer_anchors,
};
pub use embedding::{EmbedBatch, EmbedError, EmbeddingInfo, Pooling, RankScore};
pub use engine_options::{
    DEFAULT_MAX_NUM_SEQS, EngineOptions, FlashAttention, KvLayout, KvType, OpenedFile, PrefixCacheFolder, RopeScaling,
};
pub use event::{
    Drafts, Finish, GenerationError, LoadError, SequenceOutput, Started, StepReport, TextError, TokenAlternative, TokenLogprob,
};
pub use forecast::{Forecast, Prospect};
pub use frame::{FrameError, MAX_FRAME_BYTES, decode, encode, read_frame, write_frame};
pub use message::{Asked, FromEngine, PROTOCOL_VERSION, ToEngine};
pub use model_info::{FimTokens, GenerationInfo, KvWindow, MemoryNeed, MemoryPlace, ModelInfo, ModelKind};
pub use request::{Dry, SamplingParams, SequenceId, SequenceRequest, Token};
pub use stats::{EngineGauges, EngineStats, EngineTotals};

//! The messages of both directions, one enum for each. A new message goes last and raises the version.

use super::{CallId, EngineCall, EngineOptions, EngineReply, LoadError, ModelInfo, Question, SequenceId, SequenceRequest, StepReport};
use serde::{Deserialize, Serialize};

/// The version of the messages, checked in `Load`. Both sides are the same binary, so a mismatch means that two builds
/// were mixed. A changed field of anything in a message raises the version too: frames have no field names.
pub const PROTOCOL_VERSION: u16 = 13;

/// Gateway → engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ToEngine {
    /// Load this model. The first message, sent once; answered by `LoadProgress`…, then `Ready` or `LoadFailed`.
    Load {
        /// Must equal [`PROTOCOL_VERSION`].
        version: u16,
        /// The model and how to open it.
        options: Box<EngineOptions>,
    },
    /// Generate a sequence. Answered by outputs in `Step` reports, the last one with a `finish`.
    Submit(Box<SequenceRequest>),
    /// Forget a sequence within one step. Nothing more is reported about it; an unknown id is no error.
    Cancel(SequenceId),
    /// Asks for a sign of life. Answered by `Pong` from the inbox thread, whatever the engine thread is doing.
    Ping {
        /// A number that comes back in the answer.
        nonce: u64,
    },
    /// A question. Answered by `Reply` with the same id.
    Call {
        /// The number of the call, which comes back in the answer. `Embed` calls are numbered apart from the others.
        id: CallId,
        /// The question.
        call: EngineCall,
    },
}

/// Engine → gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FromEngine {
    /// The share of the model that is loaded, 0–1.
    LoadProgress(f32),
    /// The model is loaded, and the engine takes requests.
    Ready(Box<ModelInfo>),
    /// The model cannot be served; the engine exits after this message.
    LoadFailed(LoadError),
    /// The outputs of a step; also sent without outputs when the engine's state changed.
    Step(StepReport),
    /// Answer to `Ping`.
    Pong {
        /// The number of the ping.
        nonce: u64,
        /// Number of steps finished so far: a busy engine whose count stands still is stuck.
        steps: u64,
        /// True if the engine thread has work.
        busy: bool,
    },
    /// The `Embed` calls that are computed next. If they end this process, the gateway knows which work to suspect.
    Embedding(Vec<CallId>),
    /// Answer to `Call`.
    Reply {
        /// The call that is answered.
        id: CallId,
        /// The answer to that call.
        reply: EngineReply,
    },
}

/// A question in the engine, with the id of its call. Every answer is made through this type, so that an answer to
/// another question cannot be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked<Q> {
    /// The call that waits for the answer.
    pub id: CallId,
    /// The question.
    pub question: Q,
}

impl<Q: Question> Asked<Q> {
    /// The message that answers the question.
    #[must_use]
    pub fn reply(&self, answer: Q::Answer) -> FromEngine {
        FromEngine::Reply { id: self.id, reply: Q::reply(answer) }
    }
}

//! The messages of both directions. One enum each; a new message goes last, and changes the version.

use super::{CallId, EngineCall, EngineOptions, EngineReply, LoadError, ModelInfo, Question, SequenceId, SequenceRequest, StepReport};
use serde::{Deserialize, Serialize};

/// Both sides are the same binary; a mismatch means somebody ran two builds. Checked in `Load`. A changed field of
/// anything that a message contains raises it too: frames have no field names.
pub const PROTOCOL_VERSION: u16 = 9;

/// Gateway → engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ToEngine {
    /// First and only once: load this model. Answered by `LoadProgress`…, then `Ready` or `LoadFailed`.
    Load {
        /// Must equal [`PROTOCOL_VERSION`].
        version: u16,
        /// The model and how to open it.
        options: EngineOptions,
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
    /// A question. Answered by `Reply` with the same id.
    Call {
        /// Comes back in the answer. `Embed` calls are numbered apart from the others.
        id: CallId,
        /// The question.
        call: EngineCall,
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
    /// The outputs of a step; also sent without outputs when the engine's state changed.
    Step(StepReport),
    /// Answer to `Ping`.
    Pong {
        /// Which ping.
        nonce: u64,
        /// Steps finished so far: a busy engine whose count stands still is stuck.
        steps: u64,
        /// True if the engine thread has work.
        busy: bool,
    },
    /// These `Embed` calls are computed next. If that ends this process, the gateway knows which work to suspect.
    Embedding(Vec<CallId>),
    /// Answer to `Call`.
    Reply {
        /// Its call.
        id: CallId,
        /// The answer, of the kind that was asked for.
        reply: EngineReply,
    },
}

/// A question in the engine, with the id of its call. All that the engine answers is answered through it, so that an
/// answer to another question cannot be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked<Q> {
    /// The call that waits for the answer.
    pub id: CallId,
    /// The question.
    pub question: Q,
}

impl<Q: Question> Asked<Q> {
    /// The message that answers it.
    #[must_use]
    pub fn reply(&self, answer: Q::Answer) -> FromEngine {
        FromEngine::Reply { id: self.id, reply: Q::reply(answer) }
    }
}

//! Requests for vectors: cut into batches, of which a few are sent ahead, and put together again. An input that ends
//! engines fails its request.
//!
//! A plain table without a clock and without I/O; owned by the run loop. Each request holds one of [`MAX_REQUESTS`]
//! permits; one key has at most [`MAX_KEY_REQUESTS`]. Keys take turns, and so do the requests of a key. When an engine
//! dies, `blame` and `quarantine` decide if an input is computed again; while there are suspects, inputs are sent one
//! by one.

use super::{
    blame::{Aftermath, Fate, Gate, Stage, Work},
    error::{EmbeddingError, SubmitError},
    fingerprint::{Fingerprint, Fingerprints},
    quarantine::{Quarantine, log_refusal},
};
use crate::protocol::{CallId, EmbedBatch, EmbedError, EmbeddingInfo, Question, ToEngine, Token};
use std::collections::{BTreeMap, VecDeque};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Maximum number of requests that are open or wait; more are refused. The tokens of each take at most 1.2 MB of
/// memory.
pub(super) const MAX_REQUESTS: usize = 320;
/// Maximum number of these requests of one key, so that other keys find places.
pub(super) const MAX_KEY_REQUESTS: usize = MAX_REQUESTS / 2;
/// Maximum number of batches that the engine has at once.
const MAX_SENT: usize = 64;
/// Maximum number of batches of one request that the engine has at once: one to compute, and the next to follow at
/// once.
const MAX_AHEAD: usize = 2;

type VectorSender = oneshot::Sender<Result<Vec<Vec<f32>>, EmbeddingError>>;

/// The tokens of one input, which get one vector.
#[derive(Debug)]
struct Input {
    /// The input's index among the inputs of its request.
    index: usize,
    tokens: Vec<Token>,
    work: Work,
}

/// Inputs that are sent together.
#[derive(Debug)]
struct Batch {
    /// Number of the request that the inputs belong to.
    request: u64,
    inputs: Vec<Input>,
}

/// One request for vectors.
#[derive(Debug)]
pub(super) struct EmbedRequest {
    key: u64,
    /// Inputs that no engine has, in order.
    unsent: VecDeque<Input>,
    /// Maximum number of inputs and of tokens in a batch.
    limits: (usize, usize),
    /// Number of batches that the present engine has.
    sent: usize,
    /// The number of the request's last turn.
    served: u64,
    vectors: Vec<Vec<f32>>,
    reply: VectorSender,
    _permit: OwnedSemaphorePermit,
}

/// The caller of a request.
#[derive(Debug)]
pub(super) struct EmbedCaller {
    /// The caller's API key; keys take turns.
    pub(super) key: u64,
    /// The sender by which the caller gets the vectors.
    pub(super) reply: VectorSender,
    /// The request's permit, one of [`MAX_REQUESTS`].
    pub(super) permit: OwnedSemaphorePermit,
}

impl EmbedRequest {
    /// Creates a request that no engine has seen, for vectors of `inputs`. Each input is within the limits of `info`.
    pub(super) fn new(inputs: Vec<Vec<Token>>, info: &EmbeddingInfo, fingerprints: &Fingerprints, caller: EmbedCaller) -> Self {
        let vectors = vec![Vec::new(); inputs.len()];
        let input = |(index, tokens): (usize, Vec<Token>)| Input { index, work: Work::new(fingerprints.of_input(&tokens)), tokens };
        Self {
            key: caller.key,
            unsent: inputs.into_iter().enumerate().map(input).collect(),
            limits: (info.batch_inputs as usize, info.batch_tokens as usize),
            sent: 0,
            served: 0,
            vectors,
            reply: caller.reply,
            _permit: caller.permit,
        }
    }

    /// The caller's key.
    pub(super) fn key(&self) -> u64 {
        self.key
    }

    /// Fingerprints of the inputs that the engine does not have yet.
    pub(super) fn contents(&self) -> impl Iterator<Item = Fingerprint> {
        self.unsent.iter().map(|input| input.work.content)
    }

    /// Ends the request with `error`.
    pub(super) fn refuse(self, error: SubmitError) {
        answer(self.reply, Err(error.into()));
    }

    /// True if the engine may get a batch of this request.
    fn is_ready(&self) -> bool {
        self.sent < MAX_AHEAD && !self.unsent.is_empty()
    }

    /// Takes the inputs of the next batch: as many as fit into one, up to the first that the gate does not admit; a
    /// single input if the gate is not open.
    fn next_batch(&mut self, gate: &mut Gate<'_>) -> Vec<Input> {
        let mut inputs: Vec<Input> = Vec::new();
        let mut tokens = 0;
        let max_inputs = if gate.is_open() { self.limits.0 } else { 1 };
        while let Some(next) = self.unsent.front() {
            tokens += next.tokens.len();
            let is_full = !inputs.is_empty() && (inputs.len() >= max_inputs || tokens > self.limits.1);
            if is_full || !gate.admits(next.work) {
                break;
            }
            inputs.extend(self.unsent.pop_front());
        }
        inputs
    }
}

/// All open requests, oldest first, and the batches of them that the engine has.
#[derive(Debug, Default)]
pub(super) struct Embeds {
    open: BTreeMap<u64, EmbedRequest>,
    /// Batches that the engine has, by the number of the call.
    sent: BTreeMap<u64, Batch>,
    /// The number of the last turn of each key that has requests.
    served: BTreeMap<u64, u64>,
    turn: u64,
    next_request: u64,
    next_call: u64,
}

impl Embeds {
    /// True if no request is open.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Takes in a request, or ends it with `refusal` if its key has too many requests here. The request waits until
    /// [`Self::unsent`] sends its batches.
    pub(super) fn insert(&mut self, request: EmbedRequest, refusal: impl FnOnce() -> SubmitError) {
        self.open.retain(|_, request| !request.reply.is_closed());
        if self.open.values().filter(|open| open.key == request.key).count() >= MAX_KEY_REQUESTS {
            return request.refuse(refusal());
        }
        self.open.insert(self.next_request, request);
        self.next_request += 1;
    }

    /// Work of all inputs that the present engine has, and of those that it could be sent now: the first unsent input
    /// of each request, because a batch ends before a suspect.
    pub(super) fn works(&self) -> impl Iterator<Item = Work> {
        let has_place = self.sent.len() < MAX_SENT;
        let can_go = move |request: &&EmbedRequest| has_place && request.is_ready() && !request.reply.is_closed();
        let held = self.open.values().filter(can_go).filter_map(|request| request.unsent.front());
        self.sent.values().flat_map(|batch| &batch.inputs).chain(held).map(|input| input.work)
    }

    /// Takes the batches that the present engine gets next, as messages. Requests whose callers no longer wait are
    /// forgotten.
    pub(super) fn unsent(&mut self, gate: &mut Gate<'_>) -> Vec<ToEngine> {
        self.open.retain(|_, request| !request.reply.is_closed());
        let (open, served) = (&self.open, &mut self.served);
        served.retain(|key, _| open.values().any(|request| request.key == *key));
        let mut messages = Vec::new();
        while self.sent.len() < MAX_SENT {
            let handed_out = self.ready().into_iter().find_map(|number| self.hand_out(number, gate));
            match handed_out {
                Some(message) => messages.push(message),
                None => break,
            }
        }
        messages
    }

    /// Numbers of the requests of which the engine may get a batch, by turn.
    fn ready(&self) -> Vec<u64> {
        let ready = self.open.iter().filter(|(_, request)| request.is_ready());
        let turn_of = |request: &EmbedRequest| (self.served.get(&request.key).copied().unwrap_or(0), request.served);
        let mut turns: Vec<_> = ready.map(|(number, request)| (turn_of(request), *number)).collect();
        turns.sort_unstable();
        turns.into_iter().map(|(_, number)| number).collect()
    }

    /// Takes the next batch of a request as a message, if the gate admits one.
    fn hand_out(&mut self, number: u64, gate: &mut Gate<'_>) -> Option<ToEngine> {
        let request = self.open.get_mut(&number)?;
        let alone = !gate.is_open();
        let mut inputs = request.next_batch(gate);
        if inputs.is_empty() {
            return None;
        }
        self.turn += 1;
        request.served = self.turn;
        request.sent += 1;
        self.served.insert(request.key, self.turn);
        inputs.iter_mut().for_each(|input| input.work.stage = Stage::Waiting);
        let id = CallId(self.next_call);
        self.next_call += 1;
        let batch = EmbedBatch { inputs: inputs.iter().map(|input| input.tokens.clone()).collect(), alone };
        let message = ToEngine::Call { id, call: batch.into_call() };
        self.sent.insert(id.0, Batch { request: number, inputs });
        Some(message)
    }

    /// Records that the engine computes the batches of these calls next.
    pub(super) fn on_begun(&mut self, calls: &[CallId]) {
        for call in calls {
            if let Some(batch) = self.sent.get_mut(&call.0) {
                batch.inputs.iter_mut().for_each(|input| input.work.begin());
            }
        }
    }

    /// Takes in an answer. Inputs that have a vector are no suspects any more. An unknown call is no error: its caller
    /// may have stopped waiting.
    pub(super) fn on_embedded(&mut self, call: CallId, result: Result<Vec<Vec<f32>>, EmbedError>, quarantine: &mut Quarantine) {
        let Some(Batch { request: number, inputs }) = self.sent.remove(&call.0) else { return };
        if result.as_ref().is_ok_and(|vectors| vectors.len() == inputs.len()) {
            inputs.iter().for_each(|input| quarantine.acquit(input.work.content));
        }
        let Some(request) = self.open.get_mut(&number) else { return };
        request.sent -= 1;
        match result {
            Ok(vectors) if vectors.len() == inputs.len() => {
                for (input, vector) in inputs.iter().zip(vectors) {
                    if let Some(place) = request.vectors.get_mut(input.index) {
                        *place = vector;
                    }
                }
                if request.sent == 0
                    && request.unsent.is_empty()
                    && let Some(request) = self.open.remove(&number)
                {
                    answer(request.reply, Ok(request.vectors));
                }
            }
            Ok(_) => self.fail(number, EmbeddingError::EngineDied("it mixed up its answers".to_owned())),
            Err(error) => self.fail(number, error.into()),
        }
    }

    /// Records that an engine died: the inputs that it had are sent again by [`Self::unsent`], or fail with their
    /// request.
    pub(super) fn on_death(&mut self, after: &Aftermath<'_>) {
        // In reverse order, so that the inputs of a request are in order again.
        for batch in std::mem::take(&mut self.sent).into_values().rev() {
            let Some(request) = self.open.get_mut(&batch.request) else { continue };
            request.sent = 0;
            batch.inputs.into_iter().rev().for_each(|input| request.unsent.push_front(input));
        }
        let mut ended = Vec::new();
        for (number, request) in &mut self.open {
            let fates = request.unsent.iter_mut().map(|input| (input.work.on_death(after), input.work.content));
            match fates.max_by_key(|(fate, _)| (*fate == Fate::GivenUp, *fate == Fate::Refused)) {
                Some((Fate::Refused, content)) => {
                    log_refusal("embed", Some(*number), content);
                    ended.push((*number, SubmitError::Quarantined.into()));
                }
                Some((Fate::GivenUp, _)) => ended.push((*number, EmbeddingError::EngineDied(after.reason.to_owned()))),
                Some((Fate::Again, _)) | None => {}
            }
        }
        for (number, error) in ended {
            self.fail(number, error);
        }
    }

    /// Ends every request with `error`.
    pub(super) fn fail_all(&mut self, error: &SubmitError) {
        self.sent.clear();
        for request in std::mem::take(&mut self.open).into_values() {
            request.refuse(error.clone());
        }
    }

    fn fail(&mut self, number: u64, error: EmbeddingError) {
        if let Some(request) = self.open.remove(&number) {
            answer(request.reply, Err(error));
        }
    }
}

/// Answers a caller. Sending fails if the caller has stopped waiting; then nobody needs the result.
fn answer(reply: VectorSender, result: Result<Vec<Vec<f32>>, EmbeddingError>) {
    let _ = reply.send(result);
}

#[cfg(test)]
mod tests;

//! Requests for vectors: cut into batches, sent a few ahead, put together again; repeated once when an engine dies of them.
//!
//! A plain table without a clock and without I/O; owned by the run loop. Each request holds one of [`MAX_REQUESTS`] permits.

use super::handle::{EmbeddingError, SubmitError};
use crate::protocol::{CallId, EmbedError, EmbeddingInfo, ToEngine, Token};
use std::collections::{BTreeMap, VecDeque};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

/// Requests open at once; more wait for a permit. With `MAX_AHEAD` this bounds what is sent and not answered.
pub(super) const MAX_REQUESTS: usize = 64;
/// Requests that may wait for a permit; more are refused. Their tokens are in memory, 1.2 MB each at most.
pub(super) const MAX_WAITING_REQUESTS: usize = 256;
/// Batches of a request that the engine has at once: one to compute and one so that it need not wait for the next.
const MAX_AHEAD: usize = 2;
/// Engines that may die while they compute a batch before its request is given up: it is repeated once.
const MAX_ATTEMPTS: u32 = 2;

type Reply = oneshot::Sender<Result<Vec<Vec<f32>>, EmbeddingError>>;

/// Inputs that are sent together.
#[derive(Debug)]
struct Batch {
    /// Index of the first of them in the request.
    first: usize,
    inputs: Vec<Vec<Token>>,
    /// Engines that died while they computed this.
    deaths: u32,
    /// Whether the present engine has begun with it.
    begun: bool,
}

/// One request.
#[derive(Debug)]
pub(super) struct EmbedRequest {
    /// What no engine has, in order.
    unsent: VecDeque<Batch>,
    /// Batches that the present engine has.
    sent: usize,
    vectors: Vec<Vec<f32>>,
    reply: Reply,
    _permit: OwnedSemaphorePermit,
}

impl EmbedRequest {
    /// A request that no engine has seen: vectors of `inputs`, each of them within the limits of `info`.
    pub(super) fn new(inputs: Vec<Vec<Token>>, info: &EmbeddingInfo, reply: Reply, permit: OwnedSemaphorePermit) -> Self {
        Self { sent: 0, vectors: vec![Vec::new(); inputs.len()], unsent: batches(inputs, info), reply, _permit: permit }
    }
}

/// Cuts inputs into batches that fit the engine's.
fn batches(inputs: Vec<Vec<Token>>, info: &EmbeddingInfo) -> VecDeque<Batch> {
    let (most_inputs, most_tokens) = (info.batch_inputs as usize, info.batch_tokens as usize);
    let mut batches: VecDeque<Batch> = VecDeque::new();
    let mut tokens = 0;
    for (index, input) in inputs.into_iter().enumerate() {
        tokens += input.len();
        match batches.back_mut() {
            Some(batch) if batch.inputs.len() < most_inputs && tokens <= most_tokens => batch.inputs.push(input),
            _ => {
                tokens = input.len();
                batches.push_back(Batch { first: index, inputs: vec![input], deaths: 0, begun: false });
            }
        }
    }
    batches
}

/// All open requests, oldest first, and which batches of them the engine has.
#[derive(Debug, Default)]
pub(super) struct Embeds {
    open: BTreeMap<u64, EmbedRequest>,
    /// By call; with the number of its request.
    sent: BTreeMap<u64, (u64, Batch)>,
    next_request: u64,
    next_call: u64,
}

impl Embeds {
    /// Whether none is open.
    pub(super) fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Takes in a request. It waits until [`Self::unsent`] hands out its batches.
    pub(super) fn insert(&mut self, request: EmbedRequest) {
        self.open.insert(self.next_request, request);
        self.next_request += 1;
    }

    /// What the present engine is to be asked next; requests whose callers went away are forgotten.
    pub(super) fn unsent(&mut self) -> Vec<ToEngine> {
        self.open.retain(|_, request| !request.reply.is_closed());
        let mut messages = Vec::new();
        for (number, request) in &mut self.open {
            while request.sent < MAX_AHEAD {
                let Some(batch) = request.unsent.pop_front() else { break };
                let call = CallId(self.next_call);
                messages.push(ToEngine::Embed { call, inputs: batch.inputs.clone(), alone: batch.deaths > 0 });
                self.sent.insert(call.0, (*number, batch));
                self.next_call += 1;
                request.sent += 1;
            }
        }
        messages
    }

    /// The engine computes these next.
    pub(super) fn on_begun(&mut self, calls: &[CallId]) {
        for call in calls {
            if let Some((_, batch)) = self.sent.get_mut(&call.0) {
                batch.begun = true;
            }
        }
    }

    /// Takes an answer. An unknown call is no error: its caller may have gone away.
    pub(super) fn on_embedded(&mut self, call: CallId, result: Result<Vec<Vec<f32>>, EmbedError>) {
        let Some((number, batch)) = self.sent.remove(&call.0) else { return };
        let Some(request) = self.open.get_mut(&number) else { return };
        request.sent -= 1;
        match result {
            Ok(vectors) if vectors.len() == batch.inputs.len() => {
                for (place, vector) in request.vectors.iter_mut().skip(batch.first).zip(vectors) {
                    *place = vector;
                }
                if request.sent == 0
                    && request.unsent.is_empty()
                    && let Some(request) = self.open.remove(&number)
                {
                    answer(request.reply, Ok(request.vectors));
                }
            }
            Ok(_) => self.fail(number, EmbedError::EngineDied("it mixed up its answers".to_owned()).into()),
            Err(error) => self.fail(number, error.into()),
        }
    }

    /// The engine died of `reason`: what it had is handed out again by [`Self::unsent`], or fails if it was the second to die
    /// while it computed it.
    pub(super) fn on_death(&mut self, reason: &str) {
        // Backwards, so that the batches of a request are in order again.
        for (_, (number, mut batch)) in std::mem::take(&mut self.sent).into_iter().rev() {
            batch.deaths += u32::from(batch.begun);
            batch.begun = false;
            if batch.deaths >= MAX_ATTEMPTS {
                self.fail(number, EmbedError::EngineDied(reason.to_owned()).into());
            } else if let Some(request) = self.open.get_mut(&number) {
                request.sent = 0;
                request.unsent.push_front(batch);
            }
        }
    }

    /// Ends every request with `error`.
    pub(super) fn fail_all(&mut self, error: &SubmitError) {
        self.sent.clear();
        for request in std::mem::take(&mut self.open).into_values() {
            answer(request.reply, Err(error.clone().into()));
        }
    }

    fn fail(&mut self, number: u64, error: EmbeddingError) {
        if let Some(request) = self.open.remove(&number) {
            answer(request.reply, Err(error));
        }
    }
}

/// Answers a caller, who may have gone away meanwhile: then nobody wants to know.
fn answer(reply: Reply, result: Result<Vec<Vec<f32>>, EmbeddingError>) {
    let _ = reply.send(result);
}

#[cfg(test)]
mod tests;

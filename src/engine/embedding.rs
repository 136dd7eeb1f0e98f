//! The engine thread of an embedding model: it drains calls, fills a batch, computes it and answers.
//!
//! Calls are computed in the order of their arrival, as many at a time as fit one batch. The gateway sends calls of at
//! most one batch, and few of them ahead. So a caller that disconnects costs a batch or two, and nobody waits long for
//! a large request of others. Owns the embedder. A batch counts as a step for the gateway's heartbeat.

use super::{
    commands::{Disconnected, StepProgress},
    embedder::Embedder,
    runner::StepError,
};
use crate::protocol::{Asked, EmbedBatch, EmbedError, EngineGauges, EngineStats, EngineTotals, FromEngine, StepReport, Token};
use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::Ordering,
        mpsc::{Receiver, SyncSender, TryRecvError},
    },
};

/// Number of tokens of all inputs of a call.
fn tokens(call: &Asked<EmbedBatch>) -> usize {
    call.question.inputs.iter().map(Vec::len).sum()
}

/// The engine thread's state. Its queue is bounded by the gateway, which sends few calls before it has their answers.
pub(super) struct EmbeddingWorker<'a> {
    embedder: &'a mut dyn Embedder,
    waiting: VecDeque<Asked<EmbedBatch>>,
    outbox: SyncSender<FromEngine>,
    progress: Arc<StepProgress>,
    /// Number of tokens computed so far.
    rows: u64,
}

impl<'a> EmbeddingWorker<'a> {
    /// A worker without calls.
    pub(super) fn new(embedder: &'a mut dyn Embedder, outbox: SyncSender<FromEngine>, progress: Arc<StepProgress>) -> Self {
        Self { embedder, waiting: VecDeque::new(), outbox, progress, rows: 0 }
    }

    /// Works until the gateway hangs up.
    pub(super) fn run(mut self, calls: &Receiver<Asked<EmbedBatch>>) {
        while self.turn(calls).is_ok() {}
    }

    /// One turn: takes every call that has come, then computes at most one batch; without a batch it waits for a call.
    fn turn(&mut self, calls: &Receiver<Asked<EmbedBatch>>) -> Result<(), Disconnected> {
        loop {
            match calls.try_recv() {
                Ok(call) => self.take(call)?,
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return Err(Disconnected),
            }
        }
        let batch = self.next_batch();
        if batch.is_empty() {
            self.progress.busy.store(false, Ordering::Relaxed);
            let call = calls.recv().map_err(|_| Disconnected)?;
            return self.take(call);
        }
        self.progress.busy.store(true, Ordering::Relaxed);
        self.send(FromEngine::Embedding(batch.iter().map(|call| call.id).collect()))?;
        let answers = self.compute(&batch);
        for (call, result) in batch.iter().zip(answers) {
            self.send(call.reply(result))?;
        }
        self.report()
    }

    /// Queues a call, or refuses it.
    fn take(&mut self, call: Asked<EmbedBatch>) -> Result<(), Disconnected> {
        match self.check(&call) {
            Ok(()) => {
                self.waiting.push_back(call);
                Ok(())
            }
            Err(error) => self.send(call.reply(Err(error))),
        }
    }

    /// Checks the conditions of [`Embedder::embed`]. A breach is the gateway's bug, and must not reach llama.cpp.
    fn check(&self, call: &Asked<EmbedBatch>) -> Result<(), EmbedError> {
        let limits = self.embedder.limits();
        let invalid = |what: &str| Err(EmbedError::Invalid(what.to_owned()));
        if call.question.inputs.is_empty() || call.question.inputs.len() > limits.batch_inputs as usize {
            return invalid("there are no inputs, or more than a batch holds");
        }
        if call.question.inputs.iter().any(|input| input.is_empty() || input.len() > limits.max_input as usize) {
            return invalid("an input is empty or too long");
        }
        if call.question.inputs.len() > 1 && tokens(call) > limits.batch_tokens as usize {
            return invalid("the inputs do not fit one batch");
        }
        if call.question.inputs.iter().flatten().any(|token| token.0 >= limits.vocabulary_size) {
            return invalid("a token id is outside the vocabulary");
        }
        Ok(())
    }

    /// Takes the oldest call and those after it that fit the same batch.
    fn next_batch(&mut self) -> Vec<Asked<EmbedBatch>> {
        let limits = self.embedder.limits();
        let mut batch: Vec<Asked<EmbedBatch>> = Vec::new();
        let (mut inputs, mut tokens) = (0, 0);
        while let Some(next) = self.waiting.front() {
            inputs += next.question.inputs.len();
            tokens += self::tokens(next);
            let fits = inputs <= limits.batch_inputs as usize && tokens <= limits.batch_tokens as usize;
            let apart = next.question.alone || batch.last().is_some_and(|last| last.question.alone);
            if !batch.is_empty() && (apart || !fits) {
                break;
            }
            batch.extend(self.waiting.pop_front());
        }
        batch
    }

    /// Computes the answers to these calls. If a batch fails, its inputs are tried one by one, so that one bad input
    /// fails alone.
    fn compute(&mut self, batch: &[Asked<EmbedBatch>]) -> Vec<Result<Vec<Vec<f32>>, EmbedError>> {
        let inputs: Vec<&[Token]> = batch.iter().flat_map(|call| &call.question.inputs).map(Vec::as_slice).collect();
        let mut vectors: VecDeque<Result<Vec<f32>, EmbedError>> = match self.step(&inputs) {
            Ok(vectors) => vectors.into_iter().map(Ok).collect(),
            Err(error) if inputs.len() == 1 => [Err(error)].into(),
            Err(error) => {
                tracing::warn!(inputs = inputs.len(), %error, "a batch failed; its inputs are tried one by one");
                inputs.iter().map(|input| Ok(self.step(&[input])?.pop().unwrap_or_default())).collect()
            }
        };
        batch.iter().map(|call| vectors.drain(..call.question.inputs.len()).map(finite).collect()).collect()
    }

    /// Computes one batch and counts it.
    fn step(&mut self, inputs: &[&[Token]]) -> Result<Vec<Vec<f32>>, EmbedError> {
        let computed = self.embedder.embed(inputs).map_err(|error| match error {
            StepError::Decode { code } => EmbedError::Decode { code },
            // The context was opened with room for a whole batch, so this is a breach of the limits.
            StepError::NoKvSpace | StepError::NotLoaded(_) => EmbedError::Invalid("the batch does not fit the context".to_owned()),
        });
        self.progress.steps.fetch_add(1, Ordering::Relaxed);
        let rows: usize = inputs.iter().map(|input| input.len()).sum();
        self.rows += u64::try_from(rows).unwrap_or(0);
        computed
    }

    /// Reports the counts to the gateway.
    fn report(&self) -> Result<(), Disconnected> {
        let gauges = EngineGauges { waiting: u32::try_from(self.waiting.len()).unwrap_or(u32::MAX), ..EngineGauges::default() };
        let steps = self.progress.steps.load(Ordering::Relaxed);
        let totals = EngineTotals { steps, prefill_rows: self.rows, ..EngineTotals::default() };
        self.send(FromEngine::Step(StepReport { outputs: Vec::new(), stats: EngineStats { gauges, totals } }))
    }

    fn send(&self, message: FromEngine) -> Result<(), Disconnected> {
        self.outbox.send(message).map_err(|_| Disconnected)
    }
}

fn finite(vector: Result<Vec<f32>, EmbedError>) -> Result<Vec<f32>, EmbedError> {
    vector.and_then(|vector| if vector.iter().all(|number| number.is_finite()) { Ok(vector) } else { Err(EmbedError::NotFinite) })
}

#[cfg(test)]
mod tests;

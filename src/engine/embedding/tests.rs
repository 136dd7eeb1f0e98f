//! The worker with a fake embedder: the batches that it makes, the answers that it gives, and the inputs that fail
//! alone.

use super::*;
use crate::engine::embedder::EmbedLimits;
use crate::protocol::{CallId, EngineReply};
use std::sync::mpsc::{channel, sync_channel};

/// An embedder whose vector for an input is the input's length. Token 13 makes a batch fail, token 7 gives a vector
/// that is not finite.
#[derive(Default)]
struct FakeEmbedder {
    /// The lengths of the inputs of each batch.
    batches: Vec<Vec<usize>>,
}

impl Embedder for FakeEmbedder {
    fn limits(&self) -> EmbedLimits {
        EmbedLimits { max_input: 20, batch_tokens: 10, batch_inputs: 3, vocabulary_size: 100, dimensions: 1 }
    }

    fn embed(&mut self, inputs: &[&[Token]]) -> Result<Vec<Vec<f32>>, StepError> {
        self.batches.push(inputs.iter().map(|input| input.len()).collect());
        if inputs.iter().copied().flatten().any(|token| token.0 == 13) {
            return Err(StepError::Decode { code: -3 });
        }
        Ok(inputs.iter().map(|input| vec![if input[0].0 == 7 { f32::NAN } else { input.len() as f32 }]).collect())
    }
}

type Vectors = Result<Vec<Vec<f32>>, EmbedError>;

fn embed(call: u64, inputs: &[Vec<u32>], alone: bool) -> Asked<EmbedBatch> {
    let inputs = inputs.iter().map(|input| input.iter().map(|id| Token(*id)).collect()).collect();
    Asked { id: CallId(call), question: EmbedBatch { inputs, alone } }
}

/// Lets a worker compute these calls until nothing is left. Returns its batches, its messages without the step reports,
/// and its last counts.
fn work(calls: Vec<Asked<EmbedBatch>>) -> (Vec<Vec<usize>>, Vec<FromEngine>, EngineStats) {
    let mut embedder = FakeEmbedder::default();
    let (outbox, said) = sync_channel(1000);
    let (sender, inbox) = channel();
    calls.into_iter().for_each(|call| sender.send(call).unwrap());
    let mut worker = EmbeddingWorker::new(&mut embedder, outbox, Arc::default());
    while let Ok(call) = inbox.try_recv() {
        assert!(worker.take(call).is_ok());
    }
    // With an empty queue a turn would wait for a call, and with a disconnected one it would end before its batch.
    while !worker.waiting.is_empty() {
        assert!(worker.turn(&inbox).is_ok());
    }
    drop(sender);
    assert!(worker.turn(&inbox).is_err(), "it ends with the gateway");
    drop(worker);
    let mut stats = EngineStats::default();
    let said = said.iter().filter(|message| match message {
        FromEngine::Step(report) if report.outputs.is_empty() => {
            stats = report.stats;
            false
        }
        _ => true,
    });
    let said = said.collect();
    (embedder.batches, said, stats)
}

fn answers(said: &[FromEngine]) -> Vec<(u64, Vectors)> {
    let answer = |message: &FromEngine| match message {
        FromEngine::Reply { id, reply: EngineReply::Embed(result) } => Some((id.0, result.clone())),
        _ => None,
    };
    said.iter().filter_map(answer).collect()
}

#[test]
fn calls_that_fit_together_are_one_batch_in_the_order_of_their_arrival() {
    let commands = vec![
        embed(1, &[vec![1; 4]], false),
        embed(2, &[vec![1; 3], vec![1; 3]], false),
        embed(3, &[vec![1; 1]], false),
        embed(4, &[vec![1; 20]], false),
    ];

    let (batches, said, stats) = work(commands);

    assert_eq!(batches, [vec![4, 3, 3], vec![1], vec![20]]);
    assert_eq!(said[0], FromEngine::Embedding(vec![CallId(1), CallId(2)]), "said before it is computed");
    let expected = [(1, Ok(vec![vec![4.0]])), (2, Ok(vec![vec![3.0], vec![3.0]])), (3, Ok(vec![vec![1.0]])), (4, Ok(vec![vec![20.0]]))];
    assert_eq!(answers(&said), expected);
    assert_eq!((stats.totals.steps, stats.totals.prefill_rows, stats.gauges.waiting), (3, 31, 0));
}

#[test]
fn a_suspect_is_computed_alone() {
    let (batches, ..) = work(vec![embed(1, &[vec![1]], false), embed(2, &[vec![1, 1]], true), embed(3, &[vec![1, 1, 1]], false)]);

    assert_eq!(batches, [[1], [2], [3]]);
}

#[test]
fn an_input_that_the_model_cannot_compute_fails_without_its_neighbours() {
    let (batches, said, _) = work(vec![embed(1, &[vec![1]], false), embed(2, &[vec![13]], false), embed(3, &[vec![7, 1]], false)]);

    assert_eq!(batches, [vec![1, 1, 2], vec![1], vec![1], vec![2]]);
    let expected = [(1, Ok(vec![vec![1.0]])), (2, Err(EmbedError::Decode { code: -3 })), (3, Err(EmbedError::NotFinite))];
    assert_eq!(answers(&said), expected);
}

#[test]
fn what_breaks_the_promises_is_refused_and_never_computed() {
    let too_much: [&[Vec<u32>]; 6] =
        [&[], &[vec![]], &[vec![1; 21]], &[vec![1; 6], vec![1; 5]], &[vec![1], vec![1], vec![1], vec![1]], &[vec![100]]];
    let commands = (0..).zip(too_much).map(|(call, inputs)| embed(call, inputs, false)).collect();

    let (batches, said, _) = work(commands);

    assert!(batches.is_empty());
    assert!(answers(&said).iter().all(|(_, result)| matches!(result, Err(EmbedError::Invalid(_)))), "{said:?}");
    assert_eq!(said.len(), 6);
}

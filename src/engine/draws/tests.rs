//! Draws by one thread and by several, with wrong drafts and with missing logits.

use super::*;
use crate::engine::runner::Slot;
use crate::protocol::{SamplingParams, SequenceId, SequenceRequest, SpecialText, TextError};

const STACK: usize = 1 << 20;

/// A vocabulary without texts.
struct Silent(u32);

impl Tokenizer for Silent {
    fn encode(&self, _: &str, _: bool, _: &SpecialText) -> Result<Vec<Token>, TextError> {
        Ok(Vec::new())
    }

    fn piece(&self, _: Token, _: bool) -> &[u8] {
        b""
    }

    fn is_eog(&self, _: Token) -> bool {
        false
    }

    fn vocabulary_size(&self) -> u32 {
        self.0
    }
}

impl Pieces for Silent {
    fn piece(&self, _: Token) -> &[u8] {
        b""
    }
}

fn drawers(threads: u32) -> Drawers {
    let pieces: Arc<dyn Pieces> = Arc::new(Silent(1));
    Drawers::new(threads, STACK, &pieces)
}

/// A row of the sequence `seq` that wants logits.
fn row(seq: u64, pos: u32, token: u32) -> Row {
    Row { seq: SequenceId(seq), slot: Slot(0), pos, token: Token(token), sample: true }
}

fn generation(seed: u64) -> GenerationState {
    let sampling = SamplingParams { temperature: 1.0, top_p: 0.9, seed, ..SamplingParams::default() };
    let request = SequenceRequest { prompt: vec![Token(0)], max_tokens: 1000, sampling, ..SequenceRequest::default() };
    GenerationState::new(&request, None, &Silent(1))
}

/// Logits without a particular shape.
fn logits(vocabulary: u32, seed: u32) -> Vec<f32> {
    (0..vocabulary).map(|token| (token.wrapping_mul(2_654_435_761).wrapping_add(seed * 97) >> 8) as f32 / 1e6).collect()
}

/// The tokens that `steps` steps of `sequences` sequences with one row each give, and the time of the fastest step.
fn tokens(drawers: &mut Drawers, sequences: u64, vocabulary: u32, steps: u32) -> (Vec<Vec<Token>>, std::time::Duration) {
    let silent = Silent(vocabulary);
    let mut generations: Vec<GenerationState> = (0..sequences).map(generation).collect();
    let mut said = vec![Vec::new(); generations.len()];
    let mut took = std::time::Duration::MAX;
    for step in 0..steps {
        let rows: Vec<[Row; 1]> = (0..sequences).map(|seq| [row(seq, step, 0)]).collect();
        let logits: Vec<Vec<f32>> = (0..4).map(|seed| logits(vocabulary, step + seed)).collect();
        let of =
            |(index, generation): (usize, GenerationState)| Draw { rows: &rows[index], logits: vec![Some(&logits[index % 4])], generation };
        let draws = generations.drain(..).enumerate().map(of).collect();
        let begun = Instant::now();
        let drawn = drawers.draw(draws, &silent);
        took = took.min(begun.elapsed());
        for (said, drawn) in said.iter_mut().zip(drawn) {
            said.extend(drawn.sampled.unwrap().tokens);
            generations.push(drawn.generation);
        }
    }
    (said, took)
}

#[test]
fn what_is_drawn_does_not_depend_on_how_many_threads_draw() {
    let mut shared = drawers(3);
    shared.draw_seconds = 1.0;

    assert_eq!(tokens(&mut shared, 7, 300, 20).0, tokens(&mut drawers(1), 7, 300, 20).0);
}

#[test]
fn only_what_takes_long_enough_is_shared() {
    let mut drawers = drawers(2);
    assert!(!drawers.is_worth_sharing(1000), "nothing is known yet");
    tokens(&mut drawers, 4, 300, 1);
    assert!(drawers.draw_seconds > 0.0);

    drawers.draw_seconds = 40e-6;
    assert_eq!([1, 2, 3].map(|draws| drawers.is_worth_sharing(draws)), [false, false, true]);
    drawers.draw_seconds = 1.0;
    assert!(!drawers.is_worth_sharing(1));
}

#[test]
fn draws_stop_where_a_draft_is_wrong() {
    let one_likely = |token: usize| (0..10).map(|id| if id == token { 50.0 } else { 0.0 }).collect::<Vec<f32>>();
    let (rows, behind) = ([row(1, 0, 9), row(1, 1, 3), row(1, 2, 4)], [one_likely(3), one_likely(5), one_likely(6)]);
    let draw = Draw { rows: &rows, logits: behind.iter().map(|row| Some(&row[..])).collect(), generation: generation(1) };

    let drawn = drawers(1).draw(vec![draw], &Silent(10)).pop().unwrap();

    assert_eq!(drawn.output.tokens, [Token(3), Token(5)]);
    assert_eq!(drawn.output.drafts, Drafts { accepted: 1, rejected: 1 });
    assert_eq!(drawn.sampled.map(|sampled| (sampled.tokens, sampled.finished)), Some((vec![Token(3), Token(5)], false)));
}

#[test]
fn a_row_without_the_logits_that_it_asked_for_ends_its_sequence() {
    let drawn = drawers(1).draw(vec![Draw { rows: &[row(1, 0, 9)], logits: vec![None], generation: generation(1) }], &Silent(10));

    assert_eq!(drawn[0].output.finish, Some(Finish::Failed(GenerationError::Decode { code: -1 })));
    assert!(drawn[0].sampled.as_ref().is_some_and(|sampled| sampled.finished));
}

/// Run by hand: `cargo test --release --lib draws::tests -- --ignored --nocapture`.
#[test]
#[ignore = "prints figures; nothing to assert"]
fn what_64_draws_of_top_p_take() {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    for threads in [1, u32::try_from(cores).unwrap()] {
        let (_, took) = tokens(&mut drawers(threads), 64, 128_256, 20);
        println!("{threads} threads: {took:?}");
    }
}

//! Guessing ahead changes no token: a whole engine with guesses from the text, from a prediction and from a draft model
//! is compared with the same engine without guesses.

use crate::{
    model::{MARGIN, model_path, small_options},
    support::{
        driver::{limits, prompt},
        fake_runner::{FakeRunner, FakeTokenizer, VOCABULARY_SIZE, continuation},
        thread_engine::info,
    },
};
use llamero::{
    engine::{
        runner::{Limits, ModelRunner, StepError, Tokenizer},
        serve::{EngineModel, Host, Opened, serve},
    },
    llama::{GeneratingModel, load_generating},
    protocol::{
        Drafts, EngineOptions, EngineStats, Finish, FromEngine, LoadError, PROTOCOL_VERSION, SamplingParams, SequenceId, SequenceOutput,
        SequenceRequest, SpecialText, ToEngine, Token, read_frame, write_frame,
    },
};
use proptest::prelude::*;
use std::{collections::BTreeMap, os::unix::net::UnixStream, path::PathBuf, sync::Arc, thread};

fn options(num_speculative_tokens: u32, draft_model: Option<PathBuf>) -> EngineOptions {
    EngineOptions { draft_model, num_speculative_tokens, ..small_options(model_path().unwrap_or_default()) }
}

/// Opens the fake model, and a draft model if there is one.
struct Fake {
    draft: Option<FakeRunner>,
}

fn fake_limits() -> Limits {
    Limits { vocabulary_size: VOCABULARY_SIZE, ..limits(4, 128, 512) }
}

impl Host for Fake {
    fn open(self, options: &EngineOptions, _: Box<dyn FnMut(f32)>, body: &mut dyn FnMut(Opened<'_>)) -> Result<(), LoadError> {
        let (mut runner, mut draft) = (FakeRunner::new(fake_limits()), self.draft);
        let draft = draft.as_mut().map(|runner| -> &mut dyn ModelRunner { runner });
        let model = EngineModel::Generates { runner: &mut runner, draft };
        body(Opened { model, tokenizer: Arc::new(FakeTokenizer::default()), info: info(&fake_limits(), options) });
        Ok(())
    }

    fn program(&self) -> PathBuf {
        PathBuf::from(env!("CARGO_BIN_EXE_llamero"))
    }
}

/// Opens the real model, and the same model as its draft model if one is asked for.
struct Real;

impl Host for Real {
    fn open(self, options: &EngineOptions, progress: Box<dyn FnMut(f32)>, body: &mut dyn FnMut(Opened<'_>)) -> Result<(), LoadError> {
        let loaded = load_generating(options, progress)?;
        let mut runner = loaded.runner()?;
        let info = loaded.info(&runner);
        let mut draft = options.draft_model.as_ref().map(|_| loaded.runner()).transpose()?;
        let draft = draft.as_mut().map(|runner| -> &mut dyn ModelRunner { runner });
        body(Opened { model: EngineModel::Generates { runner: &mut runner, draft }, tokenizer: loaded.tokenizer(), info });
        Ok(())
    }

    fn program(&self) -> PathBuf {
        PathBuf::from(env!("CARGO_BIN_EXE_llamero"))
    }
}

/// The joined outputs of an engine for its sequences, and its last statistics.
fn generate(host: impl Host, options: EngineOptions, requests: &[SequenceRequest]) -> (BTreeMap<u64, SequenceOutput>, EngineStats) {
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    let engine = thread::spawn(move || serve(theirs, host));
    write_frame(&mut ours, &ToEngine::Load { version: PROTOCOL_VERSION, options: Box::new(options) }).unwrap();
    for request in requests {
        write_frame(&mut ours, &ToEngine::Submit(Box::new(request.clone()))).unwrap();
    }
    let mut outputs: BTreeMap<u64, SequenceOutput> = BTreeMap::new();
    let mut stats = EngineStats::default();
    while outputs.values().filter(|output| output.finish.is_some()).count() < requests.len() {
        match read_frame(&mut ours).unwrap() {
            FromEngine::Step(report) => {
                stats = report.stats;
                for output in report.outputs {
                    add(outputs.entry(output.id.0).or_insert_with(|| SequenceOutput::empty(output.id)), output);
                }
            }
            FromEngine::LoadFailed(error) => panic!("{error}"),
            _ => {}
        }
    }
    drop(ours);
    engine.join().unwrap().unwrap();
    (outputs, stats)
}

fn add(sum: &mut SequenceOutput, news: SequenceOutput) {
    sum.tokens.extend(news.tokens);
    sum.text.push_str(&news.text);
    sum.logprobs.extend(news.logprobs);
    sum.drafts.accepted += news.drafts.accepted;
    sum.drafts.rejected += news.drafts.rejected;
    sum.finish = news.finish;
}

fn request(id: u64, prompt: Vec<Token>, max_tokens: u32, temperature: f32) -> SequenceRequest {
    let sampling = SamplingParams { temperature, seed: 7 + id, ..SamplingParams::default() };
    SequenceRequest { id: SequenceId(id), prompt, max_tokens, sampling, ..SequenceRequest::default() }
}

/// The parts of an output that must be the same with and without guesses.
fn said(output: &SequenceOutput) -> (&[Token], &str, usize, &Option<Finish>) {
    (&output.tokens, &output.text, output.logprobs.len(), &output.finish)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn sequences_say_the_same_with_guesses_of_any_kind(
        sequences in proptest::collection::vec((0u32..9, 1u32..40, 1u32..120, any::<bool>(), any::<bool>(), 0usize..60), 1..7),
        most in 1u32..12,
        failing in prop::option::of(0u64..20),
    ) {
        let sequences: Vec<SequenceRequest> = (0..).zip(&sequences).map(|(id, &(seed, len, max_tokens, drawn, logprobs, predicted))| {
            let tokens = prompt(seed, len);
            // A prediction that is right up to a point, where another text begins.
            let mut prediction = continuation(&tokens, max_tokens);
            prediction.truncate(predicted);
            prediction.extend(prompt(seed + 1, 9));
            let drawn = SequenceRequest { prediction, ..request(id, tokens, max_tokens, if drawn { 1.0 } else { 0.0 }) };
            SequenceRequest { logprobs: logprobs.then_some(2), ..drawn }
        }).collect();

        let (alone, _) = generate(Fake { draft: None }, options(0, None), &sequences);
        let (guessed, _) = generate(Fake { draft: None }, options(most, None), &sequences);
        let draft = failing.map_or_else(|| FakeRunner::new(fake_limits()), |step| FakeRunner::new(fake_limits()).fail_step(step, StepError::Decode { code: 2 }));
        let (drafted, _) = generate(Fake { draft: Some(draft) }, options(most, None), &sequences);

        for (id, output) in &alone {
            prop_assert_eq!(output.drafts, Drafts::default());
            prop_assert_eq!(said(&guessed[id]), said(output), "guesses from the text, {}", id);
            prop_assert_eq!(&guessed[id].logprobs, &output.logprobs);
            prop_assert_eq!(said(&drafted[id]), said(output), "a draft model, {}", id);
            prop_assert_eq!(&drafted[id].logprobs, &output.logprobs);
        }
    }
}

#[test]
fn a_request_that_is_to_be_repeatable_is_computed_without_guesses() {
    let prompt = talkative();
    let mut request = SequenceRequest { prediction: continuation(&prompt, 200), ..request(1, prompt, 200, 0.0) };
    request.sampling.repeatable = true;

    for draft in [None, Some(FakeRunner::new(fake_limits()))] {
        let (outputs, stats) = generate(Fake { draft }, options(8, None), std::slice::from_ref(&request));

        assert_eq!((&outputs[&1].tokens, stats.totals.draft_rows), (&request.prediction, 0));
    }
}

/// The first prompt with a long continuation.
fn talkative() -> Vec<Token> {
    (0..).map(|seed| prompt(seed, 20)).find(|prompt| continuation(prompt, 200).len() == 200).unwrap()
}

#[test]
fn a_draft_model_that_knows_saves_steps_and_the_counts_say_so() {
    let draft = Some(FakeRunner::new(fake_limits()));
    let request = request(1, talkative(), 200, 0.0);

    let (outputs, stats) = generate(Fake { draft }, options(8, None), std::slice::from_ref(&request));

    assert_eq!(outputs[&1].tokens, continuation(&request.prompt, 200));
    let drafts = outputs[&1].drafts;
    // The number of guesses that are worth making depends on the step times of this machine; some are always made as a
    // test.
    assert!(drafts.accepted > 0 && drafts.rejected == 0, "{drafts:?}");
    assert_eq!((u64::from(drafts.accepted), u64::from(drafts.accepted)), (stats.totals.drafts_accepted, stats.totals.draft_rows));
    assert!(stats.totals.steps < 200, "{stats:?}");
}

#[test]
fn a_prediction_that_is_right_saves_steps() {
    let prompt = talkative();
    let request = SequenceRequest { prediction: continuation(&prompt, 200), ..request(1, prompt, 200, 0.0) };

    let (outputs, stats) = generate(Fake { draft: None }, options(8, None), std::slice::from_ref(&request));

    assert_eq!(outputs[&1].tokens, request.prediction);
    assert!(outputs[&1].drafts.accepted > 0 && stats.totals.steps < 200, "{stats:?}");
}

// === The real model ===

/// Asserts that a text is the same as alone, up to the first place where two tokens are equally likely within a batch's
/// rounding.
fn assert_near(alone: &SequenceOutput, guessed: &SequenceOutput) {
    let differs = alone.tokens.iter().zip(&guessed.tokens).position(|(a, b)| a != b);
    let Some(place) = differs else { return assert_eq!(alone.tokens.len(), guessed.tokens.len()) };
    let top = &alone.logprobs[place].top;
    assert!(top[0].logprob - top[1].logprob < MARGIN, "token {place}: {top:?}");
}

#[test]
fn a_real_model_says_the_same_when_it_guesses_from_the_text_or_drafts_for_itself() {
    let Some(path) = model_path() else { return };
    let loaded: GeneratingModel = load_generating(&options(0, None), |_| {}).unwrap();
    let encode = |text: &str| loaded.tokenizer().encode(text, false, &SpecialText::Recognised).unwrap();
    let texts =
        ["one two three four one two three four one two three four one two", "def add(a, b):\n    return a + b\n\ndef add(a, b):\n    ret"];
    let requests: Vec<SequenceRequest> =
        (0..).zip(texts).map(|(id, text)| SequenceRequest { logprobs: Some(2), ..request(id, encode(text), 48, 0.0) }).collect();

    let (alone, _) = generate(Real, options(0, None), &requests);
    let (guessed, from_text) = generate(Real, options(8, None), &requests);
    let (drafted, by_itself) = generate(Real, options(8, Some(path)), &requests);

    for id in alone.keys() {
        assert_near(&alone[id], &guessed[id]);
        assert_near(&alone[id], &drafted[id]);
    }
    // The number of guesses that are worth making depends on the clock; the first ones are always made.
    assert!(from_text.totals.drafts_accepted > 0, "the texts repeat: {from_text:?}");
    assert!(
        by_itself.totals.drafts_accepted > 0 && 4 * by_itself.totals.drafts_accepted >= 3 * by_itself.totals.draft_rows,
        "it knows itself: {by_itself:?}"
    );
}

//! The engine loop without a worker: scheduler and fake runner, greedy sampling, and checks after every step.

use super::fake_runner::{EOG, FakeRunner, continuation};
use llamero::engine::runner::{Limits, ModelRunner, Step, SwapLimits};
use llamero::engine::scheduler::{NewSequence, Sampled, Scheduler};
use llamero::protocol::{GenerationError, SequenceId, Token};
use std::collections::BTreeMap;

/// The state or the end of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    Live,
    Finished,
    Cancelled,
    Failed(GenerationError),
}

/// One submitted request and its results.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) tokens: Vec<Token>,
    pub(crate) outcome: Outcome,
    /// Number of steps executed before its first rows, and number of tokens taken from the cache.
    pub(crate) started: Option<(u64, u32)>,
    prompt: Vec<Token>,
    max_tokens: u32,
}

impl Request {
    /// Up to `most` next tokens, none of which ends the text: they play tokens that a constraint forces.
    fn foreknown(&self, most: u32) -> Vec<Token> {
        let so_far = [&self.prompt[..], &self.tokens].concat();
        let left = self.max_tokens - u32::try_from(self.tokens.len()).unwrap();
        continuation(&so_far, most.min(left)).into_iter().take_while(|token| *token != EOG).collect()
    }
}

/// Drives a scheduler and a fake runner.
#[derive(Debug)]
pub(crate) struct Driver {
    pub(crate) scheduler: Scheduler,
    pub(crate) runner: FakeRunner,
    pub(crate) requests: BTreeMap<SequenceId, Request>,
    /// Number of tokens after every third one that are known before they are computed. Default 0.
    pub(crate) forced: u32,
    /// Maximum number of tokens guessed ahead of each sequence, some of them wrong. Default 0.
    pub(crate) draft: u32,
}

impl Driver {
    pub(crate) fn new(runner: FakeRunner, prefill_step_ratio: f32) -> Self {
        let scheduler = Scheduler::new(runner.limits(), prefill_step_ratio).with_drafts(64);
        Self { scheduler, runner, requests: BTreeMap::new(), forced: 0, draft: 0 }
    }

    /// Lets drafts cost time, as those of a draft model do.
    pub(crate) fn with_draft_model(mut self) -> Self {
        self.scheduler = self.scheduler.with_draft_model();
        self
    }

    pub(crate) fn submit(&mut self, id: u64, prompt: &[Token], max_tokens: u32, namespace: u64) {
        let id = SequenceId(id);
        let max_len = u32::try_from(prompt.len()).unwrap() + max_tokens;
        // Every other sequence asks for the order of rows that a seed asks for.
        let repeatable = id.0 % 2 == 1;
        self.scheduler.submit(NewSequence { id, tokens: prompt.to_vec(), max_len, scored: 0..0, namespace, repeatable }).unwrap();
        let prompt = prompt.to_vec();
        let request = Request { tokens: Vec::new(), outcome: Outcome::Live, started: None, prompt, max_tokens };
        assert!(self.requests.insert(id, request).is_none(), "{id:?} twice");
    }

    pub(crate) fn cancel(&mut self, id: u64) {
        let request = self.requests.get_mut(&SequenceId(id)).unwrap();
        let live = request.outcome == Outcome::Live;
        assert_eq!(self.scheduler.cancel(SequenceId(id)), live, "{id} is {:?}", request.outcome);
        if live {
            request.outcome = Outcome::Cancelled;
        }
    }

    pub(crate) fn step(&mut self) -> Option<Step> {
        self.step_cancelling(&[])
    }

    /// Runs one step; the requests `cancelled` are cancelled while it is in flight.
    pub(crate) fn step_cancelling(&mut self, cancelled: &[u64]) -> Option<Step> {
        self.propose();
        let step = self.scheduler.next_step()?;
        assert!(!step.rows.is_empty(), "no progress: {step:?}");
        for (id, cached) in self.scheduler.take_started() {
            let request = self.requests.get_mut(&id).unwrap();
            assert!(request.started.replace((self.runner.steps(), cached)).is_none(), "{id:?} started twice");
        }
        for row in &step.rows {
            assert_eq!(self.requests[&row.seq].outcome, Outcome::Live, "a row of {:?}", row.seq);
        }
        let result = self.runner.execute(&step);
        self.scheduler.learn_shortest(|slot| self.runner.shortest(slot));
        for id in cancelled {
            self.cancel(*id);
        }
        match &result {
            Ok(()) => self.complete(&step),
            Err(error) => {
                for (id, error) in self.scheduler.fail(&step, error) {
                    self.requests.get_mut(&id).unwrap().outcome = Outcome::Failed(error);
                }
            }
        }
        assert_eq!(self.scheduler.check_invariants(), Ok(()), "after {step:?}: {result:?}");
        Some(step)
    }

    /// Makes guesses for every sequence, whether the scheduler asks for them or not. The number of right tokens depends
    /// on the length of the output so far.
    fn propose(&mut self) {
        let requested = self.scheduler.take_draft_requests();
        assert!(requested.iter().all(|draft| self.requests[&draft.id].outcome == Outcome::Live && draft.max_tokens > 0), "{requested:?}");
        for (id, request) in self.requests.iter().filter(|(_, request)| self.draft > 0 && request.outcome == Outcome::Live) {
            let so_far = request.tokens.len();
            let right = so_far % (usize::try_from(self.draft).unwrap() + 1);
            let wrong = |(place, token): (usize, Token)| if place < right { token } else { Token((token.0 + 1) % 250) };
            let draft = request.foreknown(self.draft).into_iter().enumerate().map(wrong).collect();
            self.scheduler.propose(*id, draft);
        }
    }

    /// Runs until no work is left; fails after `bound` steps.
    pub(crate) fn run(&mut self, bound: usize) -> Vec<Step> {
        let mut executed = Vec::new();
        while let Some(step) = self.step() {
            executed.push(step);
            assert!(executed.len() <= bound, "not done after {bound} steps: {:?}", self.scheduler.stats());
        }
        executed
    }

    /// Asserts that every sequence is gone and every slot is free.
    pub(crate) fn assert_idle(&mut self) {
        let stats = self.scheduler.stats();
        assert_eq!((stats.gauges.running, stats.gauges.waiting, stats.gauges.kv_cells_used), (0, 0, 0));
        assert_eq!(self.scheduler.next_step(), None);
    }

    pub(crate) fn outcome(&self, id: u64) -> &Outcome {
        &self.requests[&SequenceId(id)].outcome
    }

    pub(crate) fn tokens(&self, id: u64) -> &[Token] {
        &self.requests[&SequenceId(id)].tokens
    }

    /// Number of prompt tokens that the request took from the cache.
    pub(crate) fn cached(&self, id: u64) -> u32 {
        self.requests[&SequenceId(id)].started.expect("it has started").1
    }

    fn complete(&mut self, step: &Step) {
        let mut sampled: BTreeMap<SequenceId, Sampled> = BTreeMap::new();
        for (i, row) in step.rows.iter().enumerate() {
            let logits = self.runner.logits(i);
            assert_eq!(logits.is_some(), row.sample, "{row:?}");
            let request = self.requests.get_mut(&row.seq).unwrap();
            // Of a draft, only right tokens count.
            let known = [&request.prompt[..], &request.tokens].concat();
            let is_known = usize::try_from(row.pos + 1).unwrap() == known.len() && known.last() == Some(&row.token);
            if let (Some(logits), Outcome::Live, true) = (logits, &request.outcome, is_known) {
                let best = (0..).zip(logits).max_by(|(_, a), (_, b)| a.total_cmp(b)).unwrap().0;
                let token = Token(best);
                request.tokens.push(token);
                let forced = if token != EOG && token.0.is_multiple_of(3) { request.foreknown(self.forced) } else { Vec::new() };
                request.tokens.extend(&forced);
                let finished = token == EOG || request.tokens.len() == usize::try_from(request.max_tokens).unwrap();
                if finished {
                    request.outcome = Outcome::Finished;
                }
                let news = sampled.entry(row.seq).or_insert_with(|| Sampled { id: row.seq, tokens: Vec::new(), forced: 0, finished });
                news.tokens.push(token);
                news.tokens.extend(&forced);
                news.forced += u32::try_from(forced.len()).unwrap();
                news.finished = finished;
            }
        }
        let sampled: Vec<Sampled> = sampled.into_values().collect();
        self.scheduler.complete(step, &sampled, self.runner.elapsed());
    }
}

/// Limits with cells for every slot at full length.
pub(crate) fn limits(slots: u32, max_rows: u32, max_model_len: u32) -> Limits {
    Limits {
        slots,
        max_rows,
        max_model_len,
        kv_cells: slots * max_model_len,
        can_truncate: true,
        windowed: false,
        consecutive_slots: true,
        tile: 32,
        vocabulary_size: 0,
        swap: SwapLimits::default(),
    }
}

/// `len` tokens, of which the first differs for different seeds.
pub(crate) fn prompt(seed: u32, len: u32) -> Vec<Token> {
    (0..len).map(|i| Token(if i == 0 { seed % 250 } else { (seed * 31 + i * 7 + i / 50) % 250 })).collect()
}

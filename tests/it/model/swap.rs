//! Content in host memory: saved, loaded, lost; and an engine whose conversations need more cells than it has.

use super::*;
use llamero::engine::{
    runner::{Parked, ParkedState, StepError},
    scheduler::{NewSequence, Sampled, Scheduler},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

fn story(tokenizer: &dyn Tokenizer, subject: &str) -> Vec<Token> {
    let text: String = (1..60).map(|number| format!("Line {number} tells of a {subject} by a river. ")).collect();
    tokenizer.encode(&text, true, &SpecialText::Recognised).unwrap()
}

#[test]
fn loaded_content_continues_like_the_original_whole_or_in_part() {
    for_each_layout(|layout, tokenizer, runner| {
        let prompt = &story(tokenizer, "city")[..300];
        let tail = tokenizer.encode(" Then the rain came.", false, &SpecialText::Recognised).unwrap();
        prefill(runner, 0, 0, prompt, 128);
        change(runner, KvOp::Save { slot: Slot(0), to: Parked(7) });
        let after_whole = prefill(runner, 0, 300, &tail, 128);
        change(runner, KvOp::Truncate { slot: Slot(0), keep: 60 });
        let after_part = prefill(runner, 0, 60, &tail, 128);
        change(runner, KvOp::Truncate { slot: Slot(0), keep: 0 });
        // Other content is put where this one was, and where it will go.
        prefill(runner, 0, 0, &prompt[100..150], 128);
        prefill(runner, 1, 0, &prompt[40..90], 128);

        for (len, expected) in [(300, &after_whole), (60, &after_part)] {
            change(runner, KvOp::Load { from: Parked(7), slot: Slot(1), len });
            assert_copied(layout, expected, &prefill(runner, 1, len, &tail, 128), &format!("{len} positions"));
        }
        assert_eq!(runner.execute(&step_of(KvOp::Drop { parked: Parked(7) })), Ok(()));
    });
}

#[test]
fn what_one_runner_saved_is_loaded_by_another_and_nonsense_by_none() {
    for layout in [KvLayout::Split, KvLayout::Unified] {
        let Some(loaded) = loaded(layout) else { return };
        let (tokenizer, mut first, mut second) = (loaded.tokenizer(), loaded.runner().unwrap(), loaded.runner().unwrap());
        assert!(first.state_format().is_some() && first.state_format() == second.state_format());
        let prompt = &story(&*tokenizer, "city")[..300];
        let tail = tokenizer.encode(" Then the rain came.", false, &SpecialText::Recognised).unwrap();
        prefill(&mut first, 0, 0, prompt, 128);
        change(&mut first, KvOp::Save { slot: Slot(0), to: Parked(7) });
        let expected = prefill(&mut first, 0, 300, &tail, 128);
        let state = first.parked(Parked(7)).unwrap();
        assert_eq!((state.len, first.parked(Parked(8))), (300, None));

        assert!(second.adopt(Parked(3), Arc::clone(&state)));
        change(&mut second, KvOp::Load { from: Parked(3), slot: Slot(1), len: 300 });
        assert_copied(layout, &expected, &prefill(&mut second, 1, 300, &tail, 128), "300 positions");

        let cut = ParkedState { bytes: state.bytes[..state.bytes.len() / 2].to_vec(), len: 300 };
        assert!(!second.adopt(Parked(4), Arc::new(cut)), "half of it");
        let noise = state.bytes.iter().map(|byte| byte.wrapping_mul(31).wrapping_add(7)).collect();
        assert!(second.adopt(Parked(5), Arc::new(ParkedState { bytes: noise, len: 300 })), "only llama.cpp can tell");
        let failed = second.execute(&step_of(KvOp::Load { from: Parked(5), slot: Slot(0), len: 300 }));
        assert_eq!(failed, Err(StepError::NotLoaded(vec![Slot(0)])));
        prefill(&mut second, 0, 0, &prompt[..40], 128);
    }
}

fn step_of(op: KvOp) -> Step {
    Step { kv: vec![op], rows: Vec::new() }
}

#[test]
fn what_is_not_there_leaves_the_slots_empty_that_should_get_it_and_computes_no_row() {
    with_each_layout(|tokenizer, runner| {
        let prompt = &story(tokenizer, "city")[..50];
        prefill(runner, 0, 0, prompt, 128);
        let kv = vec![
            KvOp::Load { from: Parked(1), slot: Slot(0), len: 9 },
            KvOp::Copy { from: Slot(0), to: Slot(1), len: 9 },
            KvOp::Save { slot: Slot(0), to: Parked(2) },
        ];

        let failed = runner.execute(&Step { kv, rows: rows(0, 9, &prompt[..5]) });

        assert_eq!(failed, Err(StepError::NotLoaded(vec![Slot(0), Slot(1)])));
        runner.execute(&Step { kv: Vec::new(), rows: [rows(0, 0, prompt), rows(1, 0, prompt)].concat() }).unwrap();
        assert_eq!(
            runner.execute(&step_of(KvOp::Load { from: Parked(2), slot: Slot(0), len: 9 })),
            Err(StepError::NotLoaded(vec![Slot(0)]))
        );
    });
}

/// A scheduler on a real runner, for one request at a time.
struct Engine<'r, 'm> {
    scheduler: Scheduler,
    runner: &'r mut LlamaRunner<'m>,
    next: u64,
}

impl Engine<'_, '_> {
    /// The greedy continuation of a prompt, each token with its lead over the second best, and the number of tokens
    /// from the cache.
    fn generate(&mut self, prompt: &[Token], count: u32) -> (Vec<(Token, f32)>, u32) {
        let id = SequenceId(self.next);
        self.next += 1;
        let max_len = u32::try_from(prompt.len()).unwrap() + count;
        self.scheduler.submit(NewSequence { id, tokens: prompt.to_vec(), max_len, scored: 0..0, namespace: 0, repeatable: false }).unwrap();
        let (mut tokens, mut cached) = (Vec::new(), 0);
        while let Some(step) = self.scheduler.next_step() {
            cached = self.scheduler.take_started().first().map_or(cached, |(_, cached)| *cached);
            self.runner.execute(&step).unwrap();
            let mut sampled = Vec::new();
            for (at, row) in step.rows.iter().enumerate().filter(|(_, row)| row.sample) {
                let [best, next] = best_two(self.runner.logits(at).unwrap());
                tokens.push((best.0, best.1 - next.1));
                sampled.push(Sampled { id: row.seq, tokens: vec![best.0], forced: 0, finished: tokens.len() == count as usize });
            }
            self.scheduler.complete(&step, &sampled, Duration::from_millis(10));
            assert_eq!(self.scheduler.check_invariants(), Ok(()));
        }
        (tokens, cached)
    }
}

/// Two conversations of 400 tokens and more in 512 cells: each evicts the other.
#[test]
fn conversations_that_drive_each_other_out_go_on_with_the_same_tokens_and_few_rows() {
    let Some(path) = model_path() else { return };
    let run = |swap_space_bytes| {
        let small = EngineOptions { model_path: path.clone(), kv_cache_tokens: Some(512), swap_space_bytes, ..options(KvLayout::Unified) };
        let loaded = load_generating(&small, |_| {}).unwrap();
        let tokenizer = loaded.tokenizer();
        let question = tokenizer.encode(" And what came then?", false, &SpecialText::Recognised).unwrap();
        let mut runner = loaded.runner().unwrap();
        let mut engine = Engine { scheduler: Scheduler::new(runner.limits(), 3.0), runner: &mut runner, next: 0 };
        let mut turns = ["city", "garden"].map(|subject| story(&*tokenizer, subject)[..400].to_vec());
        let mut answers = Vec::new();
        for _ in 0..3 {
            for turn in &mut turns {
                let (answer, cached) = engine.generate(turn, 8);
                // The next turn does not depend on the answer, so that one tie does not end the comparison.
                turn.extend(&question);
                answers.push((answer, cached));
            }
        }
        (answers, engine.scheduler.stats())
    };

    let (warm, with) = run(Some(1 << 30));
    let (cold, without) = run(Some(0));

    assert_eq!(without.totals.loaded_tokens, 0);
    assert!(warm[2..].iter().all(|(_, cached)| *cached >= 400), "{warm:?}");
    assert!(
        with.totals.prefill_rows < 1000 && without.totals.prefill_rows > with.totals.prefill_rows + 800,
        "{with:?} against {without:?}"
    );
    for (turn, ((warm, _), (cold, _))) in warm.iter().zip(&cold).enumerate() {
        let same = warm.iter().zip(cold).take_while(|(warm, cold)| warm.0 == cold.0).count();
        assert!(same == warm.len() || cold[same].1 < MARGIN, "turn {turn}: {warm:?} against {cold:?}");
    }
}

/// No test: measures the time of saving and loading, for `MAX_STEP_BYTES` in `engine/scheduler/kv/host.rs`.
#[test]
#[ignore = "a measurement"]
fn what_saving_and_loading_take() {
    let Some(path) = model_path() else { return };
    for layout in [KvLayout::Split, KvLayout::Unified] {
        let wide = EngineOptions { model_path: path.clone(), max_model_len: Some(4096), threads: Some(2), ..options(layout) };
        let loaded = load_generating(&wide, |_| {}).unwrap();
        let mut runner = loaded.runner().unwrap();
        let prompt: Vec<Token> = (0..2000).map(|id| Token(id + 100)).collect();
        let begun = Instant::now();
        prefill(&mut runner, 0, 0, &prompt, 128);
        let computing = begun.elapsed();
        for round in 0..5 {
            let begun = Instant::now();
            change(&mut runner, KvOp::Save { slot: Slot(0), to: Parked(round) });
            let saving = begun.elapsed();
            let begun = Instant::now();
            change(&mut runner, KvOp::Load { from: Parked(round), slot: Slot(1), len: 2000 });
            let loading = begun.elapsed();
            println!("{layout:?}, 2000 cells: computed in {computing:?}, saved in {saving:?}, loaded in {loading:?}");
        }
        println!("{:?}", runner.limits().swap);
    }
}

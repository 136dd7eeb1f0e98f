//! Models with layers that attend to a sliding window: the contents that are kept, copied and parked.

use crate::support::gguf;
use llamero::{
    engine::runner::{KvOp, ModelRunner, Parked, Row, Slot, Step, StepError},
    llama::{GeneratingModel, LlamaRunner, load_generating},
    protocol::{EngineOptions, KvLayout, KvWindow, SequenceId, Token},
};

const WINDOW: u32 = 16;
/// Cells of a slot in layers with a window: those of the window and of one graph, in blocks of 256.
const WINDOW_CELLS: u32 = 256;

fn with_loaded(options: impl Fn(EngineOptions) -> EngineOptions, test: impl Fn(&GeneratingModel, &mut LlamaRunner<'_>)) {
    let path = gguf::llama3_like().sliding(WINDOW).write();
    let long = EngineOptions { max_model_len: Some(1024), ..gguf::engine_options(&path) };
    let loaded = load_generating(&options(long), |_| {}).unwrap_or_else(|error| panic!("{error}"));
    test(&loaded, &mut loaded.runner().unwrap());
}

/// Runs `test` with layers that keep all cells, then with layers that release those that the window has passed.
fn with_each_runner(test: impl Fn(bool, &mut LlamaRunner<'_>)) {
    for swa_full in [true, false] {
        with_loaded(|options| EngineOptions { swa_full, ..options }, |_, runner| test(swa_full, runner));
    }
}

/// Computes tokens after the content of a slot, and returns the logits of the last one.
fn compute(runner: &mut LlamaRunner<'_>, slot: u32, from: u32, tokens: &[Token]) -> Vec<f32> {
    let mut last = 0;
    for (chunk, from) in tokens.chunks(60).zip((from..).step_by(60)) {
        let row = |(pos, token): (u32, &Token)| Row { seq: SequenceId(1), slot: Slot(slot), pos, token: *token, sample: true };
        let rows: Vec<Row> = (from..).zip(chunk).map(row).collect();
        last = rows.len() - 1;
        runner.execute(&Step { kv: Vec::new(), rows }).unwrap();
    }
    runner.logits(last).unwrap().to_vec()
}

fn change(runner: &mut LlamaRunner<'_>, kv: &[KvOp]) -> Result<(), StepError> {
    runner.execute(&Step { kv: kv.to_vec(), rows: Vec::new() })
}

fn text(from: u32, len: u32) -> Vec<Token> {
    (from..from + len).map(|id| Token(id % 200)).collect()
}

/// The logits of a model that computes the parts anew.
fn expected(runner: &mut LlamaRunner<'_>, parts: &[&[Token]]) -> Vec<f32> {
    change(runner, &[KvOp::Truncate { slot: Slot(0), keep: 0 }]).unwrap();
    let mut from = 0;
    let mut logits = Vec::new();
    for part in parts {
        logits = compute(runner, 0, from, part);
        from += u32::try_from(part.len()).unwrap();
    }
    logits
}

fn are_close(a: &[f32], b: &[f32]) -> bool {
    // The cells lie elsewhere in the cache, so sums have another order.
    a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-3)
}

#[test]
fn a_windowed_cache_takes_what_the_window_and_a_graph_take_and_says_so() {
    let of = |swa_full, kv_layout| {
        let seen = std::cell::RefCell::new(None);
        with_loaded(
            |options| EngineOptions { swa_full, kv_layout, ..options },
            |loaded, runner| *seen.borrow_mut() = Some((loaded.info(runner), runner.limits().windowed)),
        );
        seen.into_inner().unwrap()
    };

    let (full, _) = of(true, KvLayout::Split);
    let (windowed, is_windowed) = of(false, KvLayout::Split);
    let (pool, pool_is_windowed) = of(false, KvLayout::Unified);

    assert!(is_windowed && !pool_is_windowed);
    let [full_kv, windowed_kv, pool_kv] = [&full, &windowed, &pool].map(|info| *info.generation().unwrap());
    assert_eq!(full_kv.kv_window, Some(KvWindow { positions: WINDOW, cells: None }));
    assert_eq!(windowed_kv.kv_window, Some(KvWindow { positions: WINDOW, cells: Some(WINDOW_CELLS) }));
    assert_eq!(pool_kv.kv_window, full_kv.kv_window);
    // Half of the layers have a quarter of the cells.
    assert_eq!(windowed_kv.kv_bytes, full_kv.kv_bytes / 8 * 5);
    assert_eq!(pool_kv.kv_bytes, full_kv.kv_bytes);
    for (info, kv) in [(&full, full_kv), (&windowed, windowed_kv)] {
        assert_eq!(info.memory[0].kv_bytes, kv.kv_bytes, "what was expected before the context was opened");
    }
}

#[test]
fn what_a_windowed_cache_says_of_long_prompts_is_what_a_full_one_says() {
    let logits = std::cell::RefCell::new(Vec::new());
    with_each_runner(|_, runner| {
        let said: Vec<Vec<f32>> = [100, 300, 900].map(|len| expected(runner, &[&text(3, len)])).into();
        logits.borrow_mut().push(said);
    });

    let logits = logits.into_inner();
    assert!(logits[0].iter().zip(&logits[1]).all(|(full, windowed)| are_close(full, windowed)));
}

#[test]
fn a_slot_says_how_much_of_it_must_be_kept_and_goes_on_from_there_as_if_nothing_were_lost() {
    with_each_runner(|swa_full, runner| {
        let (prompt, tail) = (text(0, 900), text(50, 10));
        compute(runner, 0, 0, &prompt);
        let shortest = runner.shortest(Slot(0));
        if swa_full {
            assert_eq!(shortest, 0);
            return;
        }
        assert!((900 - WINDOW_CELLS..900).contains(&shortest), "{shortest}");

        change(runner, &[KvOp::Truncate { slot: Slot(0), keep: shortest }]).unwrap();
        let cut = compute(runner, 0, shortest, &tail);

        let kept = &prompt[..usize::try_from(shortest).unwrap()];
        assert!(are_close(&cut, &expected(runner, &[kept, &tail])));
    });
}

/// llama.cpp saves only those cells of a slot to which its last position attends; a shorter prefix would lack cells.
#[test]
fn a_copied_prefix_of_a_windowed_model_continues_like_the_original() {
    with_each_runner(|_, runner| {
        let (prompt, tail) = (text(0, 100), text(50, 10));
        compute(runner, 0, 0, &prompt);
        change(runner, &[KvOp::Copy { from: Slot(0), to: Slot(1), len: 40 }]).unwrap();
        let copied = compute(runner, 1, 40, &tail);

        change(runner, &[KvOp::Truncate { slot: Slot(0), keep: 40 }]).unwrap();
        let original = compute(runner, 0, 40, &tail);

        assert_eq!(copied, original);
    });
}

#[test]
fn a_whole_slot_is_copied_however_long_it_is() {
    with_each_runner(|_, runner| {
        let (prompt, tail) = (text(0, 900), text(50, 10));
        for len in [300, 900] {
            let prompt = &prompt[..len];
            let held = u32::try_from(len).unwrap();
            change(runner, &[KvOp::Truncate { slot: Slot(1), keep: 0 }]).unwrap();
            expected(runner, &[prompt]);
            change(runner, &[KvOp::Copy { from: Slot(0), to: Slot(1), len: held }]).unwrap();
            let copied = compute(runner, 1, held, &tail);

            assert!(are_close(&copied, &expected(runner, &[prompt, &tail])), "{len}");
        }
    });
}

#[test]
fn parked_content_longer_than_the_window_is_continued_at_its_end_as_if_it_had_never_left() {
    with_each_runner(|_, runner| {
        let tail = text(50, 10);
        for (number, len) in (0..).zip([WINDOW - 1, WINDOW, WINDOW + 1, 200, 900]) {
            let (prompt, parked) = (text(len, len), Parked(number));
            expected(runner, &[&prompt]);
            change(runner, &[KvOp::Save { slot: Slot(0), to: parked }]).unwrap();
            let limits = runner.limits().swap;
            let bytes = u64::try_from(runner.parked(parked).unwrap().bytes.len()).unwrap();
            assert!(bytes <= limits.bytes_of(len), "{bytes} for {len} positions, {} were counted", limits.bytes_of(len));

            change(runner, &[KvOp::Load { from: parked, slot: Slot(1), len }]).unwrap();
            assert!(runner.shortest(Slot(1)) <= limits.shortest(len));
            let loaded = compute(runner, 1, len, &tail);

            assert!(are_close(&loaded, &expected(runner, &[&prompt, &tail])), "{len}");
        }
    });
}

//! The runner: prefill, copies, truncation, other sequences in the batch, and steps that must be refused.

use super::*;
use llamero::engine::runner::StepError;

const PROMPT: &str = "The capital of France is";

/// A text longer than one step of 128 rows, so that it can only be computed in chunks.
fn long_text() -> String {
    (1..40).map(|number| format!("Line {number} tells of a city by a river. ")).collect()
}

/// The greedy continuation of a slot's content, given the logits of its last position.
fn greedy(runner: &mut LlamaRunner<'_>, slot: u32, mut pos: u32, mut logits: Vec<f32>, count: usize) -> Vec<Token> {
    let mut tokens = Vec::new();
    for _ in 0..count {
        let token = best_two(&logits)[0].0;
        tokens.push(token);
        logits = prefill(runner, slot, pos, &[token], 1);
        pos += 1;
    }
    tokens
}

fn text(tokenizer: &dyn Tokenizer, tokens: &[Token]) -> String {
    let bytes: Vec<u8> = tokens.iter().flat_map(|&token| tokenizer.piece(token, false).to_vec()).collect();
    String::from_utf8(bytes).unwrap()
}

fn length(tokens: &[Token]) -> u32 {
    u32::try_from(tokens.len()).unwrap()
}

#[test]
fn greedy_text_is_plausible_and_the_same_each_time() {
    with_each_layout(|tokenizer, runner| {
        let prompt = tokenizer.encode(PROMPT, true, &SpecialText::Recognised).unwrap();
        let mut texts = (0..2).map(|slot| {
            let logits = prefill(runner, slot, 0, &prompt, 128);
            let tokens = greedy(runner, slot, length(&prompt), logits, 8);
            text(tokenizer, &tokens)
        });

        let (first, second) = (texts.next().unwrap(), texts.next().unwrap());

        assert!(first.contains("Paris"), "{first:?}");
        assert_eq!(first, second);
    });
}

#[test]
fn a_prompt_in_chunks_gives_the_logits_of_a_prompt_in_one_step() {
    with_each_layout(|tokenizer, runner| {
        let prompt = &tokenizer.encode(&long_text(), true, &SpecialText::Recognised).unwrap()[..80];

        let whole = prefill(runner, 0, 0, prompt, 128);

        for (slot, chunk) in [(1, 64), (2, 37), (3, 2)] {
            let chunked = prefill(runner, slot, 0, prompt, chunk);
            assert_close(&whole, &chunked, &format!("chunks of {chunk}"));
        }
    });
}

/// The scoring of prompts needs this property.
#[test]
fn any_row_of_a_chunk_has_the_logits_of_a_prompt_that_ends_there() {
    with_each_layout(|tokenizer, runner| {
        let prompt = &tokenizer.encode(&long_text(), true, &SpecialText::Recognised).unwrap()[..40];
        let mut rows = rows(1, 0, prompt);
        rows.iter_mut().for_each(|row| row.sample = true);

        runner.execute(&Step { kv: Vec::new(), rows }).unwrap();

        let all: Vec<Vec<f32>> = (0..prompt.len()).map(|row| runner.logits(row).unwrap().to_vec()).collect();
        // Steps of few rows use other kernels, which round differently.
        for row in [9, 20, 31, 39] {
            let ended = prefill(runner, 2, 0, &prompt[..=row], 128);
            change(runner, KvOp::Truncate { slot: Slot(2), keep: 0 });
            assert_close(&ended, &all[row], &format!("row {row}"));
        }
    });
}

/// A copy goes through the host below half a slot's length (here 256), and as a whole stream above; in a unified cache
/// cells are marked.
#[test]
fn a_copied_prefix_continues_like_the_original() {
    for_each_layout(|layout, tokenizer, runner| {
        let text = tokenizer.encode(&long_text(), true, &SpecialText::Recognised).unwrap();
        let tail = tokenizer.encode(" Then the rain came.", false, &SpecialText::Recognised).unwrap();
        for len in [60, 300] {
            let (prefix, rest) = (&text[..len as usize], &text[len as usize..][..20]);
            // Slot 0 has the prefix and more after it; slot 1 has another content.
            prefill(runner, 0, 0, prefix, 128);
            let after_prefix = prefill(runner, 0, len, &tail, 128);
            change(runner, KvOp::Truncate { slot: Slot(0), keep: len });
            prefill(runner, 0, len, rest, 128);
            let after_rest = prefill(runner, 0, len + 20, &tail, 128);
            change(runner, KvOp::Truncate { slot: Slot(0), keep: len + 20 });
            prefill(runner, 1, 0, &text[40..90], 128);

            change(runner, KvOp::Copy { from: Slot(0), to: Slot(1), len });

            assert_copied(layout, &after_prefix, &prefill(runner, 1, len, &tail, 128), &format!("copy of {len}"));
            assert_copied(layout, &after_rest, &prefill(runner, 0, len + 20, &tail, 128), &format!("source of a copy of {len}"));
            change(runner, KvOp::Truncate { slot: Slot(0), keep: 0 });
            change(runner, KvOp::Truncate { slot: Slot(1), keep: 0 });
        }
    });
}

/// A copy of a whole stream waits for the next decode; later changes in the same step must not overtake it.
#[test]
fn copies_in_one_step_happen_in_order() {
    for_each_layout(|layout, tokenizer, runner| {
        let prompt = tokenizer.encode(&long_text(), true, &SpecialText::Recognised).unwrap();
        let (long, short) = (&prompt[..300], &prompt[100..150]);
        let tail = tokenizer.encode(" In the end", false, &SpecialText::Recognised).unwrap();
        prefill(runner, 0, 0, long, 128);
        prefill(runner, 1, 0, short, 128);
        let after_long = prefill(runner, 0, 300, &tail, 128);
        let after_short = prefill(runner, 1, 50, &tail, 128);

        // 0 → 2, then 1 → 0: slot 2 must get what slot 0 held before.
        let kv = vec![
            KvOp::Copy { from: Slot(0), to: Slot(2), len: 300 },
            KvOp::Truncate { slot: Slot(0), keep: 0 },
            KvOp::Copy { from: Slot(1), to: Slot(0), len: 50 },
            KvOp::Copy { from: Slot(2), to: Slot(3), len: 300 },
        ];
        runner.execute(&Step { kv, rows: Vec::new() }).unwrap();

        assert_copied(layout, &after_short, &prefill(runner, 0, 50, &tail, 128), "1 → 0");
        assert_copied(layout, &after_long, &prefill(runner, 2, 300, &tail, 128), "0 → 2");
        assert_copied(layout, &after_long, &prefill(runner, 3, 300, &tail, 128), "0 → 2 → 3");
    });
}

/// Long and short prompts beside the decode row are evaluated apart from it and together with it.
#[test]
fn a_prompt_that_ends_beside_a_decode_row_gives_the_logits_that_both_give_alone() {
    with_each_layout(|tokenizer, runner| {
        let text = tokenizer.encode(&long_text(), true, &SpecialText::Recognised).unwrap();
        for len in [40, 300] {
            let (prompt, other) = (&text[..len], &text[100..120]);
            let prompt_alone = prefill(runner, 0, 0, prompt, 128);
            let other_alone = prefill(runner, 1, 0, other, 19);
            change(runner, KvOp::Truncate { slot: Slot(0), keep: length(prompt) - 9 });
            change(runner, KvOp::Truncate { slot: Slot(1), keep: 19 });

            let rows = [rows(0, length(prompt) - 9, &prompt[len - 9..]), rows(1, 19, &other[19..])].concat();
            runner.execute(&Step { kv: Vec::new(), rows }).unwrap();

            assert_close(&prompt_alone, runner.logits(8).unwrap(), &format!("prompt of {len}"));
            assert_close(&other_alone, runner.logits(9).unwrap(), &format!("beside a prompt of {len}"));
            change(runner, KvOp::Truncate { slot: Slot(0), keep: 0 });
            change(runner, KvOp::Truncate { slot: Slot(1), keep: 0 });
        }
    });
}

/// With a stream for each slot these are three evaluations: a chunk of 44 rows, one of 59, and the decode rows of slots
/// 0 and 3 with the last row of each chunk.
#[test]
fn prompts_of_different_lengths_between_decode_rows_give_the_logits_that_each_gives_alone() {
    with_each_layout(|tokenizer, runner| {
        let text = tokenizer.encode(&long_text(), true, &SpecialText::Recognised).unwrap();
        let texts = [&text[..120], &text[10..70], &text[30..75], &text[50..90]];
        let held = [119, 0, 0, 39];
        let slots = || (0..).zip(texts).zip(held);
        let alone: Vec<Vec<f32>> = slots().map(|((slot, text), _)| prefill(runner, slot, 0, text, text.len())).collect();
        slots().for_each(|((slot, _), held)| change(runner, KvOp::Truncate { slot: Slot(slot), keep: held }));

        let rows: Vec<Row> = slots().flat_map(|((slot, text), held)| rows(slot, held, &text[held as usize..])).collect();
        runner.execute(&Step { kv: Vec::new(), rows: rows.clone() }).unwrap();

        let sampled = rows.iter().enumerate().filter(|(_, row)| row.sample);
        for ((index, row), alone) in sampled.zip(&alone) {
            assert_close(alone, runner.logits(index).unwrap(), &format!("slot {}", row.slot.0));
        }
        slots().for_each(|((slot, _), _)| change(runner, KvOp::Truncate { slot: Slot(slot), keep: 0 }));
    });
}

#[test]
fn a_truncated_slot_continues_as_if_the_rest_had_never_been() {
    with_each_layout(|tokenizer, runner| {
        let prompt = tokenizer.encode(PROMPT, true, &SpecialText::Recognised).unwrap();
        let fresh = prefill(runner, 0, 0, &prompt, 128);
        let detour = tokenizer.encode(" of course a very large place", false, &SpecialText::Recognised).unwrap();
        prefill(runner, 0, length(&prompt), &detour, 128);

        change(runner, KvOp::Truncate { slot: Slot(0), keep: length(&prompt) - 1 });
        let again = prefill(runner, 0, length(&prompt) - 1, &prompt[prompt.len() - 1..], 128);

        assert_same(&fresh, &again, "after truncation");
    });
}

/// The strongest property: a sequence's tokens do not depend on other sequences.
#[test]
fn interleaved_sequences_get_the_tokens_that_they_get_alone() {
    const PROMPTS: [&str; 4] = [PROMPT, "Once upon a time there was a", "def add(a, b):\n    return", "1 2 3 4 5 6"];
    const COUNT: usize = 12;
    with_each_layout(|tokenizer, runner| {
        let prompts = PROMPTS.map(|prompt| tokenizer.encode(prompt, true, &SpecialText::Recognised).unwrap());
        let alone = prompts.clone().map(|prompt| {
            let logits = prefill(runner, 0, 0, &prompt, 128);
            let tokens = greedy(runner, 0, length(&prompt), logits, COUNT);
            change(runner, KvOp::Truncate { slot: Slot(0), keep: 0 });
            tokens
        });

        // All sequences are in one batch from here on. Each gets the tokens that it had alone, so that one tie does not
        // end the comparison.
        let mut fed = prompts;
        let mut positions = [0; 4];
        for index in 0..COUNT {
            let expected = alone.each_ref().map(|tokens| tokens[index]);
            let all: Vec<Row> = (0..).zip(&fed).flat_map(|(slot, tokens)| rows(slot, positions[slot as usize], tokens)).collect();
            runner.execute(&Step { kv: Vec::new(), rows: all.clone() }).unwrap();
            for (at, row) in all.iter().enumerate().filter(|(_, row)| row.sample) {
                let slot = row.slot.0 as usize;
                let logits = runner.logits(at).unwrap();
                let best = best_two(logits)[0];
                let behind = best.1 - logits[expected[slot].0 as usize];
                assert!(behind < MARGIN, "sequence {slot}, token {index}: {best:?} is {behind} ahead of {:?}", expected[slot]);
                positions[slot] = row.pos + 1;
                fed[slot] = vec![expected[slot]];
            }
        }
    });
}

#[test]
fn only_rows_that_asked_have_logits_and_only_of_the_last_good_step() {
    with_each_layout(|tokenizer, runner| {
        let prompt = tokenizer.encode(PROMPT, true, &SpecialText::Recognised).unwrap();
        assert_eq!(runner.logits(0), None, "before any step");

        runner.execute(&Step { kv: Vec::new(), rows: rows(0, 0, &prompt) }).unwrap();

        let vocabulary = runner.limits().vocabulary_size as usize;
        assert_eq!(runner.logits(0), None);
        assert_eq!(runner.logits(prompt.len() - 1).map(<[f32]>::len), Some(vocabulary));
        assert_eq!(runner.logits(prompt.len()), None);
        assert_eq!(runner.logits(usize::MAX), None);

        runner.execute(&Step { kv: Vec::new(), rows: rows(0, 99, &prompt) }).unwrap_err();
        assert_eq!(runner.logits(prompt.len() - 1), None, "after a refused step");
    });
}

#[test]
fn steps_outside_the_limits_are_refused_and_leave_the_runner_usable() {
    with_each_layout(|tokenizer, runner| {
        let token = tokenizer.encode("a", false, &SpecialText::Recognised).unwrap()[0];
        let limits = runner.limits();
        let row = |slot, pos, token| Row { seq: SequenceId(1), slot: Slot(slot), pos, token, sample: true };
        let step = |rows| Step { kv: Vec::new(), rows };
        let kv = |op| Step { kv: vec![op], rows: Vec::new() };
        let too_many = vec![token; limits.max_rows as usize + 1];
        let refused = [
            ("a slot too high", step(vec![row(limits.slots, 0, token)])),
            ("a huge slot", step(vec![row(u32::MAX, 0, token)])),
            ("a gap in front", step(vec![row(0, 1, token)])),
            ("a gap within", step(vec![row(0, 0, token), row(0, 2, token)])),
            ("the same position twice", step(vec![row(0, 0, token), row(0, 0, token)])),
            ("a huge position", step(vec![row(0, u32::MAX, token)])),
            ("a token past the vocabulary", step(vec![row(0, 0, Token(limits.vocabulary_size))])),
            ("a huge token", step(vec![row(0, 0, Token(u32::MAX))])),
            ("too many rows", step(rows(0, 0, &too_many))),
            ("truncating a slot too high", kv(KvOp::Truncate { slot: Slot(limits.slots), keep: 0 })),
            ("copying from a slot too high", kv(KvOp::Copy { from: Slot(limits.slots), to: Slot(0), len: 1 })),
            ("copying to a slot too high", kv(KvOp::Copy { from: Slot(0), to: Slot(u32::MAX), len: 1 })),
            ("copying more than there is", kv(KvOp::Copy { from: Slot(0), to: Slot(1), len: 1 })),
        ];

        for (what, step) in refused {
            assert_eq!(runner.execute(&step), Err(StepError::Decode { code: -1 }), "{what}");
        }

        assert_eq!(runner.execute(&step(vec![row(0, 0, token)])), Ok(()));
    });
}

#[test]
fn a_slot_can_be_filled_to_the_last_position_and_not_beyond() {
    with_each_layout(|tokenizer, runner| {
        let token = tokenizer.encode("a", false, &SpecialText::Recognised).unwrap()[0];
        let length = runner.limits().max_model_len;

        prefill(runner, 0, 0, &vec![token; length as usize], 128);

        let beyond = Step { kv: Vec::new(), rows: rows(0, length, &[token]) };
        assert_eq!(runner.execute(&beyond), Err(StepError::Decode { code: -1 }));
    });
}

#[test]
fn a_pool_that_is_full_says_so_and_goes_on_after_room_was_made() {
    let Some(path) = model_path() else { return };
    let small = EngineOptions { model_path: path, kv_cache_tokens: Some(512), ..options(KvLayout::Unified) };
    let loaded = load_generating(&small, |_| {}).unwrap();
    let mut runner = loaded.runner().unwrap();
    let token = loaded.tokenizer().encode("a", false, &SpecialText::Recognised).unwrap()[0];
    prefill(&mut runner, 0, 0, &[token; 500], 128);

    let no_room = Step { kv: Vec::new(), rows: rows(1, 0, &[token; 20]) };
    assert_eq!(runner.execute(&no_room), Err(StepError::NoKvSpace));

    change(&mut runner, KvOp::Truncate { slot: Slot(0), keep: 400 });
    assert_eq!(runner.execute(&no_room), Ok(()));
}

/// The logits of the last row of a chunk and of the row after it, with one thread and with two.
fn logits_by_threads(path: &Path, flash_attn: FlashAttention) -> [[Vec<f32>; 2]; 2] {
    [1, 2].map(|threads| {
        let options = EngineOptions { model_path: path.into(), threads: Some(threads), flash_attn, ..options(KvLayout::Split) };
        let loaded = load_generating(&options, |_| {}).unwrap();
        let prompt = loaded.tokenizer().encode(&long_text(), true, &SpecialText::Recognised).unwrap();
        let mut runner = loaded.runner().unwrap();
        let chunk = prefill(&mut runner, 0, 0, &prompt[..300], 128);
        let row = prefill(&mut runner, 0, 300, &prompt[300..301], 1);
        assert_eq!(runner.threads(), threads);
        [chunk, row]
    })
}

/// So a step may use any number of threads: each row of a matrix product is summed by one thread.
#[test]
fn logits_do_not_depend_on_the_number_of_threads() {
    let Some(path) = model_path() else { return };
    let [one, two] = logits_by_threads(&path, FlashAttention::Auto);

    assert_same(&one[0], &two[0], "a chunk on one thread and on two");
    assert_same(&one[1], &two[1], "a row on one thread and on two");
}

/// With flash attention a lone row over 512 cells or more is summed by all threads, and only chunks are as promised.
#[test]
fn logits_of_chunks_do_not_depend_on_the_number_of_threads_with_flash_attention() {
    let Some(path) = model_path() else { return };
    let [one, two] = logits_by_threads(&path, FlashAttention::On);

    assert_same(&one[0], &two[0], "a chunk on one thread and on two");
}

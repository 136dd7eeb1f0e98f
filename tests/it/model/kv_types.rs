//! KV cells of other types than f16: their size, the texts computed with them, and the combinations that are refused.

use super::*;
use llamero::protocol::LoadError;

const PROMPT: &str = "The capital of France is Paris, the capital of Italy is Rome, and the capital of Spain is";

/// The model with cells of this type; `None`, with a message, if there is no file.
fn stored_as(kind: KvType) -> Option<GeneratingModel> {
    model_path()?;
    Some(load_generating(&EngineOptions { kv_cache_dtype: kind, ..options(KvLayout::Split) }, |_| {}).unwrap())
}

/// The logits after the prompt and after each of `tokens`.
fn logits_along(runner: &mut LlamaRunner<'_>, prompt: &[Token], tokens: &[Token]) -> Vec<Vec<f32>> {
    let mut along = vec![prefill(runner, 0, 0, prompt, 128)];
    for (pos, token) in (u32::try_from(prompt.len()).unwrap()..).zip(tokens) {
        along.push(prefill(runner, 0, pos, &[*token], 1));
    }
    along
}

#[test]
fn cells_take_the_memory_of_their_type() {
    for (kind, block_bytes) in [(KvType::F16, 64), (KvType::Bf16, 64), (KvType::Q8_0, 34), (KvType::Q4_0, 18)] {
        let Some(loaded) = stored_as(kind) else { return };

        let info = loaded.info(&loaded.runner().unwrap());

        let generation = info.generation().unwrap();
        assert_eq!(generation.kv_type, kind);
        if info.name.contains("SmolLM2") || info.name.contains("Smollm2") {
            // 30 layers × keys and values × 3 heads × 2 blocks of 32 numbers.
            assert_eq!(generation.kv_bytes, 2048 * 30 * 2 * 3 * 2 * block_bytes, "{kind:?}");
        }
        assert_eq!(info.memory[0].kv_bytes, generation.kv_bytes, "{kind:?}: the estimate is what was allocated");
    }
}

/// Given the tokens that f16 chose, another type chooses the same, unless f16's best two were close.
#[test]
fn greedy_text_over_other_cells_is_that_over_f16_within_a_margin() {
    const COUNT: usize = 24;
    let Some(exact) = stored_as(KvType::F16) else { return };
    let prompt = exact.tokenizer().encode(PROMPT, true, &SpecialText::Recognised).unwrap();
    let mut runner = exact.runner().unwrap();
    let mut tokens: Vec<Token> = Vec::new();
    let mut expected = vec![prefill(&mut runner, 0, 0, &prompt, 128)];
    while tokens.len() < COUNT {
        let best = best_two(expected.last().unwrap())[0].0;
        let pos = u32::try_from(prompt.len() + tokens.len()).unwrap();
        expected.push(prefill(&mut runner, 0, pos, &[best], 1));
        tokens.push(best);
    }

    // The largest gap between f16's best two at which each type may choose another token.
    for (kind, blur) in [(KvType::Bf16, 0.5), (KvType::Q8_0, 0.5), (KvType::Q4_0, 2.0)] {
        let loaded = stored_as(kind).unwrap();
        let found = logits_along(&mut loaded.runner().unwrap(), &prompt, &tokens);
        for (position, (expected, found)) in expected.iter().zip(&found).enumerate() {
            let [best, second] = best_two(expected);
            let worst = expected.iter().zip(found).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            let gap = best.1 - second.1;
            let same = best_two(found)[0].0 == best.0;
            eprintln!("{kind:?} at {position}: logits differ by at most {worst:.2}, f16's best two by {gap:.2}, same token: {same}");
            assert!(same || gap < blur, "{kind:?} at {position}: another token although f16 preferred its own by {gap}");
        }
    }
}

/// A copy goes through the host below half a slot's length (here 256), and as a whole stream above.
#[test]
fn a_copied_prefix_of_quantized_cells_continues_like_the_original() {
    let Some(loaded) = stored_as(KvType::Q8_0) else { return };
    let mut runner = loaded.runner().unwrap();
    let text: String = (1..40).map(|number| format!("Line {number} tells of a city by a river. ")).collect();
    let text = loaded.tokenizer().encode(&text, true, &SpecialText::Recognised).unwrap();
    for len in [60_u32, 300] {
        let (prefix, tail) = text[..len as usize + 5].split_at(len as usize);
        prefill(&mut runner, 0, 0, prefix, 128);

        change(&mut runner, KvOp::Copy { from: Slot(0), to: Slot(1), len });

        let copied = prefill(&mut runner, 1, len, tail, 128);
        assert_same(&prefill(&mut runner, 0, len, tail, 128), &copied, &format!("copy of {len}"));
        for slot in [0, 1] {
            change(&mut runner, KvOp::Truncate { slot: Slot(slot), keep: 0 });
        }
    }
}

#[test]
fn quantized_cells_without_flash_attention_are_refused_by_the_names_of_the_options() {
    let Some(path) = model_path() else { return };
    let wrong =
        EngineOptions { model_path: path, kv_cache_dtype: KvType::Q8_0, flash_attn: FlashAttention::Off, ..options(KvLayout::Split) };

    let Err(LoadError::Unsupported(reason)) = load_generating(&wrong, |_| {}) else { panic!("it must be refused") };

    assert!(reason.contains("--kv-cache-dtype") && reason.contains("--flash-attn"), "{reason}");
}

/// For machines with less than 45 GB; on others the context might fit.
#[test]
fn a_context_that_the_memory_cannot_hold_is_refused_before_it_is_opened() {
    let Some(path) = model_path() else { return };
    let meminfo = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|text| text.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok())
    };
    let (Some(memory), Some(swap)) = (kib("MemTotal:"), kib("SwapTotal:")) else { return eprintln!("SKIPPED: no /proc/meminfo") };
    if memory + swap > 45_000_000 {
        return eprintln!("SKIPPED: this machine has too much memory");
    }
    // 48 GB of cells.
    let large = EngineOptions {
        model_path: path,
        max_model_len: Some(8192),
        max_num_seqs: Some(256),
        max_num_batched_tokens: 256,
        ..options(KvLayout::Split)
    };

    let Err(LoadError::Unsupported(reason)) = load_generating(&large, |_| {}) else { panic!("it must be refused") };

    for words in ["does not fit", "2097152 cells of f16", "--max-model-len", "--kv-cache-dtype q8_0"] {
        assert!(reason.contains(words), "{words:?} is not in {reason}");
    }
}

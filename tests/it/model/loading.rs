//! Loading: the reported facts of a model, and the files and sizes that are refused, with the wording.

use super::*;
use llamero::protocol::{LoadError, RopeScaling};
use std::sync::mpsc;

#[test]
fn a_loaded_model_tells_what_it_is() {
    for layout in [KvLayout::Split, KvLayout::Unified] {
        let Some(loaded) = loaded(layout) else { return };
        let mut runner = loaded.runner().unwrap();

        let info = loaded.info(&runner);

        assert_eq!(info.vocabulary_size, runner.limits().vocabulary_size);
        assert_eq!((info.max_model_len, info.max_num_seqs, info.max_num_batched_tokens), (512, 4, 128));
        let generation = info.generation().unwrap();
        assert_eq!((generation.kv_layout, generation.kv_cells), (layout, 2048));
        assert!(info.parameters > 1_000_000 && info.size_bytes > 1_000_000, "{info:?}");
        assert!(!info.name.is_empty() && info.threads >= 1, "{info:?}");
        assert_eq!(info.device, "CPU");
        if info.name.contains("SmolLM2") || info.name.contains("Smollm2") {
            assert_eq!((info.architecture.as_str(), info.quantization.as_str(), info.n_ctx_train), ("llama", "Q4_1", 8192));
            // 30 layers × keys and values × 3 heads × 64 dimensions × 2 bytes.
            assert_eq!(generation.kv_bytes, 2048 * 30 * 2 * 3 * 64 * 2);
        }
        // Asking for the facts leaves the slots empty.
        prefill(&mut runner, 0, 0, &[Token(1)], 1);
        eprintln!("{info:?}");
    }
}

#[test]
fn progress_rises_to_the_end() {
    if model_path().is_none() {
        return;
    }
    let (send, receive) = mpsc::channel();

    load_generating(&options(KvLayout::Split), move |share| send.send(share).unwrap()).unwrap();

    let shares: Vec<f32> = receive.iter().collect();
    assert!(shares.is_sorted(), "{shares:?}");
    assert_eq!(shares.last(), Some(&1.0));
}

#[test]
fn a_receiver_of_progress_that_panics_fails_the_load_and_nothing_else() {
    if model_path().is_none() {
        return;
    }

    let failed = load_generating(&options(KvLayout::Split), |_| panic!("a receiver that panics, as this test wants"));

    let Err(LoadError::Backend(reason)) = failed else { panic!("the load must fail") };
    assert!(reason.contains("progress"), "{reason}");
}

#[test]
fn a_stretched_context_is_longer_than_the_training_context_which_is_told_as_it_was() {
    if model_path().is_none() {
        return;
    }
    for rope_scaling in [RopeScaling::None, RopeScaling::Linear, RopeScaling::Yarn] {
        let options = EngineOptions { max_model_len: Some(100_000), max_num_seqs: Some(1), rope_scaling, ..options(KvLayout::Split) };

        let loaded = load_generating(&options, |_| {}).unwrap();
        let mut runner = loaded.runner().unwrap();
        let info = loaded.info(&runner);

        assert_eq!(info.max_model_len, 100_000);
        assert!(info.n_ctx_train < 100_000, "{info:?}");
        prefill(&mut runner, 0, 0, &[Token(1)], 1);
    }
}

#[test]
fn a_context_longer_than_the_model_was_trained_for_is_refused() {
    if model_path().is_none() {
        return;
    }
    let too_long = EngineOptions { max_model_len: Some(1_000_000_000), ..options(KvLayout::Split) };

    let Err(LoadError::Unsupported(reason)) = load_generating(&too_long, |_| {}) else { panic!("it must be refused") };

    assert!(reason.contains("--max-model-len"), "{reason}");
}

#[test]
fn a_file_that_is_cut_off_is_refused_with_the_words_of_llama_cpp() {
    let Some(path) = model_path() else { return };
    let folder = tempfile::tempdir().unwrap();
    let cut = folder.path().join("cut.gguf");
    let whole = std::fs::read(path).unwrap();
    std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();

    let failed = load_generating(&EngineOptions { model_path: cut, ..options(KvLayout::Split) }, |_| {});

    let Err(LoadError::Backend(reason)) = failed else { panic!("it must be refused") };
    assert!(reason.contains("not within the file bounds") || reason.contains("corrupted"), "{reason}");
}

#[test]
fn what_is_no_model_is_refused_before_llama_cpp_sees_it() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text.gguf");
    std::fs::write(&text, "this is not a model, although its name says so").unwrap();
    let at = |path| EngineOptions { model_path: path, ..options(KvLayout::Split) };

    assert!(matches!(load_generating(&at(folder.path().join("none.gguf")), |_| {}), Err(LoadError::NotFound(_))));
    assert!(matches!(load_generating(&at(text), |_| {}), Err(LoadError::NotGguf(_))));
}

//! The engine process: it dies with its gateway, communicates over its standard input, and runs the engine with
//! llama.cpp.
//!
//! The gateway passes one end of a socket pair as standard input, so that no descriptor number has to be agreed on and
//! no unsafe code is needed. This is the only place where the engine uses `llama`.

use crate::child_process::{die_with, socket_to_parent};
use crate::engine::{
    runner::{ModelRunner, Tokenizer},
    serve::{EngineModel, Host, Opened, ServeError, serve},
    tokenizers::TOKENIZER_STACK_BYTES,
};
use crate::llama::{self, GeneratingModel, LoadedModel};
use crate::protocol::{EngineOptions, KvLayout, LoadError, MemoryNeed, RopeScaling, Token};
use std::{io, path::Path, process::ExitCode};
use tokio::signal::unix::{SignalKind, signal};

/// Out-of-memory score: the kernel kills the engine before the gateway, which can start another engine.
const OOM_SCORE: u16 = 800;

/// Runs the engine of the gateway with this process id until the gateway hangs up.
#[must_use]
pub fn main(parent_pid: u32) -> ExitCode {
    match die_with(parent_pid, OOM_SCORE).and_then(|()| pass_over_signals()).and_then(|()| socket_to_parent()) {
        Ok(stream) => finish(serve(stream, LlamaHost)),
        Err(error) => {
            tracing::error!(%error, "the engine cannot start; it is started by `llamero serve` and not by hand");
            ExitCode::FAILURE
        }
    }
}

fn finish(ended: Result<(), ServeError>) -> ExitCode {
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        // The gateway was told, and reports it.
        Err(ServeError::Load(_)) => ExitCode::FAILURE,
        Err(error) => {
            tracing::error!(%error, "the engine ended");
            ExitCode::FAILURE
        }
    }
}

/// Ignores the signals that service managers and terminals send to all processes of a service. The gateway decides when
/// to stop: it drains, and then hangs up. SIGHUP does not ask to stop either. SIGQUIT keeps its effect: its sender
/// wants a core dump.
fn pass_over_signals() -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let _guard = runtime.enter();
    // Once installed, tokio's handler stays; it does nothing without a listener.
    for kind in [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()] {
        signal(kind).map(drop)?;
    }
    Ok(())
}

// The engine chooses its threads' stacks before it knows the model for which they will tokenize.
const _: () = assert!(TOKENIZER_STACK_BYTES >= llama::TOKENIZER_STACK_BYTES);

/// Loads a model that guesses ahead of `served`. It may have room for fewer tokens; longer sequences then have no
/// drafts.
///
/// # Errors
/// Those of `llama::load`, and `Unsupported` if the two vocabularies differ.
fn load_draft(path: &Path, options: &EngineOptions, served: &GeneratingModel) -> Result<GeneratingModel, LoadError> {
    let of_length = |max_model_len| {
        let options = EngineOptions {
            model_path: path.to_owned(),
            model_files: options.draft_files.clone(),
            draft_model: None,
            draft_files: Vec::new(),
            max_model_len,
            max_num_seqs: Some(served.max_num_seqs()),
            rope_scaling: RopeScaling::Model,
            rope_scale: None,
            kv_layout: KvLayout::Split,
            kv_cache_tokens: None,
            // The slots of a draft model are cut at any position.
            swa_full: true,
            swap_space_bytes: Some(0),
            prefix_cache: None,
            // They are connected already, for the served model.
            rpc_workers: Vec::new(),
            // Its prompts are cut as those of the served model are.
            no_calibration: true,
            ..options.clone()
        };
        llama::load(&options, |_| {})
    };
    // As long as `served` if it was trained for that length, otherwise as long as possible.
    let loaded = match of_length(Some(served.max_model_len())) {
        Err(LoadError::Unsupported(_)) => of_length(None)?,
        loaded => loaded?,
    };
    let LoadedModel::Generates(draft) = loaded else {
        return Err(LoadError::Unsupported("--draft-model embeds and does not generate".to_owned()));
    };
    match vocabularies_differ(served.tokenizer().as_ref(), draft.tokenizer().as_ref()) {
        Some(how) => Err(LoadError::Unsupported(format!("--draft-model: {how}"))),
        None => Ok(draft),
    }
}

/// Largest difference in size of the two vocabularies, tokens: files are padded differently (llama.cpp,
/// `common/speculative.cpp`).
const MAX_PADDING: u32 = 128;

/// The first difference between two vocabularies, as the end of a sentence; `None` if their tokens mean the same.
fn vocabularies_differ(served: &dyn Tokenizer, draft: &dyn Tokenizer) -> Option<String> {
    let (ours, theirs) = (served.vocabulary_size(), draft.vocabulary_size());
    if ours.abs_diff(theirs) > MAX_PADDING {
        return Some(format!("it has {theirs} tokens and the model {ours}; they must have the same vocabulary"));
    }
    let differs = |token: &Token| served.piece(*token, true) != draft.piece(*token, true);
    let first = (0..ours.min(theirs)).map(Token).find(differs)?;
    Some(format!("its token {} is another than the model's; they must have the same vocabulary", first.0))
}

/// The memory that a model and its draft model need together, by kind; `available_bytes` is from before either was
/// loaded.
fn together(served: &[MemoryNeed], draft: &[MemoryNeed]) -> Vec<MemoryNeed> {
    let share = |place| draft.iter().find(|need| need.place == place);
    let both = served.iter().map(|need| share(need.place).map_or(*need, |draft| need.with(draft)));
    both.chain(draft.iter().filter(|need| served.iter().all(|other| other.place != need.place)).copied()).collect()
}

/// Opens models with llama.cpp.
struct LlamaHost;

impl Host for LlamaHost {
    fn open(self, options: &EngineOptions, progress: Box<dyn FnMut(f32)>, body: &mut dyn FnMut(Opened<'_>)) -> Result<(), LoadError> {
        match llama::load(options, progress)? {
            LoadedModel::Embeds(loaded) => {
                let mut embedder = loaded.embedder()?;
                let info = loaded.info(&embedder);
                body(Opened { model: EngineModel::Embeds(&mut embedder), tokenizer: loaded.tokenizer(), info });
            }
            LoadedModel::Generates(loaded) => {
                let mut runner = loaded.runner()?;
                let mut info = loaded.info(&runner);
                let draft = options.draft_model.as_ref().map(|path| load_draft(path, options, &loaded)).transpose()?;
                if let Some(draft) = &draft {
                    info.memory = together(&info.memory, draft.memory());
                }
                let mut draft = draft.as_ref().map(GeneratingModel::runner).transpose()?;
                let draft = draft.as_mut().map(|runner| -> &mut dyn ModelRunner { runner });
                body(Opened { model: EngineModel::Generates { runner: &mut runner, draft }, tokenizer: loaded.tokenizer(), info });
            }
        }
        Ok(())
    }
}

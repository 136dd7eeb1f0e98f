//! llama.cpp as the engine sees it: a model file in, a `Tokenizer` and a `ModelRunner` out.
//!
//! The only module that names llama.cpp's bindings. Unsafe code is in `raw` alone, and failures that llama.cpp reports
//! (return codes, null pointers, log lines) become errors here. A failure that it does not report (an assertion, a C++
//! exception, a signal) ends the process, so everything that comes from a request is checked before a call.
//!
//! Reading order: `backend` (llama.cpp as a whole), `files` (the paths to open), `load` (file → [`LoadedModel`]) and
//! `loaded`, `plan` (sizes) and `context`, `calibration` (whether rows come in tiles) with `notes`, `measurements`
//! (tables for people), `measure` (bytes of cells), `cells`, `memory` and `fit` (whether they fit), `suitability`
//! (refused models), `runner` (steps) with `threads` (their number) and `neighbours`, `embed_plan`, `affixes` and
//! `embedder` for models that embed, `rpc` (other machines' devices), `tokenizer` with `special`, `pieces` and
//! `text_limits`, `cpu` (whether it was built for this processor), `heap` (freed memory), `log`, `raw`.

mod affixes;
mod backend;
mod calibration;
mod cells;
mod context;
mod copies;
mod cpu;
mod embed_plan;
mod embedder;
mod files;
mod fit;
mod heap;
mod load;
mod loaded;
mod log;
mod measure;
mod measurements;
mod memory;
mod neighbours;
mod notes;
mod pieces;
mod plan;
mod raw;
mod rope;
mod rpc;
mod runner;
mod sequences;
mod special;
mod suitability;
#[cfg(test)]
mod testing;
mod text_limits;
mod threads;
mod tokenizer;

pub use embedder::LlamaEmbedder;
pub use heap::return_freed_memory;
pub use load::{load, load_generating};
pub use loaded::{EmbeddingModel, GeneratingModel, LoadedModel};
pub use measurements::{AttentionMeasurement, Measurements};
pub use rpc::work as rpc_work;
pub use runner::LlamaRunner;
pub use text_limits::TOKENIZER_STACK_BYTES;
pub use tokenizer::LlamaTokenizer;

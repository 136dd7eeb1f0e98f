//! llama.cpp as the engine sees it: a model file in, a `Tokenizer` and a `ModelRunner` out.
//!
//! The only place that names llama.cpp's bindings. Unsafe code is in `raw` alone, and llama.cpp's failures that it
//! reports (return codes, null pointers, log lines) become our errors here. What it does not report (an assertion, a
//! C++ exception, a signal) ends the process, which is why everything that comes in from a request is checked before a
//! call.
//!
//! Reading order: `backend` (llama.cpp as a whole), `files` (which), `load` (file → [`LoadedModel`]) and `loaded`,
//! `plan` (sizes) and `context`, `measure` (what cells take), `cells`, `memory` and `fit` (do they fit?), `suitability`
//! (what is refused), `runner` (steps) with `threads` (how many) and `neighbours`, `embed_plan`, `affixes` and
//! `embedder` for models that embed, `tokenizer` with `special`, `pieces` and `text_limits`, `cpu` (built for this
//! processor?), `heap` (freed memory), `log`, `raw`.

mod affixes;
mod backend;
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
mod memory;
mod neighbours;
mod pieces;
mod plan;
mod raw;
mod runner;
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
pub use runner::LlamaRunner;
pub use text_limits::TOKENIZER_STACK_BYTES;
pub use tokenizer::LlamaTokenizer;

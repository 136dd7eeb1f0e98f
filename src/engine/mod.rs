//! The engine: continuous batching over one model, as pure Rust.
//!
//! A step is three calls: `Scheduler::next_step` decides, `ModelRunner::execute` computes, `Scheduler::complete`
//! applies. One thread owns these parts, so nothing in them locks. The engine uses no llama.cpp names, no HTTP and no
//! OpenAI words. `process` is the one exception: it joins the engine with llama.cpp and is the entry of the engine
//! process.

mod commands;
mod constraints;
mod disk;
mod draft_model;
mod draws;
pub mod embedder;
mod embedding;
pub mod generation;
mod lookup;
mod masks;
pub mod process;
mod progress;
pub mod runner;
pub mod scheduler;
pub mod serve;
pub mod text;
mod tokenizers;
pub mod worker;

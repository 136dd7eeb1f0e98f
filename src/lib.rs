//! llamero: an OpenAI-compatible inference server around native llama.cpp.
//!
//! ```text
//! client ── HTTP/SSE ──▶ api ──▶ gateway ──▶ protocol ◀── engine ◀── llama ──▶ llama.cpp
//!                        └── gateway process ──┘   socket   └── engine process ──┘
//! ```
//!
//! One binary, two processes. The gateway speaks HTTP and never calls llama.cpp; the engine owns the model and knows no
//! HTTP. If the engine dies, the gateway starts another and replays the requests that were in flight.
//!
//! Reading order: `protocol` (the messages), `engine` (planning of steps, making of text), `sampling`, `constrain`
//! (rules that a text must obey), `llama` (the only unsafe code), `gateway` (supervision, limits), `chat` (messages,
//! calls), `api` (routes), `config` and `cli`, `models`, `telemetry`.

pub mod api;
pub mod build_info;
pub mod chat;
pub mod child_process;
pub mod cli;
pub mod config;
pub mod constrain;
pub mod engine;
pub mod fair_queue;
pub mod field_path;
pub mod gateway;
pub mod llama;
pub mod models;
pub mod priority;
pub mod protocol;
pub mod sampling;
mod surrogates;
pub mod telemetry;

//! Stands between HTTP and an engine: keys, limits, admission, supervision, replay.
//!
//! ```text
//! EngineHandle ─ RunLoopCommand ▶ RunLoop (one task, owns everything below)   engine process
//!      ▲                        ├─ InFlight   live sequences, replays              │
//!      │                        ├─ OpenCalls  questions, and whose turn it is      │
//!      │                        ├─ Embeds     requests for vectors                 │
//!      │                        ├─ Quarantine contents that engines died of        │
//!      └── Generation ◀─events──┤  Link ◀──────── frames over a socket ───────────▶│
//!      └── StatusBoard (read) ◀─┴─ Heartbeat, Launcher, Child ──── starts, kills ──┘
//! ```
//!
//! Nothing here is locked: only the run loop changes state; everything else sends it commands or watches the status
//! board that it writes. Never names llama.cpp and knows no status code.

mod admission;
mod blame;
mod calls;
pub mod canary;
mod command;
pub mod death;
mod embeds;
mod engine;
pub mod engine_state;
pub mod error;
mod events;
mod fingerprint;
mod generation;
pub mod handle;
mod heartbeat;
mod in_flight;
pub mod keys;
pub mod launcher;
pub mod limits;
mod link;
pub mod live_config;
mod load_watch;
pub mod models;
pub mod process;
pub mod pulse;
mod quarantine;
mod questions;
mod run_loop;
mod status;
mod stderr_tail;
pub mod supervisor;
pub mod templates;
#[cfg(test)]
pub(crate) mod testing;

pub use supervisor::{Supervisor, start};

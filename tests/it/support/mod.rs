//! Helpers that the integration tests share.

mod cpu_time;
pub(crate) mod driver;
pub(crate) mod fake_runner;
mod fake_slot;
pub(crate) mod gguf;
pub(crate) mod llama_server;
pub(crate) mod server;
pub(crate) mod shapes;
pub(crate) mod thread_engine;
pub(crate) mod wire;

pub(crate) use cpu_time::assert_linear;

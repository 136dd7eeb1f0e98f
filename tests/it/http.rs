//! The server over HTTP, from request bytes to response bytes, with the fake model.

mod completions;
mod engine_death;
mod legacy;
mod limits;
mod structured;

//! The server over HTTP, from request bytes to response bytes, with the fake model.

mod chat;
mod completions;
mod departure;
mod early_answers;
mod editors;
mod engine_death;
mod explain;
mod infill;
mod legacy;
mod limits;
mod many_fields;
mod restart;
mod scoring;
mod structured;
mod tokens;

//! HTTP: routes, layers, errors, and the shapes that clients expect. The only place that knows status codes.

mod anthropic;
mod body_budget;
mod caller;
pub mod error;
pub mod family;
pub mod fields;
pub mod health;
mod heavy;
mod infill;
pub mod layers;
pub mod legacy;
pub mod openai;
pub mod openapi;
mod request_log;
pub mod respond;
pub mod router;
pub mod server;
pub mod state;
pub mod templates;
#[cfg(test)]
pub(crate) mod testing;
mod tokens;
mod turns;
mod warnings;

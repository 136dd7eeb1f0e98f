//! HTTP: routes, layers, errors, and the shapes that clients expect. Status codes occur only here.

mod anthropic;
mod body_budget;
mod call;
mod caller;
mod client;
mod driver;
pub mod error;
pub mod family;
pub mod fields;
pub mod health;
mod heavy;
mod infill;
pub mod layers;
pub mod legacy;
mod llama_server;
pub mod openai;
pub mod openapi;
mod renders;
mod request_id;
mod request_log;
pub mod respond;
pub mod route;
pub mod router;
mod routes;
pub mod server;
mod server_facts;
pub mod state;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod tokens;
mod trace;
mod turns;
mod warning_log;
mod warnings;

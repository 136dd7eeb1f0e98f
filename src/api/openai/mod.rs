//! OpenAI's routes: completions, chat, responses, embeddings and models; the related routes of other APIs, rerank and
//! score; and the routes that explain and render requests.

pub(in crate::api) mod chat;
pub mod completions;
pub mod embeddings;
pub(super) mod explain;
pub(super) mod models;
pub(super) mod render;
pub mod rerank;
pub(in crate::api) mod responses;
pub mod shared;

#[cfg(test)]
mod tests;

#[cfg(test)]
pub(in crate::api) use embeddings::tests::answers as embeddings_script;

//! What a conversation is to a model: which messages and tools go in, and what the text that comes out means.
//!
//! Pure: no HTTP, no clock, no model. Knows the shapes of OpenAI's chat messages and of the model families' syntaxes.

pub mod output;

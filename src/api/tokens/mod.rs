//! Text to tokens and back: `POST /tokenize`, `POST /detokenize`, `GET /tokenizer_info`.
//!
//! vLLM and llama-server have routes of these names with other fields and answers. A request may come in either
//! dialect, and an answer has the keys of both. Nothing is generated. A long text is work nevertheless, so the two
//! POSTs count against the requests per minute of a key as generations do; the GET does not.

pub(super) mod detokenize;
pub(super) mod info;
pub(super) mod tokenize;

#[cfg(test)]
mod tests;

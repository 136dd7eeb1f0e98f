//! The routes of the FastAPI script that llamero replaces: `POST /generate`, `GET /`, `GET /health`.
//!
//! Answers are those of FastAPI 0.165 with pydantic 2.14, byte for byte where that is sensible;
//! `tests/fixtures/fastapi.txt` has the answers of a real FastAPI server. Deliberate differences:
//!
//! * A body without a content type is read as JSON, as FastAPI did for years.
//! * Values that vLLM refuses (negative temperature, `top_p` beyond 0–1, no tokens) are a 422 instead of a 500.
//! * `max_tokens` beyond the context is reduced, and `x-llamero-warnings` reports that.
//! * HEAD and OPTIONS of `/` and `/health` are answered as GET is: `wget`, Claude Code and HAProxy send them.
//! * A path with slashes too many is answered at once, without FastAPI's 307.
//! * A body in UTF-16 or UTF-32, which Python detects, is malformed. Nesting is bounded at 64 levels instead of about
//!   1000.
//! * Values that FastAPI answers with a 500 because it cannot echo them (NaN, lone surrogates, bytes that are no text)
//!   get a 4xx.

mod coerce;
mod fault;
mod generate;
mod json;
pub(super) mod refusal;
pub(super) mod request;
mod status;

pub(super) use generate::generate;
pub(super) use status::{health, root};

#[cfg(test)]
mod tests;

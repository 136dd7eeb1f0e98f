//! Constraints on a text (JSON schema, regex, choice, grammar) as the set of tokens that may come next.
//!
//! ```text
//! Constraint ─ limits ─ source ─▶ Lark or schema ─ llguidance ─▶ Compiled ─ matcher() ─▶ Matcher ─ allowed() ─▶ mask
//!                                                  ▲ Vocabulary                          ▲ advance(token)
//! ```
//!
//! Owns the vocabulary's trie, the cache of compiled constraints, and the limits of constraints. A constraint that does
//! not compile, or becomes too much work half-way through a text, is an error: the text never goes on without it. The
//! module knows neither scheduling nor sampling. The engine chooses the threads that call it, and has new constraints
//! tried out in a separate process first (`trial`). `docs/STRUCTURED_OUTPUT.md` lists the keywords of JSON schema that
//! work; a test keeps the list true.

mod ascii;
mod cache;
mod compiled;
mod compiler;
mod gbnf;
mod json_style;
mod lark;
mod limits;
mod literal;
mod matcher;
mod message;
mod schema;
mod source;
mod spelling;
#[cfg(test)]
mod tests;
pub mod trial;
mod vocabulary;
mod walk;

pub use compiled::Compiled;
pub use compiler::Compiler;
pub use matcher::Matcher;
pub use spelling::SpellFn;
pub use vocabulary::{Piece, Vocabulary, Words};

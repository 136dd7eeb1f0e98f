//! What a text must obey (JSON schema, regex, choice, grammar) as the set of tokens that may come next.
//!
//! ```text
//! Constraint ─ limits ─ source ─▶ Lark or schema ─ llguidance ─▶ Compiled ─ matcher() ─▶ Matcher ─ allowed() ─▶ mask
//!                                                  ▲ Vocabulary                          ▲ advance(token)
//! ```
//!
//! Owns the vocabulary's trie, the cache of compiled constraints, and the bounds of what is compiled. Fails closed: what
//! does not compile, or stops compiling half-way through a text, is an error and never an unconstrained text. It knows
//! neither scheduling nor sampling; which thread calls it is the engine's business, and that what is new is first tried out in
//! a process of its own (`trial`). `docs/STRUCTURED_OUTPUT.md` says
//! which keywords of JSON schema work; a test keeps that true.

mod cache;
mod compiler;
mod gbnf;
mod lark;
mod limits;
mod matcher;
mod schema;
mod source;
mod spelling;
#[cfg(test)]
mod tests;
pub mod trial;
mod vocabulary;
mod walk;

pub use compiler::{Compiled, Compiler};
pub use matcher::Matcher;
pub use spelling::Spell;
pub use vocabulary::{Piece, Vocabulary, Words};

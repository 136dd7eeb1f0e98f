//! A constraint in llguidance's form. Each text that must obey it gets a matcher of its own.

use super::{matcher::Matcher, schema::Notes};
use std::sync::{Arc, atomic::AtomicBool};

/// A compiled constraint; cheap to clone.
#[derive(Clone)]
pub struct Compiled {
    start: Arc<llguidance::Matcher>,
    is_costly: Arc<AtomicBool>,
    notes: Arc<[String]>,
}

impl std::fmt::Debug for Compiled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Compiled").finish_non_exhaustive()
    }
}

impl Compiled {
    /// A compiled constraint, from a matcher at the beginning of a text.
    pub(super) fn new(start: llguidance::Matcher, notes: Notes) -> Self {
        Self { start: Arc::new(start), is_costly: Arc::default(), notes: notes.into_texts().into() }
    }

    /// The parts of the constraint that texts are not held to, in words for its author: visible ASCII and spaces, at
    /// most nine texts.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// A matcher at the beginning of a text. It shares no parser state with other matchers, so that the tokens of a
    /// text depend on that text alone.
    #[must_use]
    pub fn matcher(&self) -> Matcher {
        Matcher::new(self.start.deep_clone(), Arc::clone(&self.is_costly))
    }
}

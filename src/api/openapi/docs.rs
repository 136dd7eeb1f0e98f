//! The facts of a route that only the documents show: bodies, answers and refusals.

use crate::api::fields::spec::{AnySpec, Specs};

/// A route in the documents, with one of the kinds of body that it takes.
#[derive(Debug, Clone, Copy)]
pub(in crate::api) struct Docs {
    /// One sentence on this kind of body; `None` for the first kind, which the route's summary describes.
    pub(super) about: Option<&'static str>,
    /// The contents of a body; `None` without a body.
    pub(super) body: Option<Body>,
    /// Media type and schema of the answer; a name in `schemas.json`.
    pub(super) answers: &'static [(&'static str, &'static str)],
    /// Statuses of refusals.
    pub(in crate::api) refusals: &'static [u16],
}

/// A JSON body.
#[derive(Debug, Clone, Copy)]
pub(in crate::api) struct Body {
    /// The tables of the body's fields. Of two specs of one field the first counts.
    pub(super) fields: &'static [Specs],
    /// Names of the required fields.
    pub(super) required: &'static [&'static str],
    /// An example of a body, JSON text.
    pub(super) example: &'static str,
}

impl Body {
    /// Each field of the body, once.
    pub(super) fn specs(&self) -> impl Iterator<Item = &'static dyn AnySpec> {
        let all: Vec<&'static dyn AnySpec> = self.fields.iter().copied().flatten().copied().collect();
        let stands_before = |at: usize, name: &str| all[..at].iter().any(|earlier| earlier.name() == name);
        let first: Vec<usize> = (0..all.len()).filter(|at| !stands_before(*at, all[*at].name())).collect();
        first.into_iter().map(move |at| all[at])
    }
}

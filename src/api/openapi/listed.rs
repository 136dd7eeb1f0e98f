//! The routes as the documents list them: a line for each kind of body that a route takes.

use super::docs::{Body, Docs};
use crate::api::{family::Family, route::Route, routes::ROUTES};
use std::sync::LazyLock;

/// A route with one kind of body.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operation {
    /// `get` or `post`.
    pub(super) method: &'static str,
    /// The path, with parameters in braces.
    pub(super) path: &'static str,
    /// The family of the route, which decides the shape of errors.
    pub(super) family: Family,
    /// The purpose, one sentence.
    pub(super) about: &'static str,
    /// The fields of a body; `None` without a body.
    pub(super) body: Option<Body>,
    /// Media type and schema of the answer; a name in `schemas.json`.
    pub(super) answers: &'static [(&'static str, &'static str)],
    /// Statuses of refusals.
    pub(super) refusals: &'static [u16],
}

/// Every route. A route with two kinds of body stands here twice.
pub(super) static OPERATIONS: LazyLock<Vec<Operation>> = LazyLock::new(|| ROUTES.iter().flat_map(of).collect());

fn of(route: &'static Route) -> impl Iterator<Item = Operation> {
    // At most one short text is leaked for each route of the table, once.
    let path: &'static str = if route.path.contains("{*") { route.path.replace("{*", "{").leak() } else { route.path };
    route.docs.iter().map(move |Docs { about, body, answers, refusals }| Operation {
        method: route.verb.as_str(),
        path,
        family: route.family,
        about: about.unwrap_or(route.summary),
        body: *body,
        answers,
        refusals,
    })
}

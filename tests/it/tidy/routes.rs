//! Every URL that the code serves is in the table of routes, from which the specification and the layers are made.

use super::{rules::Offence, source::Source};

/// The only file that gives axum paths.
pub(super) const TABLE: &str = "src/api/routes.rs";

/// Lines of the API, outside the table, that give axum a path.
pub(super) fn beside_the_table(file: &Source) -> Vec<Offence> {
    if file.path == TABLE { Vec::new() } else { served(file) }
}

/// Lines that give axum a path.
pub(super) fn served(file: &Source) -> Vec<Offence> {
    let code = file.product_code();
    let calls = [".route(", ".nest(", ".nest_service(", ".route_service("];
    let lines = code.lines().enumerate().filter(|(_, line)| calls.iter().any(|call| line.contains(call)));
    lines.map(|(index, _)| Offence::new(file, index + 1, format!("routes are rows of {TABLE}"))).collect()
}

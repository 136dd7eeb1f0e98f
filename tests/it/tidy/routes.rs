//! Every URL that the code serves is one that the specification names.
//!
//! Reads the literals of `.route("…"` in `src/api`, in axum's spelling, and compares them with the paths of `/openapi.json`.

use super::{rules::Offence, source::Source};

/// Paths that a file serves, in OpenAPI's spelling, with their lines from 1.
///
/// # Errors
/// Lines where the path is no literal, which nobody can compare.
fn served(file: &Source) -> Vec<Result<(usize, String), usize>> {
    let code = file.product_code();
    let mut found = Vec::new();
    for (index, (code, text)) in code.lines().zip(file.text.lines()).enumerate() {
        let calls =
            code.match_indices(".route(").count() + code.match_indices(".nest(").count() + code.match_indices(".route_service(").count();
        let literals: Vec<&str> = text.split(".route(\"").skip(1).take(calls).filter_map(|rest| rest.split('"').next()).collect();
        found.extend(literals.iter().map(|path| Ok((index + 1, path.replace("{*", "{")))));
        found.extend((literals.len()..calls).map(|_| Err(index + 1)));
    }
    found
}

/// Routes that are not among `documented`.
pub(super) fn undocumented(file: &Source, documented: &[String]) -> Vec<Offence> {
    let offence = |served| match served {
        Ok((_, path)) if documented.contains(&path) => None,
        Ok((line, path)) => Some(Offence::new(file, line, format!("{path} is not in src/api/openapi/operations.rs"))),
        Err(line) => Some(Offence::new(file, line, "the path of a route stands in its line as a literal, or nobody can look it up")),
    };
    served(file).into_iter().filter_map(offence).collect()
}

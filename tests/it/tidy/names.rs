//! Names of types: each has one meaning in the crate.
//!
//! Only declarations that begin a line count: a type inside a function, an associated type of a trait and a type that a
//! macro declares belong to their surroundings.

use super::{rules::Offence, source::Source};
use std::collections::BTreeMap;

/// Every declaration of a type whose name an earlier one among `files` has; one offence for each.
pub(super) fn repeated_types(files: &[&Source]) -> Vec<Offence> {
    let mut first: BTreeMap<String, String> = BTreeMap::new();
    let mut offences = Vec::new();
    for file in files {
        for (index, line) in file.product_code().lines().enumerate() {
            let Some(name) = declared_type(line) else { continue };
            let place = format!("{}:{}", file.path, index + 1);
            if let Some(earlier) = first.get(name) {
                let message = format!("`{name}` is also the name of another type, at {earlier}: rename one of them");
                offences.push(Offence::new(file, index + 1, message));
            } else {
                first.insert(name.to_owned(), place);
            }
        }
    }
    offences
}

/// The name of the struct, enum, trait or type alias that a line declares.
fn declared_type(line: &str) -> Option<&str> {
    let declaration = match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(") ")?.1,
        Some(rest) => rest.strip_prefix(' ')?,
        None => line,
    };
    let name = ["struct ", "enum ", "trait ", "type "].iter().find_map(|keyword| declaration.strip_prefix(keyword))?;
    let end = name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(name.len());
    Some(&name[..end])
}

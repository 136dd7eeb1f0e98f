//! Directions of dependency: which module of the crate may name which other one.
//!
//! Reads `crate::` and `super::` paths, in `use` trees and in expressions, out of blanked code. Test code is free:
//! a test may drive a layer through its neighbours.

use super::{
    rules::{Offence, is_word},
    source::Source,
};
use std::path::Path;

/// A part of the crate and the parts that it may name besides itself.
pub(super) struct Layer {
    /// Path of the module; a file belongs to the longest path that fits.
    pub module: &'static str,
    /// Paths of the modules that it may name; `*` means all.
    may_name: &'static [&'static str],
}

/// The picture of docs/ARCHITECTURE.md as a table: `cli → api → gateway → protocol ← engine ← llama`.
pub(super) const LAYERS: [Layer; 19] = [
    // Composition roots: they join the layers and may name them all.
    Layer { module: "cli", may_name: &["*"] },
    Layer { module: "engine::process", may_name: &["llama", "protocol", "sampling", "child_process", "build_info"] },
    // The gateway process.
    Layer {
        module: "api",
        may_name: &[
            "chat",
            "gateway",
            "protocol",
            "config",
            "telemetry",
            "build_info",
            "fair_queue",
            "field_path",
            "priority",
            "surrogates",
        ],
    },
    Layer { module: "chat", may_name: &["protocol", "field_path", "surrogates"] },
    // `chat` for its compiled templates, which are kept with the model.
    Layer { module: "gateway", may_name: &["chat", "protocol", "config", "telemetry"] },
    Layer { module: "telemetry", may_name: &["protocol", "config", "build_info"] },
    // The messages between the two processes.
    Layer { module: "protocol", may_name: &[] },
    // The engine process.
    Layer { module: "engine", may_name: &["protocol", "sampling", "constrain", "build_info", "fair_queue", "priority"] },
    Layer { module: "sampling", may_name: &["protocol"] },
    Layer { module: "constrain", may_name: &["protocol", "child_process"] },
    Layer { module: "llama", may_name: &["protocol", "engine::runner", "engine::embedder", "models", "build_info"] },
    Layer { module: "child_process", may_name: &[] },
    // Plain tools that several layers use.
    Layer { module: "fair_queue", may_name: &[] },
    Layer { module: "field_path", may_name: &[] },
    Layer { module: "surrogates", may_name: &[] },
    Layer { module: "priority", may_name: &[] },
    // Parts that are used before either process runs.
    Layer { module: "config", may_name: &["protocol", "build_info"] },
    Layer { module: "models", may_name: &["protocol", "config"] },
    Layer { module: "build_info", may_name: &[] },
];

/// True if `module` has a file under `src/`.
pub(super) fn exists(root: &Path, module: &str) -> bool {
    let path = root.join("src").join(module.replace("::", "/"));
    path.with_extension("rs").is_file() || path.join("mod.rs").is_file()
}

/// Every name of another layer that the table does not grant.
pub(super) fn directions(file: &Source) -> Vec<Offence> {
    let module = module_path(&file.path);
    let [area, ..] = module.as_slice() else {
        return Vec::new(); // lib.rs and main.rs only list modules.
    };
    let fitting = LAYERS.iter().filter(|layer| starts_with(&module, layer.module));
    let Some(layer) = fitting.max_by_key(|layer| layer.module.len()) else {
        return vec![Offence::new(file, 1, format!("`{area}` is not in the table of layers: say there what it may name"))];
    };
    let granted = |name: &[String]| layer.may_name.iter().any(|may| *may == "*" || starts_with(name, may));
    let areas = |name: &[String]| LAYERS.iter().any(|layer| starts_with(name, layer.module));
    named(&file.product_code(), &module)
        .into_iter()
        .filter(|(_, name)| name.first() != Some(area) && areas(name) && !granted(name))
        .map(|(line, name)| Offence::new(file, line, format!("`{}` may not name `{}`", layer.module, name.join("::"))))
        .collect()
}

/// The module path of a file: `src/engine/runner.rs` is `engine::runner`; `lib.rs` and `main.rs` are the root.
pub(super) fn module_path(path: &str) -> Vec<String> {
    let path = path.trim_start_matches("src/").trim_end_matches(".rs");
    let segments = path.split('/').filter(|segment| !["mod", "lib", "main"].contains(segment));
    segments.map(str::to_owned).collect()
}

fn starts_with(path: &[String], prefix: &str) -> bool {
    let prefix: Vec<&str> = prefix.split("::").collect();
    path.len() >= prefix.len() && path.iter().zip(prefix).all(|(segment, wanted)| segment == wanted)
}

/// Line and path, from the crate's root, of everything that `code`, in module `here`, names through `crate` or `super`.
pub(super) fn named(code: &str, here: &[String]) -> Vec<(usize, Vec<String>)> {
    let mut names = Vec::new();
    for (at, keyword) in keywords(code) {
        let mut rest = &code[at + keyword.len()..];
        let mut base: &[String] = &[];
        if keyword == "super::" {
            base = here.split_last().map_or(&[], |(_, parent)| parent);
            while let Some(further) = rest.strip_prefix("super::") {
                base = base.split_last().map_or(&[], |(_, parent)| parent);
                rest = further;
            }
        }
        let line = code[..at].matches('\n').count() + 1;
        let (paths, _) = use_tree(rest);
        names.extend(paths.into_iter().map(|path| (line, [base.to_vec(), path].concat())));
    }
    names
}

/// Positions of each `crate::`, and of the first of each chain of `super::`.
fn keywords(code: &str) -> Vec<(usize, &'static str)> {
    let mut found = Vec::new();
    for keyword in ["crate::", "super::"] {
        for (at, _) in code.match_indices(keyword) {
            let before = &code[..at];
            if !before.ends_with(is_word) && !before.ends_with("super::") && !before.ends_with("self::") {
                found.push((at, keyword));
            }
        }
    }
    found.sort_unstable();
    found
}

/// The paths of a tree such as `a::{b, c::d as e}`, and the text after it.
fn use_tree(text: &str) -> (Vec<Vec<String>>, &str) {
    let mut prefix: Vec<String> = Vec::new();
    let mut rest = text.trim_start();
    loop {
        if let Some(list) = rest.strip_prefix('{') {
            let (paths, after) = use_list(list);
            return (paths.into_iter().map(|path| [prefix.clone(), path].concat()).collect(), after);
        }
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        if end == 0 {
            return (vec![prefix], rest); // A glob, or generics after `::`.
        }
        prefix.push(rest[..end].to_owned());
        rest = rest[end..].trim_start();
        match rest.strip_prefix("::") {
            Some(deeper) => rest = deeper.trim_start(),
            None => return (vec![prefix], rest),
        }
    }
}

/// The paths of a list up to its closing brace, and the text after it.
fn use_list(text: &str) -> (Vec<Vec<String>>, &str) {
    let mut paths = Vec::new();
    let mut rest = text;
    loop {
        let (found, after) = use_tree(rest);
        paths.extend(found.into_iter().filter(|path| !path.is_empty()));
        // Skip `as name` up to the next entry or the end.
        let Some(stop) = after.find([',', '}']) else {
            return (paths, "");
        };
        rest = &after[stop + 1..];
        if after[stop..].starts_with('}') {
            return (paths, rest);
        }
    }
}

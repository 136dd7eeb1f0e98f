//! Circles among imports: files that name each other, directly or through others.
//!
//! For a reader, a folder's `mod.rs` and the files in the folder are one module: a file's import from a folder that it
//! lies in is no edge. All other imports are. A circle is an offence unless a comment in one of its files, in a line
//! with the words of [`EXPLAINED`], says why it is natural.

use super::{
    imports::{module_path, named},
    rules::Offence,
    source::Source,
};
use std::collections::{BTreeMap, BTreeSet};

/// Beginning of the comment that explains a circle.
pub(super) const EXPLAINED: &str = "Import circle: ";

/// Files by number; for each, the numbers of the files that it names.
struct Graph {
    edges: Vec<BTreeSet<usize>>,
}

/// Every circle among `files` that no comment explains, as one offence each, at the circle's first file.
pub(super) fn circles(files: &[&Source]) -> Vec<Offence> {
    let graph = Graph::of(files);
    let mut offences = Vec::new();
    for circle in graph.circles() {
        if circle.iter().any(|file| files[*file].text.contains(EXPLAINED)) {
            continue;
        }
        let names: Vec<&str> = circle.iter().map(|file| files[*file].path.as_str()).collect();
        let what =
            format!("these files import each other: {}; move what they share, or say why in a comment `{EXPLAINED}…`", names.join(" "));
        offences.push(Offence::new(files[circle[0]], 1, what));
    }
    offences
}

impl Graph {
    fn of(files: &[&Source]) -> Self {
        let modules: Vec<Vec<String>> = files.iter().map(|file| module_path(&file.path)).collect();
        let numbers: BTreeMap<&[String], usize> = modules.iter().enumerate().map(|(number, module)| (module.as_slice(), number)).collect();
        let edges = files.iter().zip(&modules).enumerate().map(|(number, (file, module))| {
            let code = file.product_code();
            let children = children(&code).into_iter().map(|child| [module.clone(), vec![child]].concat());
            let paths = named(&code, module).into_iter().map(|(_, path)| path).chain(children);
            let targets = paths.filter_map(|path| (1..=path.len()).rev().find_map(|length| numbers.get(&path[..length]).copied()));
            targets.filter(|target| *target != number && !module.starts_with(&modules[*target])).collect()
        });
        Self { edges: edges.collect() }
    }

    /// Sets of more than one file that all reach each other, by Tarjan's algorithm.
    fn circles(&self) -> Vec<Vec<usize>> {
        let mut search = Search {
            graph: self,
            order: vec![None; self.edges.len()],
            lowest: vec![0; self.edges.len()],
            open: Vec::new(),
            found: Vec::new(),
            seen: 0,
        };
        for file in 0..self.edges.len() {
            if search.order[file].is_none() {
                search.visit(file);
            }
        }
        search.found.into_iter().filter(|component| component.len() > 1).collect()
    }
}

/// The state of Tarjan's algorithm.
struct Search<'a> {
    graph: &'a Graph,
    /// By file, the number under which it was first visited.
    order: Vec<Option<usize>>,
    /// By file, the lowest number that is reachable from it.
    lowest: Vec<usize>,
    /// Visited files whose component is not complete.
    open: Vec<usize>,
    found: Vec<Vec<usize>>,
    seen: usize,
}

impl Search<'_> {
    fn visit(&mut self, file: usize) {
        let number = self.seen;
        self.seen += 1;
        self.order[file] = Some(number);
        self.lowest[file] = number;
        self.open.push(file);
        for next in &self.graph.edges[file] {
            match self.order[*next] {
                None => {
                    self.visit(*next);
                    self.lowest[file] = self.lowest[file].min(self.lowest[*next]);
                }
                Some(order) if self.open.contains(next) => self.lowest[file] = self.lowest[file].min(order),
                Some(_) => {}
            }
        }
        if self.lowest[file] == number {
            let start = self.open.iter().position(|open| *open == file).expect("the file was pushed above");
            let mut component = self.open.split_off(start);
            component.sort_unstable();
            self.found.push(component);
        }
    }
}

/// Modules that a file declares with `mod name;`.
fn children(code: &str) -> Vec<String> {
    let declared = |line: &str| {
        let name = line.trim().strip_suffix(';')?.rsplit_once("mod ")?.1;
        Some(name.trim().to_owned())
    };
    code.lines().filter_map(declared).collect()
}

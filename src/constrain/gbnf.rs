//! llama.cpp's GBNF, translated to Lark in llguidance's dialect.
//!
//! Lark distinguishes terminals (regular, matched by a lexer that takes the longest match) from rules (recursive). So
//! each GBNF rule that does not recurse becomes one terminal. In a rule that does recurse, neighbouring parts that do
//! not are joined into one terminal. A generated text always obeys the GBNF. Where a terminal in a recursive rule could
//! end early to make room for the part after it, only the longest match is generated.
//!
//! Notation: <https://github.com/ggml-org/llama.cpp/blob/master/grammars/README.md>. In addition, names may have
//! underscores. Written by hand: llguidance translates GBNF only with a Python script. GBNF's tokens (`<think>`,
//! `<[1000]>`) are refused: Lark can name tokens.

mod parse;
#[cfg(test)]
mod tests;

use super::literal::quoted;
use crate::protocol::{ConstraintError, ConstraintErrorKind::Invalid, ConstraintPlace};
use std::fmt::Write;

/// Largest number of rules.
const MAX_RULES: usize = 2_000;

/// A sequence of nodes.
type Nodes = Vec<Node>;

/// Part of a rule.
#[derive(Debug, Clone, PartialEq)]
enum Node {
    /// A literal text.
    Literal(String),
    /// One character, as a regular expression.
    Class(String),
    /// A rule, by its index.
    Rule(usize),
    /// One of these alternatives.
    Group(Vec<Nodes>),
    /// A node that is repeated, with the smallest and the largest number of times; `None` is no upper bound.
    Repeat(Box<Self>, u32, Option<u32>),
}

/// The rules of a grammar.
#[derive(Debug, Default)]
struct Grammar {
    names: Vec<String>,
    /// The alternatives of each rule; `None` while the rule is only mentioned.
    rules: Vec<Option<Vec<Nodes>>>,
}

/// True if a grammar is written in GBNF: Lark has `:` after the name of a rule.
pub(super) fn is_gbnf(text: &str) -> bool {
    let is_name = |name: &str| !name.is_empty() && name.chars().all(parse::is_name_char);
    text.lines().any(|line| line.split_once("::=").is_some_and(|(name, _)| is_name(name.trim())))
}

/// Translates a grammar to Lark's notation.
///
/// # Errors
/// A line is no GBNF, or a rule is missing.
pub(super) fn to_lark(text: &str) -> Result<String, ConstraintError> {
    let grammar = parse::parse(text)?;
    let missing = |name: &str| ConstraintPlace::Grammar.predicate(Invalid, format!("has no rule '{name}'"));
    let root = grammar.names.iter().position(|name| name == "root").ok_or_else(|| missing("root"))?;
    let rules: Vec<&[Nodes]> = (0..grammar.rules.len())
        .map(|at| grammar.rules[at].as_deref().ok_or_else(|| missing(&grammar.names[at])))
        .collect::<Result<_, _>>()?;
    let mut lark = Lark { recursive: recursive(&rules), text: String::new(), terminals: 0 };
    let start = lark.name(root);
    lark.text = format!("start: {start}\n");
    for (at, rule) in rules.iter().enumerate() {
        let name = lark.name(at);
        let body = if lark.recursive[at] { lark.rule(rule) } else { lark.terminal(rule) };
        lark.line(&name, &body);
    }
    Ok(lark.text)
}

/// For each rule, true if it leads to a cycle. Rules that do not are found from the ends, as in a topological sort.
fn recursive(rules: &[&[Nodes]]) -> Vec<bool> {
    let mut users: Vec<Vec<usize>> = vec![Vec::new(); rules.len()];
    let mut open = vec![0_usize; rules.len()];
    for (user, rule) in rules.iter().enumerate() {
        let mut mentioned = Vec::new();
        rule.iter().flatten().for_each(|node| mentions(node, &mut mentioned));
        open[user] = mentioned.len();
        mentioned.into_iter().for_each(|used| users[used].push(user));
    }
    let mut recursive = vec![true; rules.len()];
    let mut ready: Vec<usize> = (0..rules.len()).filter(|&at| open[at] == 0).collect();
    while let Some(at) = ready.pop() {
        recursive[at] = false;
        for &user in &users[at] {
            open[user] -= 1;
            if open[user] == 0 {
                ready.push(user);
            }
        }
    }
    recursive
}

fn mentions(node: &Node, found: &mut Vec<usize>) {
    match node {
        Node::Literal(_) | Node::Class(_) => {}
        Node::Rule(at) => found.push(*at),
        Node::Group(alternatives) => alternatives.iter().flatten().for_each(|node| mentions(node, found)),
        Node::Repeat(node, ..) => mentions(node, found),
    }
}

/// A Lark grammar under construction.
struct Lark {
    recursive: Vec<bool>,
    text: String,
    /// Number of terminals made for neighbouring parts.
    terminals: usize,
}

impl Lark {
    /// The Lark name of a rule. Lark distinguishes terminals from rules by their case.
    fn name(&self, rule: usize) -> String {
        if self.recursive[rule] { format!("r{rule}") } else { format!("T{rule}") }
    }

    fn line(&mut self, name: &str, body: &str) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{name}: {body}");
    }

    fn is_regular(&self, node: &Node) -> bool {
        let mut mentioned = Vec::new();
        mentions(node, &mut mentioned);
        mentioned.iter().all(|&rule| !self.recursive[rule])
    }

    /// The body of a terminal.
    fn terminal(&self, alternatives: &[Nodes]) -> String {
        let concatenation = |nodes: &Nodes| match nodes.as_slice() {
            [] => "\"\"".to_owned(),
            nodes => nodes.iter().map(|node| self.atom(node)).collect::<Vec<_>>().join(" "),
        };
        alternatives.iter().map(concatenation).collect::<Vec<_>>().join(" | ")
    }

    fn atom(&self, node: &Node) -> String {
        match node {
            Node::Literal(text) => quoted(text),
            Node::Class(regex) => format!("/{regex}/"),
            Node::Rule(at) => self.name(*at),
            Node::Group(alternatives) => format!("({})", self.terminal(alternatives)),
            Node::Repeat(node, min, max) => format!("({}){}", self.atom(node), times(*min, *max)),
        }
    }

    /// The body of a rule.
    fn rule(&mut self, alternatives: &[Nodes]) -> String {
        let mut parts = Vec::new();
        for nodes in alternatives {
            let mut atoms = Vec::new();
            let mut rest = nodes.as_slice();
            while let Some(node) = rest.first() {
                let neighbours = rest.iter().take_while(|node| self.is_regular(node)).count();
                if neighbours > 0 {
                    let body = self.terminal(&[rest[..neighbours].to_vec()]);
                    let name = format!("M{}", self.terminals);
                    self.terminals += 1;
                    self.line(&name, &body);
                    atoms.push(name);
                } else {
                    atoms.push(self.part(node));
                }
                rest = &rest[neighbours.max(1)..];
            }
            parts.push(if atoms.is_empty() { "\"\"".to_owned() } else { atoms.join(" ") });
        }
        parts.join(" | ")
    }

    /// The Lark text of a part that recurses.
    fn part(&mut self, node: &Node) -> String {
        match node {
            Node::Rule(at) => self.name(*at),
            Node::Group(alternatives) => format!("({})", self.rule(alternatives)),
            Node::Repeat(node, min, max) => format!("({}){}", self.part(node), times(*min, *max)),
            Node::Literal(_) | Node::Class(_) => self.atom(node),
        }
    }
}

fn times(min: u32, max: Option<u32>) -> String {
    match (min, max) {
        (0, None) => "*".to_owned(),
        (1, None) => "+".to_owned(),
        (0, Some(1)) => "?".to_owned(),
        (min, None) => format!("{{{min},}}"),
        (min, Some(max)) => format!("{{{min},{max}}}"),
    }
}

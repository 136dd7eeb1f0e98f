//! The files that the rules check: all text files, and for Rust their code with comments and literals blanked.
//!
//! A small lexer, not a parser: it knows comments, strings, raw strings, characters and lifetimes, and keeps every line
//! in its place, so that rules can name lines.

use std::{fs, path::Path};

/// Checked names in the root; everything else there is generated or not ours.
const ROOTS: [&str; 19] = [
    "src",
    "tests",
    "benches",
    "examples",
    "scripts",
    "docs",
    "deploy",
    "vendor",
    "models",
    "web",
    ".ci",
    ".cargo",
    "build.rs",
    "Cargo.toml",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    ".clippy.toml",
];

/// Folders within them that tools make.
const MADE_BY_TOOLS: [&str; 5] = [".venv", "node_modules", "__pycache__", ".pytest_cache", "target"];

/// Endings of text files. A file without an ending (`scripts/serve`) is text too.
const TEXT: [&str; 13] = ["rs", "toml", "md", "sh", "py", "mjs", "js", "txt", "json", "yml", "yaml", "html", "css"];

/// One text file.
pub(super) struct Source {
    /// Path relative to the root, with `/`.
    pub path: String,
    /// The text on disk.
    pub text: String,
    /// The text; for Rust with comments and the insides of literals blanked.
    pub code: String,
}

impl Source {
    /// Creates a file with this text as if it were at `path`.
    pub(super) fn new(path: &str, text: &str) -> Self {
        let is_rust = Path::new(path).extension().is_some_and(|ending| ending == "rs");
        let code = if is_rust { blank(text) } else { text.to_owned() };
        Self { path: path.to_owned(), text: text.to_owned(), code }
    }

    /// True if this is Rust.
    pub(super) fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }

    /// True if this is a Markdown document.
    pub(super) fn is_markdown(&self) -> bool {
        self.path.ends_with(".md")
    }

    /// True if this is Rust of the product: under `src/`, and not a file that is compiled only for tests.
    pub(super) fn is_product(&self) -> bool {
        let of_tests =
            ["/tests.rs", "/testing.rs", "/fixtures.rs"].iter().any(|name| self.path.ends_with(name)) || self.path.contains("/tests/");
        self.is_rust() && self.path.starts_with("src/") && !of_tests
    }

    /// The code without items under `#[cfg(test)]`.
    pub(super) fn product_code(&self) -> String {
        let mut code = self.code.clone();
        let mut from = 0;
        while let Some(found) = code[from..].find("#[cfg(test)]") {
            let start = from + found;
            let end = item_end(&code, start);
            let blanked: String = code[start..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
            code.replace_range(start..end, &blanked);
            from = start + blanked.len();
        }
        code
    }
}

/// Every text file of the project.
pub(super) fn tree(root: &Path) -> Vec<Source> {
    let mut files = Vec::new();
    for name in ROOTS {
        collect(root, &root.join(name), &mut files);
    }
    files
}

fn collect(root: &Path, path: &Path, files: &mut Vec<Source>) {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    if path.is_dir() {
        if MADE_BY_TOOLS.contains(&name.as_ref()) {
            return;
        }
        let mut entries: Vec<fs::DirEntry> = fs::read_dir(path).and_then(Iterator::collect).expect("a folder of the project can be listed");
        entries.sort_by_key(fs::DirEntry::path);
        for entry in entries {
            collect(root, &entry.path(), files);
        }
    } else if path.is_file() && path.extension().is_none_or(|ending| TEXT.iter().any(|text| ending == *text)) {
        let relative = path.strip_prefix(root).expect("every path was found below the root").to_string_lossy().replace('\\', "/");
        let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{relative}: {error}"));
        files.push(Source::new(&relative, &text));
    }
}

/// The end of the item at `start`: after its block, or after its `;` if it has none.
fn item_end(code: &str, start: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, c) in code[start..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth <= 1 => return start + offset + 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return start + offset + 1,
            _ => {}
        }
    }
    code.len()
}

/// Replaces comments and the insides of strings and characters by blanks; lines keep their places.
pub(super) fn blank(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = match chars[at] {
            '/' if chars.get(at + 1) == Some(&'/') => line_end(&chars, at),
            '/' if chars.get(at + 1) == Some(&'*') => comment_end(&chars, at),
            '"' => string_end(&chars, at),
            '\'' => character_end(&chars, at),
            _ => at,
        };
        if end == at {
            code.push(chars[at]);
            at += 1;
        } else {
            code.extend(chars[at..end].iter().map(|c| if *c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    code
}

fn line_end(chars: &[char], start: usize) -> usize {
    chars[start..].iter().position(|c| *c == '\n').map_or(chars.len(), |offset| start + offset)
}

/// The position after a comment. Block comments nest.
fn comment_end(chars: &[char], start: usize) -> usize {
    let mut depth = 0;
    let mut at = start;
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

/// The position after the closing quote of a string; `r` and hashes before the opening quote mark a raw string.
fn string_end(chars: &[char], start: usize) -> usize {
    let hashes = chars[..start].iter().rev().take_while(|c| **c == '#').count();
    let raw = start > hashes && chars[start - hashes - 1] == 'r';
    let mut at = start + 1;
    while at < chars.len() {
        match chars[at] {
            '\\' if !raw => at += 1,
            '"' if !raw => return at + 1,
            '"' if chars[at + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes => return at + 1,
            _ => {}
        }
        at += 1;
    }
    chars.len()
}

/// The position after the closing quote of a character; a lifetime has none and is code.
fn character_end(chars: &[char], start: usize) -> usize {
    match chars.get(start + 1) {
        Some('\\') => chars[start + 3..].iter().position(|c| *c == '\'').map_or(chars.len(), |offset| start + 4 + offset),
        Some(_) if chars.get(start + 2) == Some(&'\'') => start + 3,
        _ => start,
    }
}

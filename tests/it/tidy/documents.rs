//! The rules about Markdown: lengths of lines, and links between files.
//!
//! Readers judge the words and the truth of a document; the tests beside the tables check generated parts.

use super::{root, rules::Offence, source::Source};
use std::{fs, path::Path};

/// Longest line of prose, characters.
pub(super) const MAX_LINE_CHARS: usize = 120;

/// True if a line is prose; rows of tables and lines within fences are not.
fn is_prose(line: &str, is_fenced: &mut bool) -> bool {
    if line.trim_start().starts_with("```") {
        *is_fenced = !*is_fenced;
        return false;
    }
    !*is_fenced && !line.trim_start().starts_with('|')
}

/// No line of prose is longer than [`MAX_LINE_CHARS`], except one with an address.
pub(super) fn long_lines(file: &Source) -> Vec<Offence> {
    let mut is_fenced = false;
    let prose = file.text.lines().enumerate().filter(|(_, line)| is_prose(line, &mut is_fenced));
    let long = prose.filter(|(_, line)| line.chars().count() > MAX_LINE_CHARS && !line.contains("://"));
    long.map(|(at, line)| Offence::new(file, at + 1, format!("{} characters, at most {MAX_LINE_CHARS}", line.chars().count()))).collect()
}

/// Every link to a file of the project leads to a file, and to a heading if it names one.
pub(super) fn dead_links(file: &Source) -> Vec<Offence> {
    let mut offences = Vec::new();
    let mut is_fenced = false;
    for (at, line) in file.text.lines().enumerate() {
        let is_text = is_prose(line, &mut is_fenced) || line.trim_start().starts_with('|');
        for target in links(line).into_iter().filter(|target| is_text && !target.contains("://") && !target.starts_with("mailto:")) {
            if let Err(problem) = follow(&file.path, &file.text, target) {
                offences.push(Offence::new(file, at + 1, format!("link to {target}: {problem}")));
            }
        }
    }
    offences
}

/// The targets of `[text](target)` in a line.
fn links(line: &str) -> Vec<&str> {
    line.split("](").skip(1).filter_map(|rest| rest.split(')').next()).collect()
}

fn follow(from: &str, text: &str, target: &str) -> Result<(), String> {
    let (path, heading) = target.split_once('#').map_or((target, None), |(path, heading)| (path, Some(heading)));
    let text = if path.is_empty() {
        text.to_owned()
    } else {
        let place = root().join(Path::new(from).parent().unwrap_or_else(|| Path::new(""))).join(path);
        if !place.exists() {
            return Err("there is no such file".to_owned());
        }
        fs::read_to_string(place).unwrap_or_default()
    };
    match heading {
        Some(heading) if !anchors(&text).contains(&heading.to_owned()) => Err("there is no such heading".to_owned()),
        _ => Ok(()),
    }
}

/// The anchors of a document's headings; the second of two equal ones ends in `-1`.
fn anchors(text: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    for plain in text.lines().filter(|line| line.starts_with('#')).map(anchor) {
        let numbered = (1..).map(|number| format!("{plain}-{number}"));
        let free = std::iter::once(plain.clone()).chain(numbered).find(|name| !anchors.contains(name));
        anchors.extend(free);
    }
    anchors
}

/// The name under which GitHub links to a heading.
fn anchor(line: &str) -> String {
    let heading = line.trim_start_matches('#').trim().to_lowercase();
    heading.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The document has no more lines than fit a first reading.
pub(super) fn too_long_to_begin_with(file: &Source) -> Vec<Offence> {
    const MAX_LINES: usize = 150;
    let lines = file.text.lines().count();
    let offence =
        (lines > MAX_LINES).then(|| Offence::new(file, lines, format!("{lines} lines, at most {MAX_LINES}: move details to docs/")));
    offence.into_iter().collect()
}

/// Pages of `docs/decisions` without a link in its index.
pub(super) fn missing_in_index(files: &[Source]) -> Vec<String> {
    const FOLDER: &str = "docs/decisions/";
    const INDEX: &str = "docs/decisions/README.md";
    let index = files.iter().find(|file| file.path == INDEX).map_or("", |file| file.text.as_str());
    let pages = files.iter().filter_map(|file| file.path.strip_prefix(FOLDER)).filter(|name| *name != "README.md");
    pages.filter(|name| !index.contains(&format!("]({name})"))).map(str::to_owned).collect()
}

/// Every path of the project that a document names as code exists.
pub(super) fn missing_paths(file: &Source) -> Vec<Offence> {
    const FOLDERS: [&str; 10] =
        ["src/", "tests/", "docs/", "benches/", "examples/", "scripts/", "models/", "vendor/", ".cargo/", "build.rs"];
    let mut offences = Vec::new();
    for (at, line) in file.text.lines().enumerate() {
        let code = line.split('`').skip(1).step_by(2);
        let paths = code.filter(|code| FOLDERS.iter().any(|folder| code.starts_with(folder)));
        for path in paths.filter(|path| path.chars().all(|c| c.is_alphanumeric() || "/._-".contains(c))) {
            if !root().join(path).exists() {
                offences.push(Offence::new(file, at + 1, format!("`{path}` is not there")));
            }
        }
    }
    offences
}

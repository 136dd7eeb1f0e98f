//! The rules about one file's text: size, header, words, discarded results, places.
//!
//! Rules return offences and do not choose the files that they check. The rules about imports have a module of their
//! own.

use super::{documents::MAX_LINE_CHARS, source::Source};
use std::fmt;

/// A rule names every place in a file that breaks it.
pub(super) type Rule = fn(&Source) -> Vec<Offence>;

/// One place that breaks a rule; shown as `path:line: what`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Offence {
    path: String,
    /// Number of the line, from 1.
    pub line: usize,
    /// The fault and its remedy.
    pub what: String,
}

impl Offence {
    pub(super) fn new(file: &Source, line: usize, what: impl Into<String>) -> Self {
        Self { path: file.path.clone(), line, what: what.into() }
    }
}

impl fmt::Display for Offence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.what)
    }
}

/// Maximum lines of a file: a longer file has two ideas.
pub(super) const MOST_LINES: usize = 500;

/// No file is longer than [`MOST_LINES`].
pub(super) fn size(file: &Source) -> Vec<Offence> {
    let lines = file.text.lines().count();
    let offence = (lines > MOST_LINES).then(|| Offence::new(file, lines, format!("{lines} lines, at most {MOST_LINES}: split it")));
    offence.into_iter().collect()
}

/// No line of a comment is longer than [`MAX_LINE_CHARS`], except tables, quoted code and lines with an address.
pub(super) fn long_comments(file: &Source) -> Vec<Offence> {
    let mut is_fenced = false;
    let mut offences = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        let Some(comment) = line.trim_start().strip_prefix("//") else { continue };
        let words = comment.trim_start_matches(['/', '!']).trim_start();
        is_fenced ^= words.starts_with("```");
        let is_free = is_fenced || words.starts_with('|') || words.contains("://");
        if !is_free && line.chars().count() > MAX_LINE_CHARS {
            offences.push(Offence::new(file, index + 1, format!("a comment of more than {MAX_LINE_CHARS} characters in a line: break it")));
        }
    }
    offences
}

/// No line of a comment begins with a clause that stands for a noun ("What is known about …"): a stranger has to read
/// it twice.
pub(super) fn clauses(file: &Source) -> Vec<Offence> {
    const WORDS: [&str; 6] = ["What", "Whatever", "Whether", "Who", "Whoever", "Why"];
    let comments = file.text.lines().enumerate().filter_map(|(index, line)| Some((index + 1, line.trim_start().strip_prefix("//")?)));
    let offenders = comments.filter_map(|(line, comment)| {
        let word = comment.trim_start_matches(['/', '!']).split_whitespace().next()?;
        let message = || Offence::new(file, line, format!("a comment that begins with \"{word}\": name the thing"));
        WORDS.contains(&word).then(message)
    });
    offenders.collect()
}

/// Every file begins with a description of its purpose.
pub(super) fn header(file: &Source) -> Vec<Offence> {
    if file.text.starts_with("//! ") {
        return Vec::new();
    }
    vec![Offence::new(file, 1, "no `//!` header: what it is, what it owns, what it does not do")]
}

/// A word that may be used only in some places.
struct Word {
    word: &'static str,
    /// Prefixes of paths where the word may not be used.
    banned: &'static [&'static str],
    /// Prefixes of paths within the banned ones where it may be used.
    except: &'static [&'static str],
    /// True if tests may not use it either.
    in_tests: bool,
    why: &'static str,
}

/// All Rust code.
const ALL: &[&str] = &["src/", "tests/", "benches/", "examples/", "build.rs"];
/// The only places that know llama.cpp.
const LLAMA: &[&str] = &["src/llama/", "tests/it/model/", "tests/it/families/"];
const BELOW_HTTP: &[&str] = &["src/gateway/", "src/protocol/", "src/engine/", "src/sampling/", "src/llama/", "src/models/"];
const ENGINE: &[&str] = &["src/engine/", "src/sampling/", "src/llama/", "src/protocol/"];
const PURE: &[&str] = &["src/engine/scheduler/", "src/engine/text/", "src/sampling/"];

const WORDS: [Word; 8] = [
    Word { word: "llama_cpp_2", banned: ALL, except: LLAMA, in_tests: true, why: "only src/llama names llama.cpp" },
    Word { word: "llama_cpp_sys_2", banned: ALL, except: LLAMA, in_tests: true, why: "only src/llama names llama.cpp" },
    Word { word: "unsafe", banned: ALL, except: LLAMA, in_tests: true, why: "only src/llama is unsafe" },
    Word { word: "axum", banned: BELOW_HTTP, except: &[], in_tests: false, why: "only api speaks HTTP" },
    Word { word: "StatusCode", banned: BELOW_HTTP, except: &[], in_tests: false, why: "only api knows status codes" },
    Word { word: "serde_json", banned: ENGINE, except: &[], in_tests: false, why: "the engine knows no JSON" },
    Word { word: "Instant", banned: PURE, except: &[], in_tests: false, why: "planning and sampling know no clock: pass the time in" },
    Word { word: "SystemTime", banned: PURE, except: &[], in_tests: false, why: "planning and sampling know no clock: pass the time in" },
];

/// Words are used only in the layers that may use them.
pub(super) fn words(file: &Source) -> Vec<Offence> {
    let within = |prefixes: &[&str]| prefixes.iter().any(|prefix| file.path.starts_with(prefix));
    let mut offences = Vec::new();
    for rule in WORDS.iter().filter(|rule| within(rule.banned) && !within(rule.except) && (rule.in_tests || file.is_product())) {
        let code = if rule.in_tests { file.code.clone() } else { file.product_code() };
        for (index, line) in code.lines().enumerate() {
            if line.split(|c: char| !is_word(c)).any(|word| word == rule.word) {
                offences.push(Offence::new(file, index + 1, format!("`{}`: {}", rule.word, rule.why)));
            }
        }
    }
    offences
}

/// True if `c` can be part of an identifier.
pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// No `.unwrap()` in the product.
pub(super) fn unwrap(file: &Source) -> Vec<Offence> {
    containing(file, &file.product_code(), &[".unwrap()"], "unwrap: return an error, or `expect` why it cannot fail")
}

/// No `#[allow]`.
pub(super) fn allow(file: &Source) -> Vec<Offence> {
    containing(
        file,
        &file.code,
        &["#[allow(", "#![allow("],
        "allow: use #[expect(…, reason = \"…\")], which tells when it is needed no more",
    )
}

/// No code that panics because it is not written yet.
pub(super) fn unfinished(file: &Source) -> Vec<Offence> {
    containing(file, &file.code, &["todo!(", "unimplemented!(", "dbg!("], "left unfinished")
}

fn containing(file: &Source, code: &str, needles: &[&str], what: &str) -> Vec<Offence> {
    let hits = code.lines().enumerate().filter(|(_, line)| needles.iter().any(|needle| line.contains(needle)));
    hits.map(|(index, _)| Offence::new(file, index + 1, what)).collect()
}

/// `let _ =` has a comment on its line or at most two lines above; consecutive ones share a comment.
pub(super) fn thrown_away(file: &Source) -> Vec<Offence> {
    let throws = |line: &str| line.trim_start().starts_with("let _ =");
    let code = file.product_code();
    let lines: Vec<(&str, &str)> = code.lines().zip(file.text.lines()).collect();
    let mut offences = Vec::new();
    for (index, (_, text)) in lines.iter().enumerate().filter(|(_, (code, _))| throws(code)) {
        let above = lines[..index].iter().rev().filter(|(code, _)| !throws(code)).take(2);
        if !text.contains("//") && above.into_iter().all(|(_, text)| !text.contains("//")) {
            offences.push(Offence::new(file, index + 1, "`let _ =` without a comment: why may this fail unseen?"));
        }
    }
    offences
}

/// Names that belong to one machine or one mirror. Written in halves, so that this file is no offence.
pub(super) const PLACES: [[&str; 2]; 6] =
    [["/wo", "rk/"], ["/ro", "ot/"], ["py", "pi.org"], ["python", "hosted.org"], ["registry.", "npmjs"], ["deb.debian", ".org"]];

/// No path of one machine and no host of a package registry: both are settings of the person who runs this.
pub(super) fn places(file: &Source) -> Vec<Offence> {
    let mut offences = Vec::new();
    for (index, line) in file.text.lines().enumerate() {
        for place in PLACES.map(|halves| halves.concat()).iter().filter(|place| line.contains(place.as_str())) {
            offences.push(Offence::new(file, index + 1, format!("{place}: a place of one machine or one registry")));
        }
    }
    offences
}

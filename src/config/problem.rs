//! The problems of a configuration: all of them at once, each with its place.

use super::LogFormat;
use std::fmt;

/// All problems of a configuration. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The problems, in the order in which they were found.
    pub problems: Vec<Problem>,
    /// The format of log lines that was asked for, if that was read.
    pub log_format: Option<LogFormat>,
}

/// One problem of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The flag, environment variable or file and key at fault, as the user wrote it.
    pub at: String,
    /// The fault, and the values that are accepted.
    pub message: String,
}

impl ConfigErrors {
    /// A single problem.
    #[must_use]
    pub fn one(at: &str, message: String) -> Self {
        Self { problems: vec![Problem { at: at.to_owned(), message }], log_format: None }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.message)
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [only] => write!(f, "{only}"),
            all => {
                write!(f, "{} problems in the configuration:", all.len())?;
                all.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
            }
        }
    }
}

impl std::error::Error for ConfigErrors {}

/// The candidate closest to `word`, if the user probably meant it: it differs in few letters, or it begins with `word`,
/// which must then have three letters or more.
pub(crate) fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = 1 + word.chars().count() / 4;
    let begins = |candidate: &str| word.len() >= 3 && candidate.starts_with(word);
    let scored = candidates.into_iter().map(|candidate| (if begins(candidate) { 1 } else { distance(word, candidate) }, candidate));
    scored.filter(|(distance, _)| *distance <= allowed).min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}

/// Edit distance, ignoring case and taking `-` for `_`.
fn distance(a: &str, b: &str) -> usize {
    let normal = |text: &str| text.to_lowercase().replace('-', "_");
    strsim::levenshtein(&normal(a), &normal(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_closest_word_is_suggested_only_if_it_is_close() {
        let words = ["max_model_len", "max_num_seqs", "port", "host"];

        assert_eq!(closest("max-model-len", words), Some("max_model_len"));
        assert_eq!(closest("max_modle_len", words), Some("max_model_len"));
        assert_eq!(closest("prt", words), Some("port"));
        assert_eq!(closest("max_num", words), Some("max_num_seqs"));
        assert_eq!(closest("temperature", words), None);
    }
}

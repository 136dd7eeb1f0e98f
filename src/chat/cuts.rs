//! The places at which a template may cut a user's text, and the words that it looks for as a whole, as far as its
//! source spells them as string literals.
//!
//! Knows no tokens and renders nothing; `guard.rs` decides what stands at a cut.

use super::mentions::quoted;
use std::collections::{BTreeSet, HashSet};

/// The maximum number of separators, and of whole words, that are searched for.
const MAX_SEPARATORS: usize = 64;

/// See the module.
#[derive(Debug)]
pub(super) struct Cuts {
    /// Texts by which the template splits or replaces texts.
    separators: Vec<String>,
    /// Characters besides white space that the template trims.
    trimmed: HashSet<char>,
    /// Literals with a separator inside. A template that compares with one of them must find it unbroken.
    wholes: Vec<WholeWord>,
}

/// A literal with separators inside.
#[derive(Debug)]
struct WholeWord {
    word: String,
    /// Beginnings and ends of the separators.
    separators: Vec<(usize, usize)>,
}

/// A separator inside a whole word of a text: the word's beginning and end, and the separator's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct InnerCut {
    pub(super) word: (usize, usize),
    pub(super) separator: (usize, usize),
}

impl Cuts {
    /// The cuts of the template `source`.
    pub(super) fn of(source: &str) -> Self {
        let mut separators = BTreeSet::new();
        let mut trimmed = HashSet::new();
        for name in ["split(", "partition(", "replace("] {
            separators.extend(source.match_indices(name).filter_map(|(at, _)| literal(&source[at + name.len()..])));
        }
        for name in ["strip(", "trim("] {
            let literals = source.match_indices(name).filter_map(|(at, _)| literal(&source[at + name.len()..]));
            trimmed.extend(literals.flat_map(|text| text.chars().collect::<Vec<char>>()));
        }
        let separators: Vec<String> = separators.into_iter().filter(|separator| !separator.is_empty()).take(MAX_SEPARATORS).collect();
        let words: BTreeSet<String> = quoted(source).into_iter().map(|text| unescaped(text, None).unwrap_or_default()).collect();
        let whole = |word: String| {
            let inner = |separator: &String| word.match_indices(separator.as_str()).map(|(at, found)| (at, at + found.len())).collect();
            let found: Vec<Vec<(usize, usize)>> = separators.iter().filter(|separator| **separator != word).map(inner).collect();
            let separators = found.concat();
            (!separators.is_empty()).then_some(WholeWord { word, separators })
        };
        let wholes = words.into_iter().filter_map(whole).take(MAX_SEPARATORS).collect();
        Self { separators, trimmed, wholes }
    }

    /// Byte offsets in `text`, rising, at which the template may cut it: its ends, and those of each separator.
    pub(super) fn offsets(&self, text: &str) -> Vec<usize> {
        let mut cuts = vec![0, text.len()];
        for separator in &self.separators {
            for (at, found) in text.match_indices(separator) {
                cuts.extend([at, at + found.len()]);
            }
        }
        cuts.sort_unstable();
        cuts
    }

    /// True if the template trims this character, other than as white space.
    pub(super) fn trims(&self, c: char) -> bool {
        self.trimmed.contains(&c)
    }

    /// The separators inside whole words of `text`, in no order.
    pub(super) fn inner<'a>(&'a self, text: &'a str) -> impl Iterator<Item = InnerCut> {
        self.wholes.iter().flat_map(move |whole| {
            text.match_indices(whole.word.as_str()).flat_map(move |(at, found)| {
                let word = (at, at + found.len());
                whole.separators.iter().map(move |(start, end)| InnerCut { word, separator: (at + start, at + end) })
            })
        })
    }
}

/// The text of the string literal at the beginning of `code`, if there is one.
fn literal(code: &str) -> Option<String> {
    let code = code.trim_start();
    let quote = code.chars().next().filter(|c| ['\'', '"'].contains(c))?;
    unescaped(&code[1..], Some(quote))
}

/// The text of a literal up to the closing quote, or to the end where none is wanted.
fn unescaped(code: &str, quote: Option<char>) -> Option<String> {
    let mut text = String::new();
    let mut chars = code.chars();
    while let Some(c) = chars.next() {
        match c {
            c if Some(c) == quote => return Some(text),
            '\\' => text.push(match chars.next()? {
                'n' => '\n',
                't' => '\t',
                'r' => '\r',
                other => other,
            }),
            c => text.push(c),
        }
    }
    quote.is_none().then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_at_its_ends_and_at_the_separators_that_the_template_spells() {
        let cuts = Cuts::of(r#"{{ x.split('\n')[0] | replace("ab", "") }}{{ y.strip('-') }}"#);

        assert_eq!(cuts.offsets("1\n2ab"), [0, 1, 2, 3, 5, 5]);
        assert!(cuts.trims('-') && !cuts.trims('a'));
    }

    #[test]
    fn a_separator_inside_a_word_of_the_template_is_found_in_that_word_only() {
        let cuts = Cuts::of("{% if '</think>' in x %}{{ x.replace('/think', '') }}{% endif %}");

        let inner: Vec<InnerCut> = cuts.inner("/think a</think>").collect();
        assert_eq!(inner, [InnerCut { word: (8, 16), separator: (9, 15) }]);
        assert_eq!(Cuts::of("{{ x.split('</think>') }}").inner("</think>").count(), 0);
    }
}

//! Keeps a user's words from becoming control tokens: inserts marks where they could, and removes the marks from the
//! rendered text.
//!
//! A mark is one character that occurs nowhere else in the request or the template. It is put inside every control
//! token that a user spells (in any letter case, since templates change case), and at any end or beginning of the
//! user's text where it is a piece of a control token that neighbouring text could complete. Text may also end where
//! the template trims or splits it, so the separators that the template names count as ends, but not within a longer
//! word that the template names too, such as `/think` within `</think>`. Nothing else is changed: comparisons, trims
//! and splits in the template see the user's own text, except for control tokens in it. A template that assembles a
//! control token from single characters of a user's text, for instance by slices, is not covered. Tokens of a single
//! character cannot be marked.

use super::{
    cuts::{Cuts, InnerCut},
    rendering::{ChatInput, RenderedPrompt, TemplateError, TemplateTokens},
};
use aho_corasick::{
    Anchored, MatchKind,
    automaton::{Automaton, StateID},
    nfa::contiguous::NFA,
};
use minijinja::Value;
use serde_json::{Map, Value as Json};
use std::collections::{BTreeSet, HashSet};

/// Maximum nesting of a request's values; serde_json reads no deeper either.
const MAX_DEPTH: usize = 128;
/// The cost of a value in addition to its text, bytes.
const VALUE_COST: u64 = 64;
/// Unicode's private characters: first those of three bytes in UTF-8, then those of four.
const PRIVATE: [std::ops::RangeInclusive<char>; 3] = ['\u{e000}'..='\u{f8ff}', '\u{f0000}'..='\u{ffffd}', '\u{100000}'..='\u{10fffd}'];

/// Finds the offsets to mark, for one template and vocabulary.
#[derive(Debug)]
pub(super) struct Guard {
    /// Automata of the control tokens; `backward` has them reversed.
    forward: NFA,
    backward: NFA,
    /// Length of each token's first character, bytes.
    first: Vec<usize>,
    /// Length of the longest token, bytes.
    longest: usize,
    /// The places at which this template may cut a text.
    cuts: Cuts,
    /// Private characters in the template and the tokens.
    taken: BTreeSet<char>,
}

impl Guard {
    /// The guard for `tokens` and the template `source`.
    pub(super) fn new(tokens: &TemplateTokens, source: &str) -> Result<Self, TemplateError> {
        let spelled: BTreeSet<&str> = tokens.control.iter().chain([&tokens.bos, &tokens.eos]).map(String::as_str).collect();
        let spelled: Vec<&str> = spelled.into_iter().filter(|token| token.chars().nth(1).is_some()).collect();
        let reversed: Vec<Vec<u8>> = spelled.iter().map(|token| token.bytes().rev().collect()).collect();
        let automaton = |patterns: Vec<Vec<u8>>| {
            let built = NFA::builder().match_kind(MatchKind::Standard).ascii_case_insensitive(true).prefilter(false).build(patterns);
            built.map_err(|error| TemplateError::Failed(format!("too many control tokens: {error}")))
        };
        let first = spelled.iter().filter_map(|token| token.chars().next()).map(char::len_utf8).collect();
        let mut taken = BTreeSet::new();
        spelled.iter().chain([&source]).for_each(|text| collect_private(text, &mut taken));
        let longest = spelled.iter().map(|token| token.len()).max().unwrap_or(0);
        let forward = automaton(spelled.iter().map(|token| token.as_bytes().to_vec()).collect())?;
        Ok(Self { forward, backward: automaton(reversed)?, first, longest, cuts: Cuts::of(source), taken })
    }

    /// Chooses the mark characters for one render.
    ///
    /// # Errors
    /// `Input` if the request uses every private character, or nests too deep.
    pub(super) fn marks(&self, input: &ChatInput) -> Result<GuardMarks<'_>, TemplateError> {
        let mut taken = self.taken.clone();
        let lists = input.messages.iter().chain(input.tools.iter().flatten()).chain(input.kwargs.values());
        for value in lists {
            collect_in(value, &mut taken, 0)?;
        }
        let mut free = PRIVATE.into_iter().flatten().filter(|c| !taken.contains(c));
        match (free.next(), free.next()) {
            (Some(marker), Some(end_tag)) => Ok(GuardMarks { guard: self, marker, end_tag }),
            _ => Err(TemplateError::Input("the request uses all private characters of Unicode; the server needs two of them".to_owned())),
        }
    }

    /// Byte offsets in `text`, rising, at which marks belong.
    fn offsets(&self, text: &str) -> Vec<usize> {
        let cuts = self.cuts.offsets(text);
        let mut at_cuts = begun(&self.forward, text.bytes(), &self.ends(text, &cuts));
        let starts: Vec<usize> = self.starts(text, &cuts).into_iter().rev().map(|start| text.len() - start).collect();
        at_cuts.extend(begun(&self.backward, text.bytes().rev(), &starts).into_iter().map(|from_end| text.len() - from_end));
        self.spare_whole_words(text, &mut at_cuts);
        let mut offsets = self.inside(text);
        offsets.extend(at_cuts);
        offsets.sort_unstable();
        offsets.dedup();
        offsets
    }

    /// Removes the offsets inside of words that the template looks for, so that it finds them, unless the text around
    /// the separator inside would then spell a control token.
    fn spare_whole_words(&self, text: &str, offsets: &mut Vec<usize>) {
        let (mut spared, mut needed) = (Vec::new(), HashSet::new());
        for InnerCut { word, separator: (start, end) } in self.cuts.inner(text) {
            if self.spells_across(&text.as_bytes()[..start], &text.as_bytes()[end..]) {
                needed.extend([start, end]);
            } else {
                spared.push(word);
            }
        }
        spared.sort_unstable();
        let is_spared = |offset: usize| {
            let before = &spared[..spared.partition_point(|(start, _)| *start < offset)];
            before.last().is_some_and(|(_, end)| offset < *end)
        };
        offsets.retain(|offset| needed.contains(offset) || !is_spared(*offset));
    }

    /// True if a control token begins in `before` and ends in `after`, put together.
    fn spells_across(&self, before: &[u8], after: &[u8]) -> bool {
        let near = &before[before.len().saturating_sub(self.longest)..];
        let Ok(mut state) = self.forward.start_state(Anchored::No) else { return false };
        for byte in near {
            state = self.forward.next_state(Anchored::No, state, *byte);
        }
        for (read, byte) in (1..).zip(&after[..after.len().min(self.longest)]) {
            state = self.forward.next_state(Anchored::No, state, *byte);
            let matches = if self.forward.is_match(state) { self.forward.match_len(state) } else { 0 };
            if (0..matches).any(|index| self.forward.pattern_len(self.forward.match_pattern(state, index)) > read) {
                return true;
            }
            if self.forward.is_start(state) {
                return false;
            }
        }
        false
    }

    /// Offsets after the first character of every control token in `text`, whatever its letter case.
    fn inside(&self, text: &str) -> Vec<usize> {
        let mut offsets = Vec::new();
        walk(&self.forward, text.bytes(), |read, state| {
            for index in 0..if self.forward.is_match(state) { self.forward.match_len(state) } else { 0 } {
                let token = self.forward.match_pattern(state, index);
                offsets.push(read - self.forward.pattern_len(token) + self.first[token.as_usize()]);
            }
        });
        offsets
    }

    /// Offsets at which the text before each of `cuts` may end: the cut itself, and before the characters that a
    /// template trims.
    fn ends(&self, text: &str, cuts: &[usize]) -> Vec<usize> {
        let mut ends = cuts.to_vec();
        for is_trimmed in [|_: &Self, c: char| c.is_whitespace(), |guard: &Self, c: char| guard.trims(c)] {
            let mut solid = text.char_indices().filter(|(_, c)| !is_trimmed(self, *c)).map(|(at, c)| at + c.len_utf8()).peekable();
            let mut last = 0;
            for cut in cuts {
                while let Some(end) = solid.next_if(|end| end <= cut) {
                    last = end;
                }
                ends.push(last);
            }
        }
        ends.sort_unstable();
        ends.dedup();
        ends
    }

    /// Offsets at which the text after each of `cuts` may begin: the cut itself, and after the characters that a
    /// template trims.
    fn starts(&self, text: &str, cuts: &[usize]) -> Vec<usize> {
        let mut starts = cuts.to_vec();
        for is_trimmed in [|_: &Self, c: char| c.is_whitespace(), |guard: &Self, c: char| guard.trims(c)] {
            let mut solid = text.char_indices().filter(|(_, c)| !is_trimmed(self, *c)).map(|(at, _)| at).peekable();
            for cut in cuts {
                while solid.next_if(|start| start < cut).is_some() {}
                starts.push(solid.peek().copied().unwrap_or(text.len()));
            }
        }
        starts.sort_unstable();
        starts.dedup();
        starts
    }

    fn trims(&self, c: char) -> bool {
        c.is_whitespace() || self.cuts.trims(c)
    }
}

/// Those of `positions` (rising) at which the bytes read so far end with the beginning of a pattern.
fn begun(automaton: &NFA, bytes: impl Iterator<Item = u8>, positions: &[usize]) -> Vec<usize> {
    let mut positions = positions.iter().copied().skip_while(|position| *position == 0).peekable();
    let mut found = Vec::new();
    walk(automaton, bytes, |read, state| {
        if positions.next_if_eq(&read).is_some() && !automaton.is_start(state) {
            found.push(read);
        }
    });
    found
}

/// Calls `visit` after each byte, with the number of bytes read and the automaton's state: the longest beginning of a
/// pattern that these bytes end with.
fn walk(automaton: &NFA, bytes: impl Iterator<Item = u8>, mut visit: impl FnMut(usize, StateID)) {
    // This fails only for an automaton without unanchored searches.
    let Ok(mut state) = automaton.start_state(Anchored::No) else { return };
    for (index, byte) in bytes.enumerate() {
        state = automaton.next_state(Anchored::No, state, byte);
        visit(index + 1, state);
    }
}

/// The mark characters of one render.
pub(super) struct GuardMarks<'g> {
    guard: &'g Guard,
    marker: char,
    end_tag: char,
}

impl GuardMarks<'_> {
    /// The character that breaks up control tokens.
    pub(super) fn marker(&self) -> char {
        self.marker
    }

    /// The character that shows the end of the last message's text.
    pub(super) fn end_tag(&self) -> char {
        self.end_tag
    }

    /// Adds the end tag, and a space that shows whether the template trims, after the last message's text.
    pub(super) fn tag_end(&self, messages: &mut [Json]) {
        let text = match messages.last_mut().and_then(|message| message.get_mut("content")) {
            Some(Json::Array(parts)) => parts.iter_mut().rev().find_map(|part| part.get_mut("text").filter(|text| text.is_string())),
            content => content,
        };
        if let Some(Json::String(text)) = text {
            text.push(self.end_tag);
            text.push(' ');
        }
    }

    /// Converts a user's value for the template, with marks in it; adds its size to `cost`.
    pub(super) fn value(&self, value: &Json, cost: &mut u64) -> Result<Value, TemplateError> {
        *cost += VALUE_COST;
        Ok(match value {
            Json::Null => Value::from(()),
            Json::Bool(flag) => Value::from(*flag),
            Json::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(number), _) => Value::from(number),
                (None, Some(number)) => Value::from(number),
                (None, None) => Value::from(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Value::from(self.marked(text, cost)),
            Json::Array(items) => Value::from(items.iter().map(|item| self.value(item, cost)).collect::<Result<Vec<_>, _>>()?),
            Json::Object(fields) => self.object(fields, cost)?,
        })
    }

    fn object(&self, fields: &Map<String, Json>, cost: &mut u64) -> Result<Value, TemplateError> {
        let pairs = fields.iter().map(|(name, value)| Ok((self.marked(name, cost), self.value(value, cost)?)));
        Ok(Value::from_pairs(pairs.collect::<Result<Vec<(String, Value)>, TemplateError>>()?))
    }

    fn marked(&self, text: &str, cost: &mut u64) -> String {
        *cost += text.len() as u64;
        // The prompt is cut at the tag, so the text before the tag touches no text of the template.
        let (text, tail) = match text.find(self.end_tag) {
            Some(end) => text.split_at(end),
            None => (text, ""),
        };
        let mut marked = String::with_capacity(text.len() + tail.len());
        let mut done = 0;
        for offset in self.guard.offsets(text) {
            marked.push_str(&text[done..offset]);
            marked.push(self.marker);
            done = offset;
        }
        marked.push_str(&text[done..]);
        marked.push_str(tail);
        marked
    }

    /// Removes the marks from `rendered` and returns their offsets as barriers.
    pub(super) fn remove(&self, rendered: &str) -> RenderedPrompt {
        let mut text = String::with_capacity(rendered.len());
        let mut barriers = Vec::new();
        for piece in rendered.split([self.marker, self.end_tag]) {
            if let Ok(offset) = u32::try_from(text.len()) {
                barriers.push(offset);
            }
            text.push_str(piece);
        }
        barriers.retain(|offset| *offset > 0 && (*offset as usize) < text.len());
        barriers.dedup();
        RenderedPrompt { text, barriers }
    }
}

fn collect_private(text: &str, taken: &mut BTreeSet<char>) {
    taken.extend(text.chars().filter(|c| PRIVATE.iter().any(|range| range.contains(c))));
}

fn collect_in(value: &Json, taken: &mut BTreeSet<char>, depth: usize) -> Result<(), TemplateError> {
    if depth > MAX_DEPTH {
        return Err(TemplateError::Input(format!("messages, tools and template arguments nest {MAX_DEPTH} levels at most")));
    }
    match value {
        Json::String(text) => collect_private(text, taken),
        Json::Array(items) => items.iter().try_for_each(|item| collect_in(item, taken, depth + 1))?,
        Json::Object(fields) => {
            for (name, value) in fields {
                collect_private(name, taken);
                collect_in(value, taken, depth + 1)?;
            }
        }
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
    Ok(())
}

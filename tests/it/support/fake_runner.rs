//! A deterministic replacement for a model: its next token depends on all earlier tokens and on nothing else.
//!
//! It keeps its own copy of the content of each slot and panics on any breach of the `ModelRunner` contract, so a
//! scheduler with a wrong view cannot pass a test by luck. It can be told to fail. Self-contained: any test may run an
//! engine on it.

use super::fake_slot::{Held, mix};
use llamero::engine::runner::{KvOp, Limits, ModelRunner, Parked, ParkedState, Row, Slot, Step, StepError, SwapLimits, Tokenizer};
use llamero::protocol::{SpecialText, TextError, Token};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Beginning of sequence, spelled `<s>`.
pub(crate) const BOS: Token = Token(256);
/// End of generation, spelled `</s>`. The most likely token after about one context in 64.
pub(crate) const EOG: Token = Token(257);
/// A token that is never the most likely one: for prompts that must not occur elsewhere.
pub(crate) const RARE: Token = Token(263);
/// Number of tokens: bytes, the two above, and some tokens of several bytes.
pub(crate) const VOCABULARY_SIZE: u32 = 268;

/// The token with the longest piece; the model never generates it.
pub(crate) const LONG: Token = Token(264);
pub(crate) const LONG_PIECE_BYTES: usize = 512 * 1024;

/// Tokens for filling in the middle: prefix, suffix, middle.
pub(crate) const MARKS: [Token; 3] = [Token(265), Token(266), Token(267)];
const MARK_PIECES: [&str; 3] = ["<PRE>", "<SUF>", "<MID>"];

const PIECES: [&str; 8] = ["<s>", "</s>", " the", "é", "日本", "\n", "ing ", "<rare>"];

/// The simulated time of a step, µs.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    pub(crate) step: u32,
    pub(crate) decode_row: u32,
    pub(crate) prompt_row: u32,
    /// Added once per step that has both kinds of rows.
    pub(crate) mixed: u32,
}

impl Cost {
    /// The simulated time of a step with these numbers of rows.
    pub(crate) fn of(&self, decode_rows: u32, prompt_rows: u32) -> Duration {
        let mixed = if decode_rows > 0 && prompt_rows > 0 { self.mixed } else { 0 };
        let us = self.step + mixed + self.decode_row * decode_rows + self.prompt_row * prompt_rows;
        Duration::from_micros(us.into())
    }
}

/// A fake model with slots, parked contents and faults.
#[derive(Debug)]
pub(crate) struct FakeRunner {
    limits: Limits,
    cost: Cost,
    slots: Vec<Held>,
    /// Parked contents; `None` for those that could not be saved.
    parked: BTreeMap<Parked, Option<Held>>,
    /// The tokens of parked contents, four bytes each.
    states: BTreeMap<Parked, Arc<ParkedState>>,
    saves: u64,
    /// Interval of contents that are not saved: every n-th one; 0 for none.
    lost_saves: u64,
    logits: Vec<Option<Vec<f32>>>,
    faults: BTreeMap<u64, StepError>,
    poison: BTreeSet<Token>,
    /// Number of cells that really exist.
    cells: usize,
    steps: u64,
    elapsed: Duration,
}

impl FakeRunner {
    /// Creates a runner with empty slots; `vocabulary_size` is replaced by [`VOCABULARY_SIZE`].
    pub(crate) fn new(limits: Limits) -> Self {
        let limits = Limits { vocabulary_size: VOCABULARY_SIZE, ..limits };
        assert!(limits.max_rows >= limits.slots && limits.kv_cells >= limits.max_model_len, "{limits:?}");
        Self {
            limits,
            cost: Cost::default(),
            slots: vec![Held::default(); usize_of(limits.slots)],
            parked: BTreeMap::new(),
            states: BTreeMap::new(),
            saves: 0,
            lost_saves: 0,
            logits: Vec::new(),
            faults: BTreeMap::new(),
            poison: BTreeSet::new(),
            cells: usize_of(limits.kv_cells),
            steps: 0,
            elapsed: Duration::ZERO,
        }
    }

    /// Sets the simulated time of steps.
    pub(crate) fn cost(mut self, cost: Cost) -> Self {
        self.cost = cost;
        self
    }

    /// Makes the `step`th call of `execute` fail, counted from 0.
    pub(crate) fn fail_step(mut self, step: u64, error: StepError) -> Self {
        self.faults.insert(step, error);
        self
    }

    /// Makes every step with a row of this token fail.
    pub(crate) fn poison(mut self, token: Token) -> Self {
        self.poison.insert(token);
        self
    }

    /// Gives the runner fewer cells than its limits say: steps that need more fail with `NoKvSpace`.
    pub(crate) fn hidden_cells(mut self, cells: u32) -> Self {
        self.cells = usize_of(cells);
        self
    }

    /// Makes the runner fail to save every `every`th content.
    pub(crate) fn lose_saves(mut self, every: u64) -> Self {
        self.lost_saves = every;
        self
    }

    /// The simulated time of the last step.
    pub(crate) fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// Number of calls of `execute` so far.
    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    /// Number of positions to which layers with a window attend; `usize::MAX` if no layer has a window.
    fn window(&self) -> usize {
        if self.limits.windowed { usize_of(self.limits.swap.window) } else { usize::MAX }
    }

    fn slot(&mut self, slot: Slot) -> &mut Held {
        assert!(slot.0 < self.limits.slots, "{slot:?} of {}", self.limits.slots);
        &mut self.slots[usize_of(slot.0)]
    }

    fn held(&self) -> usize {
        self.slots.iter().map(|slot| slot.tokens.len()).sum()
    }

    /// Applies a KV change. `before` has the step's earlier changes, `lost` the slots whose content could not be
    /// loaded.
    fn apply(&mut self, op: KvOp, before: &[KvOp], lost: &mut BTreeSet<Slot>) {
        match op {
            KvOp::Save { slot, to } => {
                let late = |op: &KvOp| matches!(op, KvOp::Copy { to, .. } if *to == slot);
                assert!(!before.iter().any(late), "{op:?} of what may not be there yet");
                let mut held = self.slot(slot).clone();
                let saved_window = usize_of(self.limits.swap.window);
                held.let_go(saved_window, held.tokens.len().saturating_sub(1));
                assert!(!held.uncertain && (!held.tokens.is_empty() || lost.contains(&slot)), "{op:?} of {held:?}");
                self.saves += 1;
                let is_saved = !(lost.contains(&slot) || self.saves.is_multiple_of(self.lost_saves));
                if is_saved {
                    self.states.insert(to, Arc::new(held.state()));
                }
                assert!(self.parked.insert(to, Some(held).filter(|_| is_saved)).is_none(), "{to:?} twice");
                let bytes = |held: &Held| self.limits.swap.bytes_of(u32::try_from(held.tokens.len()).unwrap());
                let bytes: u64 = self.parked.values().flatten().map(bytes).sum();
                assert!(bytes <= self.limits.swap.bytes, "{op:?} makes {bytes} bytes");
            }
            KvOp::Load { from, slot, len } => {
                let late = |op: &KvOp| matches!(op, KvOp::Copy { from, to, .. } if *to == slot || *from == slot);
                assert!(!before.iter().any(late), "{op:?} into what may be copied later");
                let parked = self.parked.get(&from).unwrap_or_else(|| panic!("{op:?} of nothing")).clone();
                *self.slot(slot) = parked.clone().unwrap_or_default();
                assert!(self.held() <= usize_of(self.limits.kv_cells), "{op:?} makes {} cells", self.held());
                match parked {
                    Some(held) => {
                        let shortest = held.shortest(usize_of(self.limits.swap.window)).max(1);
                        let fits = (shortest..=held.tokens.len()).contains(&usize_of(len));
                        assert!(
                            fits && (self.limits.can_truncate || usize_of(len) == held.tokens.len()),
                            "{op:?} of {}",
                            held.tokens.len()
                        );
                        self.slot(slot).truncate(usize_of(len));
                    }
                    None => {
                        lost.insert(slot);
                    }
                }
            }
            KvOp::Drop { parked } => {
                self.states.remove(&parked);
                assert!(self.parked.remove(&parked).is_some(), "{op:?} of nothing");
            }
            KvOp::Copy { from, to, .. } if lost.contains(&from) => {
                *self.slot(to) = Held::default();
                lost.insert(to);
            }
            KvOp::Truncate { slot, keep } => {
                assert!(keep == 0 || self.limits.can_truncate, "a part cannot be dropped: {op:?}");
                let window = self.window();
                let held = self.slot(slot);
                let shortest = held.shortest(window);
                assert!(keep == 0 || usize_of(keep) >= shortest, "{op:?} needs what was let go of before {shortest}");
                assert!(usize_of(keep) <= held.tokens.len(), "{op:?} keeps more than the {} it holds", held.tokens.len());
                held.truncate(usize_of(keep));
                held.uncertain = false;
            }
            KvOp::Copy { from, to, len } => {
                assert!(self.limits.can_truncate, "nothing can be copied: {op:?}");
                assert!(from != to && len >= 1, "{op:?}");
                let mut copy = self.slot(from).clone();
                assert!(!copy.uncertain && usize_of(len) <= copy.tokens.len(), "{op:?} of {}", copy.tokens.len());
                assert!(usize_of(len) >= copy.shortest(self.window()), "{op:?} needs what was let go of");
                copy.truncate(usize_of(len));
                *self.slot(to) = copy;
            }
        }
        assert!(self.held() <= usize_of(self.limits.kv_cells), "{op:?} makes {} cells", self.held());
    }

    /// Releases as many positions as is allowed: all to which the first row of a step does not attend.
    fn let_go(&mut self, first: &Row) {
        let window = self.window();
        self.slot(first.slot).let_go(window, usize_of(first.pos));
    }

    fn check_rows(&mut self, rows: &[Row]) {
        assert!(rows.len() <= usize_of(self.limits.max_rows), "{} rows", rows.len());
        assert!(self.held() + rows.len() <= usize_of(self.limits.kv_cells), "{} held, {} rows", self.held(), rows.len());
        let window = self.window();
        let mut owners = BTreeMap::new();
        let mut ends = BTreeMap::new();
        for row in rows {
            let held = self.slot(row.slot);
            assert!(!held.uncertain, "{row:?} in a slot that was not repaired");
            assert!(usize_of(row.pos) >= held.shortest(window), "{row:?} attends to what was let go of");
            let end = ends.entry(row.slot).or_insert(held.tokens.len());
            assert_eq!(usize_of(row.pos), *end, "a gap before {row:?}");
            *end += 1;
            assert!(row.pos < self.limits.max_model_len, "{row:?} past the context");
            assert!(row.token.0 < VOCABULARY_SIZE, "{row:?} outside the vocabulary");
            assert_eq!(*owners.entry(row.slot).or_insert(row.seq), row.seq, "two sequences in one slot");
        }
        let sequences: BTreeSet<_> = owners.values().collect();
        assert_eq!(sequences.len(), owners.len(), "one sequence in two slots");
    }

    /// The error of this step, if it is to fail. Some of its rows may then have been applied.
    fn failure(&mut self, rows: &[Row]) -> Option<StepError> {
        if self.held() + rows.len() > self.cells {
            return Some(StepError::NoKvSpace);
        }
        let poisoned = rows.iter().any(|row| self.poison.contains(&row.token)).then_some(StepError::Decode { code: -3 });
        let error = self.faults.remove(&self.steps).or(poisoned)?;
        if error != StepError::NoKvSpace {
            for row in rows {
                self.slot(row.slot).uncertain = true;
            }
            let applied = usize::try_from(mix(self.steps) % 1000).unwrap() % (rows.len() + 1);
            for row in &rows[..applied] {
                self.let_go(row);
                self.slot(row.slot).push(row.token);
            }
        }
        Some(error)
    }
}

impl ModelRunner for FakeRunner {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn execute(&mut self, step: &Step) -> Result<(), StepError> {
        assert!(!step.rows.is_empty() || !step.kv.is_empty(), "a step that does nothing");
        let mut lost = BTreeSet::new();
        for (index, op) in step.kv.iter().enumerate() {
            self.apply(*op, &step.kv[..index], &mut lost);
        }
        if !lost.is_empty() {
            self.logits.clear();
            self.steps += 1;
            return Err(StepError::NotLoaded(lost.into_iter().collect()));
        }
        self.check_rows(&step.rows);
        self.logits.clear();
        let failure = self.failure(&step.rows);
        self.steps += 1;
        if let Some(error) = failure {
            return Err(error);
        }
        for rows in step.rows.chunk_by(|a, b| a.slot == b.slot) {
            self.let_go(&rows[0]);
        }
        for row in &step.rows {
            let held = self.slot(row.slot);
            held.push(row.token);
            let logits = row.sample.then(|| logits_after(*held.hashes.last().unwrap()));
            self.logits.push(logits);
        }
        let (decode, prompt) = shape(step);
        self.elapsed = self.cost.of(decode, prompt);
        Ok(())
    }

    fn state_format(&self) -> Option<String> {
        (self.limits.swap.bytes > 0).then(|| "fake".to_owned())
    }

    fn parked(&self, parked: Parked) -> Option<Arc<ParkedState>> {
        self.states.get(&parked).cloned()
    }

    fn shortest(&self, slot: Slot) -> u32 {
        u32::try_from(self.slots[usize_of(slot.0)].shortest(self.window())).unwrap()
    }

    fn adopt(&mut self, parked: Parked, state: Arc<ParkedState>) -> bool {
        let mut held = Held::default();
        let (tokens, rest) = state.bytes.as_chunks();
        assert!(rest.is_empty() && tokens.len() == usize_of(state.len), "{state:?}");
        tokens.iter().for_each(|bytes| held.push(Token(u32::from_le_bytes(*bytes))));
        held.let_go(usize_of(self.limits.swap.window), held.tokens.len() - 1);
        self.states.insert(parked, state);
        assert!(self.parked.insert(parked, Some(held)).is_none(), "{parked:?} twice");
        true
    }

    fn logits(&self, row: usize) -> Option<&[f32]> {
        self.logits[row].as_deref()
    }
}

/// Swap space for this many positions.
pub(crate) fn swap(positions: u32) -> SwapLimits {
    SwapLimits { bytes: u64::from(positions) * 1000, entry_bytes: 10, cell_bytes: 999, window: u32::MAX, passed_cell_bytes: 0 }
}

/// The tokens of a greedy generation: up to `max_tokens`, the end of generation included if it comes.
pub(crate) fn continuation(prompt: &[Token], max_tokens: u32) -> Vec<Token> {
    let mut held = Held::default();
    prompt.iter().for_each(|token| held.push(*token));
    let mut tokens = Vec::new();
    while tokens.len() < usize_of(max_tokens) && tokens.last() != Some(&EOG) {
        let token = likeliest(*held.hashes.last().unwrap());
        tokens.push(token);
        held.push(token);
    }
    tokens
}

/// The logits after each token of a sequence.
pub(crate) fn logits_behind(tokens: &[Token]) -> Vec<Vec<f32>> {
    let mut held = Held::default();
    let logits = tokens.iter().map(|token| {
        held.push(*token);
        logits_after(*held.hashes.last().unwrap())
    });
    logits.collect()
}

/// Numbers of decode rows (a single row that samples) and of prompt rows in a step.
pub(crate) fn shape(step: &Step) -> (u32, u32) {
    step.rows.chunk_by(|a, b| a.seq == b.seq).fold((0, 0), |(decode, prompt), rows| match rows {
        [row] if row.sample => (decode + 1, prompt),
        _ => (decode, prompt + u32::try_from(rows.len()).unwrap()),
    })
}

/// The vocabulary of [`FakeRunner`]: bytes, and a few longer tokens that only the model uses.
#[derive(Debug, Clone)]
pub(crate) struct FakeTokenizer {
    pieces: Vec<Vec<u8>>,
}

impl Default for FakeTokenizer {
    fn default() -> Self {
        let bytes = (0..=u8::MAX).map(|byte| vec![byte]);
        let long = vec![b'~'; LONG_PIECE_BYTES];
        let named = |pieces: &[&str]| pieces.iter().map(|piece| piece.as_bytes().to_vec()).collect::<Vec<_>>();
        Self { pieces: bytes.chain(named(&PIECES)).chain([long]).chain(named(&MARK_PIECES)).collect() }
    }
}

impl Tokenizer for FakeTokenizer {
    fn encode(&self, text: &str, add_special: bool, special: &SpecialText) -> Result<Vec<Token>, TextError> {
        let is_plain = matches!(special, SpecialText::Plain | SpecialText::Continuation);
        let mut tokens = Vec::new();
        if add_special && (is_plain || !text.starts_with("<s>")) {
            tokens.push(BOS);
        }
        let mut rest = text;
        while !rest.is_empty() {
            let control = [(BOS, "<s>"), (EOG, "</s>")].into_iter().find_map(|(token, spelled)| Some((token, rest.strip_prefix(spelled)?)));
            if let Some((token, after)) = control.filter(|_| !is_plain) {
                tokens.push(token);
                rest = after;
            } else {
                let (character, after) = rest.split_at(rest.chars().next().map_or(0, char::len_utf8));
                tokens.extend(character.bytes().map(|byte| Token(byte.into())));
                rest = after;
            }
        }
        Ok(tokens)
    }

    fn piece(&self, token: Token, special: bool) -> &[u8] {
        match token {
            BOS | EOG if !special => b"",
            _ if MARKS.contains(&token) && !special => b"",
            _ => self.pieces.get(usize_of(token.0)).map_or(b"", Vec::as_slice),
        }
    }

    fn is_eog(&self, token: Token) -> bool {
        token == EOG
    }

    fn vocabulary_size(&self) -> u32 {
        VOCABULARY_SIZE
    }
}

/// Logits with `likeliest` on top, noise for printable tokens, and very low values for the others.
fn logits_after(hash: u64) -> Vec<f32> {
    let top = likeliest(hash);
    (0..VOCABULARY_SIZE)
        .map(|id| match id {
            _ if id == top.0 => 4.0,
            32..127 | 258..263 => f32::from(u16::try_from(mix(hash ^ u64::from(id)) % 1024).unwrap()) / 1024.0,
            _ => -10.0,
        })
        .collect()
}

/// Mostly a printable character, sometimes a longer piece, sometimes the end.
fn likeliest(hash: u64) -> Token {
    let low = |n: u64| u32::try_from(hash / 64 % n).unwrap();
    match hash % 64 {
        0 => EOG,
        1..8 => Token(258 + low(5)),
        8..20 => Token(32),
        20..52 => Token(97 + low(26)),
        _ => Token(33 + low(94)),
    }
}

fn usize_of(n: u32) -> usize {
    usize::try_from(n).unwrap()
}

#[test]
fn the_fake_tokenizer_spells_back_what_it_read() {
    let tokenizer = FakeTokenizer::default();
    let text = "<s>a é</s>";

    let tokens = tokenizer.encode(text, true, &SpecialText::Recognised).unwrap();

    assert_eq!(tokens, [BOS, Token(97), Token(32), Token(0xC3), Token(0xA9), EOG]);
    let spelled = |special| tokens.iter().flat_map(|token| tokenizer.piece(*token, special)).copied().collect::<Vec<u8>>();
    assert_eq!(spelled(true), text.as_bytes());
    assert_eq!(spelled(false), "a é".as_bytes());
    assert_eq!(tokenizer.encode("a", true, &SpecialText::Recognised).unwrap(), [BOS, Token(97)]);
    assert_eq!(tokenizer.piece(Token(VOCABULARY_SIZE), true), b"");
    assert!(tokenizer.is_eog(EOG) && tokenizer.vocabulary_size() == VOCABULARY_SIZE);
}

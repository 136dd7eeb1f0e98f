//! Guesses the next tokens of a text with a smaller model, which gives its likeliest tokens one after the other.
//!
//! Owns the draft model's runner and the contents of its slots, which are independent of the slots of the model that is
//! served. It computes prompts of its own, a bounded number of rows in each step, so a sequence gets its first draft
//! after its prompt is computed. A failure costs drafts and nothing else.

use crate::engine::runner::{KvOp, ModelRunner, Row, Slot, Step};
use crate::protocol::{SequenceId, Token};

/// Largest number of prompt rows, of all sequences together, that are computed in one step: running streams wait for
/// them.
const MAX_PROMPT_ROWS: u32 = 64;

/// A sequence that wants a draft.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'t> {
    /// The sequence to guess for.
    pub(super) id: SequenceId,
    /// All tokens of the sequence so far; not empty.
    pub(super) tokens: &'t [Token],
    /// Largest number of tokens to guess, ≥ 1.
    pub(super) max_tokens: u32,
}

/// The content of a slot of the draft model.
#[derive(Debug, Default)]
struct Held {
    /// The sequence that the slot was last used for.
    id: Option<SequenceId>,
    tokens: Vec<Token>,
}

/// A draft that is being made.
struct Draft<'t> {
    wanted: Wanted<'t>,
    slot: usize,
    tokens: Vec<Token>,
}

/// See the module.
pub(super) struct DraftModel<'a> {
    runner: &'a mut dyn ModelRunner,
    /// Size of the vocabulary of the model that is served; a guess must be below it.
    vocabulary_size: u32,
    slots: Vec<Held>,
}

impl<'a> DraftModel<'a> {
    /// A draft model with an empty `runner`, for a model of `vocabulary_size` tokens, which mean the same to both.
    pub(super) fn new(runner: &'a mut dyn ModelRunner, vocabulary_size: u32) -> Self {
        let slots = (0..runner.limits().slots).map(|_| Held::default()).collect();
        Self { runner, vocabulary_size, slots }
    }

    /// Makes a guess for each sequence if it can; none is empty. `is_live` returns true for sequences that may ask
    /// again.
    pub(super) fn draft(&mut self, wanted: &[Wanted<'_>], is_live: impl Fn(SequenceId) -> bool) -> Vec<(SequenceId, Vec<Token>)> {
        for slot in &mut self.slots {
            slot.id = slot.id.filter(|id| is_live(*id));
        }
        let mut drafts: Vec<Draft<'_>> = wanted.iter().filter_map(|wanted| self.begin(*wanted)).collect();
        let longest = drafts.iter().map(|draft| draft.wanted.max_tokens).max().unwrap_or(0);
        for round in 0..longest {
            // Prompts are continued in the first round only.
            if !self.extend(&mut drafts, if round == 0 { MAX_PROMPT_ROWS } else { 1 }) {
                break;
            }
        }
        let made = drafts.into_iter().filter(|draft| !draft.tokens.is_empty());
        made.map(|draft| (draft.wanted.id, draft.tokens)).collect()
    }

    /// Begins a draft in the sequence's slot, or in the free slot that shares the longest beginning with it. `None` if
    /// no slot is free, or the draft model lacks some of the tokens, or room for them.
    fn begin<'t>(&mut self, wanted: Wanted<'t>) -> Option<Draft<'t>> {
        let limits = self.runner.limits();
        let len = u32::try_from(wanted.tokens.len()).ok()?;
        let fits = len.checked_add(wanted.max_tokens).is_some_and(|len| len <= limits.max_model_len);
        if !fits || wanted.tokens.iter().any(|token| token.0 >= limits.vocabulary_size) {
            return None;
        }
        let own = self.slots.iter().position(|slot| slot.id == Some(wanted.id));
        let common = |slot: &Held| slot.tokens.iter().zip(wanted.tokens).take_while(|(a, b)| a == b).count();
        let free = || (0..self.slots.len()).filter(|slot| self.slots[*slot].id.is_none()).max_by_key(|slot| common(&self.slots[*slot]));
        let slot = own.or_else(free)?;
        self.slots[slot].id = Some(wanted.id);
        Some(Draft { wanted, slot, tokens: Vec::new() })
    }

    /// Computes missing tokens of each slot in one step. Then adds a token to each draft that is not long enough and
    /// whose slot lacks no token. Slots that lack more than one token share `prompt_rows`. Returns false if no token
    /// was added.
    fn extend(&mut self, drafts: &mut [Draft<'_>], prompt_rows: u32) -> bool {
        drafts.sort_by_key(|draft| draft.slot);
        let mut step = Step::default();
        let mut room = prompt_rows;
        for draft in &*drafts {
            room -= self.plan(draft, room, &mut step);
        }
        if step.rows.is_empty() {
            return false;
        }
        if let Err(error) = self.runner.execute(&step) {
            tracing::warn!(%error, "the draft model failed");
            self.forget_all();
            return false;
        }
        for row in &step.rows {
            self.slots[row.slot.0 as usize].tokens.push(row.token);
        }
        let mut added = false;
        for (index, row) in step.rows.iter().enumerate().filter(|(_, row)| row.sample) {
            let next = self.runner.logits(index).and_then(likeliest).filter(|token| token.0 < self.vocabulary_size);
            if let (Some(next), Some(draft)) = (next, drafts.iter_mut().find(|draft| draft.wanted.id == row.seq)) {
                draft.tokens.push(next);
                added = true;
            }
        }
        added
    }

    /// Adds rows to a step for the tokens that a draft's slot lacks. Returns the number of rows that count against
    /// `room`: a single row always fits, several only within the room.
    fn plan(&mut self, draft: &Draft<'_>, room: u32, step: &mut Step) -> u32 {
        let Draft { wanted, slot, tokens } = draft;
        let limits = self.runner.limits();
        let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        if tokens.len() >= wanted.max_tokens as usize {
            return 0;
        }
        let held = &mut self.slots[*slot].tokens;
        let all = || wanted.tokens.iter().chain(tokens).copied();
        let len = wanted.tokens.len() + tokens.len();
        let common = held.iter().zip(all()).take_while(|(a, b)| **a == *b).count();
        // The last token is computed for its logits. A content that cannot be cut is computed from the beginning.
        let keep = if common == held.len() && common < len { common } else { common.min(len - 1) };
        let keep = if keep < held.len() && !limits.can_truncate { 0 } else { keep };
        let is_prompt = len - keep > 1;
        let (max_rows, left) = (if is_prompt { room } else { 1 }, limits.max_rows - number(step.rows.len()));
        if is_prompt && room <= 1 {
            return 0;
        }
        let kv_slot = Slot(number(*slot));
        if keep < held.len() {
            step.kv.push(KvOp::Truncate { slot: kv_slot, keep: number(keep) });
            held.truncate(keep);
        }
        let rows = all().enumerate().skip(keep).take(max_rows.min(left) as usize);
        let before = step.rows.len();
        step.rows.extend(rows.map(|(pos, token)| Row { seq: wanted.id, slot: kv_slot, pos: number(pos), token, sample: pos + 1 == len }));
        if is_prompt { number(step.rows.len() - before) } else { 0 }
    }

    /// Empties every slot.
    fn forget_all(&mut self) {
        let kv = (0..self.runner.limits().slots).map(|slot| KvOp::Truncate { slot: Slot(slot), keep: 0 }).collect();
        if let Err(error) = self.runner.execute(&Step { kv, rows: Vec::new() }) {
            tracing::error!(%error, "the draft model cannot be emptied");
        }
        self.slots.iter_mut().for_each(|slot| *slot = Held::default());
    }
}

/// The token with the highest logit; the first of equals.
fn likeliest(logits: &[f32]) -> Option<Token> {
    let finite = (0..).zip(logits).filter(|(_, logit)| logit.is_finite());
    finite.reduce(|best, other| if other.1 > best.1 { other } else { best }).map(|(id, _)| Token(id))
}

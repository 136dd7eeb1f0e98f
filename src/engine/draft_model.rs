//! Guesses the next tokens of a text with a smaller model, which gives its likeliest tokens one after the other.
//!
//! Owns the draft model's runner and the contents of its slots, which have nothing to do with the slots of the model
//! that is served. It computes prompts of its own, a bounded number of rows in each step, so a sequence gets its first
//! draft when its prompt is through. A failure costs drafts and nothing else.

use crate::engine::runner::{KvOp, ModelRunner, Row, Slot, Step};
use crate::protocol::{SequenceId, Token};

/// Rows of prompts, of all sequences together, that are computed in one step: running streams wait for them.
const MAX_PROMPT_ROWS: u32 = 64;

/// A sequence that wants a draft.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'t> {
    /// The sequence to guess for.
    pub(super) id: SequenceId,
    /// All its tokens so far; not empty.
    pub(super) tokens: &'t [Token],
    /// Tokens to guess at most, ≥ 1.
    pub(super) max_tokens: u32,
}

/// The content of a slot of the draft model.
#[derive(Debug, Default)]
struct Held {
    /// The sequence that it was last used for.
    id: Option<SequenceId>,
    tokens: Vec<Token>,
}

/// A draft in the making.
struct Draft<'t> {
    wanted: Wanted<'t>,
    slot: usize,
    tokens: Vec<Token>,
}

/// See the module.
pub(super) struct DraftModel<'a> {
    runner: &'a mut dyn ModelRunner,
    /// Ids below this are tokens of the model that is served.
    vocabulary_size: u32,
    slots: Vec<Held>,
}

impl<'a> DraftModel<'a> {
    /// Guesses with an empty `runner` for a model with so many tokens, which mean the same to both.
    pub(super) fn new(runner: &'a mut dyn ModelRunner, vocabulary_size: u32) -> Self {
        let slots = (0..runner.limits().slots).map(|_| Held::default()).collect();
        Self { runner, vocabulary_size, slots }
    }

    /// A guess for each sequence that one could be made for, none of them empty. `is_live` is true for sequences that
    /// may come again.
    pub(super) fn draft(&mut self, wanted: &[Wanted<'_>], is_live: impl Fn(SequenceId) -> bool) -> Vec<(SequenceId, Vec<Token>)> {
        for slot in &mut self.slots {
            slot.id = slot.id.filter(|id| is_live(*id));
        }
        let mut drafts: Vec<Draft<'_>> = wanted.iter().filter_map(|wanted| self.begin(*wanted)).collect();
        let longest = drafts.iter().map(|draft| draft.wanted.max_tokens).max().unwrap_or(0);
        for round in 0..longest {
            // Prompts go on in the first round only.
            if !self.extend(&mut drafts, if round == 0 { MAX_PROMPT_ROWS } else { 1 }) {
                break;
            }
        }
        let made = drafts.into_iter().filter(|draft| !draft.tokens.is_empty());
        made.map(|draft| (draft.wanted.id, draft.tokens)).collect()
    }

    /// The slot of a sequence, or the free one with the longest beginning of it. `None` if the draft model lacks some
    /// of its tokens, or room for them.
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

    /// Computes missing tokens of each slot in one step, and adds a token to each draft that is short and whose slot
    /// then lacks none. Slots that lack more than one token share `prompt_rows`. False if no token was added.
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

    /// Adds rows for the tokens that a draft's slot lacks to a step and returns how many of them count against `room`:
    /// one row always has room, and more than one only within it.
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
        // The last token is computed for its logits. A content that cannot be cut is begun anew.
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

    /// Empties every slot, whatever it holds.
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

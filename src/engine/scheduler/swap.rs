//! The second tier of the prefix cache: what slots held, in host memory, and what is worth keeping of either tier.
//!
//! Owns the index of parked content and the count of its bytes; the runner has the bytes. Before a slot loses cached
//! content of which enough is nowhere else, all of it is saved here if it is worth more than what must go for it; a sequence that
//! begins with it later loads it. Preempted sequences mostly come back that way. An entry is saved, loaded and dropped as a
//! whole: llama.cpp knows no part of a sequence's state.

use super::Scheduler;
use super::cache::{Cache, Record, position};
use super::place::{Begun, COPIED_PER_OWN, MIN_COPY, MIN_KEEP, PARKED_PER_OWN, is_worth_moving, longest_prefix};
use super::sequence::{common_prefix, count};
use crate::engine::runner::{KvOp, Limits, Parked, Slot, Step, SwapLimits};
use crate::protocol::Token;
use std::cmp::Reverse;

/// Entries at most: they are searched one by one.
const MAX_ENTRIES: usize = 1024;

/// Bytes that are saved and loaded in one step, at most, unless it is a single content: running streams wait for it.
///
/// Measured with the default model (23 MB for 1,000 positions, 2 cores, a compiler beside it): 1,000 positions are saved in
/// 13.5 ms, most of it for fresh pages, loaded in 4.2 ms and computed in 9.5 s. So this is 40 ms at most.
const MAX_STEP_BYTES: u64 = 64 << 20;

/// Tokens of a content that keep it for one step longer than its last use would, once and again for every hit.
const TOKENS_PER_STEP: u32 = 16;
/// Tokens beyond these count no more; with [`MOST_HITS`] nothing stays for more than 2,048 steps longer.
const LONG: u32 = 4096;
/// Hits beyond these count no more.
const MOST_HITS: u32 = 7;

/// What cached content is worth, as the step until which its last use and what it saves keep it: the least goes first.
///
/// Least recently used first, but content that is long and was used often counts as used later than it was.
pub(super) fn worth(last_use: u64, len: u32, hits: u32) -> u64 {
    last_use + u64::from(len.min(LONG) / TOKENS_PER_STEP) * u64::from(1 + hits.min(MOST_HITS))
}

/// Whether `other` makes saving `content` needless: it can give all but a few of its tokens. It gives no beginning shorter than
/// `shortest`. A few are one in [`PARKED_PER_OWN`] of its tokens, or one in `per_more` if all of `other` is in it.
fn covers((other, shortest): (&[Token], u32), per_more: u32, content: &[Token], can_cut: bool) -> bool {
    if !can_cut {
        return other == content;
    }
    let common = common_prefix(other, content);
    if common < shortest {
        return false;
    }
    let per_own = if position(common) == other.len() { per_more } else { PARKED_PER_OWN };
    !is_worth_moving(count(content.len()), common, per_own)
}

/// Parked content, as whoever keeps it elsewhere needs to know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedContent {
    /// Its tokens, by position; not empty.
    pub tokens: Vec<Token>,
    /// Whose cache it is.
    pub namespace: u64,
    /// Sequences that it served.
    pub hits: u32,
}

/// Parked content.
#[derive(Debug)]
struct Entry {
    parked: Parked,
    /// Not empty.
    tokens: Vec<Token>,
    /// The least number of them that can be loaded.
    shortest: u32,
    namespace: u64,
    /// `Cache::clock` when it, or the slot that it comes from, last served a sequence.
    last_use: u64,
    /// Sequences that it served.
    hits: u32,
}

impl Entry {
    fn begun(&self) -> Begun<'_> {
        Begun { tokens: &self.tokens, shortest: self.shortest, namespace: self.namespace }
    }

    fn worth(&self) -> u64 {
        worth(self.last_use, count(self.tokens.len()), self.hits)
    }
}

/// Parked content that begins with what is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ParkedMatch {
    pub(super) parked: Parked,
    /// Tokens in common.
    pub(super) len: u32,
}

/// Totals since start, tokens.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Moved {
    pub(super) saved: u64,
    pub(super) loaded: u64,
    pub(super) restored: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Swap {
    limits: SwapLimits,
    /// Whether an entry can be loaded in part.
    can_cut: bool,
    /// At most [`MAX_ENTRIES`], and no more bytes than `limits` allow.
    entries: Vec<Entry>,
    used_bytes: u64,
    /// The next handle.
    next: u64,
    /// Bytes saved and loaded in the step being planned.
    step_bytes: u64,
    /// What is about to be loaded and must not go for what its slot, or others, lose for it.
    loading: Option<Parked>,
    pub(super) moved: Moved,
}

impl Swap {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            limits: limits.swap,
            can_cut: limits.can_truncate,
            entries: Vec::new(),
            used_bytes: 0,
            next: 0,
            step_bytes: 0,
            loading: None,
            moved: Moved::default(),
        }
    }

    /// Bytes of what is parked.
    pub(super) fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    /// The entry with the longest beginning of `wanted` among those of at most `cells` positions.
    pub(super) fn longest_match(&self, wanted: &[Token], namespace: u64, cells: u32) -> Option<ParkedMatch> {
        let fits = |entry: &&Entry| entry.tokens.len() <= position(cells) && (self.can_cut || wanted.starts_with(&entry.tokens));
        let contents = self.entries.iter().filter(fits).map(|entry| (entry.parked, entry.begun()));
        longest_prefix(wanted, namespace, contents).map(|(parked, len)| ParkedMatch { parked, len })
    }

    /// The tokens of all entries.
    pub(super) fn begun(&self) -> impl Iterator<Item = Begun<'_>> {
        self.entries.iter().map(Entry::begun)
    }

    /// Bytes saved and loaded in the step being planned.
    pub(super) fn step_bytes(&self) -> u64 {
        self.step_bytes
    }

    /// Positions that loading an entry takes, even if only a part of it is wanted.
    pub(super) fn len(&self, parked: Parked) -> u32 {
        self.entries.iter().find(|entry| entry.parked == parked).map_or(0, |entry| count(entry.tokens.len()))
    }

    /// The step being planned is complete.
    pub(super) fn next_step(&mut self) {
        self.step_bytes = 0;
    }

    /// Whether the step being planned may still move a content of so many positions.
    pub(super) fn may_move(&self, len: u32) -> bool {
        self.step_bytes == 0 || self.step_bytes.saturating_add(self.limits.bytes_of(len)) <= MAX_STEP_BYTES
    }

    /// The entry that holds all of this content that is worth keeping; see [`covers`].
    fn covering(&mut self, tokens: &[Token], namespace: u64, per_more: u32) -> Option<&mut Entry> {
        let can_cut = self.can_cut;
        self.entries
            .iter_mut()
            .find(|entry| entry.namespace == namespace && covers((&entry.tokens, entry.shortest), per_more, tokens, can_cut))
    }

    /// Saves a slot's content if that is worth more than what must go for it; entries that it begins with go too.
    fn save(&mut self, slot: Slot, content: Content<'_>, per_more: u32, ops: &mut Vec<KvOp>) {
        let Content { tokens, namespace, last_use, hits, .. } = content;
        if let Some(entry) = self.covering(tokens, namespace, per_more) {
            entry.last_use = entry.last_use.max(last_use);
            entry.hits = entry.hits.max(hits);
            return;
        }
        let len = count(tokens.len());
        let bytes = self.limits.bytes_of(len);
        let Some(victims) = self.victims(content, bytes) else { return };
        for parked in victims {
            self.remove(parked, ops);
        }
        let to = self.insert(content);
        self.step_bytes += bytes;
        self.moved.saved += u64::from(len);
        ops.push(KvOp::Save { slot, to });
    }

    fn insert(&mut self, content: Content<'_>) -> Parked {
        let parked = Parked(self.next);
        self.next += 1;
        self.used_bytes += self.limits.bytes_of(count(content.tokens.len()));
        let Content { tokens, namespace, last_use, hits, .. } = content;
        self.entries.push(Entry { parked, tokens: tokens.to_vec(), shortest: self.shortest(content), namespace, last_use, hits });
        parked
    }

    /// The least number of positions of a content that can be loaded, once it is saved.
    fn shortest(&self, content: Content<'_>) -> u32 {
        content.shortest.max(self.limits.shortest(count(content.tokens.len())))
    }

    /// See [`Scheduler::adopt`].
    fn adopt(&mut self, content: ParkedContent, most_len: u32, take: impl FnOnce(Parked) -> bool) -> Option<Parked> {
        let ParkedContent { tokens, namespace, hits } = content;
        let len = u32::try_from(tokens.len()).ok().filter(|len| (1..=most_len).contains(len))?;
        let fits = self.entries.len() < MAX_ENTRIES && self.used_bytes.saturating_add(self.limits.bytes_of(len)) <= self.limits.bytes;
        if !fits || self.covering(&tokens, namespace, PARKED_PER_OWN).is_some() || !take(Parked(self.next)) {
            return None;
        }
        self.moved.restored += u64::from(len);
        // Used longer ago than anything that is used from now on.
        Some(self.insert(Content { tokens: &tokens, shortest: 0, namespace, last_use: 0, hits }))
    }

    /// The entries that must be dropped to make room for a new content of so many bytes: its own beginnings, then what is worth the least. `None` if that is
    /// worth more than the content, or it would never fit.
    fn victims(&self, content: Content<'_>, bytes: u64) -> Option<Vec<Parked>> {
        let shortest = self.shortest(content);
        let is_part = |entry: &Entry| {
            let serves = self.can_cut && count(entry.tokens.len()) >= shortest;
            serves && entry.namespace == content.namespace && content.tokens.starts_with(&entry.tokens)
        };
        let mut by_worth: Vec<&Entry> = self.entries.iter().filter(|entry| Some(entry.parked) != self.loading).collect();
        by_worth.sort_by_key(|entry| (Reverse(is_part(entry)), entry.worth()));
        let (mut used, mut entries) = (self.used_bytes, self.entries.len());
        let mut victims = Vec::new();
        for entry in by_worth {
            let fits = entries < MAX_ENTRIES && used.saturating_add(bytes) <= self.limits.bytes;
            if !is_part(entry) && (fits || entry.worth() >= content.worth()) {
                break;
            }
            used -= self.limits.bytes_of(count(entry.tokens.len()));
            entries -= 1;
            victims.push(entry.parked);
        }
        (entries < MAX_ENTRIES && used.saturating_add(bytes) <= self.limits.bytes).then_some(victims)
    }

    /// Forgets an entry.
    fn remove(&mut self, parked: Parked, ops: &mut Vec<KvOp>) {
        let Some(index) = self.entries.iter().position(|entry| entry.parked == parked) else { return };
        let entry = self.entries.swap_remove(index);
        self.used_bytes -= self.limits.bytes_of(count(entry.tokens.len()));
        ops.push(KvOp::Drop { parked });
    }

    /// What is wrong with the count of bytes, if anything. Takes time in proportion to the entries.
    pub(super) fn check(&self) -> Result<(), String> {
        let bytes: u64 = self.entries.iter().map(|entry| self.limits.bytes_of(count(entry.tokens.len()))).sum();
        if bytes != self.used_bytes || bytes > self.limits.bytes || self.entries.len() > MAX_ENTRIES {
            let (counted, most) = (self.used_bytes, self.limits.bytes);
            return Err(format!("{} parked contents take {bytes} bytes, {counted} are counted of {most}", self.entries.len()));
        }
        match self.entries.iter().find(|entry| entry.tokens.is_empty() || entry.parked.0 >= self.next) {
            Some(entry) => Err(format!("parked content {} was never saved", entry.parked.0)),
            None => Ok(()),
        }
    }
}

/// What a slot holds.
#[derive(Debug, Clone, Copy)]
struct Content<'a> {
    tokens: &'a [Token],
    /// See [`Record`].
    shortest: u32,
    namespace: u64,
    last_use: u64,
    hits: u32,
}

impl Content<'_> {
    fn worth(&self) -> u64 {
        worth(self.last_use, count(self.tokens.len()), self.hits)
    }
}

impl Cache {
    /// Saves what a free slot holds, before it loses that, unless it is too little or others hold it too.
    pub(super) fn park(&mut self, slot: Slot) {
        let record = self.record(slot);
        let can_cut = self.can_truncate;
        let holds_it = |other: &Record| {
            other.namespace == record.namespace && covers((&other.held, other.shortest), PARKED_PER_OWN, &record.held, can_cut)
        };
        if self.slots().any(|other| other != slot && holds_it(self.record(other))) {
            return;
        }
        // What continues a saved content gets its place: that takes little more memory, and it was asked for before.
        self.save(slot, COPIED_PER_OWN);
    }

    /// Saves what a free slot holds, whatever other slots do; `per_more` as for [`covers`]. The slot of most worth first that is
    /// worth saving.
    fn park_next(&mut self, per_more: u32) {
        let mut free: Vec<Slot> = self.slots().filter(|slot| self.record(*slot).owner.is_none()).collect();
        free.sort_by_key(|slot| Reverse(self.worth(*slot)));
        let before = self.ops.len();
        for slot in free {
            self.save(slot, per_more);
            if self.ops.len() > before {
                return;
            }
        }
    }

    /// Saves what a slot holds, unless it is too little, or another content covers it (`per_more` as for [`covers`]), or the step
    /// being planned moves too much already.
    pub(super) fn save(&mut self, slot: Slot, per_more: u32) {
        let held = self.held(slot);
        if self.swap.limits.bytes == 0 || held < MIN_KEEP || self.is_copied_to(slot) || !self.swap.may_move(held) {
            return;
        }
        let record = &self.records[position(slot.0)];
        let Record { held: tokens, shortest, namespace, last_use, hits, .. } = record;
        let content = Content { tokens, shortest: *shortest, namespace: *namespace, last_use: *last_use, hits: *hits };
        self.swap.save(slot, content, per_more, &mut self.ops);
    }

    /// Parked content that is worth loading beside the `held` tokens that a slot has in common with `reusable`.
    pub(super) fn parked_match(&self, reusable: &[Token], namespace: u64, held: u32) -> Option<ParkedMatch> {
        let found = self.swap.longest_match(reusable, namespace, self.reclaimable_cells());
        found.filter(|found| found.len >= held + MIN_COPY)
    }

    /// Whether a slot can get parked content in the step being planned. If not, it can in the next.
    pub(super) fn can_load(&self, target: Slot, parked: Parked) -> bool {
        let is_idle = self.records.iter().all(|record| record.owner.is_none());
        !self.is_copied_to(target) && !self.is_copied_from(target) && (is_idle || self.swap.may_move(self.swap.len(parked)))
    }

    /// Fills a free slot with parked content, for which [`Self::parked_match`] said that there is room. What the slot held
    /// is parked if it is more than the `own` tokens of it that are in what is loaded.
    ///
    /// It is not moved to another slot: what a copy reads must stay until the rows of the step.
    pub(super) fn load(&mut self, target: Slot, own: u32, found: ParkedMatch) {
        let ParkedMatch { parked, len } = found;
        // What the target and others lose must not take its place.
        self.swap.loading = Some(parked);
        if self.held(target) >= own + MIN_KEEP {
            self.park(target);
        }
        self.truncate(target, 0);
        let clock = self.clock;
        let Some(entry) = self.swap.entries.iter_mut().find(|entry| entry.parked == parked) else { return };
        entry.last_use = clock;
        entry.hits = entry.hits.saturating_add(1);
        let (held, hits, whole) = (entry.tokens[..position(len)].to_vec(), entry.hits, count(entry.tokens.len()));
        // All of it is loaded before it is cut.
        self.make_room(whole, &[target]);
        self.swap.loading = None;
        self.hold(target, held, hits);
        self.swap.step_bytes += self.swap.limits.bytes_of(whole);
        self.swap.moved.loaded += u64::from(len);
        self.ops.push(KvOp::Load { from: parked, slot: target, len });
    }

    /// A step's loads failed: these slots are empty, and what they were to get is gone.
    pub(super) fn not_loaded(&mut self, kv: &[KvOp], slots: &[Slot]) {
        for op in kv {
            if let KvOp::Load { from, slot, .. } = op
                && slots.contains(slot)
            {
                self.swap.remove(*from, &mut self.ops);
            }
        }
        for slot in slots {
            self.truncate(*slot, 0);
        }
    }

    /// Forgets everything, in both tiers, whatever the records say.
    pub(super) fn clear(&mut self) {
        let dropped: Vec<KvOp> = self.swap.entries.drain(..).map(|entry| KvOp::Drop { parked: entry.parked }).collect();
        self.swap.used_bytes = 0;
        self.ops.extend(dropped);
        self.forget_slots();
    }
}

/// What is parked and what of it is kept elsewhere, for who does that.
impl Scheduler {
    /// Saves a free slot's content that host memory lacks: a step without rows, to be executed and completed like any. `None`
    /// if there is none, or some sequence is live. Of what continues a saved content a quarter must be new, so that
    /// a growing one is not written again and again; `at_last`, when nothing comes any more, a sixteenth.
    pub fn park_idle(&mut self, at_last: bool) -> Option<Step> {
        if !self.sequences.is_empty() {
            return None;
        }
        self.cache.park_next(if at_last { COPIED_PER_OWN } else { PARKED_PER_OWN });
        self.moved_in_flight = self.cache.swap.step_bytes();
        let kv = self.cache.take_ops();
        (!kv.is_empty()).then_some(Step { kv, rows: Vec::new() })
    }

    /// Takes what an earlier engine parked as parked here, if the runner takes its state under that number. `None` if not, or it
    /// does not fit, or is there already, or is no content.
    pub fn adopt(&mut self, content: ParkedContent, take: impl FnOnce(Parked) -> bool) -> Option<Parked> {
        self.cache.swap.adopt(content, self.limits.max_model_len, take)
    }

    /// What is parked under a number, if it still is.
    #[must_use]
    pub fn parked(&self, parked: Parked) -> Option<ParkedContent> {
        let entry = self.cache.swap.entries.iter().find(|entry| entry.parked == parked)?;
        Some(ParkedContent { tokens: entry.tokens.clone(), namespace: entry.namespace, hits: entry.hits })
    }
}

//! The second tier of the prefix cache: what slots held, in host memory, and what is worth keeping of either tier.
//!
//! Owns the index of parked content and the count of its bytes; the runner has the bytes. Before a slot loses cached
//! content of which enough is nowhere else, all of it is saved here if it is worth more than what must go for it; a sequence that
//! begins with it later loads it. Preempted sequences mostly come back that way. An entry is saved, loaded and dropped as a
//! whole: llama.cpp knows no part of a sequence's state.

use super::cache::{Cache, Record, position};
use super::place::{COPIED_PER_OWN, MIN_COPY, MIN_KEEP, PARKED_PER_OWN, is_worth_moving, longest_prefix};
use super::sequence::{common_prefix, count};
use crate::engine::runner::{KvOp, Limits, Parked, Slot, SwapLimits};
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

/// Whether `content` is to be had from `other`, but for less than is worth being parked for. `is_parked` says that `other`
/// is, and would give way to what continues it: that takes little more memory, and it was asked for before.
fn covers(other: &[Token], is_parked: bool, content: &[Token], can_cut: bool) -> bool {
    if !can_cut {
        return other == content;
    }
    let common = common_prefix(other, content);
    let per_own = if is_parked && position(common) == other.len() { COPIED_PER_OWN } else { PARKED_PER_OWN };
    !is_worth_moving(count(content.len()), common, per_own)
}

/// Parked content.
#[derive(Debug)]
struct Entry {
    parked: Parked,
    /// Not empty.
    tokens: Vec<Token>,
    namespace: u64,
    /// `Cache::clock` when it, or the slot that it comes from, last served a sequence.
    last_use: u64,
    /// Sequences that it served.
    hits: u32,
}

impl Entry {
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
        let contents = self.entries.iter().filter(fits).map(|entry| (entry.parked, entry.namespace, &entry.tokens[..]));
        longest_prefix(wanted, namespace, contents).map(|(parked, len)| ParkedMatch { parked, len })
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

    /// The entry that holds all of this content that is worth keeping.
    fn covering(&mut self, tokens: &[Token], namespace: u64) -> Option<&mut Entry> {
        let can_cut = self.can_cut;
        self.entries.iter_mut().find(|entry| entry.namespace == namespace && covers(&entry.tokens, true, tokens, can_cut))
    }

    /// Saves a slot's content if that is worth more than what must go for it; entries that it begins with go too.
    fn save(&mut self, slot: Slot, content: Content<'_>, ops: &mut Vec<KvOp>) {
        let Content { tokens, namespace, last_use, hits } = content;
        if let Some(entry) = self.covering(tokens, namespace) {
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
        let to = Parked(self.next);
        self.next += 1;
        self.entries.push(Entry { parked: to, tokens: tokens.to_vec(), namespace, last_use, hits });
        self.used_bytes += bytes;
        self.step_bytes += bytes;
        self.moved.saved += u64::from(len);
        ops.push(KvOp::Save { slot, to });
    }

    /// Who goes for a new content of so many bytes: its own beginnings, then what is worth the least. `None` if that is
    /// worth more than the content, or it would never fit.
    fn victims(&self, content: Content<'_>, bytes: u64) -> Option<Vec<Parked>> {
        let is_part = |entry: &Entry| self.can_cut && entry.namespace == content.namespace && content.tokens.starts_with(&entry.tokens);
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
        let held = self.held(slot);
        let is_too_long = self.can_truncate && held > self.swap.limits.max_len;
        if self.swap.limits.bytes == 0 || held < MIN_KEEP || is_too_long || self.is_copied_to(slot) || !self.swap.may_move(held) {
            return;
        }
        let record = &self.records[position(slot.0)];
        let can_cut = self.can_truncate;
        let holds_it = |other: &Record| other.namespace == record.namespace && covers(&other.held, false, &record.held, can_cut);
        if self.slots().any(|other| other != slot && holds_it(self.record(other))) {
            return;
        }
        let content = Content { tokens: &record.held, namespace: record.namespace, last_use: record.last_use, hits: record.hits };
        self.swap.save(slot, content, &mut self.ops);
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

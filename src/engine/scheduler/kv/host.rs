//! The second tier: contents of slots, saved in host memory (`--swap-space`).
//!
//! Owns the index of parked content and the count of its bytes; the runner has the bytes. An entry is saved, loaded and
//! dropped as a whole: llama.cpp knows no part of a sequence's state. A new content is saved if it is worth more than
//! the entries that must be dropped for it.

use super::policy::{CachedPrefix, PARKED_PER_OWN, longest_prefix, worth};
use crate::engine::{
    runner::{KvOp, Limits, Parked, Slot, SwapLimits},
    scheduler::lengths::{count, position},
};
use crate::protocol::Token;
use std::cmp::Reverse;

/// Largest number of entries: they are searched one by one.
const MAX_ENTRIES: usize = 1024;

/// Largest number of bytes that are saved and loaded in one step, unless they are a single content: running streams
/// wait for it.
///
/// Measured with the default model (23 MB for 1,000 positions, 2 cores, a compiler running beside it): 1,000 positions
/// are saved in 13.5 ms, mostly for fresh pages, loaded in 4.2 ms and computed in 9.5 s. So this limit is 40 ms at
/// most.
const MAX_STEP_BYTES: u64 = 64 << 20;

/// Parked content, in the form that the disk tier needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedContent {
    /// The tokens of the content, by position; not empty.
    pub tokens: Vec<Token>,
    /// The namespace whose sequences may use the content.
    pub namespace: u64,
    /// Number of sequences that the content served.
    pub hits: u32,
}

/// The content of a slot that is to be saved.
#[derive(Debug, Clone, Copy)]
pub(super) struct Content<'a> {
    pub(super) prefix: CachedPrefix<'a>,
    pub(super) last_use: u64,
    pub(super) hits: u32,
}

impl Content<'_> {
    fn len(&self) -> u32 {
        count(self.prefix.tokens.len())
    }

    fn worth(&self) -> u64 {
        worth(self.last_use, self.len(), self.hits)
    }
}

/// A saved content.
#[derive(Debug)]
struct ParkedEntry {
    parked: Parked,
    /// The tokens of the content, by position; not empty.
    tokens: Vec<Token>,
    /// The least number of tokens that can be loaded.
    shortest: u32,
    namespace: u64,
    /// `Slots::clock` at the time when the entry, or the slot that it comes from, last served a sequence.
    last_use: u64,
    /// Number of sequences that the entry served.
    hits: u32,
}

impl ParkedEntry {
    fn prefix(&self) -> CachedPrefix<'_> {
        CachedPrefix { tokens: &self.tokens, shortest: self.shortest, namespace: self.namespace }
    }

    fn len(&self) -> u32 {
        count(self.tokens.len())
    }

    fn worth(&self) -> u64 {
        worth(self.last_use, self.len(), self.hits)
    }
}

/// A parked content that begins with wanted tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ParkedMatch {
    pub(super) parked: Parked,
    /// Number of tokens in common.
    pub(super) len: u32,
}

/// Numbers of moved tokens since the start.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::engine::scheduler) struct MovedTokens {
    pub(in crate::engine::scheduler) saved: u64,
    pub(in crate::engine::scheduler) loaded: u64,
    pub(in crate::engine::scheduler) restored: u64,
}

/// See the module.
#[derive(Debug)]
pub(in crate::engine::scheduler) struct HostMemory {
    limits: SwapLimits,
    /// True if an entry can be loaded in part.
    can_cut: bool,
    /// At most [`MAX_ENTRIES`], and no more bytes than `limits` allow.
    entries: Vec<ParkedEntry>,
    used_bytes: u64,
    /// The number of the next entry.
    next: u64,
    /// Number of bytes that the step being planned saves and loads.
    step_bytes: u64,
    /// The entry that is about to be loaded. It must not be dropped for the contents that slots lose for it.
    loading: Option<Parked>,
    moved: MovedTokens,
}

impl HostMemory {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            limits: limits.swap,
            can_cut: limits.can_truncate,
            entries: Vec::new(),
            used_bytes: 0,
            next: 0,
            step_bytes: 0,
            loading: None,
            moved: MovedTokens::default(),
        }
    }

    /// True if anything can be parked at all.
    pub(super) fn is_there(&self) -> bool {
        self.limits.bytes > 0
    }

    /// Size of all entries, bytes.
    pub(in crate::engine::scheduler) fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    pub(in crate::engine::scheduler) fn moved(&self) -> MovedTokens {
        self.moved
    }

    /// The entry with the longest beginning of `wanted` among those of at most `cells` positions.
    pub(super) fn longest_match(&self, wanted: &[Token], namespace: u64, cells: u32) -> Option<ParkedMatch> {
        let fits = |entry: &&ParkedEntry| entry.tokens.len() <= position(cells) && (self.can_cut || wanted.starts_with(&entry.tokens));
        let contents = self.entries.iter().filter(fits).map(|entry| (entry.parked, entry.prefix()));
        longest_prefix(wanted, namespace, contents).map(|(parked, len)| ParkedMatch { parked, len })
    }

    /// All entries.
    pub(super) fn prefixes(&self) -> impl Iterator<Item = CachedPrefix<'_>> {
        self.entries.iter().map(ParkedEntry::prefix)
    }

    /// The content of an entry, if the entry is still there.
    pub(in crate::engine::scheduler) fn content(&self, parked: Parked) -> Option<ParkedContent> {
        let entry = self.entries.iter().find(|entry| entry.parked == parked)?;
        Some(ParkedContent { tokens: entry.tokens.clone(), namespace: entry.namespace, hits: entry.hits })
    }

    // === Moves of a step ===

    /// Number of bytes that the step being planned saves and loads.
    pub(super) fn step_bytes(&self) -> u64 {
        self.step_bytes
    }

    /// Notes that the plan of the step is complete.
    pub(super) fn next_step(&mut self) {
        self.step_bytes = 0;
    }

    /// True if the step being planned may still move a content of `len` positions.
    pub(super) fn may_move(&self, len: u32) -> bool {
        self.step_bytes == 0 || self.step_bytes.saturating_add(self.limits.bytes_of(len)) <= MAX_STEP_BYTES
    }

    /// True if the step being planned may still load an entry, which is always loaded as a whole.
    pub(super) fn may_load(&self, parked: Parked) -> bool {
        let len = self.entries.iter().find(|entry| entry.parked == parked).map_or(0, ParkedEntry::len);
        self.may_move(len)
    }

    // === Saving ===

    /// Saves a slot's content if it is worth more than the entries that must be dropped for it. Entries that are
    /// beginnings of it are dropped too. `per_more` as for [`CachedPrefix::covers`].
    pub(super) fn save(&mut self, slot: Slot, content: Content<'_>, per_more: u32, ops: &mut Vec<KvOp>) {
        if let Some(entry) = self.covering(&content.prefix, per_more) {
            entry.last_use = entry.last_use.max(content.last_use);
            entry.hits = entry.hits.max(content.hits);
            return;
        }
        let bytes = self.limits.bytes_of(content.len());
        let Some(victims) = self.victims(content, bytes) else { return };
        for parked in victims {
            self.remove(parked, ops);
        }
        let to = self.insert(content);
        self.step_bytes += bytes;
        self.moved.saved += u64::from(content.len());
        ops.push(KvOp::Save { slot, to });
    }

    /// The entry that already holds enough of this content; see [`CachedPrefix::covers`].
    fn covering(&mut self, content: &CachedPrefix<'_>, per_more: u32) -> Option<&mut ParkedEntry> {
        let can_cut = self.can_cut;
        let covers = |entry: &ParkedEntry| entry.namespace == content.namespace && entry.prefix().covers(content.tokens, per_more, can_cut);
        self.entries.iter_mut().find(|entry| covers(entry))
    }

    fn insert(&mut self, content: Content<'_>) -> Parked {
        let parked = Parked(self.next);
        self.next += 1;
        self.used_bytes += self.limits.bytes_of(content.len());
        let Content { prefix: CachedPrefix { tokens, namespace, .. }, last_use, hits } = content;
        self.entries.push(ParkedEntry { parked, tokens: tokens.to_vec(), shortest: self.shortest(content), namespace, last_use, hits });
        parked
    }

    /// The least number of positions of a content that can be loaded once it is saved.
    fn shortest(&self, content: Content<'_>) -> u32 {
        content.prefix.shortest.max(self.limits.shortest(content.len()))
    }

    /// The entries that must be dropped to make room for a new content of `bytes` bytes: its own beginnings, then the
    /// entries of least worth. `None` if these are worth more than the content, or it would never fit.
    fn victims(&self, content: Content<'_>, bytes: u64) -> Option<Vec<Parked>> {
        let shortest = self.shortest(content);
        let CachedPrefix { tokens, namespace, .. } = content.prefix;
        let is_part = |entry: &ParkedEntry| {
            let serves = self.can_cut && entry.len() >= shortest;
            serves && entry.namespace == namespace && tokens.starts_with(&entry.tokens)
        };
        let mut by_worth: Vec<&ParkedEntry> = self.entries.iter().filter(|entry| Some(entry.parked) != self.loading).collect();
        by_worth.sort_by_key(|entry| (Reverse(is_part(entry)), entry.worth()));
        let (mut used, mut entries) = (self.used_bytes, self.entries.len());
        let mut victims = Vec::new();
        for entry in by_worth {
            let fits = entries < MAX_ENTRIES && used.saturating_add(bytes) <= self.limits.bytes;
            if !is_part(entry) && (fits || entry.worth() >= content.worth()) {
                break;
            }
            used -= self.limits.bytes_of(entry.len());
            entries -= 1;
            victims.push(entry.parked);
        }
        (entries < MAX_ENTRIES && used.saturating_add(bytes) <= self.limits.bytes).then_some(victims)
    }

    /// See `Scheduler::adopt`.
    pub(in crate::engine::scheduler) fn adopt(
        &mut self,
        content: ParkedContent,
        max_len: u32,
        take: impl FnOnce(Parked) -> bool,
    ) -> Option<Parked> {
        let ParkedContent { tokens, namespace, hits } = content;
        let len = u32::try_from(tokens.len()).ok().filter(|len| (1..=max_len).contains(len))?;
        let fits = self.entries.len() < MAX_ENTRIES && self.used_bytes.saturating_add(self.limits.bytes_of(len)) <= self.limits.bytes;
        let prefix = CachedPrefix { tokens: &tokens, shortest: 0, namespace };
        if !fits || self.covering(&prefix, PARKED_PER_OWN).is_some() || !take(Parked(self.next)) {
            return None;
        }
        self.moved.restored += u64::from(len);
        // The last use is earlier than any from now on.
        Some(self.insert(Content { prefix, last_use: 0, hits }))
    }

    // === Loading ===

    /// Keeps this entry from being dropped for others until [`Self::count_load`].
    pub(super) fn begin_load(&mut self, parked: Parked) {
        self.loading = Some(parked);
    }

    /// Notes that an entry serves a sequence at `clock`. Returns all its tokens, and its hits including this one.
    /// `None` if there is no such entry.
    pub(super) fn serve(&mut self, parked: Parked, clock: u64) -> Option<(&[Token], u32)> {
        let entry = self.entries.iter_mut().find(|entry| entry.parked == parked)?;
        entry.last_use = clock;
        entry.hits = entry.hits.saturating_add(1);
        Some((&entry.tokens, entry.hits))
    }

    /// Counts an entry of `len` positions that is loaded in the step being planned, because `used` of its tokens are
    /// needed.
    pub(super) fn count_load(&mut self, len: u32, used: u32) {
        self.loading = None;
        self.step_bytes += self.limits.bytes_of(len);
        self.moved.loaded += u64::from(used);
    }

    // === Forgetting ===

    /// Forgets an entry.
    pub(super) fn remove(&mut self, parked: Parked, ops: &mut Vec<KvOp>) {
        let Some(index) = self.entries.iter().position(|entry| entry.parked == parked) else { return };
        let entry = self.entries.swap_remove(index);
        self.used_bytes -= self.limits.bytes_of(entry.len());
        ops.push(KvOp::Drop { parked });
    }

    /// Forgets all entries and their count, even if the two disagree.
    pub(super) fn forget(&mut self, ops: &mut Vec<KvOp>) {
        ops.extend(self.entries.drain(..).map(|entry| KvOp::Drop { parked: entry.parked }));
        self.used_bytes = 0;
    }

    /// Checks the entries and the count of their bytes, in time in proportion to the entries.
    ///
    /// # Errors
    /// The first contradiction in the count of bytes, as a sentence.
    pub(super) fn check(&self) -> Result<(), String> {
        let bytes: u64 = self.entries.iter().map(|entry| self.limits.bytes_of(entry.len())).sum();
        if bytes != self.used_bytes || bytes > self.limits.bytes || self.entries.len() > MAX_ENTRIES {
            let (counted, max) = (self.used_bytes, self.limits.bytes);
            return Err(format!("{} parked contents take {bytes} bytes, {counted} are counted of {max}", self.entries.len()));
        }
        match self.entries.iter().find(|entry| entry.tokens.is_empty() || entry.parked.0 >= self.next) {
            Some(entry) => Err(format!("parked content {} was never saved", entry.parked.0)),
            None => Ok(()),
        }
    }
}

//! Truncation: top_n_sigma and top_k, then typical_p of the rest, then top_p, min_p and XTC.
//!
//! All but typical_p and XTC keep a prefix of the same order, higher logit first and lower id first among equals, so
//! the result is exact and does not depend on the method. None of them sorts the vocabulary:
//! * top_n_sigma and min_p compare with a bar that is known from the start;
//! * top_k keeps a buffer of at most 2k entries whose k-th best is the bar for the rest;
//! * top_p first leaves out entries too unlikely to matter even together, then sums the others in buckets of nearly
//!   equal weight, and sorts only the bucket in which the sum passes `top_p`;
//! * typical_p does the same in the order of distance from the mean;
//! * XTC removes a prefix, up to the last entry that is probable enough.

use super::row::{LogitRow, SMALLEST_GAP, visit};
use crate::protocol::SamplingParams;
use std::cell::Cell;
use std::cmp::Ordering;

/// Number of buckets for each factor of e in weight.
const BUCKETS_PER_NAT: f32 = 16.0;
/// The smallest buffer of a top_k: with a tiny k, a smaller one would need a selection every few entries.
const MIN_TOP_K_BUFFER: usize = 128;

/// The rules by which tokens are kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Truncation {
    /// Keeps tokens at most this many standard deviations below the best; 0 keeps all.
    pub(super) top_n_sigma: f32,
    /// Keeps this many tokens; `usize::MAX` keeps all.
    pub(super) top_k: usize,
    /// Keeps the tokens nearest to the mean, up to this probability; 1 keeps all.
    pub(super) typical_p: f32,
    /// Keeps the likeliest tokens, up to this probability; 1 keeps all.
    pub(super) top_p: f32,
    /// Keeps tokens at most this far below the best, in nats: ln(`min_p`); −inf keeps all.
    pub(super) min_gap: f32,
    /// Of the tokens with at least this probability keeps only the last (XTC); above 0.5 keeps all.
    pub(super) exclude_above: f32,
}

/// A candidate that the rules have not dropped so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct WeightedEntry {
    pub(super) id: u32,
    pub(super) logit: f32,
    /// See [`LogitRow::weight`].
    pub(super) weight: f32,
}

/// The candidates found, and buffers for finding them.
#[derive(Debug, Default)]
pub(super) struct Selection {
    /// The kept tokens, in order of id once [`Truncation::apply`] is done.
    pub(super) kept: Vec<WeightedEntry>,
    /// The mass of each bucket.
    buckets: Vec<f64>,
    /// The entries of the bucket that is sorted.
    edge: Vec<WeightedEntry>,
}

impl Truncation {
    /// The rules that the parameters ask for, without XTC.
    pub(super) fn new(params: &SamplingParams) -> Self {
        Self {
            top_n_sigma: params.top_n_sigma,
            top_k: if params.top_k == 0 { usize::MAX } else { usize::try_from(params.top_k).unwrap_or(usize::MAX) },
            typical_p: params.typical_p,
            top_p: params.top_p,
            // A min_p above 1 would leave no token, not even the best.
            min_gap: params.min_p.min(1.0).ln(),
            exclude_above: 1.0,
        }
    }

    /// True if no rule cuts anything from a vocabulary of this size; [`Self::apply`] is not called then. Every rule
    /// must be checked here.
    pub(super) fn keeps_all(&self, vocabulary: usize) -> bool {
        let bars = self.top_n_sigma <= 0.0 && self.min_gap == f32::NEG_INFINITY;
        bars && self.top_k >= vocabulary && self.typical_p >= 1.0 && self.top_p >= 1.0 && self.exclude_above > 0.5
    }

    /// Fills `selection.kept` with the candidates of the row that survive, at least one.
    pub(super) fn apply(&self, row: &LogitRow<'_>, selection: &mut Selection) {
        // The best gap among the tokens that are left; only typical_p can remove the best token.
        let mut best = 0.0;
        let mut total = self.begin(row, &mut selection.kept);
        if self.typical_p < 1.0 {
            selection.typical_p(row, self.typical_p);
            total = selection.mass();
            best = selection.kept.iter().map(|entry| row.gap(entry.logit)).fold(f32::NEG_INFINITY, f32::max);
        }
        if self.top_p < 1.0 {
            selection.top_p(row, self.top_p, total);
        }
        selection.kept.retain(|entry| row.gap(entry.logit) - best >= self.min_gap);
        if self.exclude_above <= 0.5 {
            selection.exclude_above(self.exclude_above);
        }
    }

    /// Puts the tokens that top_n_sigma and top_k leave into `kept`, in order of id, and returns the mass whose share
    /// `top_p` is. Entries that no later step would keep may be missing.
    fn begin(&self, row: &LogitRow<'_>, kept: &mut Vec<WeightedEntry>) -> f64 {
        let bar = if self.top_n_sigma > 0.0 { -(f64::from(self.top_n_sigma) * row.deviation()) as f32 } else { f32::NEG_INFINITY };
        if self.top_k < row.logits.len() {
            top_k(row.logits, self.top_k, kept);
            kept.retain(|entry| row.gap(entry.logit) >= bar);
            kept.sort_unstable_by_key(|entry| entry.id);
            for entry in kept.iter_mut() {
                entry.weight = row.weight(entry.logit);
            }
            mass(kept)
        } else if bar > f32::NEG_INFINITY || self.typical_p < 1.0 {
            collect(row, bar, kept);
            mass(kept)
        } else if self.top_p < 1.0 {
            let total = row.mass(row.logits);
            collect(row, self.min_gap.max(negligible(self.top_p, total, row.logits.len())), kept);
            total
        } else {
            collect(row, self.min_gap, kept);
            0.0
        }
    }
}

fn mass(entries: &[WeightedEntry]) -> f64 {
    entries.iter().map(|entry| f64::from(entry.weight)).sum()
}

/// The gap below which the entries of a row, however many, are not needed to reach `top_p` of `total`.
fn negligible(top_p: f32, total: f64, entries: usize) -> f32 {
    // All of them together weigh less than half of the mass that top_p cuts; the other half is for rounding.
    let weight = 0.5 * (1.0 - f64::from(top_p)) * total / entries as f64;
    weight.ln() as f32 - 1e-3
}

/// Collects all candidates at or above a gap, in order of id.
fn collect(row: &LogitRow<'_>, min_gap: f32, kept: &mut Vec<WeightedEntry>) {
    kept.clear();
    let wanted = |logit: f32| (row.gap(logit) >= min_gap) & (logit > f32::NEG_INFINITY);
    visit(row.logits, wanted, |id, logit| kept.push(WeightedEntry { id, logit, weight: row.weight(logit) }));
}

/// Puts the `k` best candidates into `best`, in no particular order and without weights.
pub(super) fn top_k(logits: &[f32], k: usize, best: &mut Vec<WeightedEntry>) {
    best.clear();
    let full = k.saturating_mul(2).max(MIN_TOP_K_BUFFER);
    // Only a higher logit can still be among the best: of equals the earlier one has the lower id.
    let bar = Cell::new(f32::NEG_INFINITY);
    let wanted = |logit: f32| logit > bar.get();
    visit(logits, wanted, |id, logit| {
        best.push(WeightedEntry { id, logit, weight: 0.0 });
        if best.len() >= full {
            bar.set(keep_best(best, k));
        }
    });
    keep_best(best, k);
}

/// Keeps the `k` best entries and returns the logit of the last of them, −inf if there are fewer.
fn keep_best(entries: &mut Vec<WeightedEntry>, k: usize) -> f32 {
    if k == 0 || entries.len() < k {
        entries.truncate(k);
        return f32::NEG_INFINITY;
    }
    let (_, last, _) = entries.select_nth_unstable_by(k - 1, best_first);
    let bar = last.logit;
    entries.truncate(k);
    bar
}

/// The order that truncation keeps a prefix of. Entries are never NaN, and equal logits may be +0 and −0.
pub(super) fn best_first(a: &WeightedEntry, b: &WeightedEntry) -> Ordering {
    b.logit.partial_cmp(&a.logit).unwrap_or(Ordering::Equal).then(a.id.cmp(&b.id))
}

impl Selection {
    /// The mass of the kept tokens.
    pub(super) fn mass(&self) -> f64 {
        mass(&self.kept)
    }

    /// Keeps the shortest prefix, best first, that has `top_p` of `total`.
    fn top_p(&mut self, row: &LogitRow<'_>, top_p: f32, total: f64) {
        // Compared as `f32`, the precision of the user's number: otherwise 0.1 would keep two of ten equal candidates.
        self.keep_prefix(best_first, |entry| bucket(-row.gap(entry.logit)), |mass| (mass / total) as f32 >= top_p);
    }

    /// Keeps the tokens nearest to the mean gap until they have more than `typical_p`. A token's surprise is as far
    /// from the entropy, which is the expected surprise, as its gap is from the mean gap: the sum of surprise and gap
    /// is constant.
    fn typical_p(&mut self, row: &LogitRow<'_>, typical_p: f32) {
        // A token without weight is never drawn, has an infinite surprise, and does not count in the mean.
        self.kept.retain(|entry| entry.weight > 0.0);
        let total = self.mass();
        let mean: f64 = self.kept.iter().map(|entry| f64::from(entry.weight) * f64::from(row.gap(entry.logit))).sum::<f64>() / total;
        let distance = |entry: &WeightedEntry| (row.gap(entry.logit) - mean as f32).abs();
        let nearest_first = |a: &WeightedEntry, b: &WeightedEntry| distance(a).total_cmp(&distance(b)).then(a.id.cmp(&b.id));
        self.keep_prefix(nearest_first, |entry| bucket(distance(entry)), |mass| (mass / total) as f32 > typical_p);
    }

    /// Removes all but the least likely of the tokens that have at least this probability.
    fn exclude_above(&mut self, threshold: f32) {
        let total = self.mass();
        let probable = self.kept.iter().filter(|entry| (f64::from(entry.weight) / total) as f32 >= threshold);
        if let Some(&last) = probable.max_by(|a, b| best_first(a, b)) {
            self.kept.retain(|entry| best_first(entry, &last) != Ordering::Less);
        }
    }

    /// Keeps the shortest prefix in this order whose mass satisfies `reached`; all if none does. `bucket` must not fall
    /// along the order: only the entries of one bucket are sorted.
    fn keep_prefix(
        &mut self,
        order: impl Fn(&WeightedEntry, &WeightedEntry) -> Ordering,
        bucket: impl Fn(&WeightedEntry) -> usize,
        reached: impl Fn(f64) -> bool,
    ) {
        self.buckets.clear();
        for entry in &self.kept {
            let bucket = bucket(entry);
            if bucket >= self.buckets.len() {
                self.buckets.resize(bucket + 1, 0.0);
            }
            self.buckets[bucket] += f64::from(entry.weight);
        }
        let mut above = 0.0;
        let Some(passed) = self.buckets.iter().position(|mass| {
            let reached = reached(above + mass);
            above += if reached { 0.0 } else { *mass };
            reached
        }) else {
            return; // min_p has already cut all that top_p would cut.
        };

        self.edge.clear();
        self.edge.extend(self.kept.iter().filter(|entry| bucket(entry) == passed));
        self.edge.sort_unstable_by(&order);
        let last = self.edge.iter().find(|entry| {
            above += f64::from(entry.weight);
            reached(above)
        });
        // The sums over buckets and over entries may differ by rounding; then the whole bucket is kept.
        if let Some(&last) = last.or(self.edge.last()) {
            self.kept.retain(|entry| order(entry, &last) != Ordering::Greater);
        }
    }
}

/// The bucket of an entry at this distance ≥ 0 from the first one, nats. Beyond the smallest weight all entries share
/// the last bucket.
fn bucket(distance: f32) -> usize {
    (distance.min(1.0 - SMALLEST_GAP) * BUCKETS_PER_NAT) as usize
}

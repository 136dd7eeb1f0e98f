//! Truncation: top_k, then top_p of what is left, then min_p.
//!
//! All three keep a prefix of the same order, higher logit first and lower id first among equals, so the result is
//! exact and does not depend on how it was found. None of them sorts the vocabulary:
//! * top_k keeps a buffer of at most 2k entries whose k-th best is the bar for the rest;
//! * top_p first leaves out entries too unlikely to matter even together, then sums the others in buckets of nearly
//!   equal weight, and sorts only the bucket in which the sum passes `top_p`;
//! * min_p is a bar known from the start.

use super::row::{Row, SMALLEST_GAP, visit};
use std::cell::Cell;
use std::cmp::Ordering;

/// Buckets that a factor of e in weight is cut into.
const BUCKETS_PER_NAT: f32 = 16.0;
/// The smallest buffer of a top_k, so that a tiny k does not mean a selection every few entries.
const MIN_TOP_K_BUFFER: usize = 128;

/// What to keep.
#[derive(Debug, Clone, Copy)]
pub(super) struct Truncation {
    /// This many; `usize::MAX` keeps all.
    pub(super) top_k: usize,
    /// Up to this probability; 1 keeps all.
    pub(super) top_p: f32,
    /// Those at most this far below the best, in nats: ln(`min_p`); −inf keeps all.
    pub(super) min_gap: f32,
}

/// A candidate on the way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) id: u32,
    pub(super) logit: f32,
    /// See [`Row::weight`].
    pub(super) weight: f32,
}

/// The candidates found, and buffers for finding them.
#[derive(Debug, Default)]
pub(super) struct Selection {
    /// What is kept, in order of id once [`Truncation::apply`] is done.
    pub(super) kept: Vec<Entry>,
    /// Mass by distance from the best.
    buckets: Vec<f64>,
    /// The entries of one bucket.
    edge: Vec<Entry>,
}

impl Truncation {
    /// Whether nothing is cut from a vocabulary of this size.
    pub(super) fn keeps_all(&self, vocabulary: usize) -> bool {
        self.top_k >= vocabulary && self.top_p >= 1.0 && self.min_gap == f32::NEG_INFINITY
    }

    /// Leaves in `selection.kept` the candidates of the row that survive, at least one.
    pub(super) fn apply(&self, row: &Row<'_>, selection: &mut Selection) {
        let kept = &mut selection.kept;
        let mut total = 0.0;
        if self.top_k < row.logits.len() {
            top_k(row.logits, self.top_k, kept);
            kept.sort_unstable_by_key(|entry| entry.id);
            for entry in kept.iter_mut() {
                entry.weight = row.weight(entry.logit);
                total += f64::from(entry.weight);
            }
        } else {
            let mut min_gap = self.min_gap;
            if self.top_p < 1.0 {
                total = row.mass(row.logits);
                min_gap = min_gap.max(negligible(self.top_p, total, row.logits.len()));
            }
            collect(row, min_gap, kept);
        }
        if self.top_p < 1.0 {
            selection.top_p(row, self.top_p, total);
        }
        selection.kept.retain(|entry| row.gap(entry.logit) >= self.min_gap);
    }
}

/// The gap below which the entries of a row, however many, cannot be needed to reach `top_p` of `total`.
fn negligible(top_p: f32, total: f64, entries: usize) -> f32 {
    // All of them together weigh less than half of what top_p leaves over; the other half is for rounding.
    let weight = 0.5 * (1.0 - f64::from(top_p)) * total / entries as f64;
    weight.ln() as f32 - 1e-3
}

/// Collects all candidates at or above a gap, in order of id.
fn collect(row: &Row<'_>, min_gap: f32, kept: &mut Vec<Entry>) {
    kept.clear();
    let wanted = |logit: f32| (row.gap(logit) >= min_gap) & (logit > f32::NEG_INFINITY);
    visit(row.logits, wanted, |id, logit| kept.push(Entry { id, logit, weight: row.weight(logit) }));
}

/// Puts the `k` best candidates into `best`, in no particular order and without weights.
pub(super) fn top_k(logits: &[f32], k: usize, best: &mut Vec<Entry>) {
    best.clear();
    let full = k.saturating_mul(2).max(MIN_TOP_K_BUFFER);
    // Only a higher logit can still be among the best: of equals the earlier one has the lower id.
    let bar = Cell::new(f32::NEG_INFINITY);
    let wanted = |logit: f32| logit > bar.get();
    visit(logits, wanted, |id, logit| {
        best.push(Entry { id, logit, weight: 0.0 });
        if best.len() >= full {
            bar.set(keep_best(best, k));
        }
    });
    keep_best(best, k);
}

/// Keeps the `k` best entries and says the logit of the last of them, −inf if there are fewer.
fn keep_best(entries: &mut Vec<Entry>, k: usize) -> f32 {
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
pub(super) fn best_first(a: &Entry, b: &Entry) -> Ordering {
    b.logit.partial_cmp(&a.logit).unwrap_or(Ordering::Equal).then(a.id.cmp(&b.id))
}

impl Selection {
    /// Keeps the shortest prefix, best first, that has `top_p` of `total`.
    fn top_p(&mut self, row: &Row<'_>, top_p: f32, total: f64) {
        // Compared as `f32`, the precision that the user's 0.9 has: otherwise ten equal candidates and 0.1 keep two.
        let reached = |mass: f64| (mass / total) as f32 >= top_p;
        self.buckets.clear();
        for entry in &self.kept {
            let bucket = bucket(row, entry);
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
            return; // min_p has left out already what top_p would cut.
        };

        self.edge.clear();
        self.edge.extend(self.kept.iter().filter(|entry| bucket(row, entry) == passed));
        self.edge.sort_unstable_by(best_first);
        let last = self.edge.iter().find(|entry| {
            above += f64::from(entry.weight);
            reached(above)
        });
        // The sums of bucket and walk may differ by rounding; then all of the bucket is kept.
        if let Some(&last) = last.or(self.edge.last()) {
            self.kept.retain(|entry| best_first(entry, &last) != Ordering::Greater);
        }
    }
}

/// Which bucket an entry belongs to: the better, the lower. Beyond the smallest weight all share the last one.
fn bucket(row: &Row<'_>, entry: &Entry) -> usize {
    (-row.gap(entry.logit).max(SMALLEST_GAP - 1.0) * BUCKETS_PER_NAT) as usize
}

//! Runs steps on a llama.cpp context: KV changes, `llama_decode`, logits by row.
//!
//! Owns the context, one batch and its host buffers, all reused; used by the engine thread alone. It plans nothing, and
//! refuses everything for which llama.cpp would abort: slots, positions and tokens outside the limits, too many rows.

mod kv;

use super::{
    backend::device,
    copies::{Copying, StateSizes, StreamCopies},
    neighbours::Neighbours,
    plan::Plan,
    raw,
    threads::Threads,
};
use crate::{
    engine::runner::{DecodeSlots, Limits, ModelRunner, Parked, ParkedState, Row, Slot, Step, StepError, SwapLimits},
    protocol::KvLayout,
};
use llama_cpp_2::{DecodeError, context::LlamaContext, llama_batch::LlamaBatch, token::LlamaToken};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

/// `llama_decode`: "invalid input batch" (`llama.h`). Used here too for a step that breaks the contract.
const INVALID_BATCH: i32 = -1;

/// More threads than this draw no faster, because they share one memory.
const MOST_IDLE_THREADS: u32 = 16;

/// Executes steps on one context of a model, which it borrows.
pub struct LlamaRunner<'m> {
    context: LlamaContext<'m>,
    batch: LlamaBatch<'static>,
    limits: Limits,
    copying: Copying,
    threads: RunningThreads,
    /// The value of [`ModelRunner::idle_threads`].
    idle_threads: u32,
    /// Number of positions that each slot holds.
    held: Vec<u32>,
    /// The saved states; the scheduler bounds their bytes.
    parked: HashMap<Parked, Arc<ParkedState>>,
    /// The size of saved states, measured.
    sizes: StateSizes,
    /// A text that names everything on which saved states depend.
    format: String,
    /// The place of the logits of each row of the last step; empty unless that step succeeded.
    logits: Vec<Logits>,
    /// Rows of logits that a later `llama_decode` of the step would have overwritten.
    kept: Vec<f32>,
}

/// The number of CPU threads of a step, and its choice.
struct RunningThreads {
    /// Number of threads that the context uses.
    now: u32,
    /// Set if the number adapts to the times of steps and the use of the cores by other programs.
    choice: Option<Threads>,
    neighbours: Neighbours,
}

/// The place of the logits of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Logits {
    /// There are none: the row did not ask for logits.
    None,
    /// In the context, at this index of its last batch.
    InContext(i32),
    /// In [`LlamaRunner::kept`], as the row with this index.
    Kept(usize),
}

impl<'m> LlamaRunner<'m> {
    /// Takes over an empty context with `limits.slots` sequence ids and `limits.max_rows` rows.
    ///
    /// The context was opened by `plan`, whose threads are the upper bound for steps.
    pub(super) fn new(context: LlamaContext<'m>, limits: Limits, plan: &Plan, on_gpu: bool) -> Self {
        let copying = match plan.layout {
            KvLayout::Unified => Copying::Mark,
            KvLayout::Split => Copying::Streams(StreamCopies::new(on_gpu)),
        };
        let format = format!(
            "{:?} cells, {:?} attention, {:?} positions, {:?}: {} slots of {}, {} cells, on {}",
            plan.kv_type,
            plan.attention,
            plan.rope,
            plan.layout,
            // A state has an entry for each stream, and only as many streams read it (`llama_kv_cache::state_read`).
            plan.slots,
            plan.max_model_len,
            // Some models rotate keys depending on it (`llama_model::get_rope_factors`).
            context.n_ctx(),
            device(on_gpu)
        );
        Self {
            context,
            batch: LlamaBatch::new(limits.max_rows as usize, 1),
            limits,
            copying,
            threads: RunningThreads {
                now: plan.threads,
                choice: plan.adapts.then(|| Threads::new(plan.threads, limits.slots)),
                neighbours: Neighbours::new(plan.threads),
            },
            idle_threads: if on_gpu { plan.threads.clamp(1, MOST_IDLE_THREADS) } else { 1 },
            held: vec![0; limits.slots as usize],
            parked: HashMap::new(),
            sizes: StateSizes::default(),
            format,
            logits: Vec::new(),
            kept: Vec::new(),
        }
    }

    /// Number of cells that llama.cpp allocated; it rounds up to blocks of 256 per stream.
    pub(super) fn allocated_cells(&self) -> u32 {
        self.context.n_ctx()
    }

    /// Bytes of the saved state of slot 0, and bytes thereof in layers with a sliding window.
    pub(super) fn state_sizes_of_slot_0(&self) -> (usize, usize) {
        (raw::state_size(&self.context, 0), raw::sliding_state_size(&self.context, 0))
    }

    /// The sliding window of the model, positions.
    pub(super) fn window(&self) -> Option<u32> {
        raw::window(&self.context)
    }

    /// Sets the number of rows that kernels compute together.
    pub(super) fn set_tile(&mut self, tile: u32) {
        self.limits.tile = tile;
    }

    /// Sets the size of saved states, and allows `bytes` of them to be parked.
    pub(super) fn allow_swap(&mut self, sizes: StateSizes, bytes: u64) {
        self.sizes = sizes;
        let (first, next) = (sizes.first as u64, sizes.next as u64);
        let entry_bytes = first.saturating_sub(next);
        let swap = SwapLimits { bytes, entry_bytes, cell_bytes: next, window: sizes.window, passed_cell_bytes: sizes.passed() as u64 };
        self.limits.swap = if first > 0 { swap } else { SwapLimits::default() };
    }

    /// The size of saved states, set by [`Self::allow_swap`].
    pub(super) fn state_sizes(&self) -> StateSizes {
        self.sizes
    }

    /// Checks the rows, and returns the lengths of the slots after them.
    fn check(&self, rows: &[Row]) -> Result<Vec<u32>, StepError> {
        if rows.len() > self.limits.max_rows as usize {
            return refuse(&format!("{} rows exceed the {} of a step", rows.len(), self.limits.max_rows));
        }
        if !rows.is_sorted_by_key(|row| row.slot) {
            return refuse("rows are not in order of slots");
        }
        let mut held = self.held.clone();
        for row in rows {
            let slot = self.index(row.slot)?;
            if row.pos != held[slot] || row.pos >= self.limits.max_model_len {
                return refuse(&format!("position {} of slot {slot}, which holds {}", row.pos, held[slot]));
            }
            if row.token.0 >= self.limits.vocabulary_size {
                return refuse(&format!("token {} is outside the vocabulary", row.token.0));
            }
            held[slot] += 1;
        }
        Ok(held)
    }

    /// Evaluates the rows with these indices, which [`Self::check`] has checked.
    fn decode(&mut self, rows: &[Row], part: &[usize]) -> Result<(), StepError> {
        self.batch.clear();
        for row in part.iter().map(|index| &rows[*index]) {
            // In range by the checks: positions by max_model_len, tokens by the vocabulary, both i32 in llama.cpp.
            let (token, pos) = (LlamaToken::new(row.token.0.cast_signed()), row.pos.cast_signed());
            // Exactly one sequence id per row: the batch has room for one, and llama-cpp-2 does not check.
            if self.batch.add(token, pos, &[id(row.slot.0 as usize)], row.sample).is_err() {
                return refuse("the batch is full");
            }
        }
        let decoded = self.context.decode(&mut self.batch);
        if let Copying::Streams(copies) = &mut self.copying {
            // A decode first does the pending copies, unless it refused the batch before that.
            if !matches!(decoded, Err(DecodeError::NTokensZero)) {
                copies.pending.clear();
            }
        }
        decoded.map_err(|error| step_error(&error))
    }

    /// Evaluates the parts and records the places of the logits.
    fn decode_parts(&mut self, rows: &[Row], parts: &[Vec<usize>]) -> Result<(), StepError> {
        self.kept.clear();
        let mut logits = vec![Logits::None; rows.len()];
        let Some((last, earlier)) = parts.split_last() else { return refuse("no rows") };
        for part in earlier {
            self.decode(rows, part)?;
            for (place, index) in (0..).zip(part).filter(|(_, index)| rows[**index].sample) {
                logits[*index] = Logits::Kept(self.kept.len() / self.limits.vocabulary_size as usize);
                self.kept.extend_from_slice(self.context.get_logits_ith(place));
            }
        }
        self.decode(rows, last)?;
        for (place, index) in (0..).zip(last).filter(|(_, index)| rows[**index].sample) {
            logits[*index] = Logits::InContext(place);
        }
        self.logits = logits;
        Ok(())
    }

    /// Sets the number of threads for these rows. Another number is tried only on steps that can be compared.
    fn choose_threads(&mut self, rows: &[Row]) {
        let Some(choice) = &mut self.threads.choice else { return };
        if let Some(seen) = self.threads.neighbours.look() {
            choice.see(seen);
        }
        let next = if are_comparable(rows) { choice.now() } else { choice.settled() };
        if next != self.threads.now && raw::set_threads(&mut self.context, next) {
            tracing::debug!(threads = next, "steps take another number of threads");
            self.threads.now = next;
        }
    }

    /// Records that the rows took `elapsed`.
    fn learn_threads(&mut self, rows: &[Row], elapsed: Duration) {
        if let Some(choice) = self.threads.choice.as_mut().filter(|_| are_comparable(rows)) {
            choice.observe(rows.len(), elapsed);
        }
    }

    fn index(&self, slot: Slot) -> Result<usize, StepError> {
        if slot.0 < self.limits.slots { Ok(slot.0 as usize) } else { refuse(&format!("slot {} does not exist", slot.0)) }
    }
}

impl ModelRunner for LlamaRunner<'_> {
    fn limits(&self) -> Limits {
        self.limits
    }

    fn idle_threads(&self) -> u32 {
        self.idle_threads
    }

    fn state_format(&self) -> Option<String> {
        (self.limits.swap.bytes > 0).then(|| format!("{}, {:?}", self.format, self.sizes))
    }

    fn shortest(&self, slot: Slot) -> u32 {
        self.index(slot).map_or(0, |slot| self.shortest_of(slot))
    }

    fn parked(&self, parked: Parked) -> Option<Arc<ParkedState>> {
        self.parked.get(&parked).cloned()
    }

    fn adopt(&mut self, parked: Parked, state: Arc<ParkedState>) -> bool {
        let fits = (1..=self.limits.max_model_len).contains(&state.len) && self.can_load(&state.bytes, state.len);
        if fits {
            self.parked.insert(parked, state);
        }
        fits
    }

    fn execute(&mut self, step: &Step) -> Result<(), StepError> {
        self.logits.clear();
        let mut lost = Vec::new();
        for op in &step.kv {
            self.apply(*op, &mut lost)?;
        }
        if !lost.is_empty() {
            return Err(StepError::NotLoaded(lost));
        }
        if step.rows.is_empty() {
            return Ok(());
        }
        let held = self.check(&step.rows)?;
        let together = matches!(self.copying, Copying::Mark) || !self.limits.can_truncate;
        let parts = if together { vec![(0..step.rows.len()).collect()] } else { parts(&step.rows, self.limits.tile) };
        self.choose_threads(&step.rows);
        let begun = Instant::now();
        let decoded = self.decode_parts(&step.rows, &parts);
        match decoded {
            Ok(()) => {
                self.held = held;
                self.learn_threads(&step.rows, begun.elapsed());
            }
            // A failed batch may leave some computed graphs in memory (`llama.h`, `llama_decode`).
            Err(_) => step.rows.iter().for_each(|row| self.measure(row.slot.0 as usize)),
        }
        decoded
    }

    fn threads(&self) -> u32 {
        self.threads.now
    }

    fn logits(&self, row: usize) -> Option<&[f32]> {
        // llama-cpp-2 panics on a row without logits, so only rows that have some get that far.
        match *self.logits.get(row)? {
            Logits::None => None,
            Logits::InContext(place) => Some(self.context.get_logits_ith(place)),
            Logits::Kept(place) => self.kept.chunks_exact(self.limits.vocabulary_size as usize).nth(place),
        }
    }
}

/// Splits the rows into evaluations when each slot has a KV stream: chunks of prompts, of which those with equally
/// many rows are one, as are all with fewer rows than a tile (guesses and forced tokens among them); then decode rows.
/// No part is empty.
///
/// In one batch, llama.cpp would cut chunks of several lengths (`llama_batch_allocr::split_equal`): as many rows as the
/// shortest of them has from each, then of the rest of each, and decode rows count as chunks of one. That makes about
/// as many graphs, but they do not fill tiles, and all rows of a graph attend over as many cells as the longest
/// sequence in it has.
///
/// The last row of a chunk may fill a gap between the decode rows ([`DecodeSlots::take`]). These come last because
/// their logits, one row each, then need no copy.
fn parts(rows: &[Row], tile: u32) -> Vec<Vec<usize>> {
    let decoding = DecodeSlots::of(rows);
    // By number of rows; 0 for all with fewer than a tile.
    let (mut chunks, mut singles) = (BTreeMap::<usize, Vec<usize>>::new(), Vec::new());
    let mut first = 0;
    for chunk in rows.chunk_by(|a, b| a.slot == b.slot) {
        let end = first + chunk.len();
        let is_taken = chunk.len() == 1 || decoding.is_some_and(|decoding| decoding.take(chunk[0].slot, chunk[0].pos));
        let own = first..end - usize::from(is_taken);
        singles.extend(own.end..end);
        if !own.is_empty() {
            let length = if own.len() < tile as usize { 0 } else { own.len() };
            chunks.entry(length).or_default().extend(own);
        }
        first = end;
    }
    chunks.into_values().chain(Some(singles)).filter(|part| !part.is_empty()).collect()
}

/// True if times of steps with such rows can be compared. With prompts or drafts each step has another shape.
fn are_comparable(rows: &[Row]) -> bool {
    rows.windows(2).all(|pair| pair[0].slot != pair[1].slot)
}

/// The only place that interprets return codes of `llama_decode`.
fn step_error(error: &DecodeError) -> StepError {
    match error {
        DecodeError::NoKvCacheSlot => StepError::NoKvSpace,
        DecodeError::NTokensZero => StepError::Decode { code: INVALID_BATCH },
        DecodeError::Unknown(code) => StepError::Decode { code: *code },
    }
}

fn refuse<T>(reason: &str) -> Result<T, StepError> {
    tracing::error!(reason, "a step was refused");
    Err(StepError::Decode { code: INVALID_BATCH })
}

/// llama.cpp's sequence id of a slot that [`LlamaRunner::index`] has checked: below 256.
fn id(slot: usize) -> i32 {
    slot as i32
}

#[cfg(test)]
mod tests;

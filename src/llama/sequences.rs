//! The number of sequences and their length, where the options leave them open: long ones before many.
//!
//! The first prompts of coding agents have up to 18,300 tokens. A sequence that has no room for one is of no use to
//! them, and a short one costs nothing in a long slot: attention reads the cells that are used. So the length comes
//! first, up to [`DEFAULT_MAX_MODEL_LEN`], as long as [`LEAST_SEQUENCES`] sequences of it have room; then come as many
//! sequences as have room.

use super::plan::{Given, MAX_ROWS_PER_GRAPH, slides, window_cells};
use crate::protocol::{DEFAULT_MAX_NUM_SEQS, EngineOptions, KvLayout};

/// Longest context chosen by default: longer ones cost memory that few requests use.
const DEFAULT_MAX_MODEL_LEN: u32 = 32_768;

/// A default that is lowered to save memory is not below this (or below the model's own length, if that is less).
const LEAST_DEFAULT_MODEL_LEN: u32 = 2048;

/// Number of sequences that a default length leaves room for, if the options do not name one.
const LEAST_SEQUENCES: u32 = 4;

/// The number of sequences and their length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sequences {
    /// Number of sequences.
    pub slots: u32,
    /// Positions of each.
    pub max_model_len: u32,
}

/// Chooses what `options` leave open, for a model of at most `longest` positions. A pool of a size that the user chose
/// costs the same for any length that it holds, and any number.
pub(super) fn choose(options: &EngineOptions, given: &Given, longest: u32) -> Sequences {
    let pool = options.kv_cache_tokens.filter(|_| options.kv_layout == KvLayout::Unified);
    let fits =
        |slots: u32, length: u32| pool.is_some() || bytes(options, given, length).saturating_mul(slots.into()) <= given.kv_budget_bytes;
    let max_model_len = options.max_model_len.unwrap_or_else(|| {
        let least_slots = options.max_num_seqs.unwrap_or(LEAST_SEQUENCES);
        let mut length = longest.min(DEFAULT_MAX_MODEL_LEN).min(pool.unwrap_or(u32::MAX));
        while length / 2 >= LEAST_DEFAULT_MODEL_LEN && !fits(least_slots, length) {
            length /= 2;
        }
        length
    });
    let slots = options.max_num_seqs.unwrap_or_else(|| {
        let most = DEFAULT_MAX_NUM_SEQS.min(options.max_num_batched_tokens).max(1);
        // A length that was asked for may leave room for fewer than a default length.
        let least = if options.max_model_len.is_some() { 1 } else { LEAST_SEQUENCES.min(most) };
        (least..=most).rev().find(|slots| fits(*slots, max_model_len)).unwrap_or(least)
    });
    Sequences { slots, max_model_len }
}

/// Bytes of the cells of a sequence of this length.
fn bytes(options: &EngineOptions, given: &Given, length: u32) -> u64 {
    let passed = given.window.filter(|window| slides(options, *window, length, MAX_ROWS_PER_GRAPH)).map_or(0, |window| {
        let passed = length.saturating_sub(window_cells(window, MAX_ROWS_PER_GRAPH));
        u64::from(passed).saturating_mul(window.cell_bytes)
    });
    u64::from(length).saturating_mul(given.cell_bytes).saturating_sub(passed)
}

#[cfg(test)]
mod tests {
    use super::{
        super::{plan::PlannedWindow, rope::Trained},
        *,
    };

    /// A model of 1,000 bytes a cell, with this many megabytes for them.
    fn given(megabytes: u64) -> Given {
        let trained = Trained { length: 131_072, stretched_thousandths: 1000, rotates: true };
        let kv_budget_bytes = megabytes * 1_000_000;
        Given { trained, cores: 2, on_gpu: false, heads: 8, cell_bytes: 1000, window: None, kv_budget_bytes }
    }

    fn options() -> EngineOptions {
        EngineOptions::new("model.gguf".into())
    }

    fn chosen(options: &EngineOptions, megabytes: u64, longest: u32) -> (u32, u32) {
        let chosen = choose(options, &given(megabytes), longest);
        (chosen.slots, chosen.max_model_len)
    }

    #[test]
    fn by_default_sequences_are_long_before_they_are_many() {
        // 4 sequences of 32,768 cells are 131 MB, 16 are 524 MB.
        assert_eq!(chosen(&options(), 525, 131_072), (16, 32_768));
        assert_eq!(chosen(&options(), 200, 131_072), (6, 32_768));
        assert_eq!(chosen(&options(), 132, 131_072), (4, 32_768));
        assert_eq!(chosen(&options(), 131, 131_072), (7, 16_384));
        assert_eq!(chosen(&options(), 40, 131_072), (4, 8192));
        assert_eq!(chosen(&options(), 1, 131_072), (4, 2048));
        assert_eq!(chosen(&options(), 525, 4096), (16, 4096));
    }

    #[test]
    fn what_was_asked_for_is_kept_and_the_other_follows() {
        let seqs = |n| EngineOptions { max_num_seqs: Some(n), ..options() };
        let length = |n| EngineOptions { max_model_len: Some(n), ..options() };

        assert_eq!(chosen(&seqs(16), 200, 131_072), (16, 8192));
        assert_eq!(chosen(&seqs(1), 33, 131_072), (1, 32_768));
        assert_eq!(chosen(&length(65_536), 140, 131_072), (2, 65_536));
        assert_eq!(chosen(&length(65_536), 1, 131_072), (1, 65_536));
        assert_eq!(chosen(&length(512), 525, 131_072), (16, 512));
        assert_eq!(chosen(&EngineOptions { max_num_seqs: Some(3), ..length(9000) }, 1, 131_072), (3, 9000));
    }

    #[test]
    fn there_are_no_more_sequences_than_rows_in_a_step() {
        assert_eq!(chosen(&EngineOptions { max_num_batched_tokens: 2, ..options() }, 525, 4096), (2, 4096));
    }

    #[test]
    fn a_pool_whose_size_was_asked_for_costs_the_same_for_any_length() {
        let pool = |cells| EngineOptions { kv_layout: KvLayout::Unified, kv_cache_tokens: Some(cells), ..options() };

        assert_eq!(chosen(&pool(40_000), 1, 131_072), (16, 32_768));
        assert_eq!(chosen(&pool(16_384), 1, 131_072), (16, 16_384));
    }

    #[test]
    fn a_sliding_window_leaves_room_for_a_longer_default_context() {
        let window = Some(PlannedWindow { positions: 512, cell_bytes: 800 });
        let length = |window| choose(&options(), &Given { window, ..given(10) }, 8192).max_model_len;

        // 4 slots of 2048 cells of 1000 bytes; with the window, 8192 cells of 200 bytes and 1024 of 800.
        assert_eq!((length(None), length(window)), (2048, 8192));
    }
}

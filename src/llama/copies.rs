//! Copies of a slot's content: into another slot, or into host memory.
//!
//! Owns the list of pending copies; the runner makes the calls of llama.cpp.

/// The size of a saved state: `first` bytes for its first position, and `next` bytes for each further one.
///
/// For layers with a sliding window, llama.cpp saves only the last `window` positions, or one less
/// (`llama_kv_cache::state_write`): that is enough to continue a state at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct StateSizes {
    pub(super) first: usize,
    pub(super) next: usize,
    /// The part of `next` that belongs to layers with a sliding window.
    pub(super) sliding: usize,
    /// Length of the sliding window, positions; `u32::MAX` without one.
    pub(super) window: u32,
}

impl StateSizes {
    /// Bytes of each position that the window has passed.
    pub(super) fn passed(self) -> usize {
        self.next - self.sliding
    }

    /// True if a state of `len` positions has every cell that the next position attends to.
    pub(super) fn continues(self, state: &[u8], len: u32) -> bool {
        let (all, needed) = (len.max(1) as usize - 1, len.min(self.window.saturating_sub(1)).max(1) as usize - 1);
        self.first > 0 && state.len() >= self.first + self.next * needed + self.passed() * (all - needed)
    }

    /// True if a state has all `len` positions in all layers, so that it can be cut back to any of them.
    pub(super) fn is_whole(self, state: &[u8], len: u32) -> bool {
        self.first > 0 && state.len() >= self.first + self.next * (len.max(1) - 1) as usize
    }
}

/// The way in which part of a slot's content gets into another slot.
pub(super) enum Copying {
    /// There is one pool: cells are marked as belonging to both slots.
    Mark,
    /// There is a stream per slot: cells are copied.
    Streams(StreamCopies),
}

/// Copies between streams, either of the used cells through host memory or of the whole stream within the device.
///
/// `llama_memory_seq_cp` copies all `cells_per_slot`, and does so at the start of the next decode. A copy through the
/// host takes twice the bytes of the cells in use (for a slot of 620 positions of 8192, 14 MB instead of 190 MB with
/// the default model), and happens at once.
pub(super) struct StreamCopies {
    on_gpu: bool,
    /// Copies of whole streams, as (from, to), that wait for the next decode. A copy made at once would overtake them.
    pub(super) pending: Vec<(usize, usize)>,
    pub(super) buffer: Vec<u8>,
}

impl StreamCopies {
    /// Creates the list without pending copies.
    pub(super) fn new(on_gpu: bool) -> Self {
        Self { on_gpu, pending: Vec::new(), buffer: Vec::new() }
    }

    /// True if the whole stream is to be copied. On a GPU it always is: the way to host memory is slow, while whole
    /// streams are copied at full bandwidth.
    pub(super) fn whole_stream(&self, cells_in_use: u32, cells_per_slot: u32) -> bool {
        self.on_gpu || !self.pending.is_empty() || cells_in_use.saturating_mul(2) > cells_per_slot
    }
}

impl Copying {
    /// True if a pending copy will fill this slot.
    pub(super) fn is_awaited(&self, slot: usize) -> bool {
        matches!(self, Self::Streams(copies) if copies.pending.iter().any(|(_, to)| *to == slot))
    }

    /// True if a pending copy will read this slot's former content.
    pub(super) fn is_source(&self, slot: usize) -> bool {
        matches!(self, Self::Streams(copies) if copies.pending.iter().any(|(from, _)| *from == slot))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copies(on_gpu: bool, pending: bool) -> StreamCopies {
        StreamCopies { pending: if pending { vec![(0, 1)] } else { Vec::new() }, ..StreamCopies::new(on_gpu) }
    }

    #[test]
    fn few_cells_go_through_the_host_and_many_as_a_whole_stream() {
        assert!(!copies(false, false).whole_stream(4096, 8192));
        assert!(copies(false, false).whole_stream(4097, 8192));
        assert!(copies(true, false).whole_stream(1, 8192));
    }

    #[test]
    fn of_a_sliding_window_the_last_positions_are_enough_to_go_on_and_not_to_go_back() {
        let sizes = StateSizes { first: 50, next: 10, sliding: 6, window: 4 };
        let of = |len: usize| vec![0_u8; len];

        assert!(sizes.continues(&of(80), 4) && sizes.is_whole(&of(80), 4));
        // Three positions in all layers, three more in those without a window.
        assert!(sizes.continues(&of(82), 6) && !sizes.continues(&of(81), 6));
        assert!(!sizes.is_whole(&of(82), 6) && sizes.is_whole(&of(100), 6));
        let without = StateSizes { sliding: 0, window: u32::MAX, ..sizes };
        assert!(without.continues(&of(100), 6) && !without.continues(&of(99), 6));
        assert!(!StateSizes::default().continues(&of(100), 1));
    }

    #[test]
    fn nothing_overtakes_a_copy_that_waits_for_the_next_decode() {
        assert!(copies(false, true).whole_stream(1, 8192));
    }
}

//! The seam between deciding and computing: the plan of one step, and the trait that executes it.
//!
//! Implemented by `llama/` and, in tests, by a deterministic fake that panics on any breach of the contract.

use crate::protocol::{SequenceId, SpecialText, TextError, Token};
use std::sync::Arc;

/// A KV sequence id of llama.cpp, `0..Limits::slots`; a place that a sequence may occupy, nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u32);

/// A slot's content in host memory. The scheduler chooses the number, and never the same one twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Parked(pub u64);

/// The host memory for parked content (`--swap-space`). All zero where nothing can be parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SwapLimits {
    /// Largest size of all content together, bytes.
    pub bytes: u64,
    /// Size of one content apart from its positions, bytes; nearly all of the state of a recurrent model.
    pub entry_bytes: u64,
    /// Additional size for each position, bytes.
    pub cell_bytes: u64,
    /// Number of last positions whose cells are saved of all layers (at least the sliding window); `u32::MAX` if every
    /// layer attends to all positions. Of earlier positions only the cells of layers without a window are saved, so
    /// such content can only be continued at its end.
    pub window: u32,
    /// Size of each position before the last `window` ones, bytes, instead of `cell_bytes`.
    pub passed_cell_bytes: u64,
}

impl SwapLimits {
    /// Size of a content of `len` positions, bytes.
    #[must_use]
    pub fn bytes_of(&self, len: u32) -> u64 {
        let within = len.min(self.window);
        let cells =
            self.cell_bytes.saturating_mul(within.into()).saturating_add(self.passed_cell_bytes.saturating_mul((len - within).into()));
        cells.saturating_add(self.entry_bytes)
    }

    /// The least number of positions that can be loaded of a saved content of `len`, from its beginning; 0 if any
    /// number can.
    #[must_use]
    pub fn shortest(&self, len: u32) -> u32 {
        if len < self.window { 0 } else { len }
    }
}

/// A slot's content as it was saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedState {
    /// The content, in a format of the runner.
    pub bytes: Vec<u8>,
    /// Number of positions in the content, ≥ 1.
    pub len: u32,
}

/// The limits of a runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Number of slots, 1–256.
    pub slots: u32,
    /// Largest number of rows in one step; ≥ `slots`.
    pub max_rows: u32,
    /// Largest number of positions of a slot: prompt + completion of a sequence.
    pub max_model_len: u32,
    /// Number of KV cells of all slots together. At least `max_model_len`; less than `slots * max_model_len` if
    /// overcommitted.
    pub kv_cells: u32,
    /// True if a slot's last positions can be dropped and a part of it copied. False for recurrent models: their slots
    /// can only be emptied (`keep == 0`), and nothing is copied.
    pub can_truncate: bool,
    /// True if slots drop the cells of positions that have left a sliding window; see [`ModelRunner::shortest`].
    pub windowed: bool,
    /// True if sequences are computed together only if their slots follow each other.
    pub consecutive_slots: bool,
    /// Number of rows that kernels compute together, ≥ 1: a prompt that is cut should be cut at a multiple of it.
    pub tile: u32,
    /// Number of entries in a row of logits.
    pub vocabulary_size: u32,
    /// The host memory for parked content.
    pub swap: SwapLimits,
}

impl Limits {
    /// Largest number of rows in a step whose logits are wanted, in addition to one for each slot: 64 MiB of logits.
    #[must_use]
    pub fn scored_rows(&self) -> u32 {
        const BYTES: u32 = 64 << 20;
        (BYTES / 4 / self.vocabulary_size.max(1)).clamp(1, 256)
    }
}

/// The plan of one step, as plain data: first `kv` in order, then all `rows`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Step {
    /// Changes to the KV cache before the rows.
    pub kv: Vec<KvOp>,
    /// The rows, at most `Limits::max_rows`, in order of slots. The rows of one slot are in order of position, without
    /// a gap, from the end of its content on. May be empty if only `kv` changes.
    pub rows: Vec<Row>,
}

/// One token in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The sequence that the token belongs to.
    pub seq: SequenceId,
    /// The slot that gets the token's KV.
    pub slot: Slot,
    /// The token's position, from 0.
    pub pos: u32,
    /// The token to compute.
    pub token: Token,
    /// True if the logits after the token are wanted.
    pub sample: bool,
}

/// The slots of the sequences that have one row each in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeSlots {
    first: Slot,
    last: Slot,
    /// Largest position of their rows.
    latest: u32,
}

impl DecodeSlots {
    /// Those of a step whose rows are grouped by sequence; `None` if no sequence has a single row.
    #[must_use]
    pub fn of(rows: &[Row]) -> Option<Self> {
        let mut single = rows.chunk_by(|a, b| a.slot == b.slot).filter(|rows| rows.len() == 1).map(|rows| rows[0]);
        let Row { slot, pos, .. } = single.next()?;
        let slots = Self { first: slot, last: slot, latest: pos };
        Some(single.fold(slots, |slots, row| Self {
            first: slots.first.min(row.slot),
            last: slots.last.max(row.slot),
            latest: slots.latest.max(row.pos),
        }))
    }

    /// True if the last row of a chunk in `slot` that begins at `pos` is computed with the decode rows, where slots
    /// must follow each other (`Limits::consecutive_slots`) and chunks are computed apart.
    ///
    /// It fills a gap between them then, which would cost one more graph. Decode rows attend over as many cells as the
    /// longest sequence beside them has, so a chunk that begins later than they are stays apart.
    #[must_use]
    pub fn take(self, slot: Slot, pos: u32) -> bool {
        self.first < slot && slot < self.last && pos <= self.latest
    }
}

/// A change to the KV cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvOp {
    /// Keeps the first `keep` positions of `slot`, 0 or at least [`ModelRunner::shortest`], and drops the rest; 0
    /// empties it.
    Truncate {
        /// The slot to cut.
        slot: Slot,
        /// Number of positions that stay.
        keep: u32,
    },
    /// Makes `to` hold the first `len` positions of `from`, whatever it held before. `from` is unchanged.
    Copy {
        /// The source.
        from: Slot,
        /// The target.
        to: Slot,
        /// Number of positions, ≥ 1, at least [`ModelRunner::shortest`] and at most as many as `from` holds.
        len: u32,
    },
    /// Copies the whole content of `slot`, at least one position, to host memory. `slot` is unchanged, and it is no
    /// target of a `Copy` of this step, because such copies may be made as late as the rows. A failure surfaces at a
    /// later `Load` of this content.
    Save {
        /// The slot to save.
        slot: Slot,
        /// The number by which the content can be loaded.
        to: Parked,
    },
    /// Makes `slot` hold the first `len` positions of a saved content, whatever it held before. There is room for the
    /// whole saved content, and no earlier `Copy` of this step has `slot` as source or target.
    Load {
        /// The content to load.
        from: Parked,
        /// The target.
        slot: Slot,
        /// Number of positions, ≥ 1 and at least [`SwapLimits::shortest`]; if `Limits::can_truncate` is false, all that
        /// were saved.
        len: u32,
    },
    /// Forgets a saved content.
    Drop {
        /// The content to forget.
        parked: Parked,
    },
}

/// The reason why a step could not be executed. Its `kv` changes were made all the same. Except after `NotLoaded`, the
/// slots of its rows hold an unknown number of the step's positions, until the next step's `kv` truncates them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// The KV cache has no room for the rows. If slots cannot be truncated, nothing was computed.
    #[error("no room in the KV cache")]
    NoKvSpace,
    /// The evaluation failed with this code of llama.cpp.
    #[error("the evaluation failed with code {code}")]
    Decode {
        /// llama.cpp's return code.
        code: i32,
    },
    /// Parked content could not be loaded. The slots in the list, which were to get such content by a `Load` or by a
    /// `Copy` from such a slot, are empty. The other slots are as the step's `kv` says, and no row was computed.
    #[error("parked content could not be loaded into {} slots", .0.len())]
    NotLoaded(Vec<Slot>),
}

/// Executes steps on a model. Lives on the engine thread and need not be `Send`.
pub trait ModelRunner {
    /// The limits of this runner, which never change.
    fn limits(&self) -> Limits;

    /// Number of CPU threads of the next step; 0 if the runner has no such number.
    fn threads(&self) -> u32 {
        0
    }

    /// Number of CPU threads, ≥ 1, that may draw tokens: the calling one, and those that the runner leaves idle between
    /// steps. Threads that compute steps are not idle: they wait for the next step by spinning.
    fn idle_threads(&self) -> u32 {
        1
    }

    /// Applies `step.kv`, then evaluates `step.rows`.
    ///
    /// # Errors
    /// See [`StepError`].
    ///
    /// # Panics
    /// If a KV change other than `Save` and `Load` fails: the positions that a slot holds are then unknown, and the
    /// engine must not go on.
    fn execute(&mut self, step: &Step) -> Result<(), StepError>;

    /// A text that names everything on which states depend besides the model's files and this program: a runner with
    /// the same text can load them. `None` if nothing can be parked, or if states cannot be kept outside the runner.
    fn state_format(&self) -> Option<String> {
        None
    }

    /// The state that was saved under this number and not dropped since; the runner holds it until it is dropped.
    /// `None` also if saving failed.
    fn parked(&self, _parked: Parked) -> Option<Arc<ParkedState>> {
        None
    }

    /// Takes a state that a runner with the same [`Self::state_format`] saved, as if it had been saved here. Returns
    /// false if it cannot; loading that state then fails, as any load may.
    fn adopt(&mut self, _parked: Parked, _state: Arc<ParkedState>) -> bool {
        false
    }

    /// The number of positions that a slot must keep if it keeps any; 0 while nothing is lost. Some layers of a
    /// windowed cache ([`Limits::windowed`]) have dropped earlier positions, so a shorter beginning would lack cells
    /// that it attends to. At most the length of the slot before the last step's rows.
    fn shortest(&self, _slot: Slot) -> u32 {
        0
    }

    /// Logits of `step.rows[row]` of the step that was executed last, `Limits::vocabulary_size` long. `None` if that
    /// row did not ask for them.
    fn logits(&self, row: usize) -> Option<&[f32]>;
}

/// A model's vocabulary. Shared by the tokenizer threads and the engine thread.
pub trait Tokenizer: Send + Sync {
    /// Turns text into tokens. `special` decides how control tokens that the text spells out are read. `add_special`
    /// puts BOS in front if the vocabulary wants it and the text does not begin with it.
    ///
    /// # Errors
    /// `RunTooLong` if the pre-tokenizer would not survive the text, `TooManyParts` if it would take minutes.
    fn encode(&self, text: &str, add_special: bool, special: &SpecialText) -> Result<Vec<Token>, TextError>;

    /// The bytes that a token adds to a text. With `special` a special token is written out, otherwise it adds nothing.
    /// Empty for an id outside the vocabulary.
    fn piece(&self, token: Token, special: bool) -> &[u8];

    /// True if generation ends with this token.
    fn is_eog(&self, token: Token) -> bool;

    /// Number of tokens; ids are below it.
    fn vocabulary_size(&self) -> u32;
}

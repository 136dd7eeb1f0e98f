//! The seam between deciding and computing: the plan of one step, and the trait that executes it.
//!
//! Implemented by `llama/` and, in tests, by a deterministic fake that panics on any breach of the contract.

use crate::protocol::{SequenceId, SpecialText, TextError, Token};
use std::sync::Arc;

/// A KV sequence id of llama.cpp, `0..Limits::slots`; a place that a sequence may occupy, nothing more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(pub u32);

/// A slot's content in host memory. The scheduler makes up the number, and never the same one twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Parked(pub u64);

/// The host memory for parked content (`--swap-space`). All zero where nothing can be parked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SwapLimits {
    /// Bytes of all content together, at most.
    pub bytes: u64,
    /// Bytes of one content, however long it is; nearly all of the state of a recurrent model.
    pub entry_bytes: u64,
    /// Bytes more for each position.
    pub cell_bytes: u64,
    /// Positions that all layers attend to, at least (a sliding window); `u32::MAX` where that is all of them. Of
    /// earlier positions only the cells of other layers are saved, so that such content can only be continued at its
    /// end.
    pub window: u32,
    /// Bytes for each position before those, instead of `cell_bytes`.
    pub passed_cell_bytes: u64,
}

impl SwapLimits {
    /// Bytes of a content of `len` positions.
    #[must_use]
    pub fn bytes_of(&self, len: u32) -> u64 {
        let within = len.min(self.window);
        let cells =
            self.cell_bytes.saturating_mul(within.into()).saturating_add(self.passed_cell_bytes.saturating_mul((len - within).into()));
        cells.saturating_add(self.entry_bytes)
    }

    /// Positions of a saved content of `len` that can be loaded at least, from its beginning; 0 for any number.
    #[must_use]
    pub fn shortest(&self, len: u32) -> u32 {
        if len < self.window { 0 } else { len }
    }
}

/// A slot's content as it was saved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedState {
    /// The runner's own.
    pub bytes: Vec<u8>,
    /// Positions in it, ≥ 1.
    pub len: u32,
}

/// The limits of a runner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Slots there are, 1–256.
    pub slots: u32,
    /// Rows in one step at most; ≥ `slots`.
    pub max_rows: u32,
    /// Positions of a slot: prompt + completion of a sequence, at most.
    pub max_model_len: u32,
    /// KV cells of all slots together. At least `max_model_len`; less than `slots * max_model_len` when overcommitted.
    pub kv_cells: u32,
    /// True if a slot's last positions can be dropped and a part of it copied. False for recurrent models:
    /// then a slot can only be emptied (`keep == 0`) and nothing is copied.
    pub can_truncate: bool,
    /// True if slots let go of cells that a sliding window has passed; see [`ModelRunner::shortest`].
    pub windowed: bool,
    /// True if sequences are computed together only where their slots follow each other.
    pub consecutive_slots: bool,
    /// Entries in a row of logits.
    pub vocabulary_size: u32,
    /// Room for parked content.
    pub swap: SwapLimits,
}

impl Limits {
    /// Rows of a step whose logits are wanted, at most, beyond one for each slot: 64 MiB of them.
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
    /// At most `Limits::max_rows`, in order of slots; of a slot in order of position, without a gap, from its end on.
    /// May be empty when only `kv` changes.
    pub rows: Vec<Row>,
}

/// One token in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// The sequence that the token belongs to.
    pub seq: SequenceId,
    /// Where its KV goes.
    pub slot: Slot,
    /// Its position, from 0.
    pub pos: u32,
    /// The token to compute.
    pub token: Token,
    /// True if its logits are wanted.
    pub sample: bool,
}

/// A change to the KV cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvOp {
    /// Keeps the first `keep` positions of `slot`, 0 or at least [`ModelRunner::shortest`], and drops the rest; 0
    /// empties it.
    Truncate {
        /// The slot to cut.
        slot: Slot,
        /// Positions that stay.
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
    /// Copies all that `slot` holds, at least one position, to host memory. `slot` is unchanged, and no target of a
    /// `Copy` of this step: such copies may be made as late as the rows. A failure surfaces at a later `Load` of this
    /// content.
    Save {
        /// The slot to save.
        slot: Slot,
        /// The number by which the content can be loaded.
        to: Parked,
    },
    /// Makes `slot` hold the first `len` positions of a saved content, whatever it held before. There is room for all
    /// that was saved, and `slot` is part of no `Copy` before it in this step.
    Load {
        /// The content to load.
        from: Parked,
        /// The target.
        slot: Slot,
        /// Number of positions, ≥ 1 and at least [`SwapLimits::shortest`]; where `Limits::can_truncate` is false, as
        /// many as were saved.
        len: u32,
    },
    /// Forgets a saved content.
    Drop {
        /// The content to forget.
        parked: Parked,
    },
}

/// The reason why a step could not be executed. Its `kv` changes were made all the same, and but for `NotLoaded` the
/// slots of its rows hold an unknown number of the step's positions, until the next step's `kv` truncates them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// No room in the KV cache for the rows; nothing was computed unless the slots can be truncated.
    #[error("no room in the KV cache")]
    NoKvSpace,
    /// The evaluation failed with this code of llama.cpp.
    #[error("the evaluation failed with code {code}")]
    Decode {
        /// llama.cpp's return code.
        code: i32,
    },
    /// Parked content could not be loaded. These slots, which were to get it by a `Load` or by a `Copy` of such a slot,
    /// are empty; the others are as the step's `kv` says, and no row was computed.
    #[error("parked content could not be loaded into {} slots", .0.len())]
    NotLoaded(Vec<Slot>),
}

/// Executes steps on a model. Lives on the engine thread and need not be `Send`.
pub trait ModelRunner {
    /// Constant for the life of the runner.
    fn limits(&self) -> Limits;

    /// CPU threads of the next step; 0 where there is no such thing.
    fn threads(&self) -> u32 {
        0
    }

    /// CPU threads, ≥ 1, that may draw tokens: the one that calls, and those that it leaves idle between steps. Threads
    /// that compute steps wait for the next one by spinning.
    fn idle_threads(&self) -> u32 {
        1
    }

    /// Applies `step.kv`, then evaluates `step.rows`.
    ///
    /// # Errors
    /// See [`StepError`].
    ///
    /// # Panics
    /// When a KV change other than `Save` and `Load` fails: it is then unknown whose positions a slot holds, and the
    /// engine must not go on.
    fn execute(&mut self, step: &Step) -> Result<(), StepError>;

    /// A text that names all that states depend on besides the model's files and this program: a runner with the same
    /// text can load them. `None` where nothing can be parked, or nothing of it be kept.
    fn state_format(&self) -> Option<String> {
        None
    }

    /// The state that was saved under this number and not dropped since; the runner holds it until then. `None` also if
    /// saving failed.
    fn parked(&self, _parked: Parked) -> Option<Arc<ParkedState>> {
        None
    }

    /// Takes a state that a runner of the same [`Self::state_format`] had saved, as if it had been saved here. False if
    /// it cannot; loading it then fails, as it may in any case.
    fn adopt(&mut self, _parked: Parked, _state: Arc<ParkedState>) -> bool {
        false
    }

    /// Positions that a slot must keep if it keeps any. Some layers of a windowed cache ([`Limits::windowed`]) have
    /// dropped earlier positions, so that a shorter beginning would lack cells that it attends to; 0 while nothing is
    /// lost. At most the length of the slot before the last step's rows.
    fn shortest(&self, _slot: Slot) -> u32 {
        0
    }

    /// Logits of `step.rows[row]` of the step just executed, `Limits::vocabulary_size` long.
    /// `None` if that row did not ask for them.
    fn logits(&self, row: usize) -> Option<&[f32]>;
}

/// A model's vocabulary. Shared by the tokenizer threads and the engine thread.
pub trait Tokenizer: Send + Sync {
    /// Text to tokens; `special` decides how control tokens that the text spells out are read. `add_special` puts BOS
    /// in front where the vocabulary wants it and the text does not begin with it.
    ///
    /// # Errors
    /// `RunTooLong` when the pre-tokenizer would not survive the text, `TooManyParts` when it would take minutes.
    fn encode(&self, text: &str, add_special: bool, special: &SpecialText) -> Result<Vec<Token>, TextError>;

    /// The bytes that a token adds to a text, special tokens as nothing (`special == false`) or written out.
    /// Empty for an id outside the vocabulary.
    fn piece(&self, token: Token, special: bool) -> &[u8];

    /// True if generation ends with this token.
    fn is_eog(&self, token: Token) -> bool;

    /// Ids are below this.
    fn vocabulary_size(&self) -> u32;
}

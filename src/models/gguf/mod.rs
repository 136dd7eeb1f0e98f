//! Checks a GGUF header before llama.cpp sees the file, and reads the facts about the model in it.
//!
//! For some broken files llama.cpp fails an assertion, which ends the process; this check, in safe Rust, turns them
//! into errors. It streams the header once, allocates at most a few kB whatever the file claims, and reads no tensor
//! data. It does not check whether an architecture is supported: only llama.cpp knows.
//!
//! ```text
//! magic version n_tensors n_kv │ key type value … │ name dims type offset … │ padding │ tensor data …
//!                               └──── n_kv ───────┘└──── n_tensors ────────┘  to the alignment; offsets count from here
//! ```

mod cursor;
mod other;
#[cfg(test)]
pub(crate) mod tests;
mod types;

use cursor::Cursor;
use std::{
    fs::File,
    io::{self, Read, Seek},
    path::Path,
};
use types::{TensorType, ValueType};

/// Longest key, bytes (GGUF specification: 2¹⁶ − 1).
const MAX_KEY_BYTES: u64 = 65_535;
/// Longest tensor name, bytes (`GGML_MAX_NAME` of ggml.h, with its final NUL).
const MAX_TENSOR_NAME_BYTES: u64 = 63;
/// Maximum dimensions of a tensor (`GGML_MAX_DIMS` of ggml.h).
const MAX_DIMS: u32 = 4;
/// Minimum size of a metadata entry: a key of no bytes, its type and a value of one byte.
const MIN_KV_BYTES: u64 = 13;
/// Minimum size of a tensor entry: a name of no bytes, no dimensions, type and offset.
const MIN_TENSOR_BYTES: u64 = 24;
/// Alignment of tensor data unless `general.alignment` is given (`GGUF_DEFAULT_ALIGNMENT`), bytes.
const DEFAULT_ALIGNMENT: u64 = 32;

/// The facts about a model that its file's header has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GgufSummary {
    /// Format version, 2 or 3.
    pub version: u32,
    /// The entry `general.architecture`, such as `llama`.
    pub architecture: String,
    /// The entry `general.name`.
    pub name: Option<String>,
    /// The entry `<architecture>.context_length`: the context that the model was trained for, tokens.
    pub context_length: Option<u32>,
    /// The entry `general.file_type` (`llama_ftype` of llama.h).
    pub file_type: Option<u32>,
    /// Number of entries of `tokenizer.ggml.tokens`.
    pub vocabulary_size: Option<u64>,
    /// The entry `tokenizer.ggml.model`, such as `gpt2` or `llama`.
    pub tokenizer_model: Option<String>,
    /// Number of files that the model was split into; 1 if it is whole.
    pub parts: u64,
    /// Number of tensors.
    pub tensor_count: u64,
    /// End of the last tensor, bytes from the start of the file; at most the file's size.
    pub data_end: u64,
}

impl GgufSummary {
    /// The file type in llama.cpp's spelling, such as `Q4_K_M`.
    #[must_use]
    pub fn quantization(&self) -> Option<&'static str> {
        self.file_type.and_then(types::file_type_name)
    }
}

/// The reason why a file is not a usable GGUF model.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    /// The file could not be read.
    #[error("the file cannot be read")]
    Io(#[from] io::Error),
    /// The file has another format: the first bytes are not `GGUF`.
    #[error("this is not a GGUF file: {found}")]
    NotGguf {
        /// A description of the file.
        found: String,
    },
    /// A part of a split model that is not the first.
    #[error("this is part {part} of the {count} of a split model; give part 1")]
    LaterPart {
        /// The part's number, from 1.
        part: u64,
        /// Number of parts.
        count: u64,
    },
    /// The version is not 2 or 3.
    #[error("GGUF version {0} is not supported, only 2 and 3 (a big-endian file looks like this too)")]
    Version(u32),
    /// A part of the file reaches past its end, usually because a download was cut off.
    #[error("{what} at byte {position} reaches past the end of the file ({size} bytes); the download is probably incomplete")]
    Truncated {
        /// The part of the file.
        what: String,
        /// Position of its first byte.
        position: u64,
        /// Size of the file, bytes.
        size: u64,
    },
    /// A number of entries or bytes is above its limit.
    #[error("{what} is {value}, and at most {limit} is possible")]
    TooLarge {
        /// The name of the number.
        what: &'static str,
        /// The number, as the file has it.
        value: u64,
        /// The limit of the number.
        limit: u64,
    },
    /// A metadata entry makes no sense.
    #[error("metadata {key:?}: {problem}")]
    Metadata {
        /// The entry's key.
        key: String,
        /// The fault of the entry.
        problem: String,
    },
    /// A tensor makes no sense.
    #[error("tensor {name:?}: {problem}")]
    Tensor {
        /// The tensor's name.
        name: String,
        /// The fault of the tensor.
        problem: String,
    },
}

/// Checks the header of the file at `path`.
///
/// # Errors
/// See [`GgufError`]; `Io` also if there is no such file.
pub fn check_file(path: &Path) -> Result<GgufSummary, GgufError> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    check(file, size)
}

/// Checks the header of `source`, which has `size` bytes.
///
/// # Errors
/// See [`GgufError`].
pub fn check<R: Read + Seek>(mut source: R, size: u64) -> Result<GgufSummary, GgufError> {
    let mut beginning = Vec::new();
    source.by_ref().take(other::BYTES).read_to_end(&mut beginning)?;
    // The beginning of the mark is that of a file that was cut off.
    let is_cut = !beginning.is_empty() && b"GGUF".starts_with(&beginning);
    if !beginning.starts_with(b"GGUF") && !is_cut {
        return Err(GgufError::NotGguf { found: other::describe(&beginning) });
    }
    source.rewind()?;
    let mut cursor = Cursor::new(source, size);
    cursor.bytes::<4>("the magic number")?;
    let version = cursor.u32("the version")?;
    if !(2..=3).contains(&version) {
        return Err(GgufError::Version(version));
    }
    let tensor_count = cursor.u64("the number of tensors")?;
    let kv_count = cursor.u64("the number of metadata entries")?;
    limit("the number of tensors", tensor_count, size / MIN_TENSOR_BYTES)?;
    limit("the number of metadata entries", kv_count, size / MIN_KV_BYTES)?;

    let metadata = Metadata::read(&mut cursor, kv_count)?;
    let data_end = check_tensors(&mut cursor, tensor_count, metadata.alignment)?;
    metadata.into_summary(version, tensor_count, data_end)
}

fn limit(what: &'static str, value: u64, limit: u64) -> Result<(), GgufError> {
    if value > limit { Err(GgufError::TooLarge { what, value, limit }) } else { Ok(()) }
}

/// A metadata value, if a field of [`Metadata`] may need it.
enum Value {
    Text(String),
    Unsigned(u64),
    ArrayOf(u64),
    Other,
}

/// The metadata entries that are used.
struct Metadata {
    alignment: u64,
    architecture: Option<String>,
    name: Option<String>,
    file_type: Option<u64>,
    vocabulary_size: Option<u64>,
    tokenizer_model: Option<String>,
    /// The number of this part, from 0, and that of all parts, of a model that was split.
    part: u64,
    parts: u64,
    /// `(<architecture>, n)` of each `<architecture>.context_length`; in practice there is one, and at most a few are
    /// kept.
    context_lengths: Vec<(String, u64)>,
}

impl Metadata {
    fn read<R: Read + Seek>(cursor: &mut Cursor<R>, kv_count: u64) -> Result<Self, GgufError> {
        let mut metadata = Self {
            alignment: DEFAULT_ALIGNMENT,
            architecture: None,
            name: None,
            file_type: None,
            vocabulary_size: None,
            tokenizer_model: None,
            part: 0,
            parts: 1,
            context_lengths: Vec::new(),
        };
        for _ in 0..kv_count {
            let key = cursor.whole_text("a metadata key", MAX_KEY_BYTES)?;
            let value = read_value(cursor, &key)?;
            metadata.keep(key, value)?;
        }
        Ok(metadata)
    }

    fn keep(&mut self, key: String, value: Value) -> Result<(), GgufError> {
        match (key.as_str(), value) {
            ("general.alignment", Value::Unsigned(alignment)) if alignment.is_power_of_two() && u32::try_from(alignment).is_ok() => {
                self.alignment = alignment;
            }
            ("general.alignment", _) => return Err(GgufError::Metadata { key, problem: "not a power of two".into() }),
            ("general.architecture", Value::Text(text)) => self.architecture = Some(text),
            ("general.name", Value::Text(text)) => self.name = Some(text),
            ("general.file_type", Value::Unsigned(number)) => self.file_type = Some(number),
            ("split.no", Value::Unsigned(number)) => self.part = number,
            ("split.count", Value::Unsigned(number)) => self.parts = number.max(1),
            ("tokenizer.ggml.model", Value::Text(text)) => self.tokenizer_model = Some(text),
            ("tokenizer.ggml.tokens", Value::ArrayOf(length)) => self.vocabulary_size = Some(length),
            (other, Value::Unsigned(number)) => {
                if let (Some(architecture), true) = (other.strip_suffix(".context_length"), self.context_lengths.len() < 8) {
                    self.context_lengths.push((architecture.to_owned(), number));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn into_summary(self, version: u32, tensor_count: u64, data_end: u64) -> Result<GgufSummary, GgufError> {
        if self.part > 0 {
            return Err(GgufError::LaterPart { part: self.part.saturating_add(1), count: self.parts });
        }
        let key = "general.architecture";
        let Some(architecture) = self.architecture else {
            return Err(GgufError::Metadata { key: key.into(), problem: "missing, so this is not a model".into() });
        };
        let trained = self.context_lengths.iter().find(|(of, _)| *of == architecture).map(|(_, length)| *length);
        Ok(GgufSummary {
            version,
            architecture,
            name: self.name,
            context_length: trained.and_then(|length| u32::try_from(length).ok()),
            file_type: self.file_type.and_then(|number| u32::try_from(number).ok()),
            vocabulary_size: self.vocabulary_size,
            tokenizer_model: self.tokenizer_model,
            tensor_count,
            parts: self.parts,
            data_end,
        })
    }
}

fn read_value<R: Read + Seek>(cursor: &mut Cursor<R>, key: &str) -> Result<Value, GgufError> {
    let unknown = |id: u32| GgufError::Metadata { key: key.to_owned(), problem: format!("unknown value type {id}") };
    let id = cursor.u32("a value's type")?;
    match ValueType::from_id(id).ok_or_else(|| unknown(id))? {
        ValueType::Text => Ok(Value::Text(cursor.text("a text value")?)),
        ValueType::Unsigned(bytes) => Ok(Value::Unsigned(cursor.unsigned("a number", bytes)?)),
        ValueType::Other(bytes) => cursor.skip("a value", bytes).map(|()| Value::Other),
        ValueType::Array => {
            let id = cursor.u32("an array's type")?;
            let length = cursor.u64("an array's length")?;
            match ValueType::from_id(id).ok_or_else(|| unknown(id))? {
                // Each text has at least its own length field, so the loop ends with the file.
                ValueType::Text => (0..length).try_for_each(|_| cursor.skip_text("a text in an array"))?,
                ValueType::Unsigned(bytes) | ValueType::Other(bytes) => cursor.skip("an array", length.saturating_mul(bytes))?,
                ValueType::Array => {
                    return Err(GgufError::Metadata { key: key.to_owned(), problem: "an array of arrays".into() });
                }
            }
            Ok(Value::ArrayOf(length))
        }
    }
}

/// Reads the tensor table and returns the end of the last tensor, bytes from the start of the file.
fn check_tensors<R: Read + Seek>(cursor: &mut Cursor<R>, count: u64, alignment: u64) -> Result<u64, GgufError> {
    let mut furthest = (0, String::new());
    for _ in 0..count {
        let name = cursor.whole_text("a tensor's name", MAX_TENSOR_NAME_BYTES)?;
        let end = check_tensor(cursor, &name, alignment)?;
        if end >= furthest.0 {
            furthest = (end, name);
        }
    }
    let (end, name) = furthest;
    let past_the_end = |start: u64| GgufError::Truncated { what: format!("tensor {name:?}"), position: start, size: cursor.size() };
    let data_start = cursor.position().checked_next_multiple_of(alignment).ok_or_else(|| past_the_end(cursor.position()))?;
    match data_start.checked_add(end) {
        Some(data_end) if data_end <= cursor.size() || count == 0 => Ok(data_end.min(cursor.size())),
        _ => Err(past_the_end(data_start)),
    }
}

/// Reads one tensor's dimensions, type and offset; returns its end, bytes from the start of the data.
fn check_tensor<R: Read + Seek>(cursor: &mut Cursor<R>, name: &str, alignment: u64) -> Result<u64, GgufError> {
    let wrong = |problem: String| GgufError::Tensor { name: name.to_owned(), problem };
    let dims = cursor.u32("a tensor's dimensions")?;
    if dims > MAX_DIMS {
        return Err(wrong(format!("{dims} dimensions, and at most {MAX_DIMS} are possible")));
    }
    let mut row = 1;
    let mut elements: u64 = 1;
    for dim in 0..dims {
        let length = cursor.u64("a tensor's dimension")?;
        if dim == 0 {
            row = length;
        }
        // llama.cpp counts elements in an i64.
        let counted = elements.checked_mul(length).filter(|count| i64::try_from(*count).is_ok());
        elements = counted.ok_or_else(|| wrong("more elements than can be counted".into()))?;
    }
    let id = cursor.u32("a tensor's type")?;
    let kind = TensorType::from_id(id).ok_or_else(|| wrong(format!("type {id} is unknown to this version of llama.cpp")))?;
    let offset = cursor.u64("a tensor's offset")?;
    if row % kind.block_elements != 0 {
        return Err(wrong(format!("rows of {row} elements are not whole blocks of {}", kind.block_elements)));
    }
    if offset % alignment != 0 {
        return Err(wrong(format!("offset {offset} is not a multiple of the alignment, {alignment}")));
    }
    let bytes = (elements / kind.block_elements).checked_mul(kind.block_bytes);
    bytes.and_then(|bytes| offset.checked_add(bytes)).ok_or_else(|| wrong("larger than can be addressed".into()))
}

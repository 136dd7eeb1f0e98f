//! The check of a GGUF header before llama.cpp sees the file, and the facts about the model in it.
//!
//! llama.cpp answers some broken files with an assertion that ends the process; this check, in safe Rust, turns them
//! into sentences. It streams the header once, allocates at most a few kB whatever the file claims, and reads no tensor
//! data. It does not judge whether an architecture is supported: only llama.cpp knows.
//!
//! ```text
//! magic version n_tensors n_kv │ key type value … │ name dims type offset … │ padding │ tensor data …
//!                               └──── n_kv ───────┘└──── n_tensors ────────┘  to the alignment; offsets count from here
//! ```

mod cursor;
#[cfg(test)]
pub(super) mod tests;
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
/// Most dimensions of a tensor (`GGML_MAX_DIMS` of ggml.h).
const MAX_DIMS: u32 = 4;
/// The smallest size of an entry: a key of no bytes, its type and a value of one byte.
const MIN_KV_BYTES: u64 = 13;
/// A name of no bytes, no dimensions, type and offset.
const MIN_TENSOR_BYTES: u64 = 24;
/// Where tensor data begins unless `general.alignment` is given (`GGUF_DEFAULT_ALIGNMENT`).
const DEFAULT_ALIGNMENT: u64 = 32;

/// The facts about a model in its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GgufSummary {
    /// Format version, 2 or 3.
    pub version: u32,
    /// `general.architecture`, such as `llama`.
    pub architecture: String,
    /// `general.name`.
    pub name: Option<String>,
    /// `<architecture>.context_length`: the context it was trained for, tokens.
    pub context_length: Option<u32>,
    /// `general.file_type` (`llama_ftype` of llama.h).
    pub file_type: Option<u32>,
    /// Entries of `tokenizer.ggml.tokens`.
    pub vocabulary_size: Option<u64>,
    /// `tokenizer.ggml.model`, such as `gpt2` or `llama`.
    pub tokenizer_model: Option<String>,
    /// Tensors there are.
    pub tensor_count: u64,
    /// Where the last tensor ends, bytes from the start of the file; at most the file's size.
    pub data_end: u64,
}

impl GgufSummary {
    /// The file type as llama.cpp names it, such as `Q4_K_M`.
    #[must_use]
    pub fn quantization(&self) -> Option<&'static str> {
        self.file_type.and_then(types::file_type_name)
    }
}

/// The reason why a file is not a usable GGUF model.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    /// It could not be read.
    #[error("the file cannot be read")]
    Io(#[from] io::Error),
    /// Another format: the first bytes are not `GGUF`.
    #[error("this is not a GGUF file: it begins with {magic:?}")]
    NotGguf {
        /// The first four bytes, printable.
        magic: String,
    },
    /// A version that is not 2 or 3.
    #[error("GGUF version {0} is not supported, only 2 and 3 (a big-endian file looks like this too)")]
    Version(u32),
    /// A part reaches past the end of the file, usually because a download was cut off.
    #[error("{what} at byte {position} reaches past the end of the file ({size} bytes); the download is probably incomplete")]
    Truncated {
        /// The part of the file.
        what: String,
        /// Position of its first byte.
        position: u64,
        /// Size of the file, bytes.
        size: u64,
    },
    /// A number of entries or bytes above its limit.
    #[error("{what} is {value}, and at most {limit} is possible")]
    TooLarge {
        /// Which number.
        what: &'static str,
        /// The number in the file.
        value: u64,
        /// Its limit.
        limit: u64,
    },
    /// An entry that makes no sense.
    #[error("metadata {key:?}: {problem}")]
    Metadata {
        /// Its key.
        key: String,
        /// The fault.
        problem: String,
    },
    /// A tensor that makes no sense.
    #[error("tensor {name:?}: {problem}")]
    Tensor {
        /// Its name.
        name: String,
        /// The fault.
        problem: String,
    },
}

/// Checks the header of the file at `path`.
///
/// # Errors
/// See [`GgufError`]; `Io` too when there is no such file.
pub fn check_file(path: &Path) -> Result<GgufSummary, GgufError> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    check(file, size)
}

/// Checks the header of `source`, which has `size` bytes.
///
/// # Errors
/// See [`GgufError`].
pub fn check<R: Read + Seek>(source: R, size: u64) -> Result<GgufSummary, GgufError> {
    let mut cursor = Cursor::new(source, size);
    let magic = cursor.bytes::<4>("the magic number")?;
    if &magic != b"GGUF" {
        return Err(GgufError::NotGguf { magic: magic.escape_ascii().to_string() });
    }
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

/// A metadata value, as far as anything here needs it.
enum Value {
    Text(String),
    Unsigned(u64),
    ArrayOf(u64),
    Other,
}

/// The entries of interest.
struct Metadata {
    alignment: u64,
    architecture: Option<String>,
    name: Option<String>,
    file_type: Option<u64>,
    vocabulary_size: Option<u64>,
    tokenizer_model: Option<String>,
    /// `(<architecture>, n)` of each `<architecture>.context_length`; one in practice, and no more than a few are kept.
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
                // Each text is at least its own length field, so the loop ends with the file.
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

/// Reads the tensor table and returns where the last tensor ends in the file.
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

/// Reads one tensor's dimensions, type and offset; returns where it ends, bytes from the start of the data.
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

//! Tests with headers built by hand, whole and broken, and with the real default model if it was downloaded.

use super::{GgufError, GgufSummary, check, check_file};
use proptest::prelude::*;
use std::io::Cursor;

/// Writes a GGUF file with two tensors, whose data fills the file to its last byte.
struct Builder {
    version: u32,
    alignment: Option<u32>,
    architecture: Option<&'static str>,
    /// Length of the first dimension of the first tensor, F32.
    row: u64,
    /// Offset of the second tensor, 32 elements of Q4_1.
    offset: u64,
}

impl Default for Builder {
    fn default() -> Self {
        Self { version: 3, alignment: None, architecture: Some("llama"), row: 8, offset: 64 }
    }
}

/// The file, and the positions of parts of it.
struct Built {
    bytes: Vec<u8>,
    /// Byte positions of `row` and `offset`, the fields on which the end of the data depends.
    fields: [usize; 2],
    data_start: u64,
}

impl Builder {
    fn build(&self) -> Built {
        let mut out = b"GGUF".to_vec();
        out.extend(self.version.to_le_bytes());
        out.extend(2_u64.to_le_bytes());
        let kv_count = 4 + u64::from(self.alignment.is_some()) + u64::from(self.architecture.is_some());
        out.extend(kv_count.to_le_bytes());
        if let Some(architecture) = self.architecture {
            text_entry(&mut out, "general.architecture", architecture);
        }
        if let Some(alignment) = self.alignment {
            number_entry(&mut out, "general.alignment", alignment);
        }
        text_entry(&mut out, "general.name", "Tiny");
        number_entry(&mut out, "llama.context_length", 2048);
        number_entry(&mut out, "general.file_type", 3);
        text(&mut out, "tokenizer.ggml.tokens");
        out.extend(9_u32.to_le_bytes());
        out.extend(8_u32.to_le_bytes());
        out.extend(3_u64.to_le_bytes());
        ["<s>", "", "hello"].iter().for_each(|token| text(&mut out, token));

        text(&mut out, "token_embd.weight");
        out.extend(2_u32.to_le_bytes());
        let row = out.len();
        out.extend(self.row.to_le_bytes());
        out.extend(2_u64.to_le_bytes());
        out.extend(0_u32.to_le_bytes());
        out.extend(0_u64.to_le_bytes());
        text(&mut out, "output.weight");
        out.extend(1_u32.to_le_bytes());
        out.extend(32_u64.to_le_bytes());
        out.extend(3_u32.to_le_bytes());
        let offset = out.len();
        out.extend(self.offset.to_le_bytes());

        let alignment = usize::try_from(self.alignment.unwrap_or(32).max(1)).unwrap();
        out.resize(out.len().next_multiple_of(alignment), 0);
        let data_start = out.len();
        out.resize(data_start + 64 + 20, 0x5a);
        Built { bytes: out, fields: [row, offset], data_start: u64::try_from(data_start).unwrap() }
    }
}

/// A part of a split model, counted from 0; only the first one has the architecture.
pub(in crate::models) fn part_of_gguf(part: u32, count: u32) -> Vec<u8> {
    let architecture = (part == 0).then_some("llama");
    let mut out = b"GGUF".to_vec();
    out.extend(3_u32.to_le_bytes());
    out.extend(0_u64.to_le_bytes());
    out.extend((2 + u64::from(part == 0)).to_le_bytes());
    architecture.into_iter().for_each(|architecture| text_entry(&mut out, "general.architecture", architecture));
    number_entry(&mut out, "split.no", part);
    number_entry(&mut out, "split.count", count);
    out
}

/// A small file that passes the check, for the tests of downloads.
pub(crate) fn tiny_gguf() -> Vec<u8> {
    Builder::default().build().bytes
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend(u64::try_from(text.len()).unwrap().to_le_bytes());
    out.extend(text.as_bytes());
}

fn text_entry(out: &mut Vec<u8>, key: &str, value: &str) {
    text(out, key);
    out.extend(8_u32.to_le_bytes());
    text(out, value);
}

fn number_entry(out: &mut Vec<u8>, key: &str, value: u32) {
    text(out, key);
    out.extend(4_u32.to_le_bytes());
    out.extend(value.to_le_bytes());
}

fn check_bytes(bytes: &[u8]) -> Result<GgufSummary, GgufError> {
    check(Cursor::new(bytes), u64::try_from(bytes.len()).unwrap())
}

fn message(bytes: &[u8]) -> String {
    check_bytes(bytes).expect_err("it is broken").to_string()
}

/// The end of the data according to the two fields; `None` if the sum overflows.
fn claimed_end(built: &Built, bytes: &[u8]) -> Option<u64> {
    let field = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let first = field(built.fields[0]).checked_mul(2 * 4)?;
    let second = field(built.fields[1]).checked_add(20)?;
    built.data_start.checked_add(first.max(second))
}

#[test]
fn a_whole_header_is_summarised() {
    let built = Builder::default().build();

    let summary = check_bytes(&built.bytes).unwrap();

    let expected = GgufSummary {
        version: 3,
        architecture: "llama".into(),
        name: Some("Tiny".into()),
        context_length: Some(2048),
        file_type: Some(3),
        vocabulary_size: Some(3),
        tokenizer_model: None,
        tensor_count: 2,
        parts: 1,
        data_end: u64::try_from(built.bytes.len()).unwrap(),
    };
    assert_eq!(summary, expected);
    assert_eq!(summary.quantization(), Some("Q4_1"));
}

#[test]
fn every_truncation_is_refused() {
    let whole = Builder::default().build().bytes;

    for length in 1..whole.len() {
        let result = check_bytes(&whole[..length]);
        assert!(matches!(result, Err(GgufError::Truncated { .. } | GgufError::TooLarge { .. })), "cut at {length}: {result:?}");
    }
}

#[test]
fn other_formats_and_versions_are_named() {
    assert_eq!(message(b"PK\x03\x04 and so on"), "this is not a GGUF file: it is a ZIP archive, perhaps with PyTorch weights");
    let one = Builder { version: 1, ..Builder::default() }.build().bytes;
    let four = Builder { version: 4, ..Builder::default() }.build().bytes;
    assert!(matches!(check_bytes(&one), Err(GgufError::Version(1))));
    assert!(matches!(check_bytes(&four), Err(GgufError::Version(4))));
    assert_eq!(check_bytes(&Builder { version: 2, ..Builder::default() }.build().bytes).unwrap().version, 2);
}

#[test]
fn counts_and_lengths_beyond_the_file_are_refused_before_anything_is_allocated() {
    let whole = Builder::default().build().bytes;
    for (position, what) in [(8, "number of tensors"), (16, "number of metadata entries"), (24, "metadata key")] {
        let mut bytes = whole.clone();
        bytes[position..position + 8].copy_from_slice(&(u64::MAX / 2).to_le_bytes());

        let text = message(&bytes);

        assert!(text.contains(what), "{text}");
    }
}

#[test]
fn the_alignment_must_be_a_power_of_two() {
    let with = |alignment| check_bytes(&Builder { alignment: Some(alignment), ..Builder::default() }.build().bytes);

    assert_eq!(with(64).unwrap().tensor_count, 2);
    assert!(matches!(with(0), Err(GgufError::Metadata { key, .. }) if key == "general.alignment"));
    assert!(matches!(with(24), Err(GgufError::Metadata { key, .. }) if key == "general.alignment"));
}

#[test]
fn a_file_without_an_architecture_is_not_a_model() {
    let bytes = Builder { architecture: None, ..Builder::default() }.build().bytes;

    assert_eq!(message(&bytes), r#"metadata "general.architecture": missing, so this is not a model"#);
}

#[test]
fn tensors_must_fit_the_file() {
    let row = |row| check_bytes(&Builder { row, ..Builder::default() }.build().bytes);
    let offset = |offset| check_bytes(&Builder { offset, ..Builder::default() }.build().bytes);

    assert!(row(10).is_ok(), "80 bytes lie within the 84");
    assert!(matches!(row(11), Err(GgufError::Truncated { what, .. }) if what.contains("token_embd.weight")));
    assert!(matches!(row(u64::MAX), Err(GgufError::Tensor { name, .. }) if name == "token_embd.weight"));
    assert!(matches!(offset(96), Err(GgufError::Truncated { what, .. }) if what.contains("output.weight")));
    assert!(matches!(offset(33), Err(GgufError::Tensor { problem, .. }) if problem.contains("alignment")));
    assert!(matches!(offset(u64::MAX - 31), Err(GgufError::Tensor { .. } | GgufError::Truncated { .. })));
}

#[test]
fn the_default_model_passes() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("models/smollm2-135m-instruct.gguf");
    if !path.exists() {
        println!("skipped: {} is not there; `llamero pull smollm2-135m-instruct` fetches it", path.display());
        return;
    }

    let summary = check_file(&path).unwrap();

    assert_eq!((summary.architecture.as_str(), summary.quantization()), ("llama", Some("Q4_1")));
    assert_eq!((summary.context_length, summary.vocabulary_size), (Some(8192), Some(49_152)));
    assert_eq!(summary.tokenizer_model.as_deref(), Some("gpt2"));
    assert_eq!(summary.data_end, std::fs::metadata(&path).unwrap().len(), "the last tensor ends the file");
}

proptest! {
    #[test]
    fn flipped_bytes_never_panic_and_never_pass_with_data_past_the_end(
        flips in proptest::collection::vec((0_usize..2000, 1_u8..=255), 1..6),
    ) {
        let mut bytes = tiny_gguf();
        for (position, mask) in flips {
            let position = position % bytes.len();
            bytes[position] ^= mask;
        }

        let result = check_bytes(&bytes);

        if let Ok(summary) = result {
            prop_assert!(summary.data_end <= u64::try_from(bytes.len()).unwrap());
        }
    }

    #[test]
    fn flipped_tensor_fields_pass_only_if_the_data_is_there(
        field in 0_usize..2, byte in 0_usize..8, mask in 1_u8..=255, cut in 0_usize..84,
    ) {
        let built = Builder::default().build();
        let mut bytes = built.bytes[..built.bytes.len() - cut].to_vec();
        bytes[built.fields[field] + byte] ^= mask;

        let passes = check_bytes(&bytes).is_ok();

        let fits = claimed_end(&built, &bytes).is_some_and(|end| end <= u64::try_from(bytes.len()).unwrap());
        prop_assert!(!passes || fits, "claims to end at {:?} of {}", claimed_end(&built, &bytes), bytes.len());
    }
}

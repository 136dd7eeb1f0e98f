//! The bytes of a KV cell: keys and values of every layer, from the file's metadata and the storage type of cells.
//!
//! Pure arithmetic for estimates before a context is open; the allocated bytes are measured afterwards
//! (`measure::kv_bytes`).

use super::{plan::CELLS_PER_BLOCK, raw::attention::AttentionSize};
use crate::protocol::{KvType, LoadError};

/// The facts about a model that the size of its cells depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CellShape {
    /// Number of heads of keys and values in each layer; 0 in a layer that keeps a state instead.
    heads: Vec<u32>,
    /// Numbers in a head of keys; `value` has those in a head of values.
    key: u32,
    value: u32,
}

/// llama.cpp's own numbers, for a file that does not contain them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Defaults {
    pub(super) layers: u32,
    /// Number of heads of keys and values in a layer.
    pub(super) heads: u32,
    /// Numbers in a head.
    pub(super) width: u32,
}

impl CellShape {
    /// Reads `{architecture}.attention.head_count_kv`, one for all layers or one each, `key_length`, `value_length` and
    /// the entries that reduce them. The result is an upper bound for hybrid models whose file does not say which
    /// layers keep a state.
    pub(super) fn read(architecture: &str, metadata: impl Fn(&str) -> Option<String>, defaults: Defaults) -> Self {
        let entry = |name: &str| metadata(&format!("{architecture}.attention.{name}"));
        let width = |name: &str| entry(name).and_then(|text| text.parse().ok()).unwrap_or(defaults.width);
        let layers = defaults.layers as usize;
        let each_layer = entry("head_count_kv").and_then(|text| list(&text)).filter(|heads| heads.len() == layers);
        let mut heads = each_layer.unwrap_or_else(|| vec![defaults.heads; layers]);
        // The last layers of some models read the cells of earlier ones.
        let sharing = entry("shared_kv_layers").and_then(|text| text.parse().ok()).unwrap_or(0);
        heads.truncate(layers.saturating_sub(sharing).max(1));
        // With multi-head latent attention the values are part of the keys (`llama_kv_cache`: no `v` where `is_mla`).
        let value = if entry("key_length_mla").is_some() { 0 } else { width("value_length") };
        Self { heads, key: width("key_length"), value }
    }

    /// The shape for a model without cells: it keeps a state of fixed size.
    pub(super) fn none() -> Self {
        Self { heads: Vec::new(), key: 0, value: 0 }
    }

    /// Bytes of a cell.
    pub(super) fn bytes(&self, kind: KvType) -> u64 {
        let heads: u64 = self.heads.iter().copied().map(u64::from).sum();
        let numbers = heads * (u64::from(self.key) + u64::from(self.value));
        numbers * u64::from(kind.block_bytes()) / u64::from(KvType::BLOCK_NUMBERS)
    }

    /// The sizes of the attention of a layer with `heads` heads of queries over cells of this type, for one row over
    /// one block of cells. `None` if the model has no attention of that kind, or its cells are in blocks.
    pub(super) fn attention(&self, heads: u32, kind: KvType) -> Option<AttentionSize> {
        let kv_heads = self.heads.iter().copied().max()?;
        let is_usual = self.key > 0 && self.value > 0 && kv_heads > 0 && heads.is_multiple_of(kv_heads) && !kind.is_quantized();
        let (key, value, bf16) = (self.key, self.value, kind == KvType::Bf16);
        is_usual.then_some(AttentionSize {
            heads,
            kv_heads,
            key,
            value,
            bf16,
            sequences: 1,
            rows: 1,
            positions: 1,
            cells: CELLS_PER_BLOCK,
            allocated: CELLS_PER_BLOCK,
        })
    }

    /// Fails if cells cannot have this type (`llama_init_from_model`: blocks must divide a head).
    ///
    /// # Errors
    /// `Unsupported`, with the option to change.
    pub(super) fn check(&self, kind: KvType) -> Result<(), LoadError> {
        if !kind.is_quantized() {
            return Ok(());
        }
        let name = kind.name();
        if self.heads.is_empty() {
            return Err(LoadError::Unsupported(format!(
                "--kv-cache-dtype {name}: the model keeps a state of fixed size and no KV cells; leave it at auto"
            )));
        }
        match [self.key, self.value].into_iter().find(|width| width % KvType::BLOCK_NUMBERS != 0) {
            None => Ok(()),
            Some(width) => Err(LoadError::Unsupported(format!(
                "--kv-cache-dtype {name} stores blocks of {} numbers, and this model's heads have {width}; leave it at auto",
                KvType::BLOCK_NUMBERS
            ))),
        }
    }
}

/// Parses `[1, 2, 3]`, as llama.cpp writes arrays of metadata (`gguf_kv_to_str`).
fn list(text: &str) -> Option<Vec<u32>> {
    let inside = text.strip_prefix('[')?.strip_suffix(']')?;
    inside.split(',').map(|number| number.trim().parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMOL: Defaults = Defaults { layers: 30, heads: 3, width: 64 };

    fn shape(entries: &[(&str, &str)]) -> CellShape {
        let find = |key: &str| entries.iter().find(|(name, _)| *name == key).map(|(_, value)| (*value).to_owned());
        CellShape::read("llama", find, SMOL)
    }

    #[test]
    fn a_cell_is_keys_and_values_of_every_layer_in_its_type() {
        let bytes = [KvType::F16, KvType::Bf16, KvType::Q8_0, KvType::Q4_0].map(|kind| shape(&[]).bytes(kind));

        // 30 layers × 3 heads × 64 numbers of keys and of values: 11,520 numbers in 360 blocks.
        assert_eq!(bytes, [23_040, 23_040, 360 * 34, 360 * 18]);
    }

    #[test]
    fn heads_that_the_file_gives_count_before_what_the_width_of_the_model_suggests() {
        let wide = shape(&[("llama.attention.key_length", "128"), ("llama.attention.value_length", "64")]);
        let mixed = format!("[0, 4{}]", ", 0".repeat(28));

        assert_eq!(wide.bytes(KvType::F16), 30 * 3 * (128 + 64) * 2);
        assert_eq!(shape(&[("llama.attention.head_count_kv", &mixed)]).bytes(KvType::F16), 4 * 128 * 2);
        assert_eq!(shape(&[("llama.attention.head_count_kv", "[1, 2]")]), shape(&[]), "a list of another length says nothing");
        assert_eq!(shape(&[("llama.attention.shared_kv_layers", "20")]).bytes(KvType::F16), 10 * 3 * 128 * 2);
        assert_eq!(shape(&[("llama.attention.key_length_mla", "64")]).bytes(KvType::F16), 30 * 3 * 64 * 2);
    }

    #[test]
    fn blocks_must_divide_a_head() {
        let narrow = shape(&[("llama.attention.value_length", "80")]);

        assert_eq!(shape(&[]).check(KvType::Q4_0), Ok(()));
        assert_eq!(narrow.check(KvType::Bf16), Ok(()));
        let refused = narrow.check(KvType::Q8_0).unwrap_err().to_string();
        assert!(refused.contains("--kv-cache-dtype q8_0") && refused.contains("have 80"), "{refused}");
    }

    #[test]
    fn a_model_without_cells_refuses_a_type_for_them() {
        assert_eq!(CellShape::none().bytes(KvType::F16), 0);
        assert!(CellShape::none().check(KvType::Q8_0).unwrap_err().to_string().contains("no KV cells"));
        assert_eq!(CellShape::none().check(KvType::F16), Ok(()));
    }
}

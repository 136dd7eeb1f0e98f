//! Numbers of the GGUF format and of ggml: value types, tensor types and file types.
//!
//! Only tables, from `gguf.h`, `ggml.h`, `ggml-common.h` and `llama.h` of the llama.cpp version in vendor/engine.toml;
//! that version cannot load a type that it does not know.

/// The storage type of a metadata value (`gguf_type` of gguf.h).
pub(super) enum ValueType {
    Text,
    Array,
    /// An unsigned number of this many bytes.
    Unsigned(u64),
    /// A signed number, a floating-point number or a boolean, of this many bytes.
    Other(u64),
}

impl ValueType {
    pub(super) fn from_id(id: u32) -> Option<Self> {
        match id {
            0 => Some(Self::Unsigned(1)),
            2 => Some(Self::Unsigned(2)),
            4 => Some(Self::Unsigned(4)),
            10 => Some(Self::Unsigned(8)),
            1 | 7 => Some(Self::Other(1)),
            3 => Some(Self::Other(2)),
            5 | 6 => Some(Self::Other(4)),
            11 | 12 => Some(Self::Other(8)),
            8 => Some(Self::Text),
            9 => Some(Self::Array),
            _ => None,
        }
    }
}

/// The storage type of a tensor's elements (`ggml_type` of ggml.h): blocks of `block_elements` in `block_bytes`.
pub(super) struct TensorType {
    pub(super) block_elements: u64,
    pub(super) block_bytes: u64,
}

impl TensorType {
    pub(super) fn from_id(id: u32) -> Option<Self> {
        let (block_elements, block_bytes) = match id {
            // F32, F16, BF16; I8, I16, I32, I64, F64.
            0 | 26 => (1, 4),
            1 | 25 | 30 => (1, 2),
            24 => (1, 1),
            27 | 28 => (1, 8),
            // Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q8_1.
            2 | 20 => (32, 18),
            3 => (32, 20),
            6 => (32, 22),
            7 => (32, 24),
            8 => (32, 34),
            9 => (32, 36),
            // Q2_K … Q8_K.
            10 => (256, 84),
            11 => (256, 110),
            12 => (256, 144),
            13 => (256, 176),
            14 => (256, 210),
            15 => (256, 292),
            // IQ2_XXS, IQ2_XS, IQ3_XXS, IQ1_S, IQ3_S, IQ2_S, IQ4_XS, IQ1_M; IQ4_NL (20) has Q4_0's layout.
            16 => (256, 66),
            17 => (256, 74),
            18 => (256, 98),
            19 => (256, 50),
            21 => (256, 110),
            22 => (256, 82),
            23 => (256, 136),
            29 => (256, 56),
            // TQ1_0, TQ2_0, MXFP4, NVFP4, Q1_0, Q2_0.
            34 => (256, 54),
            35 => (256, 66),
            39 => (32, 17),
            40 => (64, 36),
            41 => (128, 18),
            42 => (64, 18),
            _ => return None,
        };
        Some(Self { block_elements, block_bytes })
    }
}

/// The name of a `llama_ftype` of llama.h.
pub(super) fn file_type_name(id: u32) -> Option<&'static str> {
    const NAMES: [(u32, &str); 36] = [
        (0, "F32"),
        (1, "F16"),
        (2, "Q4_0"),
        (3, "Q4_1"),
        (7, "Q8_0"),
        (8, "Q5_0"),
        (9, "Q5_1"),
        (10, "Q2_K"),
        (11, "Q3_K_S"),
        (12, "Q3_K_M"),
        (13, "Q3_K_L"),
        (14, "Q4_K_S"),
        (15, "Q4_K_M"),
        (16, "Q5_K_S"),
        (17, "Q5_K_M"),
        (18, "Q6_K"),
        (19, "IQ2_XXS"),
        (20, "IQ2_XS"),
        (21, "Q2_K_S"),
        (22, "IQ3_XS"),
        (23, "IQ3_XXS"),
        (24, "IQ1_S"),
        (25, "IQ4_NL"),
        (26, "IQ3_S"),
        (27, "IQ3_M"),
        (28, "IQ2_S"),
        (29, "IQ2_M"),
        (30, "IQ4_XS"),
        (31, "IQ1_M"),
        (32, "BF16"),
        (36, "TQ1_0"),
        (37, "TQ2_0"),
        (38, "MXFP4"),
        (39, "NVFP4"),
        (40, "Q1_0"),
        (41, "Q2_0"),
    ];
    NAMES.iter().find(|(known, _)| *known == id).map(|(_, name)| *name)
}

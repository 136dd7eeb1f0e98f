//! Writes GGUF, version 3: metadata of the types that models use, and F32 tensors.
//!
//! The format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>. Checks nothing, because tests also need
//! files that are wrong.

use std::io::{self, Write};

/// Tensor data begins at multiples of this (the default of `general.alignment`), bytes.
const ALIGNMENT: usize = 32;

/// A metadata value.
#[derive(Debug, Clone, PartialEq)]
#[expect(dead_code, reason = "a writer for whoever builds a file; not every test needs every type")]
pub(crate) enum Value {
    U8(u8),
    U16(u16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    String(String),
    Strings(Vec<String>),
    I32s(Vec<i32>),
    U32s(Vec<u32>),
    F32s(Vec<f32>),
    U64(u64),
    F64(f64),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::String(text.to_owned())
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::U32(number)
    }
}

impl From<f32> for Value {
    fn from(number: f32) -> Self {
        Self::F32(number)
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Bool(flag)
    }
}

/// A tensor of 32-bit floats. `shape` has ggml's order: the length of a row first.
#[derive(Debug, Clone)]
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) shape: Vec<u64>,
    pub(crate) data: Vec<f32>,
}

/// Writes a whole file.
pub(crate) fn write(out: &mut impl Write, metadata: &[(String, Value)], tensors: &[Tensor]) -> io::Result<()> {
    let mut head = Vec::new();
    head.extend_from_slice(b"GGUF");
    head.extend_from_slice(&3_u32.to_le_bytes());
    put_len(&mut head, tensors.len());
    put_len(&mut head, metadata.len());
    for (key, value) in metadata {
        put_text(&mut head, key);
        head.extend_from_slice(&type_number(value).to_le_bytes());
        put_value(&mut head, value);
    }
    let mut offset = 0;
    for tensor in tensors {
        put_text(&mut head, &tensor.name);
        head.extend_from_slice(&u32::try_from(tensor.shape.len()).unwrap().to_le_bytes());
        tensor.shape.iter().for_each(|length| head.extend_from_slice(&length.to_le_bytes()));
        head.extend_from_slice(&F32_TENSOR.to_le_bytes());
        put_len(&mut head, offset);
        offset = (offset + size_of_val(tensor.data.as_slice())).next_multiple_of(ALIGNMENT);
    }
    pad(&mut head);
    out.write_all(&head)?;
    for tensor in tensors {
        let mut data: Vec<u8> = tensor.data.iter().flat_map(|number| number.to_le_bytes()).collect();
        pad(&mut data);
        out.write_all(&data)?;
    }
    Ok(())
}

/// The number of `GGML_TYPE_F32`.
const F32_TENSOR: u32 = 0;
/// The number of `GGUF_TYPE_ARRAY`.
const ARRAY: u32 = 9;

/// The `gguf_type` of a value; for an array's elements, see [`element_number`].
fn type_number(value: &Value) -> u32 {
    element_number(value).map_or_else(|scalar| scalar, |_| ARRAY)
}

/// The type of an array's elements, or, as an error, the type of a scalar.
fn element_number(value: &Value) -> Result<u32, u32> {
    match value {
        Value::U8(_) => Err(0),
        Value::U16(_) => Err(2),
        Value::U32(_) => Err(4),
        Value::I32(_) => Err(5),
        Value::F32(_) => Err(6),
        Value::Bool(_) => Err(7),
        Value::String(_) => Err(8),
        Value::U64(_) => Err(10),
        Value::F64(_) => Err(12),
        Value::U32s(_) => Ok(4),
        Value::I32s(_) => Ok(5),
        Value::F32s(_) => Ok(6),
        Value::Strings(_) => Ok(8),
    }
}

fn put_value(out: &mut Vec<u8>, value: &Value) {
    let mut array = |len: usize| {
        if let Ok(element) = element_number(value) {
            out.extend_from_slice(&element.to_le_bytes());
            put_len(out, len);
        }
    };
    match value {
        Value::U32s(list) => array(list.len()),
        Value::I32s(list) => array(list.len()),
        Value::F32s(list) => array(list.len()),
        Value::Strings(list) => array(list.len()),
        _ => {}
    }
    match value {
        Value::U8(number) => out.push(*number),
        Value::U16(number) => out.extend_from_slice(&number.to_le_bytes()),
        Value::U32(number) => out.extend_from_slice(&number.to_le_bytes()),
        Value::I32(number) => out.extend_from_slice(&number.to_le_bytes()),
        Value::F32(number) => out.extend_from_slice(&number.to_le_bytes()),
        Value::Bool(flag) => out.push(u8::from(*flag)),
        Value::String(text) => put_text(out, text),
        Value::U64(number) => out.extend_from_slice(&number.to_le_bytes()),
        Value::F64(number) => out.extend_from_slice(&number.to_le_bytes()),
        Value::U32s(list) => list.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes())),
        Value::I32s(list) => list.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes())),
        Value::F32s(list) => list.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes())),
        Value::Strings(list) => list.iter().for_each(|text| put_text(out, text)),
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_len(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn put_len(out: &mut Vec<u8>, len: usize) {
    out.extend_from_slice(&u64::try_from(len).unwrap().to_le_bytes());
}

fn pad(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
}

//! Arithmetic on vectors and their form in answers: normalised, shortened, compared, as numbers or base64.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Serialize, Serializer};

/// The form of vectors in an answer, OpenAI's `encoding_format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VectorEncoding {
    /// An array of numbers.
    Float,
    /// The base64 of little-endian 32-bit floats, which OpenAI's SDKs ask for and unpack.
    Base64,
}

/// A vector as it is written into a response.
#[derive(Debug, Clone, PartialEq)]
pub struct EncodedVector {
    /// The numbers of the vector, all finite.
    pub vector: Vec<f32>,
    /// The form in which they are written.
    pub encoding: VectorEncoding,
}

impl Serialize for EncodedVector {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.encoding {
            VectorEncoding::Float => self.vector.serialize(serializer),
            VectorEncoding::Base64 => {
                let bytes: Vec<u8> = self.vector.iter().flat_map(|number| number.to_le_bytes()).collect();
                serializer.serialize_str(&STANDARD.encode(bytes))
            }
        }
    }
}

/// Cuts a vector to its first `dimensions` numbers and scales it to length 1. A vector of zeros stays one.
#[must_use]
pub fn normalised(mut vector: Vec<f32>, dimensions: usize) -> Vec<f32> {
    vector.truncate(dimensions);
    let length = dot(&vector, &vector).sqrt();
    if length > 0.0 {
        // The client gets 32 bits in any case.
        vector.iter_mut().for_each(|number| *number = (f64::from(*number) / length) as f32);
    }
    vector
}

/// The cosine of the angle between two vectors of the same length, −1 to 1; 0 if one is all zeros.
#[must_use]
pub fn cosine(left: &[f32], right: &[f32]) -> f64 {
    let lengths = (dot(left, left) * dot(right, right)).sqrt();
    if lengths > 0.0 { (dot(left, right) / lengths).clamp(-1.0, 1.0) } else { 0.0 }
}

/// The relevance that the logit of a rank head means, 0 to 1.
#[must_use]
pub fn sigmoid(logit: f32) -> f64 {
    1.0 / (1.0 + (-f64::from(logit)).exp())
}

fn dot(left: &[f32], right: &[f32]) -> f64 {
    left.iter().zip(right).map(|(left, right)| f64::from(*left) * f64::from(*right)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn base64_holds_the_very_floats_that_the_array_shows(vector in prop::collection::vec(prop::num::f32::NORMAL | prop::num::f32::ZERO | prop::num::f32::SUBNORMAL, 0..64)) {
            let encoded = |encoding| serde_json::to_string(&EncodedVector { vector: vector.clone(), encoding }).unwrap();
            let shown: Vec<f32> = serde_json::from_str(&encoded(VectorEncoding::Float)).unwrap();
            let text: String = serde_json::from_str(&encoded(VectorEncoding::Base64)).unwrap();
            let bytes = STANDARD.decode(text).unwrap();
            let packed: Vec<f32> = bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap())).collect();

            let bits = |vector: &[f32]| vector.iter().map(|number| number.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&packed), bits(&vector));
            prop_assert_eq!(bits(&shown), bits(&vector));
        }

        #[test]
        fn what_is_normalised_has_length_one_whatever_is_cut_off(vector in prop::collection::vec(-1e3_f32..1e3, 1..64), cut in 1_usize..64) {
            let short = normalised(vector.clone(), cut);
            let length = dot(&short, &short).sqrt();

            prop_assert_eq!(short.len(), cut.min(vector.len()));
            prop_assert!((length - 1.0).abs() < 1e-5 || vector.iter().take(cut).all(|number| *number == 0.0), "{}", length);
        }
    }

    #[test]
    fn zeros_and_huge_numbers_become_no_nan() {
        assert_eq!(normalised(vec![0.0, 0.0], 2), [0.0, 0.0]);
        assert_eq!(normalised(vec![f32::MAX, 0.0], 2), [1.0, 0.0]);
        assert_eq!(cosine(&[0.0], &[1.0]), 0.0);
        assert_eq!((sigmoid(0.0), sigmoid(f32::MAX), sigmoid(f32::MIN)), (0.5, 1.0, 0.0));
    }

    #[test]
    fn the_cosine_is_that_of_the_angle() {
        assert_eq!(cosine(&[2.0, 0.0], &[0.0, 3.0]), 0.0);
        assert!((cosine(&[1.0, 1.0], &[2.0, 2.0]) - 1.0).abs() < 1e-12);
        assert!((cosine(&[1.0, 0.0], &[-4.0, 0.0]) + 1.0).abs() < 1e-12);
    }
}

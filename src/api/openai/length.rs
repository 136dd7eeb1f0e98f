//! Texts that cannot fit the context, whatever their tokens are: refused by their bytes, before an engine spends seconds on them.

use crate::{api::error::ApiError, protocol::ModelInfo};

/// Looks at the bytes of the texts that make a prompt.
///
/// # Errors
/// They have more tokens than the context holds.
pub(in crate::api) fn check(texts: &[&str], info: &ModelInfo) -> Result<(), ApiError> {
    let (fewest, max_model_len) = (info.fewest_tokens(texts), u64::from(info.max_model_len));
    if fewest > max_model_len { Err(ApiError::PromptTooLong { fewest, max_model_len }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::testing::model_info;

    #[test]
    fn a_text_that_might_just_fit_passes_and_one_byte_more_does_not() {
        let info = ModelInfo { longest_piece: Some(5), max_model_len: 20, ..model_info() };

        assert_eq!(check(&[&"x".repeat(60), &"y".repeat(40)], &info), Ok(()));
        assert_eq!(check(&[&"x".repeat(101)], &info), Err(ApiError::PromptTooLong { fewest: 21, max_model_len: 20 }));
    }

    #[test]
    fn bytes_that_the_vocabulary_leaves_out_do_not_count() {
        let info = ModelInfo { longest_piece: Some(5), dropped_bytes: vec![4, 6], max_model_len: 20, ..model_info() };

        assert_eq!(check(&[&"\u{4}\u{6}x".repeat(100)], &info), Ok(()));
        assert_eq!(check(&[&"\u{4}\u{6}x".repeat(101)], &info), Err(ApiError::PromptTooLong { fewest: 21, max_model_len: 20 }));
    }

    #[test]
    fn nothing_is_refused_where_bytes_say_nothing() {
        let info = ModelInfo { longest_piece: None, max_model_len: 20, ..model_info() };

        assert_eq!(check(&[&"x".repeat(10_000)], &info), Ok(()));
    }
}

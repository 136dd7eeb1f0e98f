//! Texts that cannot fit the context, whatever their tokens are: refused by their bytes, before an engine spends seconds on them.

use crate::{api::error::ApiError, protocol::ModelInfo};

/// Looks at the bytes of a prompt's texts.
///
/// # Errors
/// They have more tokens than the context holds.
pub(in crate::api) fn check(bytes: usize, info: &ModelInfo) -> Result<(), ApiError> {
    let (fewest, max_model_len) = (info.fewest_tokens(bytes), u64::from(info.max_model_len));
    if fewest > max_model_len { Err(ApiError::PromptTooLong { fewest, max_model_len }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::testing::model_info;

    #[test]
    fn a_text_that_might_just_fit_passes_and_one_byte_more_does_not() {
        let info = ModelInfo { longest_piece: Some(5), max_model_len: 20, ..model_info() };

        assert_eq!(check(100, &info), Ok(()));
        assert_eq!(check(101, &info), Err(ApiError::PromptTooLong { fewest: 21, max_model_len: 20 }));
    }

    #[test]
    fn nothing_is_refused_where_bytes_say_nothing() {
        let info = ModelInfo { longest_piece: None, max_model_len: 20, ..model_info() };

        assert_eq!(check(usize::MAX, &info), Ok(()));
    }
}

//! Refuses texts that cannot fit the context, whatever their tokens are, by their bytes, before an engine spends
//! seconds on them.

use crate::{
    api::error::{ApiError, PromptLength},
    protocol::ModelInfo,
};

/// Checks the number of bytes in the texts that make a prompt; `param` is the field that they come from.
///
/// # Errors
/// The texts have more tokens than the context holds.
pub(in crate::api) fn check(texts: &[&str], info: &ModelInfo, param: &'static str) -> Result<(), ApiError> {
    check_tokens(info.fewest_tokens(texts), info, param)
}

/// As [`check`], for texts that are known to have at least `fewest` tokens.
///
/// # Errors
/// As [`check`].
pub(in crate::api) fn check_tokens(fewest: u64, info: &ModelInfo, param: &'static str) -> Result<(), ApiError> {
    let max_model_len = u64::from(info.max_model_len);
    if fewest <= max_model_len {
        return Ok(());
    }
    Err(ApiError::PromptTooLong { length: PromptLength::AtLeast(fewest), max_model_len, param })
}

/// The beginning of a text of which the first `max_model_len` tokens are wanted: the whole text if the vocabulary gives
/// no bound of bytes per token.
pub(in crate::api) fn within_context<'a>(text: &'a str, info: &ModelInfo) -> &'a str {
    let Some(longest) = info.longest_piece else { return text };
    let most = u64::from(info.max_model_len) * u64::from(longest.max(1));
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let mut kept = text.bytes().enumerate().filter(|(_, byte)| info.dropped_bytes.binary_search(byte).is_err());
    let end = kept.nth(most).map_or(text.len(), |(at, _)| at);
    // This is `str::floor_char_boundary`, which the oldest supported compiler does not have.
    let boundary = (0..=end).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..boundary]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::testing::model_info;

    const TOO_LONG: ApiError = ApiError::PromptTooLong { length: PromptLength::AtLeast(21), max_model_len: 20, param: "prompt" };

    #[test]
    fn a_text_that_might_just_fit_passes_and_one_byte_more_does_not() {
        let info = ModelInfo { longest_piece: Some(5), max_model_len: 20, ..model_info() };

        assert_eq!(check(&[&"x".repeat(60), &"y".repeat(40)], &info, "prompt"), Ok(()));
        assert_eq!(check(&[&"x".repeat(101)], &info, "prompt"), Err(TOO_LONG));
    }

    #[test]
    fn bytes_that_the_vocabulary_leaves_out_do_not_count() {
        let info = ModelInfo { longest_piece: Some(5), dropped_bytes: vec![4, 6], max_model_len: 20, ..model_info() };

        assert_eq!(check(&[&"\u{4}\u{6}x".repeat(100)], &info, "prompt"), Ok(()));
        assert_eq!(check(&[&"\u{4}\u{6}x".repeat(101)], &info, "prompt"), Err(TOO_LONG));
    }

    #[test]
    fn a_text_is_cut_to_the_bytes_that_fill_the_context_between_characters() {
        let info = ModelInfo { longest_piece: Some(5), max_model_len: 20, ..model_info() };
        let dropping = ModelInfo { dropped_bytes: vec![4], ..info.clone() };
        let unknown = ModelInfo { longest_piece: None, ..info.clone() };
        let length = |text: &str, info| within_context(text, info).len();

        assert_eq!([100, 101, 1000].map(|bytes| length(&"x".repeat(bytes), &info)), [100; 3]);
        assert_eq!(length(&"€".repeat(100), &info), 99);
        assert_eq!(length(&"\u{4}x".repeat(101), &dropping), 201);
        assert_eq!(length(&"x".repeat(1000), &unknown), 1000);
    }

    #[test]
    fn nothing_is_refused_where_bytes_say_nothing() {
        let info = ModelInfo { longest_piece: None, max_model_len: 20, ..model_info() };

        assert_eq!(check(&[&"x".repeat(10_000)], &info, "prompt"), Ok(()));
    }
}

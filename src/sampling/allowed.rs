//! The mask of a constraint: one bit per token, set if the token may be drawn at all.

/// The logits with all but the allowed tokens at minus infinity, in `buffer`. Tokens beyond the mask are not allowed.
pub(super) fn restrict<'a>(logits: &[f32], allowed: &[u32], buffer: &'a mut Vec<f32>) -> &'a [f32] {
    buffer.clear();
    for (part, &word) in logits.chunks(32).zip(allowed) {
        // The loop has no branches, so that it becomes vector code.
        buffer.extend((0..).zip(part).map(|(bit, &logit)| if word >> bit & 1 == 1 { logit } else { f32::NEG_INFINITY }));
    }
    buffer.resize(logits.len(), f32::NEG_INFINITY);
    buffer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_allowed_tokens_keep_their_logits() {
        let logits: Vec<f32> = (0..70_u8).map(f32::from).collect();
        let mut buffer = vec![9.0; 3];

        let restricted = restrict(&logits, &[1 << 3 | 1 << 31, 0, 1 << 5], &mut buffer);

        let kept: Vec<usize> = (0..70).filter(|&id| restricted[id] > f32::NEG_INFINITY).collect();
        assert_eq!((restricted.len(), kept), (70, vec![3, 31, 69]));
        assert_eq!(restricted[69], 69.0);
    }

    #[test]
    fn tokens_beyond_the_mask_are_not_allowed() {
        let mut buffer = Vec::new();

        let restricted = restrict(&[1.0; 40], &[u32::MAX], &mut buffer);

        assert_eq!(restricted.iter().filter(|&&logit| logit == 1.0).count(), 32);
        assert_eq!(restricted.len(), 40);
    }
}

//! The text of every token, computed once at load: two slices and a bit instead of a call into llama.cpp per token.
//!
//! Immutable once read, so all threads share it. Ids are range-checked here because llama.cpp throws for unknown ones.

use super::special::ends_generation;
use llama_cpp_2::vocab::LlamaVocab;

/// All pieces of a vocabulary in one buffer: about 8 bytes per token, plus the text.
pub(super) struct PieceTable {
    text: Vec<u8>,
    /// Piece `i` is `text[ends[i - 1]..ends[i]]`.
    ends: Vec<u32>,
    flags: Vec<PieceFlags>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PieceFlags {
    /// True for control and unknown tokens, which have text only when special tokens are written out.
    hidden: bool,
    end_of_generation: bool,
}

impl PieceTable {
    /// Asks llama.cpp for each piece. Leading spaces are kept (`lstrip = 0`): " world" comes after "Hello".
    pub(super) fn read(vocab: &LlamaVocab<'_>) -> Self {
        let mut pieces = Self { text: Vec::new(), ends: Vec::new(), flags: Vec::new() };
        for token in vocab.tokens() {
            let written_out = vocab.token_to_piece(token, true, None);
            let hidden = !written_out.is_empty() && vocab.token_to_piece(token, false, None).is_empty();
            pieces.push(&written_out, PieceFlags { hidden, end_of_generation: ends_generation(vocab, token) });
        }
        pieces
    }

    fn push(&mut self, piece: &[u8], flags: PieceFlags) {
        self.text.extend_from_slice(piece);
        self.ends.push(u32::try_from(self.text.len()).expect("a vocabulary has less than 4 GiB of text: its file stores it"));
        self.flags.push(flags);
    }

    /// The bytes of a token. Empty for an id outside the vocabulary, and for special tokens unless `special`.
    pub(super) fn get(&self, id: u32, special: bool) -> &[u8] {
        let index = id as usize;
        match self.flags.get(index) {
            Some(flags) if special || !flags.hidden => {
                let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
                &self.text[start..self.ends[index] as usize]
            }
            _ => &[],
        }
    }

    /// Bytes of the longest piece, special ones written out.
    pub(super) fn longest(&self) -> Option<u32> {
        (0..self.len()).map(|id| self.get(id, true).len()).max().and_then(|longest| u32::try_from(longest).ok())
    }

    /// Bytes that occur in UTF-8 but are no piece, sorted.
    pub(super) fn missing_bytes(&self) -> Vec<u8> {
        let mut known = [false; 256];
        for piece in (0..self.len()).map(|id| self.get(id, true)).filter(|piece| piece.len() == 1) {
            known[usize::from(piece[0])] = true;
        }
        // All other bytes occur in no UTF-8 (RFC 3629, 4).
        let occurs = |byte: u8| !matches!(byte, 0xC0 | 0xC1 | 0xF5..);
        (0..=u8::MAX).filter(|byte| occurs(*byte) && !known[usize::from(*byte)]).collect()
    }

    /// True if generation ends with this token; false outside the vocabulary.
    pub(super) fn is_eog(&self, id: u32) -> bool {
        self.flags.get(id as usize).is_some_and(|flags| flags.end_of_generation)
    }

    /// Number of tokens in the vocabulary.
    pub(super) fn len(&self) -> u32 {
        u32::try_from(self.ends.len()).expect("llama.cpp counts tokens in an i32")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_piece_may_be_special_and_bytes_that_utf_8_has_not_are_not_missed() {
        let plain = PieceFlags { hidden: false, end_of_generation: false };
        let special = PieceFlags { hidden: true, end_of_generation: true };
        let mut pieces = PieceTable { text: Vec::new(), ends: Vec::new(), flags: Vec::new() };
        assert_eq!(pieces.longest(), None);
        pieces.push(b"<|end|>", special);
        // All bytes that UTF-8 has, except two.
        (0..0xF4).filter(|byte| !matches!(byte, 4 | 0xC0 | 0xC1)).for_each(|byte| pieces.push(&[byte], plain));

        assert_eq!((pieces.longest(), pieces.missing_bytes()), (Some(7), vec![4, 0xF4]));
        pieces.push(b" something", plain);
        pieces.push(&[0xF4], plain);
        assert_eq!((pieces.longest(), pieces.missing_bytes()), (Some(10), vec![4]));
    }

    #[test]
    fn pieces_come_back_by_id_and_hidden_ones_only_when_written_out() {
        let plain = PieceFlags { hidden: false, end_of_generation: false };
        let special = PieceFlags { hidden: true, end_of_generation: true };
        let mut pieces = PieceTable { text: Vec::new(), ends: Vec::new(), flags: Vec::new() };
        pieces.push(b"<|end|>", special);
        pieces.push(b"", plain);
        pieces.push(b" world", plain);

        assert_eq!(pieces.len(), 3);
        assert_eq!((pieces.get(0, false), pieces.get(0, true)), (b"".as_slice(), b"<|end|>".as_slice()));
        assert_eq!(pieces.get(1, true), b"");
        assert_eq!(pieces.get(2, false), b" world");
        assert_eq!((pieces.get(3, true), pieces.get(u32::MAX, true)), (b"".as_slice(), b"".as_slice()));
        assert_eq!([0, 2, 3].map(|id| pieces.is_eog(id)), [true, false, false]);
    }
}

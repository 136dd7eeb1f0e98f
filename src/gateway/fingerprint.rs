//! Fingerprints: the same content has the same number, whoever sends it and however often.
//!
//! Used to recognise work that ended an engine when it comes again. Hashed with a key that is drawn when the server
//! starts, so that nobody can make up a content with the fingerprint of another one, or guess a content from the log.
//! Computed on the caller's task.

use crate::protocol::{SequenceRequest, Token, encode};
use std::{
    fmt,
    hash::{BuildHasher, Hash, RandomState},
};

/// The number by which a content is recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Fingerprint(pub(super) u64);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Makes fingerprints. Those of two values of this type cannot be compared.
#[derive(Debug, Default)]
pub(super) struct Fingerprints(RandomState);

impl Fingerprints {
    /// The fingerprint of any content but a sequence. `kind` keeps contents of different uses apart.
    pub(super) fn of(&self, kind: &str, content: impl Hash) -> Fingerprint {
        Fingerprint(self.0.hash_one((kind, content)))
    }

    /// The fingerprint of an input to be embedded.
    pub(super) fn of_input(&self, input: &[Token]) -> Fingerprint {
        self.of("embed", input)
    }

    /// The fingerprint of a sequence: prompt, constraint and all parameters. It leaves out the seed (clients that send
    /// none get another one each time), the caller, and the tokens of an earlier engine.
    pub(super) fn of_sequence(&self, request: &SequenceRequest) -> Fingerprint {
        let mut content =
            SequenceRequest { id: SequenceRequest::default().id, resume: Vec::new(), prompt_scored: 0, namespace: 0, ..request.clone() };
        content.sampling.seed = 0;
        match encode(&content) {
            Ok(bytes) => self.of("sequence", bytes),
            // Encoding fails only for a request that is too large for a frame; that request reaches no engine either.
            Err(_) => self.of("sequence", &request.prompt),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        gateway::testing::request,
        protocol::{Constraint, SamplingParams, SequenceId},
    };

    #[test]
    fn the_same_content_is_recognized_whoever_sends_it_and_with_whatever_seed() {
        let fingerprints = Fingerprints::default();
        let first = SequenceRequest { id: SequenceId(1), namespace: 7, ..request(9) };
        let mut again = SequenceRequest { id: SequenceId(2), namespace: 8, resume: vec![Token(4)], prompt_scored: 3, ..request(9) };
        again.sampling.seed = 99;

        assert_eq!(fingerprints.of_sequence(&first), fingerprints.of_sequence(&again));
    }

    #[test]
    fn prompt_constraint_and_parameters_make_another_content() {
        let fingerprints = Fingerprints::default();
        let plain = request(9);
        let others = [
            SequenceRequest { prompt: vec![Token(1), Token(2)], ..plain.clone() },
            SequenceRequest { constraint: Some(Constraint::JsonObject), ..plain.clone() },
            SequenceRequest { sampling: SamplingParams { temperature: 0.5, ..SamplingParams::default() }, ..plain.clone() },
            SequenceRequest { stop: vec!["x".to_owned()], ..plain.clone() },
        ];

        for other in others {
            assert_ne!(fingerprints.of_sequence(&plain), fingerprints.of_sequence(&other), "{other:?}");
        }
    }

    #[test]
    fn the_log_names_a_fingerprint_in_sixteen_hexadecimal_digits() {
        assert_eq!(Fingerprint(0xab).to_string(), "00000000000000ab");
    }

    #[test]
    fn one_text_for_two_uses_is_two_contents() {
        let fingerprints = Fingerprints::default();

        assert_ne!(fingerprints.of("tokenize", "a"), fingerprints.of("check", "a"));
        assert_ne!(fingerprints.of_input(&[Token(1)]), fingerprints.of("detokenize", [Token(1)].as_slice()));
    }
}

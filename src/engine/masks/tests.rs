//! Texts under a constraint with many optional keys, whose masks are much work, over a vocabulary of single bytes.

use super::*;
use crate::constrain::{Compiled, Compiler, Piece, Vocabulary, Words};
use crate::engine::runner::Tokenizer;
use crate::protocol::{Constraint, SequenceRequest, SpecialText, TextError, Token};
use std::{cell::Cell, sync::Arc};

struct Bytes;

impl Tokenizer for Bytes {
    fn encode(&self, text: &str, _: bool, _: &SpecialText) -> Result<Vec<Token>, TextError> {
        Ok(text.bytes().map(|byte| Token(byte.into())).collect())
    }

    fn piece(&self, _: Token, _: bool) -> &[u8] {
        b""
    }

    fn is_eog(&self, token: Token) -> bool {
        token.0 == 256
    }

    fn vocabulary_size(&self) -> u32 {
        257
    }
}

fn compiled(optional_keys: usize) -> Compiled {
    let bytes: Vec<[u8; 1]> = (0..=255).map(|byte| [byte]).collect();
    let piece = |token: Token| if token.0 == 256 { Piece::End(b"</s>") } else { Piece::Text(&bytes[token.0 as usize]) };
    let words = Words::new(257, piece).unwrap();
    let compiler = Compiler::new(Vocabulary::new(&words, Arc::new(|_: &str| Vec::new())).unwrap());
    let names: Vec<String> = (0..optional_keys).map(|i| format!(r#""p{i}":{{"type":"integer"}}"#)).collect();
    compiler.compile(&Constraint::JsonSchema(format!(r#"{{"type":"object","properties":{{{}}}}}"#, names.join(",")))).unwrap()
}

/// A constraint with so many optional keys that a mask is much work.
fn costly() -> Compiled {
    [200, 400, 800, 1_600].into_iter().map(compiled).find(|compiled| compiled.matcher().is_costly()).expect("many keys are much work")
}

fn generations(count: u64, compiled: &Compiled) -> HashMap<SequenceId, GenerationState> {
    let of = |id| {
        let request = SequenceRequest { id: SequenceId(id), max_tokens: 9, prompt: vec![Token(1)], ..SequenceRequest::default() };
        (request.id, GenerationState::new(&request, Some(Box::new(compiled.matcher())), &Bytes))
    };
    (1..=count).map(of).collect()
}

#[test]
fn whoever_had_no_time_waits_and_has_its_turn_before_the_others() {
    let compiled = costly();
    let mut generations = generations(4, &compiled);
    let mut masks = Masks::default();
    let left = Cell::new(2);
    let has_time = || left.replace(left.get() - 1) > 0;

    assert_eq!(masks.prepare_while(&mut generations, has_time), [SequenceId(3), SequenceId(4)]);
    left.set(1);
    assert_eq!(masks.prepare_while(&mut generations, has_time), [SequenceId(4)]);
    left.set(1);
    assert_eq!(masks.prepare_while(&mut generations, has_time), []);
}

#[test]
fn whoever_waits_has_its_turn_before_all_that_come_later() {
    let compiled = costly();
    let mut generations = generations(2, &compiled);
    let mut masks = Masks::default();
    let left = Cell::new(1);
    let has_time = || left.replace(left.get() - 1) > 0;
    assert_eq!(masks.prepare_while(&mut generations, has_time), [SequenceId(2)]);

    // The new generations have higher ids, and each owes a mask.
    generations.remove(&SequenceId(1));
    generations.extend(self::generations(9, &compiled).into_iter().filter(|(id, _)| id.0 > 2));
    left.set(1);

    let held = masks.prepare_while(&mut generations, has_time);
    assert_eq!(held, (3..=9).map(SequenceId).collect::<Vec<_>>());
}

#[test]
fn nobody_waits_when_all_would() {
    let compiled = costly();
    let mut generations = generations(3, &compiled);

    assert_eq!(Masks::default().prepare_while(&mut generations, || false), []);
}

#[test]
fn masks_that_are_little_work_are_left_to_the_draw() {
    let compiled = compiled(3);
    let mut generations = generations(3, &compiled);

    assert_eq!(Masks::default().prepare_while(&mut generations, || false), []);
    assert!(generations.values().all(|generation| !generation.owes_mask() && generation.takes_drafts()));
}

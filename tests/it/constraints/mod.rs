//! Hostile constraints, tried out in the real trial process over a vocabulary of single bytes; and the constraints that
//! chat makes of a format beside calls.

#![cfg(test)]

mod fuzz;
mod hostile;
mod offered;
mod suite;

use llamero::{
    constrain::{
        Piece, Words,
        trial::{TrialLimits, TrialProcess},
    },
    protocol::{ConstraintError, Token},
};
use std::time::Duration;

/// The token that ends a text.
const END: Token = Token(256);

/// A token for each byte, and one that ends a text.
fn words() -> Result<Words, ConstraintError> {
    let bytes: Vec<[u8; 1]> = (0..=255).map(|byte| [byte]).collect();
    Words::new(257, |token| if token == END { Piece::End(b"</s>") } else { Piece::Text(&bytes[token.0 as usize]) })
}

/// A trial process with long time limits, so that a slow machine does not matter.
fn trial() -> TrialProcess {
    let program = env!("CARGO_BIN_EXE_llamero").into();
    TrialProcess::new(program, TrialLimits { start: Duration::from_secs(600), wait: Duration::from_secs(600), ..TrialLimits::default() })
}

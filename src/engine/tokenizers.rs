//! The threads that turn texts into tokens and tokens into texts.
//!
//! They answer calls as they come and end when the inbox drops its sender. Who may call, and in which order, is the gateway's to
//! decide (`gateway/calls/turns.rs`).

use crate::engine::{runner::Tokenizer, serve::spawn as spawn_thread};
use crate::protocol::{CallId, FrameError, FromEngine, MAX_FRAME_BYTES, SpecialText, TextError, Token};
use std::sync::{
    Arc, Mutex,
    mpsc::{Receiver, SyncSender},
};

/// Longest text in an answer: a frame but for what surrounds it.
const MAX_DETOKENIZED_BYTES: usize = MAX_FRAME_BYTES - 1024;
/// A piece's length on the wire, at most, bytes.
const PIECE_OVERHEAD_BYTES: usize = 5;
/// llama.cpp's pre-tokenizers recurse per character; untouched pages of a stack cost nothing.
pub(super) const TOKENIZER_STACK_BYTES: usize = 256 << 20;
/// One for each size of text: the gateway sends one long text and one of middle length at a time (`gateway/calls/turns.rs`), so
/// that a short one always finds a thread.
const TOKENIZER_THREADS: usize = 3;

/// A text call on its way to a tokenizer thread.
pub(super) enum TextCall {
    Encode { call: CallId, text: String, add_special: bool, special: SpecialText },
    Decode { call: CallId, tokens: Vec<Token> },
    Spell { call: CallId, tokens: Vec<Token> },
}

/// Starts the threads.
///
/// # Errors
/// The system gives no thread.
pub(super) fn spawn(texts: Receiver<TextCall>, tokenizer: &Arc<dyn Tokenizer>, outbox: &SyncSender<FromEngine>) -> Result<(), FrameError> {
    let texts = Arc::new(Mutex::new(texts));
    for _ in 0..TOKENIZER_THREADS {
        let (texts, tokenizer, outbox) = (Arc::clone(&texts), Arc::clone(tokenizer), outbox.clone());
        // Detached: they end when the inbox drops its sender.
        spawn_thread("tokenizer", TOKENIZER_STACK_BYTES, move || {
            loop {
                // The lock is held while waiting for a call and not while working on it.
                let Some(call) = texts.lock().ok().and_then(|texts| texts.recv().ok()) else { return };
                if outbox.send(answer(tokenizer.as_ref(), call)).is_err() {
                    return;
                }
            }
        })?;
    }
    Ok(())
}

fn answer(tokenizer: &dyn Tokenizer, call: TextCall) -> FromEngine {
    match call {
        TextCall::Encode { call, text, add_special, special } => {
            FromEngine::Tokenized { call, result: tokenizer.encode(&text, add_special, &special) }
        }
        TextCall::Decode { call, tokens } => FromEngine::Detokenized { call, result: detokenize(tokenizer, &tokens) },
        TextCall::Spell { call, tokens } => FromEngine::Pieces { call, result: spell(tokenizer, &tokens) },
    }
}

/// # Errors
/// `BadToken`, and `TooLong` for pieces that would not fit into a frame together.
fn spell(tokenizer: &dyn Tokenizer, tokens: &[Token]) -> Result<Vec<Vec<u8>>, TextError> {
    let mut pieces = Vec::with_capacity(tokens.len());
    let mut bytes = 0;
    for &token in tokens {
        let piece = checked_piece(tokenizer, token)?;
        bytes += piece.len() + PIECE_OVERHEAD_BYTES;
        check_fits(bytes)?;
        pieces.push(piece.to_vec());
    }
    Ok(pieces)
}

fn checked_piece(tokenizer: &dyn Tokenizer, token: Token) -> Result<&[u8], TextError> {
    let vocabulary_size = tokenizer.vocabulary_size();
    if token.0 < vocabulary_size { Ok(tokenizer.piece(token, true)) } else { Err(TextError::BadToken { id: token.0, vocabulary_size }) }
}

fn check_fits(bytes: usize) -> Result<(), TextError> {
    let long = |bytes| u64::try_from(bytes).unwrap_or(u64::MAX);
    if bytes <= MAX_DETOKENIZED_BYTES { Ok(()) } else { Err(TextError::TooLong { len: long(bytes), max: long(MAX_DETOKENIZED_BYTES) }) }
}

/// # Errors
/// `BadToken`, and `TooLong` for a text that would not fit into a frame: a token may stand for hundreds of bytes.
fn detokenize(tokenizer: &dyn Tokenizer, tokens: &[Token]) -> Result<String, TextError> {
    let mut bytes = Vec::new();
    for &token in tokens {
        bytes.extend_from_slice(checked_piece(tokenizer, token)?);
        check_fits(bytes.len())?;
    }
    // Each invalid byte becomes three.
    let text = String::from_utf8_lossy(&bytes).into_owned();
    check_fits(text.len())?;
    Ok(text)
}

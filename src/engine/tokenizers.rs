//! The threads that turn texts into tokens and tokens into texts.
//!
//! They answer calls as they come and end when the inbox drops its sender. Who may call, and in which order, is the
//! gateway's to decide (`gateway/calls/turns.rs`).

use crate::engine::{commands::spawn as spawn_thread, runner::Tokenizer};
use crate::priority::give_way;
use crate::protocol::{CallId, FrameError, FromEngine, MAX_FRAME_BYTES, SpecialText, TextError, TextSize, Token};
use std::{
    iter,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

/// Longest text in an answer: a frame less the bytes around the text.
const MAX_DETOKENIZED_BYTES: usize = MAX_FRAME_BYTES - 1024;
/// A piece's length on the wire, at most, bytes.
const PIECE_OVERHEAD_BYTES: usize = 5;
/// llama.cpp's pre-tokenizers recurse per character; untouched pages of a stack cost nothing.
pub(super) const TOKENIZER_STACK_BYTES: usize = 256 << 20;
/// Threads for short texts. The others have one each: the gateway sends one at a time (`gateway/calls/turns.rs`).
const THREADS: usize = 2;
/// Niceness of the threads for texts that are not short. Such a one takes up to seconds of a core, and a step is as
/// slow as its slowest thread. Not more: it must have answered before the engine counts as stalled.
const NICE: i32 = 5;
/// Calls of a size that may wait; the gateway has a few dozen open at most.
const INBOX_CALLS: usize = 1024;

/// A text call on its way to a tokenizer thread.
pub(super) enum TextCall {
    Encode { call: CallId, text: String, add_special: bool, special: SpecialText },
    Decode { call: CallId, tokens: Vec<Token> },
    Spell { call: CallId, tokens: Vec<Token> },
}

impl TextCall {
    fn size(&self) -> TextSize {
        TextSize::of(match self {
            Self::Encode { text, .. } => text.len(),
            Self::Decode { tokens, .. } | Self::Spell { tokens, .. } => size_of_val(tokens.as_slice()),
        })
    }
}

/// The ends of the queues that the inbox puts calls into.
pub(super) struct TextCalls {
    short: SyncSender<TextCall>,
    middle: SyncSender<TextCall>,
    long: SyncSender<TextCall>,
}

/// The ends of the queues that the threads take calls from.
pub(super) struct TextInbox {
    short: Receiver<TextCall>,
    middle: Receiver<TextCall>,
    long: Receiver<TextCall>,
}

/// A bounded queue for each size.
pub(super) fn channel() -> (TextCalls, TextInbox) {
    let [(short, short_inbox), (middle, middle_inbox), (long, long_inbox)] = std::array::from_fn(|_| sync_channel(INBOX_CALLS));
    (TextCalls { short, middle, long }, TextInbox { short: short_inbox, middle: middle_inbox, long: long_inbox })
}

impl TextCalls {
    /// False if no thread is left to answer.
    pub(super) fn send(&self, call: TextCall) -> bool {
        let queue = match call.size() {
            TextSize::Short => &self.short,
            TextSize::Middle => &self.middle,
            TextSize::Long => &self.long,
        };
        queue.send(call).is_ok()
    }
}

impl TextInbox {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(super) fn spawn(self, tokenizer: &Arc<dyn Tokenizer>, outbox: &SyncSender<FromEngine>) -> Result<(), FrameError> {
        let short = Arc::new(Mutex::new(self.short));
        let others = [self.middle, self.long].map(|calls| (Arc::new(Mutex::new(calls)), Some(NICE)));
        for (calls, niceness) in iter::repeat_n((short, None), THREADS).chain(others) {
            let (tokenizer, outbox) = (Arc::clone(tokenizer), outbox.clone());
            // Detached: they end when the inbox drops its sender.
            spawn_thread("tokenizer", TOKENIZER_STACK_BYTES, move || {
                if let Some(niceness) = niceness {
                    give_way(niceness);
                }
                work(&calls, tokenizer.as_ref(), &outbox);
            })?;
        }
        Ok(())
    }
}

fn work(calls: &Mutex<Receiver<TextCall>>, tokenizer: &dyn Tokenizer, outbox: &SyncSender<FromEngine>) {
    loop {
        // The lock is held while waiting for a call and not while working on it.
        let Some(call) = calls.lock().ok().and_then(|calls| calls.recv().ok()) else { return };
        if outbox.send(answer(tokenizer, call)).is_err() {
            return;
        }
    }
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

//! The threads that turn texts into tokens and tokens into texts.
//!
//! They answer calls as they come and end when the inbox drops its sender. The gateway decides who may call, and in
//! which order (`gateway/calls/turns.rs`).

use crate::engine::{commands::spawn as spawn_thread, runner::Tokenizer};
use crate::priority::give_way;
use crate::protocol::{Asked, Detokenize, FrameError, FromEngine, MAX_FRAME_BYTES, Question, Spell, TextError, TextSize, Token, Tokenize};
use std::{
    iter,
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
};

/// Longest text in an answer, bytes: a frame less the bytes around the text.
const MAX_DETOKENIZED_BYTES: usize = MAX_FRAME_BYTES - 1024;
/// Largest size of a piece's length on the wire, bytes.
const PIECE_OVERHEAD_BYTES: usize = 5;
/// Stack of a tokenizer thread, bytes: llama.cpp's pre-tokenizers recurse per character. Untouched pages of a stack
/// cost nothing.
pub(super) const TOKENIZER_STACK_BYTES: usize = 256 << 20;
/// Number of threads for short texts. Longer texts have one thread for each size: the gateway sends one of them at a
/// time (`gateway/calls/turns.rs`).
const THREADS: usize = 2;
/// Niceness of the threads for texts that are not short. Such a text takes up to seconds of a core, and a step is as
/// slow as its slowest thread. Not higher: the answer must come before the engine counts as stalled.
const NICE: i32 = 5;
/// Number of calls of each size that may wait; the gateway has at most a few dozen open.
const INBOX_CALLS: usize = 1024;

/// A question about text on its way to a tokenizer thread.
type TextCall = Box<dyn FnOnce(&dyn Tokenizer) -> FromEngine + Send>;

/// The ends of the queues into which the inbox puts calls.
pub(super) struct TextCalls {
    short: SyncSender<TextCall>,
    middle: SyncSender<TextCall>,
    long: SyncSender<TextCall>,
}

/// The ends of the queues from which the threads take calls.
pub(super) struct TextInbox {
    short: Receiver<TextCall>,
    middle: Receiver<TextCall>,
    long: Receiver<TextCall>,
}

/// Makes a bounded queue for each size of text.
pub(super) fn channel() -> (TextCalls, TextInbox) {
    let [(short, short_inbox), (middle, middle_inbox), (long, long_inbox)] = std::array::from_fn(|_| sync_channel(INBOX_CALLS));
    (TextCalls { short, middle, long }, TextInbox { short: short_inbox, middle: middle_inbox, long: long_inbox })
}

impl TextCalls {
    /// Queues a question for a thread for its size, where `answer` answers it. Returns `false` if no thread is left.
    pub(super) fn send<Q>(&self, asked: Asked<Q>, answer: fn(&dyn Tokenizer, &Q) -> Q::Answer) -> bool
    where
        Q: Question + Send + 'static,
    {
        let queue = match TextSize::of(asked.question.bytes()) {
            TextSize::Short => &self.short,
            TextSize::Middle => &self.middle,
            TextSize::Long => &self.long,
        };
        queue.send(Box::new(move |tokenizer| asked.reply(answer(tokenizer, &asked.question)))).is_ok()
    }
}

impl TextInbox {
    /// Starts the threads.
    ///
    /// # Errors
    /// The system starts no thread.
    pub(super) fn spawn(self, tokenizer: &Arc<dyn Tokenizer>, outbox: &SyncSender<FromEngine>) -> Result<(), FrameError> {
        let short = Arc::new(Mutex::new(self.short));
        let others = [self.middle, self.long].map(|calls| (Arc::new(Mutex::new(calls)), Some(NICE)));
        for (calls, niceness) in iter::repeat_n((short, None), THREADS).chain(others) {
            let (tokenizer, outbox) = (Arc::clone(tokenizer), outbox.clone());
            // The threads are detached: they end when the inbox drops its sender.
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
        // The lock is held while the thread waits for a call, but not while it works on the call.
        let Some(call) = calls.lock().ok().and_then(|calls| calls.recv().ok()) else { return };
        if outbox.send(call(tokenizer)).is_err() {
            return;
        }
    }
}

/// # Errors
/// The tokenizer refuses the text.
pub(super) fn tokenize(tokenizer: &dyn Tokenizer, question: &Tokenize) -> Result<Vec<Token>, TextError> {
    tokenizer.encode(&question.text, question.add_special, &question.special)
}

/// # Errors
/// `BadToken`, and `TooLong` for pieces that would not fit into a frame together.
pub(super) fn spell(tokenizer: &dyn Tokenizer, question: &Spell) -> Result<Vec<Vec<u8>>, TextError> {
    let mut pieces = Vec::with_capacity(question.tokens.len());
    let mut bytes = 0;
    for &token in &question.tokens {
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
pub(super) fn detokenize(tokenizer: &dyn Tokenizer, question: &Detokenize) -> Result<String, TextError> {
    let mut bytes = Vec::new();
    for &token in &question.tokens {
        bytes.extend_from_slice(checked_piece(tokenizer, token)?);
        check_fits(bytes.len())?;
    }
    // Each invalid byte becomes three bytes.
    let text = String::from_utf8_lossy(&bytes).into_owned();
    check_fits(text.len())?;
    Ok(text)
}

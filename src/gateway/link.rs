//! One connection to an engine: frames in, frames out.
//!
//! Owns the socket and the task that writes to it, which ends when this value is dropped. Reads on the caller's task.
//! Does not interpret the messages.

use crate::protocol::{FrameError, FromEngine, MAX_FRAME_BYTES, ToEngine, decode, encode};
use futures_util::{SinkExt, StreamExt};
use tokio::{
    net::{
        UnixStream,
        unix::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc::{self, error::TrySendError},
};
use tokio_util::{
    bytes::Bytes,
    codec::{FramedRead, FramedWrite, LengthDelimitedCodec},
    task::AbortOnDropHandle,
};

/// The gateway's end of the socket.
#[derive(Debug)]
pub(super) struct Link {
    frames: FramedRead<OwnedReadHalf, LengthDelimitedCodec>,
    outbox: mpsc::Sender<ToEngine>,
    overrun: bool,
    _writer: AbortOnDropHandle<()>,
}

impl Link {
    /// Takes over `stream`. Up to `outbox_frames` messages may wait to be written; an engine that lets more pile up
    /// does not read.
    pub(super) fn open(stream: UnixStream, outbox_frames: usize) -> Self {
        let (read, write) = stream.into_split();
        let (outbox, messages) = mpsc::channel(outbox_frames);
        let writer = AbortOnDropHandle::new(tokio::spawn(write_all(FramedWrite::new(write, codec()), messages)));
        Self { frames: FramedRead::new(read, codec()), outbox, overrun: false, _writer: writer }
    }

    /// Queues a message, without waiting.
    pub(super) fn send(&mut self, message: ToEngine) {
        match self.outbox.try_send(message) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => self.overrun = true,
            // The writer met a broken socket. The reader is about to see the same, and reports it.
            Err(TrySendError::Closed(_)) => {}
        }
    }

    /// True if a message was lost because the engine does not read; the connection is of no use any more.
    pub(super) fn is_overrun(&self) -> bool {
        self.overrun
    }

    /// Waits for the next message. Cancel-safe.
    ///
    /// # Errors
    /// `Closed` at a clean end; every other error means a broken peer.
    pub(super) async fn receive(&mut self) -> Result<FromEngine, FrameError> {
        match self.frames.next().await {
            Some(Ok(body)) => decode(&body),
            Some(Err(error)) => Err(error.into()),
            None => Err(FrameError::Closed),
        }
    }
}

/// The framing of `protocol::frame`, as a codec for tokio.
pub(super) fn codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder().little_endian().length_field_length(4).max_frame_length(MAX_FRAME_BYTES).new_codec()
}

/// Writes messages until the socket breaks or the link is dropped.
async fn write_all(mut out: FramedWrite<OwnedWriteHalf, LengthDelimitedCodec>, mut messages: mpsc::Receiver<ToEngine>) {
    while let Some(message) = messages.recv().await {
        if let Err(error) = write_waiting(&mut out, message, &mut messages).await {
            tracing::debug!(%error, "writing to the engine failed");
            return;
        }
    }
}

/// Writes `first` and all other waiting messages, with one flush for all.
async fn write_waiting(
    out: &mut FramedWrite<OwnedWriteHalf, LengthDelimitedCodec>,
    first: ToEngine,
    messages: &mut mpsc::Receiver<ToEngine>,
) -> Result<(), FrameError> {
    let mut next = Some(first);
    while let Some(message) = next {
        out.feed(Bytes::from(encode(&message)?)).await?;
        next = messages.try_recv().ok();
    }
    Ok(SinkExt::<Bytes>::flush(out).await?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{SequenceId, read_frame, write_frame};
    use std::io::Write;

    fn pair() -> (UnixStream, std::os::unix::net::UnixStream) {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (UnixStream::from_std(ours).unwrap(), theirs)
    }

    #[tokio::test]
    async fn it_speaks_the_framing_of_the_engine_s_blocking_side() {
        let (ours, mut theirs) = pair();
        let mut link = Link::open(ours, 4);
        let sent = ToEngine::Cancel(SequenceId(300));
        let answered = FromEngine::Pong { nonce: 1, steps: 2, busy: true };

        link.send(sent.clone());
        let peer = tokio::task::spawn_blocking(move || {
            let got: ToEngine = read_frame(&mut theirs).unwrap();
            write_frame(&mut theirs, &answered).unwrap();
            got
        });

        assert_eq!(link.receive().await.unwrap(), FromEngine::Pong { nonce: 1, steps: 2, busy: true });
        assert_eq!(peer.await.unwrap(), sent);
        assert!(matches!(link.receive().await, Err(FrameError::Closed)));
    }

    #[tokio::test]
    async fn a_peer_that_announces_a_frame_over_the_cap_is_an_error() {
        let (ours, mut theirs) = pair();
        let mut link = Link::open(ours, 4);

        theirs.write_all(&u32::try_from(MAX_FRAME_BYTES + 1).unwrap().to_le_bytes()).unwrap();

        assert!(matches!(link.receive().await, Err(FrameError::Io(_))));
    }

    #[tokio::test]
    async fn an_outbox_that_nobody_empties_is_an_overrun_one_past_its_bound() {
        let (ours, _theirs) = pair();
        let mut link = Link::open(ours, 2);

        // The writer has not run yet: this test does not await.
        link.send(ToEngine::Ping { nonce: 1 });
        link.send(ToEngine::Ping { nonce: 2 });
        assert!(!link.is_overrun());
        link.send(ToEngine::Ping { nonce: 3 });

        assert!(link.is_overrun());
    }
}

//! Framing: a little-endian `u32` length, then that many bytes of postcard.
//!
//! The engine reads and writes with the blocking functions here; the gateway uses
//! `tokio_util::codec::LengthDelimitedCodec` with the same cap and byte order.

use serde::{Serialize, de::DeserializeOwned};
use std::io::{ErrorKind, Read, Write};

/// Largest message, bytes: the biggest is a 2 MB text or its tokens. A larger length means a broken peer.
pub const MAX_FRAME_BYTES: usize = 16 << 20;

/// The reason why a frame could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// The peer closed the connection between frames.
    #[error("the peer closed the connection")]
    Closed,
    /// The peer announced more than [`MAX_FRAME_BYTES`].
    #[error("a frame of {0} bytes exceeds the limit of {MAX_FRAME_BYTES}")]
    TooLarge(usize),
    /// The bytes are no message of this protocol version.
    #[error("malformed message: {0}")]
    Malformed(#[from] postcard::Error),
    /// The socket failed.
    #[error("the connection failed: {0}")]
    Io(#[from] std::io::Error),
}

/// Serializes a message without its length prefix.
///
/// # Errors
/// `TooLarge` if the message would exceed [`MAX_FRAME_BYTES`].
pub fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let bytes = postcard::to_stdvec(message)?;
    if bytes.len() > MAX_FRAME_BYTES {
        return Err(FrameError::TooLarge(bytes.len()));
    }
    Ok(bytes)
}

/// Deserializes a message from the body of a frame.
///
/// # Errors
/// `Malformed` if the bytes are no message of this type, or if some are left over.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FrameError> {
    let (message, rest) = postcard::take_from_bytes(bytes)?;
    if rest.is_empty() { Ok(message) } else { Err(FrameError::Malformed(postcard::Error::DeserializeBadEncoding)) }
}

/// Writes one frame with a single call, so that it is one packet.
///
/// # Errors
/// `TooLarge` or `Io`.
pub fn write_frame<T: Serialize>(out: &mut impl Write, message: &T) -> Result<(), FrameError> {
    let body = encode(message)?;
    let length = u32::try_from(body.len()).map_err(|_| FrameError::TooLarge(body.len()))?;
    let mut frame = Vec::with_capacity(4 + body.len());
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&body);
    out.write_all(&frame)?;
    Ok(())
}

/// Reads one frame.
///
/// # Errors
/// `Closed` at a clean end of the stream, else `TooLarge`, `Malformed` or `Io`.
pub fn read_frame<T: DeserializeOwned>(input: &mut impl Read) -> Result<T, FrameError> {
    let mut length = [0_u8; 4];
    match input.read_exact(&mut length) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Err(FrameError::Closed),
        Err(error) => return Err(error.into()),
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_FRAME_BYTES {
        return Err(FrameError::TooLarge(length));
    }
    let mut body = vec![0_u8; length];
    input.read_exact(&mut body)?;
    decode(&body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{SequenceId, ToEngine};

    #[test]
    fn a_frame_reads_back_as_it_was_written() {
        let mut wire = Vec::new();
        write_frame(&mut wire, &ToEngine::Cancel(SequenceId(7))).unwrap();
        write_frame(&mut wire, &ToEngine::Ping { nonce: 9 }).unwrap();

        let mut input = wire.as_slice();
        let first: ToEngine = read_frame(&mut input).unwrap();
        let second: ToEngine = read_frame(&mut input).unwrap();

        assert_eq!(first, ToEngine::Cancel(SequenceId(7)));
        assert_eq!(second, ToEngine::Ping { nonce: 9 });
        assert!(matches!(read_frame::<ToEngine>(&mut input), Err(FrameError::Closed)));
    }

    #[test]
    fn an_announced_length_over_the_cap_is_refused_before_anything_is_allocated() {
        let wire = u32::MAX.to_le_bytes();

        let refused = read_frame::<ToEngine>(&mut wire.as_slice());

        assert!(matches!(refused, Err(FrameError::TooLarge(_))), "{refused:?}");
    }

    #[test]
    fn left_over_bytes_make_a_message_malformed() {
        let mut body = encode(&ToEngine::Ping { nonce: 1 }).unwrap();
        body.push(0);

        assert!(matches!(decode::<ToEngine>(&body), Err(FrameError::Malformed(_))));
    }

    #[test]
    fn a_stream_cut_inside_a_frame_is_an_error_and_not_a_clean_end() {
        let mut wire = Vec::new();
        write_frame(&mut wire, &ToEngine::Ping { nonce: 1 }).unwrap();
        wire.pop();

        assert!(matches!(read_frame::<ToEngine>(&mut wire.as_slice()), Err(FrameError::Io(_))));
    }
}

//! Decodes compressed request bodies: gzip and Zstandard, one coding for each body.
//!
//! Bytes are decoded in small pieces as they are read. Here the compressed bytes are counted, and the reader counts the
//! decoded ones, so both an endless body and a bomb end at the limit. The memory of a decoder is bounded
//! ([`Coding::window`]). Nothing is decoded that was not asked for by a single `Content-Encoding`. Brotli is refused:
//! its windows have up to 1 GiB, and its decoder leaves the end of the body unread.

use crate::api::error::ApiError;
use async_compression::{
    tokio::bufread::{GzipDecoder, ZstdDecoder},
    zstd::DParameter,
};
use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, header},
};
use futures_util::{StreamExt as _, TryStreamExt as _, stream::BoxStream};
use std::io;
use tokio::{io::AsyncBufRead, task::yield_now};
use tokio_util::io::{ReaderStream, StreamReader};

/// Bytes that are decoded at a time; other requests get their turn after each such piece.
const PIECE: usize = 16 * 1024;
/// The binary logarithm of the largest Zstandard window, bytes: that of browsers and of RFC 9659.
const ZSTD_WINDOW_LOG: u32 = 23;
/// The window of gzip and the tables of its decoder, bytes.
const GZIP_WINDOW: usize = 64 << 10;
/// Names for a body that is not compressed, among them character sets, which some clients write in the wrong header.
const IDENTITY: [&str; 5] = ["", "identity", "none", "utf-8", "utf8"];
/// Characters of an unknown coding that its refusal repeats.
const MAX_SHOWN: usize = 32;

/// The way in which a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Plain,
    Gzip,
    Zstd,
}

impl Coding {
    /// The coding that a request's headers name.
    ///
    /// # Errors
    /// `UnsupportedCoding` for any other one, and for several.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let values = headers.get_all(header::CONTENT_ENCODING).iter().map(|value| value.to_str().unwrap_or("?").trim());
        let named: Vec<&str> = values.filter(|value| !IDENTITY.iter().any(|name| value.eq_ignore_ascii_case(name))).collect();
        match named.join(", ").to_ascii_lowercase().as_str() {
            "" => Ok(Self::Plain),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            other => Err(ApiError::UnsupportedCoding { coding: other.chars().take(MAX_SHOWN).collect() }),
        }
    }

    /// The maximum of the memory that its decoder fills, bytes. It is filled as bytes are decoded.
    pub(super) fn window(self) -> usize {
        match self {
            Self::Plain => 0,
            Self::Gzip => GZIP_WINDOW,
            Self::Zstd => 1 << ZSTD_WINDOW_LOG,
        }
    }

    /// The decoded bytes of a body that may have `limit` bytes, as it is sent and decoded.
    ///
    /// The error of the stream says if the connection, the compressed data or their size is at fault.
    pub(super) fn decode(self, body: Body, limit: usize) -> BoxStream<'static, Result<Bytes, ApiError>> {
        let broken = |message: &str| ApiError::BadRequest { message: message.to_owned(), param: None, code: None };
        let unread = "The request body could not be read.";
        if self == Self::Plain {
            return body.into_data_stream().map_err(move |_| broken(unread)).boxed();
        }
        let invalid = format!("The request body is not valid {}, which its 'Content-Encoding' says it is.", self.name());
        let pieces = self.pieces(StreamReader::new(compressed(body, limit)));
        // A decoder may have megabytes ready, and would keep the thread.
        let pieces = pieces.then(async |piece| {
            yield_now().await;
            piece
        });
        let error = move |error: io::Error| match error.downcast::<Unread>() {
            Ok(Unread::TooLong) => ApiError::BodyTooLarge { limit_bytes: limit },
            Ok(Unread::Broken) => broken(unread),
            Err(_) => broken(&invalid),
        };
        pieces.map_err(error).boxed()
    }

    fn pieces(self, body: impl AsyncBufRead + Send + 'static) -> BoxStream<'static, io::Result<Bytes>> {
        match self {
            Self::Plain => ReaderStream::with_capacity(body, PIECE).boxed(),
            Self::Gzip => {
                let mut decoder = GzipDecoder::new(body);
                decoder.multiple_members(true);
                ReaderStream::with_capacity(decoder, PIECE).boxed()
            }
            Self::Zstd => {
                let mut decoder = ZstdDecoder::with_params(body, &[DParameter::window_log_max(ZSTD_WINDOW_LOG)]);
                decoder.multiple_members(true);
                ReaderStream::with_capacity(decoder, PIECE).boxed()
            }
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Plain => "identity",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// The reason why the compressed bytes of a body cannot be read.
#[derive(Debug, thiserror::Error)]
enum Unread {
    /// The connection failed.
    #[error("the connection failed")]
    Broken,
    /// There are more than the limit.
    #[error("there are too many bytes")]
    TooLong,
}

/// The bytes of a body as they are sent, at most `limit`. Other requests get their turn after each frame, since a
/// decoder may find nothing in it to hand on.
fn compressed(body: Body, limit: usize) -> BoxStream<'static, io::Result<Bytes>> {
    let mut left = limit;
    let counted = body.into_data_stream().map(move |frame| {
        let frame = frame.map_err(|_| io::Error::other(Unread::Broken))?;
        left = left.checked_sub(frame.len()).ok_or_else(|| io::Error::other(Unread::TooLong))?;
        Ok(frame)
    });
    let turns = counted.then(async |frame| {
        yield_now().await;
        frame
    });
    turns.boxed()
}

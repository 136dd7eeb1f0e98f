//! Decodes compressed request bodies: gzip, Brotli and Zstandard, one coding for each body.
//!
//! Bytes are decoded in small pieces as they are read, and the reader counts the decoded ones, so a bomb ends at the
//! limit of the body. The memory that a decoder itself needs is known before ([`Coding::window`]), for the budget of
//! all bodies. Nothing is decoded that was not asked for by a single `Content-Encoding`.

use crate::api::error::ApiError;
use async_compression::{
    tokio::bufread::{BrotliDecoder, GzipDecoder, ZstdDecoder},
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
/// The largest window of Brotli, bytes (RFC 7932 9.1).
const BROTLI_WINDOW: usize = 16 << 20;
/// The window of gzip and the tables of its decoder, bytes.
const GZIP_WINDOW: usize = 64 << 10;
/// Characters of an unknown coding that its refusal repeats.
const MAX_SHOWN: usize = 32;

/// The way in which a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Plain,
    Gzip,
    Brotli,
    Zstd,
}

impl Coding {
    /// The coding that a request's headers name.
    ///
    /// # Errors
    /// `UnsupportedCoding` for any other one, and for several.
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let values = headers.get_all(header::CONTENT_ENCODING).iter().map(|value| value.to_str().unwrap_or("?").trim());
        let named: Vec<&str> = values.filter(|value| !value.is_empty() && !value.eq_ignore_ascii_case("identity")).collect();
        match named.join(", ").to_ascii_lowercase().as_str() {
            "" => Ok(Self::Plain),
            "gzip" | "x-gzip" => Ok(Self::Gzip),
            "br" => Ok(Self::Brotli),
            "zstd" => Ok(Self::Zstd),
            other => Err(ApiError::UnsupportedCoding { coding: other.chars().take(MAX_SHOWN).collect() }),
        }
    }

    /// The memory of its decoder, bytes.
    pub(super) fn window(self) -> usize {
        match self {
            Self::Plain => 0,
            Self::Gzip => GZIP_WINDOW,
            Self::Brotli => BROTLI_WINDOW,
            Self::Zstd => 1 << ZSTD_WINDOW_LOG,
        }
    }

    /// The decoded bytes of a body.
    ///
    /// The stream's error says whether the connection or the compressed data is at fault.
    pub(super) fn decode(self, body: Body) -> BoxStream<'static, Result<Bytes, ApiError>> {
        let broken = |message: &str| ApiError::BadRequest { message: message.to_owned(), param: None, code: None };
        let unread = "The request body could not be read.";
        if self == Self::Plain {
            return body.into_data_stream().map_err(move |_| broken(unread)).boxed();
        }
        let invalid = format!("The request body is not valid {}, which its 'Content-Encoding' says it is.", self.name());
        let of_connection = |error: &io::Error| error.get_ref().is_some_and(|cause| cause.is::<axum::Error>());
        let pieces = self.pieces(StreamReader::new(body.into_data_stream().map_err(io::Error::other)));
        // A decoder may have megabytes ready, and would keep the thread.
        let pieces = pieces.then(async |piece| {
            yield_now().await;
            piece
        });
        pieces.map_err(move |error| broken(if of_connection(&error) { unread } else { &invalid })).boxed()
    }

    fn pieces(self, body: impl AsyncBufRead + Send + 'static) -> BoxStream<'static, io::Result<Bytes>> {
        match self {
            Self::Plain => ReaderStream::with_capacity(body, PIECE).boxed(),
            Self::Gzip => {
                let mut decoder = GzipDecoder::new(body);
                decoder.multiple_members(true);
                ReaderStream::with_capacity(decoder, PIECE).boxed()
            }
            Self::Brotli => ReaderStream::with_capacity(BrotliDecoder::new(body), PIECE).boxed(),
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
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }
}

//! Bounded reading of a GGUF header: nothing is read, skipped or allocated beyond the size of the file.
//!
//! Owns the position. Every read has a name, `what`, for its error.

use super::GgufError;
use std::io::{BufReader, Read, Seek};

/// Bytes that are kept of a text value; names and architectures are far shorter, and chat templates are not needed.
const KEPT_TEXT_BYTES: u64 = 1024;

/// A position in a source of known size.
pub(super) struct Cursor<R> {
    source: BufReader<R>,
    position: u64,
    size: u64,
}

impl<R: Read + Seek> Cursor<R> {
    pub(super) fn new(source: R, size: u64) -> Self {
        Self { source: BufReader::with_capacity(64 * 1024, source), position: 0, size }
    }

    /// Number of bytes read and skipped so far.
    pub(super) fn position(&self) -> u64 {
        self.position
    }

    /// Number of bytes of the source.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Claims the next `bytes` bytes for `what`; fails if the source ends before their end.
    fn claim(&mut self, what: &str, bytes: u64) -> Result<(), GgufError> {
        match self.position.checked_add(bytes) {
            Some(end) if end <= self.size => {
                self.position = end;
                Ok(())
            }
            _ => Err(GgufError::Truncated { what: what.to_owned(), position: self.position, size: self.size }),
        }
    }

    /// Reads the next `N` bytes.
    pub(super) fn bytes<const N: usize>(&mut self, what: &str) -> Result<[u8; N], GgufError> {
        let mut bytes = [0; N];
        self.claim(what, u64::try_from(N).expect("a handful of bytes"))?;
        self.source.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    pub(super) fn u32(&mut self, what: &str) -> Result<u32, GgufError> {
        Ok(u32::from_le_bytes(self.bytes(what)?))
    }

    pub(super) fn u64(&mut self, what: &str) -> Result<u64, GgufError> {
        Ok(u64::from_le_bytes(self.bytes(what)?))
    }

    /// Reads a little-endian number of 1, 2, 4 or 8 bytes.
    pub(super) fn unsigned(&mut self, what: &str, bytes: u64) -> Result<u64, GgufError> {
        match bytes {
            1 => Ok(u64::from(self.bytes::<1>(what)?[0])),
            2 => Ok(u64::from(u16::from_le_bytes(self.bytes(what)?))),
            4 => Ok(u64::from(self.u32(what)?)),
            _ => self.u64(what),
        }
    }

    /// Skips `bytes` bytes without reading them.
    pub(super) fn skip(&mut self, what: &str, bytes: u64) -> Result<(), GgufError> {
        self.claim(what, bytes)?;
        // A file's size fits into an i64, and so does a number of bytes within the file.
        let distance = i64::try_from(bytes).map_err(std::io::Error::other)?;
        Ok(self.source.seek_relative(distance)?)
    }

    /// Skips a text.
    pub(super) fn skip_text(&mut self, what: &str) -> Result<(), GgufError> {
        let bytes = self.u64(what)?;
        self.skip(what, bytes)
    }

    /// Reads the beginning of a text of any length, and skips the rest.
    pub(super) fn text(&mut self, what: &str) -> Result<String, GgufError> {
        let bytes = self.u64(what)?;
        let kept = bytes.min(KEPT_TEXT_BYTES);
        let text = self.lossy(what, kept)?;
        self.skip(what, bytes - kept)?;
        Ok(text)
    }

    /// Reads a text; fails if it is longer than `limit` bytes.
    pub(super) fn whole_text(&mut self, what: &'static str, limit: u64) -> Result<String, GgufError> {
        let bytes = self.u64(what)?;
        super::limit(what, bytes, limit)?;
        self.lossy(what, bytes)
    }

    fn lossy(&mut self, what: &str, bytes: u64) -> Result<String, GgufError> {
        self.claim(what, bytes)?;
        let mut buffer = Vec::new();
        let read = self.source.by_ref().take(bytes).read_to_end(&mut buffer)?;
        if u64::try_from(read).is_ok_and(|read| read == bytes) {
            Ok(String::from_utf8_lossy(&buffer).into_owned())
        } else {
            Err(GgufError::Io(std::io::ErrorKind::UnexpectedEof.into()))
        }
    }
}

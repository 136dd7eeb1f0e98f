//! A parked content as a file: its tokens, and the state of the runner that saved it.
//!
//! ```text
//! magic, 8 bytes │ length of header, u32 │ header (postcard) │ state │ CRC-32 of all before, u32      little-endian
//! ```
//!
//! A file is written under another name and renamed. It is used only as a whole: with the right length, checksum and
//! [`Binding`]. The checksum protects against broken disks and half-written files, not against people who may write to
//! the folder.

use crate::engine::runner::ParkedState;
use crate::engine::scheduler::ParkedContent;
use crate::protocol::Token;
use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::{
    borrow::Cow,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

const MAGIC: [u8; 8] = *b"llamero\x01";
/// Size of `MAGIC` and of the header's length, bytes.
const START_BYTES: u64 = 12;
const SUM_BYTES: u64 = 4;
/// Largest header, bytes: a token takes 5 bytes at most, and no sequence has more than 2²⁴.
const MAX_HEADER_BYTES: u64 = 128 << 20;

/// The extension of the files.
pub(super) const EXTENSION: &str = "prefix";
/// The extension of files that are being written.
pub(super) const UNFINISHED: &str = "part";

/// A digest of everything that a state depends on: this program, the model, and the state format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Binding([u8; 32]);

impl Binding {
    /// The binding of states that depend on all of these parts.
    pub(super) fn new(parts: &[&str]) -> Self {
        let mut digest = Sha256::new();
        for part in parts {
            digest.update(part.len().to_le_bytes());
            digest.update(part);
        }
        Self(digest.finalize().into())
    }
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Header<'a> {
    binding: Binding,
    namespace: u64,
    hits: u32,
    tokens: Cow<'a, [Token]>,
    state_bytes: u64,
}

/// The reason why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    /// The file's bytes are not the ones that were written.
    #[error("it is damaged: {0}")]
    Damaged(&'static str),
    /// The file is of another model, build or options, or its state is larger than the swap space.
    #[error("it is of another model, release or options")]
    Foreign,
    /// The file cannot be read.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The name of a content's file; equal contents have equal names.
pub(super) fn name(content: &ParkedContent) -> String {
    let mut digest = Sha256::new();
    digest.update(content.namespace.to_le_bytes());
    content.tokens.iter().for_each(|token| digest.update(token.0.to_le_bytes()));
    let digest: [u8; 32] = digest.finalize().into();
    let digits: String = digest[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{digits}.{EXTENSION}")
}

/// Writes a content's file as a whole or not at all.
pub(super) fn write(path: &Path, binding: Binding, content: &ParkedContent, state: &ParkedState) -> io::Result<()> {
    let unfinished = path.with_extension(UNFINISHED);
    let written = write_to(&unfinished, binding, content, state).and_then(|()| fs::rename(&unfinished, path));
    if written.is_err() {
        // If the removal fails, the file is removed at the next start.
        let _ = fs::remove_file(&unfinished);
    }
    written
}

fn write_to(path: &Path, binding: Binding, content: &ParkedContent, state: &ParkedState) -> io::Result<()> {
    let ParkedContent { tokens, namespace, hits } = content;
    let header =
        Header { binding, namespace: *namespace, hits: *hits, tokens: Cow::Borrowed(tokens), state_bytes: state.bytes.len() as u64 };
    let header = postcard::to_stdvec(&header).map_err(io::Error::other)?;
    let length = u32::try_from(header.len()).map_err(io::Error::other)?.to_le_bytes();
    let mut sum = crc32fast::Hasher::new();
    let mut file = create(path)?;
    for part in [&MAGIC[..], &length, &header, &state.bytes] {
        sum.update(part);
        file.write_all(part)?;
    }
    file.write_all(&sum.finalize().to_le_bytes())
}

/// Makes a new file that only its user can read: it contains prompts. An existing file of that name is removed before;
/// if it is a planted link, only the link is removed.
fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            options.open(path)
        }
        outcome => outcome,
    }
}

/// Opens a file, but no link to one.
pub(super) fn open_plain(path: &Path, access: OFlags) -> io::Result<File> {
    let flags = access | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR)?))
}

/// Reads a file with this binding and a state of at most `max_bytes`.
pub(super) fn read(path: &Path, binding: Binding, max_bytes: u64) -> Result<(ParkedContent, ParkedState), Unusable> {
    let mut file = open_plain(path, OFlags::RDONLY)?;
    let length = file.metadata()?.len();
    let mut sum = crc32fast::Hasher::new();
    let mut next = |bytes: u64| -> Result<Vec<u8>, Unusable> {
        // `bytes` is bounded by the length of the file and the limits below.
        let mut part = Vec::new();
        part.try_reserve_exact(usize::try_from(bytes).map_err(io::Error::other)?).map_err(io::Error::other)?;
        Read::by_ref(&mut file).take(bytes).read_to_end(&mut part)?;
        if part.len() as u64 != bytes {
            return Err(Unusable::Damaged("its end"));
        }
        sum.update(&part);
        Ok(part)
    };
    let after_header = length.checked_sub(START_BYTES + SUM_BYTES).ok_or(Unusable::Damaged("its length"))?;
    let start = next(START_BYTES)?;
    let (magic, header_bytes) = start.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err(Unusable::Foreign);
    }
    let header_bytes = header_bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte));
    let state_bytes = after_header.checked_sub(header_bytes).filter(|_| header_bytes <= MAX_HEADER_BYTES);
    let state_bytes = state_bytes.ok_or(Unusable::Damaged("its length"))?;
    if state_bytes > max_bytes {
        return Err(Unusable::Foreign);
    }
    let header: Header<'_> = postcard::from_bytes(&next(header_bytes)?).map_err(|_| Unusable::Damaged("its header"))?;
    if header.binding != binding {
        return Err(Unusable::Foreign);
    }
    if header.state_bytes != state_bytes || header.tokens.is_empty() {
        return Err(Unusable::Damaged("its length"));
    }
    let len = u32::try_from(header.tokens.len()).map_err(|_| Unusable::Damaged("its tokens"))?;
    let bytes = next(state_bytes)?;
    let mut stored = [0; SUM_BYTES as usize];
    file.read_exact(&mut stored)?;
    if u32::from_le_bytes(stored) != sum.finalize() {
        return Err(Unusable::Damaged("its checksum"));
    }
    let content = ParkedContent { tokens: header.tokens.into_owned(), namespace: header.namespace, hits: header.hits };
    Ok((content, ParkedState { bytes, len }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn content(tokens: &[u32], namespace: u64) -> ParkedContent {
        ParkedContent { tokens: tokens.iter().copied().map(Token).collect(), namespace, hits: 3 }
    }

    fn state(bytes: &[u8], len: u32) -> ParkedState {
        ParkedState { bytes: bytes.to_vec(), len }
    }

    #[test]
    fn a_file_is_named_by_its_content() {
        let one = name(&content(&[1, 2], 0));

        assert_eq!(one, name(&ParkedContent { hits: 9, ..content(&[1, 2], 0) }));
        assert!(one != name(&content(&[1, 2], 7)) && one != name(&content(&[1, 3], 0)) && one.ends_with(".prefix"), "{one}");
    }

    #[test]
    fn a_binding_is_of_all_its_parts() {
        assert_eq!(Binding::new(&["a", "b"]), Binding::new(&["a", "b"]));
        assert!(Binding::new(&["a", "b"]) != Binding::new(&["ab", ""]));
    }

    #[test]
    fn only_the_user_reads_a_file_and_nothing_unfinished_stays() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.prefix");

        write(&path, Binding::new(&[]), &content(&[1], 0), &state(b"state", 1)).unwrap();

        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(write(&folder.path().join("no/a.prefix"), Binding::new(&[]), &content(&[1], 0), &state(b"", 1)).is_err());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_planted_link_is_neither_written_nor_read_through() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let [path, target, elsewhere] = ["a.prefix", "target", "elsewhere.prefix"].map(|name| folder.path().join(name));
        fs::write(&target, "precious").unwrap();
        symlink(&target, path.with_extension(UNFINISHED)).unwrap();
        symlink(&target, &path).unwrap();

        write(&path, Binding::new(&[]), &content(&[1], 0), &state(b"state", 1)).unwrap();

        assert_eq!(fs::read(&target).unwrap(), b"precious");
        assert!(fs::symlink_metadata(&path).unwrap().is_file() && read(&path, Binding::new(&[]), 5).is_ok());
        symlink(&path, &elsewhere).unwrap();
        assert!(matches!(read(&elsewhere, Binding::new(&[]), 5), Err(Unusable::Io(_))));
    }

    #[test]
    fn what_is_of_another_model_or_too_large_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.prefix");
        write(&path, Binding::new(&["this"]), &content(&[1], 0), &state(b"state", 1)).unwrap();

        assert!(read(&path, Binding::new(&["this"]), 5).is_ok());
        assert!(matches!(read(&path, Binding::new(&["other"]), 5), Err(Unusable::Foreign)));
        assert!(matches!(read(&path, Binding::new(&["this"]), 4), Err(Unusable::Foreign)));
        fs::write(&path, "something else, which is long enough").unwrap();
        assert!(matches!(read(&path, Binding::new(&["this"]), 5), Err(Unusable::Foreign)));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_nothing_else_is(
            tokens in proptest::collection::vec(any::<u32>(), 1..50),
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            namespace in any::<u64>(),
            (at, flip) in (any::<prop::sample::Index>(), 1_u8..),
        ) {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("a.prefix");
            let binding = Binding::new(&["model"]);
            let written = (content(&tokens, namespace), state(&bytes, u32::try_from(tokens.len()).unwrap()));
            write(&path, binding, &written.0, &written.1).unwrap();
            prop_assert_eq!(read(&path, binding, 1000).unwrap(), written);

            let whole = fs::read(&path).unwrap();
            let at = at.index(whole.len());
            fs::write(&path, &whole[..at]).unwrap();
            prop_assert!(read(&path, binding, 1000).is_err(), "cut at {}", at);
            fs::write(&path, [&whole[..], b"x"].concat()).unwrap();
            prop_assert!(read(&path, binding, 1000).is_err(), "longer");
            let mut damaged = whole;
            damaged[at] ^= flip;
            fs::write(&path, damaged).unwrap();
            prop_assert!(read(&path, binding, 1000).is_err(), "byte {} is another", at);
        }
    }
}

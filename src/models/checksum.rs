//! SHA-256 of files, computed while they are copied or only read.

use super::progress::Progress;
use sha2::{Digest, Sha256};
use std::{
    fmt::Write as _,
    fs::File,
    io::{self, Read, Write},
    path::Path,
};

/// Copies `from` to `to` and returns the SHA-256 of the copied bytes, in lower-case hexadecimal.
pub(super) fn copy_hashed(mut from: impl Read, mut to: impl Write, progress: &Progress) -> io::Result<String> {
    let mut digest = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => &buffer[..read],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        digest.update(read);
        to.write_all(read)?;
        progress.add(u64::try_from(read.len()).unwrap_or(u64::MAX));
    }
    let mut text = String::with_capacity(64);
    for byte in digest.finalize() {
        write!(text, "{byte:02x}").expect("a String takes everything");
    }
    Ok(text)
}

/// The SHA-256 of a file.
pub(super) fn of_file(path: &Path, progress: &Progress) -> io::Result<String> {
    copy_hashed(File::open(path)?, io::sink(), progress)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copied_bytes_are_hashed() {
        let mut copy = Vec::new();

        let sum = copy_hashed(&b"abc"[..], &mut copy, &Progress::new("test", 3)).unwrap();

        // FIPS 180-4, the example of one block.
        assert_eq!(sum, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(copy, b"abc");
    }
}

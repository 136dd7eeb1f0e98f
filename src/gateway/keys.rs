//! API keys: decides who may call, and as which principal.
//!
//! Owns SHA-256 digests of the accepted keys; the keys themselves are dropped as soon as they are hashed, and are never
//! logged. The key file can be read again while the server runs; keys from other sources stay as they are. The digests
//! are SHA-256 and not a password hash: keys are long random strings, and a slow hash per request would be a way to
//! stop the server. `api` decides which header a key comes in, and how a request is refused.

use crate::config::KeyConfig;
use sha2::{Digest, Sha256};
use std::{
    fmt,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{PoisonError, RwLock},
};
use subtle::ConstantTimeEq;

/// Maximum length of a key, bytes. A longer line means that somebody named the wrong file.
const MAX_KEY_BYTES: usize = 512;
/// Maximum number of keys: each request is compared with all of them.
const MAX_KEYS: usize = 10_000;
/// Maximum size of the key file, bytes: that many keys, and as much again of comments.
const MAX_FILE_BYTES: u64 = 10 << 20;

type Digest256 = [u8; 32];

/// The caller that sent a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Principal {
    /// The name of the caller's key in logs, limits and the prefix cache.
    pub id: KeyId,
}

/// A short name for a key that does not reveal it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KeyId {
    /// No keys are configured.
    Anonymous,
    /// The first 8 bytes of the key's SHA-256 digest, big-endian.
    Key(u64),
}

impl KeyId {
    /// The prefix-cache namespace of this caller: prompts are shared within a key, never between keys.
    #[must_use]
    pub fn namespace(self) -> u64 {
        match self {
            Self::Anonymous => 0,
            Self::Key(prefix) => prefix,
        }
    }
}

impl fmt::Display for KeyId {
    /// `anonymous`, or the first 8 hexadecimal digits of the digest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("anonymous"),
            Self::Key(prefix) => write!(f, "{:08x}", prefix >> 32),
        }
    }
}

/// The reason why the configured keys cannot be used. No error text contains a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("the key file {} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file's path.
        path: PathBuf,
        /// The error of the file system.
        source: io::Error,
    },
    /// The file is a pipe, whose keys were read once.
    #[error("the key file {} is a pipe, which cannot be read again", path.display())]
    Pipe {
        /// The path of the pipe.
        path: PathBuf,
    },
    /// The file names no key; taking that for "no keys wanted" would open the server.
    #[error("the key file {} holds no key; write one key per line", path.display())]
    NoKeys {
        /// The file's path.
        path: PathBuf,
    },
    /// No client could send this key in a header.
    #[error("{place} is not a usable key: {problem}")]
    Unusable {
        /// The place where the key was found, such as `line 3 of /etc/keys` or `API key 1`.
        place: String,
        /// The reason why no client could send the key.
        problem: &'static str,
    },
    /// There are more keys than can be compared on each request.
    #[error("{count} API keys are configured; at most {MAX_KEYS} are supported")]
    TooMany {
        /// Number of configured keys.
        count: usize,
    },
}

/// The reason why a caller is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// A key is needed and none was presented.
    #[error("no API key was presented")]
    Missing,
    /// The presented key is not accepted.
    #[error("the API key is not accepted")]
    Wrong,
}

/// The accepted keys, as digests. If no keys are configured, it is empty and everybody is [`KeyId::Anonymous`].
#[derive(Default)]
pub struct KeyRing {
    /// Digests of the keys from flags, environment and configuration.
    given: Vec<Digest256>,
    file: Option<PathBuf>,
    /// Digests of `given` and of the keys in `file`, in order, each once.
    accepted: RwLock<Vec<Digest256>>,
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("keys", &self.len()).finish()
    }
}

impl KeyRing {
    /// Reads and hashes the configured keys. A key given twice counts once.
    ///
    /// # Errors
    /// See [`KeyError`]; the first problem is reported.
    pub fn load(config: &KeyConfig) -> Result<Self, KeyError> {
        let digests = config.keys.iter().enumerate().map(|(index, key)| digest(key, || format!("API key {}", index + 1)));
        let given = digests.collect::<Result<Vec<_>, _>>()?;
        let accepted = RwLock::new(accepted(given.clone(), config.file.as_deref())?);
        Ok(Self { given, file: config.file.clone(), accepted })
    }

    /// Reads the key file again: its new keys are accepted from now on, and keys that it no longer contains are
    /// refused. Blocks on the disk. Returns the number of keys accepted now, or `None` if there is no key file.
    ///
    /// # Errors
    /// See [`KeyError`]; in that case nothing has changed.
    pub fn reload(&self) -> Result<Option<usize>, KeyError> {
        let Some(file) = self.file.as_deref() else { return Ok(None) };
        if fs::metadata(file).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
            // Opening a pipe waits for a writer, perhaps for ever.
            return Err(KeyError::Pipe { path: file.to_owned() });
        }
        let accepted = accepted(self.given.clone(), Some(file))?;
        let number = accepted.len();
        *self.accepted.write().unwrap_or_else(PoisonError::into_inner) = accepted;
        Ok(Some(number))
    }

    /// True if no keys are configured, so that everybody may call. A reload does not change that.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn len(&self) -> usize {
        self.accepted.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Finds the caller that presents this key. All digests are compared, each in constant time, so that the time tells
    /// nothing.
    ///
    /// # Errors
    /// `Missing` if keys are configured and none is presented, `Wrong` if the presented key is not accepted.
    pub fn authenticate(&self, presented: Option<&[u8]>) -> Result<Principal, AuthError> {
        // Only a reload writes here: it swaps in keys that it has read before.
        let accepted = self.accepted.read().unwrap_or_else(PoisonError::into_inner);
        if accepted.is_empty() {
            return Ok(Principal { id: KeyId::Anonymous });
        }
        let digest: Digest256 = Sha256::digest(presented.ok_or(AuthError::Missing)?).into();
        let known = accepted.iter().fold(subtle::Choice::from(0), |known, accepted| known | accepted.ct_eq(&digest));
        if !bool::from(known) {
            return Err(AuthError::Wrong);
        }
        let [a, b, c, d, e, f, g, h, ..] = digest;
        Ok(Principal { id: KeyId::Key(u64::from_be_bytes([a, b, c, d, e, f, g, h])) })
    }
}

/// `digests` and those of the keys in `file`, in order, each once.
fn accepted(mut digests: Vec<Digest256>, file: Option<&Path>) -> Result<Vec<Digest256>, KeyError> {
    if let Some(path) = file {
        let text = read_capped(path).map_err(|source| KeyError::Unreadable { path: path.to_owned(), source })?;
        let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        let before = digests.len();
        for (number, key) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
            digests.push(digest(key, || format!("line {number} of {}", path.display()))?);
        }
        if digests.len() == before {
            return Err(KeyError::NoKeys { path: path.to_owned() });
        }
    }
    digests.sort_unstable();
    digests.dedup();
    if digests.len() > MAX_KEYS { Err(KeyError::TooMany { count: digests.len() }) } else { Ok(digests) }
}

fn read_capped(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let read = File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    if u64::try_from(read).is_ok_and(|read| read <= MAX_FILE_BYTES) {
        // Editors of Windows write a byte order mark.
        return Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text));
    }
    Err(io::Error::other(format!("it has more than {MAX_FILE_BYTES} bytes")))
}

/// The digest of a key that was found at `place`.
fn digest(key: &str, place: impl FnOnce() -> String) -> Result<Digest256, KeyError> {
    let problem = if key.is_empty() {
        "it is empty"
    } else if key.len() > MAX_KEY_BYTES {
        "it is longer than 512 bytes"
    } else if !key.bytes().all(|byte| byte.is_ascii_graphic()) {
        "it has characters other than visible ASCII, such as a space"
    } else {
        return Ok(Sha256::digest(key).into());
    };
    Err(KeyError::Unusable { place: place(), problem })
}

#[cfg(test)]
mod tests;

//! The marker of a verified file: a small file beside a model, with the size, modification time and checksum of the
//! model's file when it was checked.
//!
//! Without the marker, gigabytes would be hashed at each start. A file that was changed, copied or replaced since has
//! another time or size, and is checked again.

use super::plain_file;
use serde::{Deserialize, Serialize};
use std::{
    fs,
    io::{self, Write},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

/// The record of a verified file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Marker {
    /// Path of the file; relative to the marker's folder if the file is in it.
    file: PathBuf,
    /// Size of the file, bytes.
    size: u64,
    /// Time of the last modification, ns since 1970.
    modified_ns: u64,
    /// The checksum, if there was one to compare with.
    sha256: Option<String>,
}

impl Marker {
    fn of(path: &Path, marker_path: &Path, sha256: Option<String>) -> io::Result<Self> {
        let metadata = fs::metadata(path)?;
        let since = metadata.modified()?.duration_since(UNIX_EPOCH).map_err(io::Error::other)?;
        let own_folder = marker_path.parent().unwrap_or(Path::new(""));
        Ok(Self {
            file: path.strip_prefix(own_folder).unwrap_or(path).to_owned(),
            size: metadata.len(),
            modified_ns: u64::try_from(since.as_nanos()).map_err(io::Error::other)?,
            sha256,
        })
    }
}

/// True if `marker_path` is valid for `path` in its present state and has the `wanted` checksum, if there is one.
pub(super) fn vouches(marker_path: &Path, path: &Path, wanted: Option<&str>) -> bool {
    current(marker_path, path).is_some_and(|marker| wanted.is_none() || marker.sha256.as_deref() == wanted)
}

/// The checksum of `path`, if `marker_path` has it and is valid for the file's present state.
pub(super) fn checksum(marker_path: &Path, path: &Path) -> Option<String> {
    current(marker_path, path)?.sha256
}

/// The marker of `path` if it is valid for the file's present state. If it is missing or unreadable, the file is only
/// checked again.
fn current(marker_path: &Path, path: &Path) -> Option<Marker> {
    let marker: Marker = toml::from_str(&fs::read_to_string(marker_path).ok()?).ok()?;
    let now = Marker::of(path, marker_path, marker.sha256.clone()).ok()?;
    (now == marker).then_some(marker)
}

/// Writes a marker for `path`. If `sha256` is given, the file's checksum was compared with it.
pub(super) fn write(marker_path: &Path, path: &Path, sha256: Option<String>) -> io::Result<()> {
    let marker = Marker::of(path, marker_path, sha256)?;
    let text = toml::to_string(&marker).map_err(io::Error::other)?;
    let unfinished = marker_path.with_extension("ok.part");
    plain_file::create(&unfinished)?.write_all(text.as_bytes())?;
    fs::rename(&unfinished, marker_path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs::File,
        time::{Duration, SystemTime},
    };

    #[test]
    fn a_marker_vouches_until_the_file_or_the_wanted_checksum_changes() {
        let folder = tempfile::tempdir().unwrap();
        let (model, marker) = (folder.path().join("m.gguf"), folder.path().join("m.gguf.ok"));
        fs::write(&model, "model").unwrap();
        assert!(!vouches(&marker, &model, None), "there is no marker yet");

        write(&marker, &model, Some("abc".into())).unwrap();

        assert!(vouches(&marker, &model, Some("abc")) && vouches(&marker, &model, None));
        assert!(!vouches(&marker, &model, Some("abd")));
        assert!(fs::read_to_string(&marker).unwrap().contains("file = \"m.gguf\""), "the folder may be moved");

        File::options().write(true).open(&model).unwrap().set_modified(SystemTime::now() + Duration::from_secs(9)).unwrap();
        assert!(!vouches(&marker, &model, Some("abc")), "the file was touched");
        fs::write(&marker, "nonsense").unwrap();
        assert!(!vouches(&marker, &model, None));
    }
}

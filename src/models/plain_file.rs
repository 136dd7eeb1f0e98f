//! Creates files in a folder that others may write to as well, but never through a link that another user put there.

use rustix::fs::{Mode, OFlags, open};
use std::{
    fs::{self, File},
    io,
    path::Path,
};

/// Creates a new file. An old file of that name, such as one of a killed process, is removed first; of a link, only the
/// link itself.
pub(super) fn create(path: &Path) -> io::Result<File> {
    match File::create_new(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::remove_file(path)?;
            File::create_new(path)
        }
        outcome => outcome,
    }
}

/// Opens a file to lock it, and creates it if it does not exist. A link is an error.
pub(super) fn open_to_lock(path: &Path) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(open(path, flags, Mode::from_raw_mode(0o644))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{io::Write, os::unix::fs::symlink};

    #[test]
    fn a_planted_link_is_replaced_and_its_target_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (target, path) = (folder.path().join("target"), folder.path().join("file.part"));
        fs::write(&target, "precious").unwrap();
        symlink(&target, &path).unwrap();

        create(&path).unwrap().write_all(b"new").unwrap();

        assert_eq!((fs::read(&target).unwrap(), fs::read(&path).unwrap()), (b"precious".to_vec(), b"new".to_vec()));
        assert!(fs::symlink_metadata(&path).unwrap().is_file());
    }

    #[test]
    fn the_file_of_an_earlier_attempt_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file.part");
        fs::write(&path, "a longer text").unwrap();

        create(&path).unwrap().write_all(b"new").unwrap();

        assert_eq!(fs::read(&path).unwrap(), b"new");
    }

    #[test]
    fn a_lock_is_not_taken_through_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let (target, path) = (folder.path().join("target"), folder.path().join("lock"));
        symlink(&target, &path).unwrap();

        assert!(open_to_lock(&path).is_err() && !target.exists());
        assert!(open_to_lock(&folder.path().join("other")).is_ok());
    }
}

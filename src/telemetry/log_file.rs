//! The file that log lines go to with `--log-file`, which `logrotate` renames: the name is opened again on request.
//!
//! Owns the open file. A file that cannot be opened again changes nothing.

use rustix::{
    fs::{OFlags, fcntl_setfl},
    io::Errno,
};
use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Rights of a new file: log lines have addresses of clients, so they are not for every user.
const MODE: u32 = 0o640;

/// A file that lines are added to.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: Mutex<File>,
}

impl LogFile {
    /// Opens the file to add to it, or creates it.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: Mutex::new(open(path)?) })
    }

    /// Opens the file of that name again; further lines go there. Waits for a line that is being written.
    pub(super) fn reopen(&self) -> io::Result<()> {
        let file = open(&self.path)?;
        *self.lock() = file;
        Ok(())
    }

    /// Writes bytes, as `Write::write` does.
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.lock().write(bytes)
    }

    fn lock(&self) -> MutexGuard<'_, File> {
        // No holder of the lock leaves the file half changed.
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open(path: &Path) -> io::Result<File> {
    // Opening a pipe that nobody reads would wait for ever. Writing may wait: it has a thread of its own.
    let file = OpenOptions::new().append(true).create(true).mode(MODE).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path);
    let is_pipe = match &file {
        Ok(file) => file.metadata()?.file_type().is_fifo(),
        Err(error) => Errno::from_io_error(error) == Some(Errno::NXIO),
    };
    if is_pipe {
        return Err(io::Error::other("it is a pipe or a socket, and lines go to a file only"));
    }
    let file = file?;
    fcntl_setfl(&file, OFlags::APPEND)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, Mode, mkfifoat};
    use std::{fs, os::unix::fs::PermissionsExt as _};

    #[test]
    fn lines_go_to_the_file_of_that_name_after_it_was_renamed_and_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let (path, rotated) = (folder.path().join("log"), folder.path().join("log.1"));
        fs::write(&path, "old\n").unwrap();
        let file = LogFile::open(&path).unwrap();

        file.write(b"one\n").unwrap();
        fs::rename(&path, &rotated).unwrap();
        file.write(b"two\n").unwrap();
        file.reopen().unwrap();
        file.write(b"three\n").unwrap();

        assert_eq!(fs::read_to_string(&rotated).unwrap(), "old\none\ntwo\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "three\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o137, 0, "others read nothing");
    }

    #[test]
    fn a_pipe_is_refused_whether_somebody_reads_it_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        mkfifoat(CWD, &path, Mode::RUSR | Mode::WUSR).unwrap();

        assert!(LogFile::open(&path).unwrap_err().to_string().contains("a pipe"), "without a reader");
        let _reader = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        assert!(LogFile::open(&path).unwrap_err().to_string().contains("a pipe"), "with a reader");
    }

    #[test]
    fn a_file_that_cannot_be_opened_again_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs").join("log");
        fs::create_dir(path.parent().unwrap()).unwrap();
        let file = LogFile::open(&path).unwrap();
        let moved = folder.path().join("moved");
        fs::rename(path.parent().unwrap(), &moved).unwrap();

        file.reopen().unwrap_err();
        file.write(b"line\n").unwrap();

        assert_eq!(fs::read_to_string(moved.join("log")).unwrap(), "line\n");
    }
}

//! Keeps the files of a model open while the server runs, so that an engine that is started later loads the same files
//! as the first one.
//!
//! Owns the descriptors. A file that is moved away or replaced under its name exists as long as a descriptor is open. A
//! file that is written to or cut in place is lost: [`difference`] detects that by its size and the time of its last
//! change; contents are not compared.

use super::parts::parts;
use crate::protocol::OpenedFile;
use std::{
    fs::{File, Metadata},
    io,
    os::{fd::AsRawFd, unix::fs::MetadataExt},
    path::{Path, PathBuf},
    process,
};

/// The files of a model, with descriptors that are open while this value exists.
#[derive(Debug)]
pub struct OpenedModel {
    /// Identity and `/proc` path of each part, in order; the paths are valid while this value exists.
    pub files: Vec<OpenedFile>,
    _open: Vec<File>,
}

impl OpenedModel {
    /// Opens the file of a model, or all of its parts if they exist.
    ///
    /// # Errors
    /// A file cannot be opened.
    pub fn open(model: &Path) -> io::Result<Self> {
        let mut names = parts(model);
        let is_whole = names.iter().all(|name| name.is_file());
        if !is_whole {
            names = vec![model.to_owned()];
        }
        let open = names.iter().map(File::open).collect::<io::Result<Vec<File>>>()?;
        let mut files = names.into_iter().zip(&open).map(|(name, file)| describe(name, file)).collect::<io::Result<Vec<_>>>()?;
        if !is_whole {
            // Either the file is only named like a part, or a part is missing. llama.cpp finds the other parts by the
            // name of this one, and its error names the missing part.
            files.iter_mut().for_each(|file| file.held = None);
        }
        Ok(Self { files, _open: open })
    }
}

fn describe(name: PathBuf, file: &File) -> io::Result<OpenedFile> {
    let seen = file.metadata()?;
    let held = PathBuf::from(format!("/proc/{}/fd/{}", process::id(), file.as_raw_fd()));
    let opened = OpenedFile { name, held: None, device: seen.dev(), inode: seen.ino(), bytes: seen.len(), modified: modified(&seen) };
    let is_there = difference(&opened, &held).is_ok_and(|difference| difference.is_none());
    Ok(OpenedFile { held: is_there.then_some(held), ..opened })
}

fn modified(seen: &Metadata) -> (i64, i64) {
    (seen.mtime(), seen.mtime_nsec())
}

/// The difference, in words, between the file that is at `path` now and the opened one; `None` if there is none.
///
/// `st_ctim` is not compared: it changes when another file takes the name.
///
/// # Errors
/// There is no file at `path`.
pub fn difference(opened: &OpenedFile, path: &Path) -> io::Result<Option<String>> {
    let seen = path.metadata()?;
    Ok(if (seen.dev(), seen.ino()) != (opened.device, opened.inode) {
        Some("another file has its name".to_owned())
    } else if seen.len() != opened.bytes {
        Some(format!("it has {} bytes, and had {}", seen.len(), opened.bytes))
    } else if modified(&seen) != opened.modified {
        Some("it was written to".to_owned())
    } else {
        None
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        fs,
        time::{Duration, SystemTime},
    };

    fn write(path: &Path, text: &str) {
        fs::write(path, text).unwrap();
        // The time is set explicitly: two writes within one tick of the file system's clock would get equal times.
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(text.bytes().map(u64::from).sum());
        File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }

    #[test]
    fn a_file_whose_name_another_takes_is_still_the_one_that_was_opened() {
        let folder = tempfile::tempdir().unwrap();
        let (model, other) = (folder.path().join("m.gguf"), folder.path().join("other.gguf"));
        write(&model, "one");
        write(&other, "two");
        let opened = OpenedModel::open(&model).unwrap();
        let [file] = &opened.files[..] else { panic!("{opened:?}") };
        assert_eq!(difference(file, &model).unwrap(), None);

        fs::rename(&other, &model).unwrap();

        let held = file.held.as_deref().expect("Linux has /proc");
        assert_eq!((difference(file, held).unwrap(), fs::read_to_string(held).unwrap().as_str()), (None, "one"));
        assert_eq!(difference(file, &model).unwrap().as_deref(), Some("another file has its name"));
    }

    #[test]
    fn one_part_of_several_is_loaded_by_its_name_so_that_the_missing_ones_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let part = folder.path().join("m-00001-of-00002.gguf");
        write(&part, "one");

        let opened = OpenedModel::open(&part).unwrap();

        assert_eq!(opened.files.iter().map(|file| (&file.name, &file.held)).collect::<Vec<_>>(), [(&part, &None)]);
    }

    #[test]
    fn a_file_that_is_written_to_or_cut_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let model = folder.path().join("m.gguf");
        for (text, words) in [("two", "written to"), ("on", "2 bytes, and had 3"), ("", "0 bytes")] {
            write(&model, "one");
            let opened = OpenedModel::open(&model).unwrap();

            write(&model, text);

            let held = opened.files[0].held.as_deref().expect("Linux has /proc");
            let difference = difference(&opened.files[0], held).unwrap().unwrap_or_default();
            assert!(difference.contains(words), "{text:?}: {difference}");
        }
    }

    #[test]
    fn all_parts_are_held_if_they_are_there() {
        let folder = tempfile::tempdir().unwrap();
        let part = |n: u32| folder.path().join(format!("m-0000{n}-of-00002.gguf"));
        write(&part(1), "one");
        let names = || OpenedModel::open(&part(1)).unwrap().files.into_iter().map(|file| file.name).collect::<Vec<_>>();
        assert_eq!(names(), [part(1)]);

        write(&part(2), "two");

        assert_eq!(names(), [part(1), part(2)]);
        assert!(OpenedModel::open(&folder.path().join("none.gguf")).is_err());
    }
}

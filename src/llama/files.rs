//! Chooses the paths that llama.cpp opens: the files that the server holds, even if others have their names now.
//!
//! llama.cpp finds the parts of a model by their names. So a model in several parts gets links with such names in a
//! folder of their own. This module owns the folder and removes it when the model is loaded.

use crate::{
    models::opened::difference,
    protocol::{LoadError, OpenedFile},
};
use std::{
    io::{self, ErrorKind},
    os::unix::fs::symlink,
    path::{Path, PathBuf, absolute},
};
use tempfile::TempDir;

/// The files of one model.
#[derive(Debug)]
pub(super) struct Files<'a> {
    path: PathBuf,
    opened: &'a [OpenedFile],
    /// The folder of links to the parts of a model in several parts.
    _links: Option<TempDir>,
}

impl<'a> Files<'a> {
    /// Finds the files of `name`: those in `opened`, or the file at `name` if none were opened.
    ///
    /// # Errors
    /// `Changed` if one of them was changed, `NotFound` if it is gone.
    pub(super) fn find(name: &Path, opened: &'a [OpenedFile]) -> Result<Self, LoadError> {
        let (path, links) = match opened {
            [] => (name.to_owned(), None),
            [file] => (current(file).to_owned(), None),
            parts => match links_to(parts) {
                Ok((first, links)) => (first, Some(links)),
                Err(error) => {
                    tracing::warn!(%error, "no links to the parts of the model can be made; loading them by their names");
                    (name.to_owned(), None)
                }
            },
        };
        let files = Self { path, opened, _links: links };
        files.check()?;
        Ok(files)
    }

    /// The path for llama.cpp to open.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Fails if a file differs from the one that was opened. Call it before and after a load, because a load takes a
    /// while.
    ///
    /// # Errors
    /// The errors of [`Self::find`].
    pub(super) fn check(&self) -> Result<(), LoadError> {
        for file in self.opened {
            let by_name = self.opened.len() > 1 && self._links.is_none();
            let found = difference(file, if by_name { &file.name } else { current(file) });
            let name = file.name.display();
            match found {
                Ok(None) => {}
                Ok(Some(difference)) => return Err(LoadError::Changed(format!("{name}: {difference}"))),
                Err(error) if error.kind() == ErrorKind::NotFound => return Err(LoadError::NotFound(name.to_string())),
                Err(error) => return Err(LoadError::Backend(format!("{name}: {error}"))),
            }
        }
        Ok(())
    }
}

/// The file itself, or its name if the server's descriptors cannot be seen (a `/proc` that hides other processes).
fn current(file: &OpenedFile) -> &Path {
    file.held.as_deref().filter(|held| held.exists()).unwrap_or(&file.name)
}

/// Makes a folder of links to the parts of a model, under their names; returns it with the first link. Dropping the
/// folder removes it. A folder that a killed engine leaves does no harm, as each has another name.
fn links_to(parts: &[OpenedFile]) -> io::Result<(PathBuf, TempDir)> {
    let folder = tempfile::Builder::new().prefix("llamero-parts-").tempdir()?;
    let mut first = PathBuf::new();
    for part in parts.iter().rev() {
        first = folder.path().join(part.name.file_name().unwrap_or_default());
        symlink(absolute(current(part))?, &first)?;
    }
    Ok((first, folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(name: &str) -> OpenedFile {
        OpenedFile { name: PathBuf::from(name), held: None, device: 0, inode: 0, bytes: 0, modified: (0, 0) }
    }

    #[test]
    fn links_to_parts_that_are_named_relative_to_the_working_folder_lead_to_them() {
        let (first, folder) = links_to(&[part("src/lib.rs"), part("src/main.rs")]).unwrap();

        assert_eq!(first, folder.path().join("lib.rs"));
        assert_eq!(first.canonicalize().unwrap(), Path::new("src/lib.rs").canonicalize().unwrap());
        assert!(folder.path().join("main.rs").exists());
    }
}

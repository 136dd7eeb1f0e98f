//! From which paths a model is loaded: those of the files that the server opened, whatever is under their names by now.
//!
//! llama.cpp finds the parts of a model by their names. So the files of one in several parts get links with such names in a folder
//! of their own, which is owned here and goes when the model is loaded.

use crate::{
    models::opened::difference,
    protocol::{LoadError, OpenedFile},
};
use std::{
    env, fs,
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, symlink},
    path::{Path, PathBuf},
    process,
};

/// The files of one model.
#[derive(Debug)]
pub(super) struct Files<'a> {
    path: PathBuf,
    opened: &'a [OpenedFile],
    /// See the module.
    _links: Option<Links>,
}

impl<'a> Files<'a> {
    /// Of the model of this name, as the server `opened` them; if it opened none, whatever is under the name.
    ///
    /// # Errors
    /// `Changed` if one of them is not what it was, `NotFound` if it is gone.
    pub(super) fn find(name: &Path, opened: &'a [OpenedFile]) -> Result<Self, LoadError> {
        let (path, links) = match opened {
            [] => (name.to_owned(), None),
            [file] => (current(file).to_owned(), None),
            parts => match Links::to(parts) {
                Ok(links) => (links.first.clone(), Some(links)),
                Err(error) => {
                    tracing::debug!(%error, "the parts of the model are loaded by their names");
                    (name.to_owned(), None)
                }
            },
        };
        let files = Self { path, opened, _links: links };
        files.check()?;
        Ok(files)
    }

    /// The path that llama.cpp is to open.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether all are what they were. To be asked after a load too, as it takes a while.
    ///
    /// # Errors
    /// As [`Self::find`].
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

/// The file itself, or its name where the server's descriptors are not to be seen (a `/proc` that hides other processes).
fn current(file: &OpenedFile) -> &Path {
    file.held.as_deref().filter(|held| held.exists()).unwrap_or(&file.name)
}

/// A folder of links to the parts of a model, under their names.
#[derive(Debug)]
struct Links {
    folder: PathBuf,
    first: PathBuf,
}

impl Links {
    fn to(parts: &[OpenedFile]) -> io::Result<Self> {
        let folder = env::temp_dir().join(format!("llamero-parts-{}", process::id()));
        // Fails if it is there: whoever made it might point its links elsewhere.
        fs::DirBuilder::new().mode(0o700).create(&folder)?;
        let mut links = Self { first: PathBuf::new(), folder };
        for part in parts.iter().rev() {
            links.first = links.folder.join(part.name.file_name().unwrap_or_default());
            symlink(current(part), &links.first)?;
        }
        Ok(links)
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            tracing::warn!(%error, folder = %self.folder.display(), "a folder of links is left");
        }
    }
}

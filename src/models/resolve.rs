//! Turns a user's name or path of a model into a checked file, which is fetched first if it is missing.

use super::{
    Catalog,
    folder::{ModelsFolder, NoFolder},
    gguf::{self, GgufError, GgufSummary},
    pull::PullError,
    store::{Store, StoredModel, VerifyError},
};
use crate::config::Environment;
use std::path::{Path, PathBuf};

/// A checked model for the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Path of the file.
    pub path: PathBuf,
    /// The facts in the file's header.
    pub summary: GgufSummary,
}

/// The reason why a model cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The model looks like a path, and there is no file.
    #[error("there is no file {path}")]
    NoFile {
        /// The path, as the user gave it.
        path: String,
    },
    /// The model looks like a name, and there is no folder to search for it.
    #[error(transparent)]
    NoFolder(#[from] NoFolder),
    /// The model looks like a name, and no known model and no file has it.
    #[error("there is no model {name:?}{meant}; `llamero models` lists those known, and any GGUF file can be given by its path")]
    Unknown {
        /// The name, as the user gave it.
        name: String,
        /// A suggestion to insert into the message, or nothing.
        meant: String,
    },
    /// A known model's file is damaged or another file.
    #[error("`llamero pull {name}` fetches it anew; to serve the file as it is, give its path with --model")]
    Broken {
        /// The model's name.
        name: String,
        /// The fault of the file.
        source: VerifyError,
    },
    /// The model could not be fetched.
    #[error("{name} could not be fetched")]
    Pull {
        /// The model's name.
        name: String,
        /// The cause.
        source: PullError,
    },
    /// The file is not usable.
    #[error("{path} is not a usable model")]
    Header {
        /// Path of the file.
        path: String,
        /// The cause.
        source: GgufError,
    },
}

/// The places in which models are searched. A folder is needed only for a name that is no path.
#[derive(Debug, Clone, Copy)]
pub struct ModelSearch<'a> {
    /// The models folder, if the user named one.
    pub models_dir: Option<&'a Path>,
    /// The environment: it names the folder if the user did not, and has the settings for downloads.
    pub environment: &'a Environment,
    /// The known models.
    pub catalog: &'a Catalog,
}

impl ModelSearch<'_> {
    /// The same as [`Store::resolve`], in the store of this user.
    ///
    /// # Errors
    /// See [`ResolveError`].
    pub fn resolve(&self, wanted: &str) -> Result<Resolved, ResolveError> {
        if Path::new(wanted).is_file() {
            return checked(PathBuf::from(wanted));
        }
        if looks_like_path(wanted) && self.catalog.get(wanted).is_none() {
            return Err(ResolveError::NoFile { path: wanted.to_owned() });
        }
        Store::new(ModelsFolder::locate(self.models_dir, self.environment)?, self.environment).resolve(wanted, self.catalog)
    }
}

fn looks_like_path(wanted: &str) -> bool {
    Path::new(wanted).components().count() != 1
}

fn checked(path: PathBuf) -> Result<Resolved, ResolveError> {
    let summary = gguf::check_file(&path).map_err(|source| ResolveError::Header { path: path.display().to_string(), source })?;
    Ok(Resolved { path, summary })
}

impl Store {
    /// Finds a model and checks its header. Uses the first of these that fits:
    ///
    /// 1. the path of a file;
    /// 2. a name in the catalog: verified if it was not yet, fetched if it is not here;
    /// 3. the name of a file in the models folder, with or without `.gguf`.
    ///
    /// # Errors
    /// See [`ResolveError`].
    pub fn resolve(&self, wanted: &str, catalog: &Catalog) -> Result<Resolved, ResolveError> {
        checked(self.find(wanted, catalog)?)
    }

    fn find(&self, wanted: &str, catalog: &Catalog) -> Result<PathBuf, ResolveError> {
        // (1)
        let as_path = Path::new(wanted);
        if as_path.is_file() {
            return Ok(as_path.to_owned());
        }
        // (2)
        if let Some(model) = catalog.get(wanted) {
            let name = || model.name.clone();
            return match self.stored(model) {
                StoredModel::Verified(path) => Ok(path),
                StoredModel::Unverified(path) => match self.verify(model, &path) {
                    Ok(()) => Ok(path),
                    Err(source) => Err(ResolveError::Broken { name: name(), source }),
                },
                StoredModel::Missing => self.pull(model).map_err(|source| ResolveError::Pull { name: name(), source }),
            };
        }
        // (3)
        let looks_like_path = looks_like_path(wanted);
        let candidates = [self.folder.file(wanted), self.folder.file(&format!("{wanted}.gguf"))];
        match candidates.into_iter().find(|path| !looks_like_path && path.is_file()) {
            Some(path) => Ok(path),
            None if looks_like_path || wanted.ends_with(".gguf") => Err(ResolveError::NoFile { path: wanted.to_owned() }),
            None => {
                let meant = crate::config::closest(wanted, catalog.models.iter().map(|model| model.name.as_str()));
                let meant = meant.map_or(String::new(), |name| format!(" (did you mean {name}?)"));
                Err(ResolveError::Unknown { name: wanted.to_owned(), meant })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The error of a search without a home directory.
    fn search(models_dir: Option<&Path>, wanted: &str) -> ResolveError {
        let search = ModelSearch { models_dir, environment: &Environment::default(), catalog: Catalog::embedded() };
        search.resolve(wanted).unwrap_err()
    }

    #[test]
    fn a_path_needs_no_folder_for_models() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("m.gguf");
        std::fs::write(&file, "no model").unwrap();
        let no_folder = || Some(Path::new("/no/such/folder"));

        assert!(matches!(search(no_folder(), file.to_str().unwrap()), ResolveError::Header { .. }));
        assert!(matches!(search(no_folder(), "/no/such/file.gguf"), ResolveError::NoFile { .. }));
        assert!(matches!(search(no_folder(), "no-such-name"), ResolveError::Unknown { .. }));
    }
}

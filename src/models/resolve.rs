//! Turns a user's name or path of a model into a checked file, which is fetched first if it is missing.

use super::{
    Catalog,
    folder::{ModelsFolder, NoFolder},
    gguf::{self, GgufError, GgufSummary},
    parts::parts,
    pull::PullError,
    store::{Store, StoredModel, VerifyError},
};
use crate::config::Environment;
use std::{
    fs, io,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
};

/// A checked model for the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Path of the file.
    pub path: PathBuf,
    /// The facts in the file's header.
    pub summary: GgufSummary,
}

/// A model as far as it is on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LocalModel {
    /// The model, with a sound header.
    Here(Resolved),
    /// A known model that the first use fetches.
    ToBeFetched,
}

/// The reason why a model cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// The model looks like a path, and there is no file.
    #[error("there is no file {path}{hint}")]
    NoFile {
        /// The path.
        path: String,
        /// A remedy to add, or nothing.
        hint: &'static str,
    },
    /// The path names something other than a file.
    #[error("{path} is {kind}")]
    NotAFile {
        /// The path.
        path: String,
        /// The kind, with the remedy.
        kind: String,
    },
    /// The file cannot be read.
    #[error("{path} cannot be read")]
    Unreadable {
        /// The path.
        path: String,
        /// The error of the file system.
        source: io::Error,
    },
    /// A file of a split model is missing.
    #[error("{path} is part 1 of the {count} of a split model, and {missing} is missing")]
    MissingPart {
        /// The first part.
        path: String,
        /// Number of parts.
        count: u64,
        /// The part that is missing, or a sentence part on how it would have to be named.
        missing: String,
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
        match self.store(wanted)? {
            Place::File(file) => checked(file),
            Place::Store(store) => store.resolve(wanted, self.catalog),
        }
    }

    /// As [`Self::resolve`], but fetches nothing and compares no checksum.
    ///
    /// # Errors
    /// See [`ResolveError`].
    pub fn look(&self, wanted: &str) -> Result<LocalModel, ResolveError> {
        let store = match self.store(wanted)? {
            Place::File(file) => return checked(file).map(LocalModel::Here),
            Place::Store(store) => store,
        };
        match self.catalog.get(wanted).map(|model| store.stored(model)) {
            Some(StoredModel::Missing) => Ok(LocalModel::ToBeFetched),
            Some(StoredModel::Unverified(path) | StoredModel::Verified(path)) => checked(path).map(LocalModel::Here),
            None => store.resolve(wanted, self.catalog).map(LocalModel::Here),
        }
    }

    fn store(&self, wanted: &str) -> Result<Place, ResolveError> {
        if let Some(file) = file_at(wanted)? {
            return Ok(Place::File(file));
        }
        if looks_like_path(wanted) && self.catalog.get(wanted).is_none() {
            return Err(no_file(wanted));
        }
        Ok(Place::Store(Store::new(ModelsFolder::locate(self.models_dir, self.environment)?, self.environment)))
    }
}

/// The place of a model: a path, or, by its name, in the store.
enum Place {
    File(PathBuf),
    Store(Store),
}

fn looks_like_path(wanted: &str) -> bool {
    Path::new(wanted).components().count() != 1
}

/// The file that `wanted` names as a path; `None` if there is none, or if it may be a name.
fn file_at(wanted: &str) -> Result<Option<PathBuf>, ResolveError> {
    let path = Path::new(wanted);
    match fs::metadata(path) {
        Ok(found) if found.is_file() => Ok(Some(path.to_owned())),
        Ok(found) if looks_like_path(wanted) => {
            Err(ResolveError::NotAFile { path: wanted.to_owned(), kind: kind_of(path, found.file_type()) })
        }
        Err(source) if looks_like_path(wanted) && !is_absence(&source) => Err(ResolveError::Unreadable { path: wanted.to_owned(), source }),
        Ok(_) | Err(_) => Ok(None),
    }
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// Says what stands in place of a file, and what to do.
fn kind_of(path: &Path, found: fs::FileType) -> String {
    if found.is_dir() {
        let first = ModelsFolder::at(path).gguf_files().ok().and_then(|files| files.into_iter().next());
        return match first {
            Some(file) => format!("a folder; give a file in it, such as {}", file.display()),
            None => "a folder, and no GGUF file is in it".to_owned(),
        };
    }
    let kind = if found.is_fifo() { "a pipe" } else { "a device or a socket" };
    format!("{kind}; a model must be a file, because it is read in any order")
}

fn no_file(wanted: &str) -> ResolveError {
    let is_name = |text: &str| text.starts_with(|c: char| c.is_ascii_alphanumeric()) && !text.contains('/');
    let is_of_hub = wanted.split_once('/').is_some_and(|(owner, name)| is_name(owner) && is_name(name) && !name.ends_with(".gguf"));
    let hint = if is_of_hub {
        "; models are not fetched by their Hugging Face name: download a GGUF file of the model and give its path, or give a name that \
         `llamero models` lists"
    } else {
        ""
    };
    ResolveError::NoFile { path: wanted.to_owned(), hint }
}

fn checked(path: PathBuf) -> Result<Resolved, ResolveError> {
    let shown = || path.display().to_string();
    match gguf::check_file(&path) {
        Ok(summary) => {
            check_parts(&path, summary.parts)?;
            Ok(Resolved { path, summary })
        }
        Err(GgufError::LaterPart { part, count }) => {
            match parts(&path).into_iter().next().filter(|first| *first != path && first.is_file()) {
                Some(first) => {
                    tracing::info!("{} is part {part} of {count}; the model is loaded from part 1, {}", shown(), first.display());
                    checked(first)
                }
                None => Err(ResolveError::Header { path: shown(), source: GgufError::LaterPart { part, count } }),
            }
        }
        Err(GgufError::Io(source)) => Err(ResolveError::Unreadable { path: shown(), source }),
        Err(source) => Err(ResolveError::Header { path: shown(), source }),
    }
}

/// Checks that all parts of a model are there, whose first part is at `path`.
fn check_parts(path: &Path, count: u64) -> Result<(), ResolveError> {
    let names = parts(path);
    let missing = if u64::try_from(names.len()) != Ok(count) {
        // llama.cpp finds the others by the name of this one.
        (count > 1).then(|| format!("a name that ends in -00001-of-{count:05}.gguf"))
    } else {
        names.iter().find(|name| !name.is_file()).map(|name| name.display().to_string())
    };
    match missing {
        Some(missing) => Err(ResolveError::MissingPart { path: path.display().to_string(), count, missing }),
        None => Ok(()),
    }
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
        if let Some(file) = file_at(wanted)? {
            return Ok(file);
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
            None if looks_like_path || wanted.ends_with(".gguf") => Err(no_file(wanted)),
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

    fn told(wanted: &Path) -> String {
        let error = search(Some(Path::new("/no/such/folder")), wanted.to_str().unwrap());
        let cause = std::error::Error::source(&error).map_or_else(String::new, |cause| format!(": {cause}"));
        format!("{error}{cause}")
    }

    #[test]
    fn what_stands_in_place_of_a_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let (empty, full, pipe) = (folder.path().join("empty"), folder.path().join("full"), folder.path().join("pipe.gguf"));
        fs::create_dir(&empty).unwrap();
        fs::create_dir(&full).unwrap();
        fs::write(full.join("a.gguf"), "").unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
        let below_file = full.join("a.gguf/b.gguf");

        assert!(told(&empty).ends_with("/empty is a folder, and no GGUF file is in it"), "{}", told(&empty));
        assert!(told(&full).contains("is a folder; give a file in it, such as ") && told(&full).ends_with("/full/a.gguf"));
        assert!(told(&pipe).contains("/pipe.gguf is a pipe; a model must be a file"), "{}", told(&pipe));
        assert!(told(&below_file).starts_with("there is no file "), "{}", told(&below_file));
        let endless = folder.path().join("endless.gguf");
        std::os::unix::fs::symlink(&endless, &endless).unwrap();
        assert!(told(&endless).contains("/endless.gguf cannot be read: "), "{}", told(&endless));
        assert!(told(&full.join("a.gguf")).ends_with("this is not a GGUF file: it is empty"), "{}", told(&full.join("a.gguf")));
    }

    #[test]
    fn a_hugging_face_name_is_recognised() {
        for name in ["meta-llama/Llama-3.1-8B", "Qwen/Qwen3-0.6B"] {
            assert!(told(Path::new(name)).contains("Hugging Face name"), "{name}");
        }
        for path in ["./a/b", "a/b.gguf", "/a/b", "a/b/c"] {
            assert_eq!(told(Path::new(path)), format!("there is no file {path}"));
        }
    }

    #[test]
    fn of_a_split_model_any_part_stands_for_the_first_and_all_must_be_there() {
        let folder = tempfile::tempdir().unwrap();
        let part = |number: u64| folder.path().join(format!("m-0000{number}-of-00002.gguf"));
        let resolve = |path: &Path| {
            let search = ModelSearch { models_dir: None, environment: &Environment::default(), catalog: Catalog::embedded() };
            search.resolve(path.to_str().unwrap())
        };
        fs::write(part(2), gguf::tests::part_of_gguf(1, 2)).unwrap();
        assert!(told(&part(2)).ends_with("this is part 2 of the 2 of a split model; give part 1"), "{}", told(&part(2)));

        fs::write(part(1), gguf::tests::part_of_gguf(0, 2)).unwrap();
        assert_eq!(resolve(&part(2)).unwrap().path, part(1));
        assert_eq!(resolve(&part(1)).unwrap().path, part(1));

        fs::remove_file(part(2)).unwrap();
        assert!(told(&part(1)).ends_with("/m-00002-of-00002.gguf is missing"), "{}", told(&part(1)));
        let renamed = folder.path().join("renamed.gguf");
        fs::rename(part(1), &renamed).unwrap();
        assert!(told(&renamed).ends_with("a name that ends in -00001-of-00002.gguf is missing"), "{}", told(&renamed));
    }
}

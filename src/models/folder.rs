//! The models folder, and the names of the files in it.

use crate::config::Environment;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Maximum number of files that are read when the folder is listed.
const MAX_LISTED: usize = 1000;

/// The folder to which models are downloaded and in which they are looked up. It may not exist yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelsFolder {
    path: PathBuf,
}

/// The error if there is no home directory for models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no folder for models: neither HOME nor XDG_DATA_HOME is set; give one with --models-dir or LLAMERO_MODELS_DIR")]
pub struct NoFolder;

impl ModelsFolder {
    /// Creates the value for the folder at `path`.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The folder to use, the first of these that exists or is set:
    ///
    /// 1. `given` by flag or configuration, then `LLAMERO_MODELS_DIR`;
    /// 2. `models/` of the checkout that the working directory, then the executable, lies in;
    /// 3. `llamero/models` in `XDG_DATA_HOME`, by default `~/.local/share`.
    ///
    /// # Errors
    /// [`NoFolder`] if there is no home directory either.
    pub fn locate(given: Option<&Path>, environment: &Environment) -> Result<Self, NoFolder> {
        let named = given.map(Path::to_owned).or_else(|| environment.path("LLAMERO_MODELS_DIR"));
        let starts = [std::env::current_dir(), std::env::current_exe()];
        let of_checkout = || starts.iter().flatten().find_map(|start| checkout_of(start)).map(|root| root.join("models"));
        named.or_else(of_checkout).or_else(|| data_home(environment)).map(Self::at).ok_or(NoFolder)
    }

    /// The path of the folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in the folder.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The `.gguf` files in the folder, sorted. A folder that does not exist has none.
    ///
    /// # Errors
    /// The folder exists but cannot be read.
    pub fn gguf_files(&self) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(&self.path) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let paths = entries.take(MAX_LISTED).map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()?;
        let mut files: Vec<PathBuf> = paths.into_iter().filter(|path| path.extension().is_some_and(|end| end == "gguf")).collect();
        files.sort();
        Ok(files)
    }
}

/// The root of the llamero checkout around `start`.
pub(crate) fn checkout_of(start: &Path) -> Option<&Path> {
    start.ancestors().find(|folder| folder.join("models/catalog.toml").is_file() && folder.join("Cargo.toml").is_file())
}

fn data_home(environment: &Environment) -> Option<PathBuf> {
    // XDG's specification says to ignore a relative path in XDG_DATA_HOME.
    let named = environment.path("XDG_DATA_HOME").filter(|path| path.is_absolute());
    let home = named.or_else(|| environment.path("HOME").map(|home| home.join(".local/share")))?;
    Some(home.join("llamero/models"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_folder_comes_first_then_the_variable_then_the_checkout() {
        let environment = Environment::of([("LLAMERO_MODELS_DIR", "/from/variable"), ("HOME", "/h/me")]);
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));

        let named = ModelsFolder::locate(Some(Path::new("/from/flag")), &environment).unwrap();
        let variable = ModelsFolder::locate(None, &environment).unwrap();
        // Tests run in the root of the package.
        let default = ModelsFolder::locate(None, &Environment::default()).unwrap();

        assert_eq!(named.path(), Path::new("/from/flag"));
        assert_eq!(variable.path(), Path::new("/from/variable"));
        assert_eq!(default.path(), checkout.join("models"));
        assert_eq!(checkout_of(&checkout.join("src/models")), Some(checkout));
        assert_eq!(checkout_of(Path::new("/")), None);
    }

    #[test]
    fn without_a_checkout_the_data_directory_is_taken() {
        let of = |pairs: &[(&str, &str)]| data_home(&Environment::of(pairs.iter().copied()));

        assert_eq!(of(&[("HOME", "/h/me")]), Some("/h/me/.local/share/llamero/models".into()));
        assert_eq!(of(&[("HOME", "/h/me"), ("XDG_DATA_HOME", "/data")]), Some("/data/llamero/models".into()));
        assert_eq!(of(&[("HOME", "/h/me"), ("XDG_DATA_HOME", "data")]), Some("/h/me/.local/share/llamero/models".into()));
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn only_gguf_files_are_listed() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.gguf", "a.gguf", "a.gguf.part", "a.gguf.ok", "catalog.toml"] {
            fs::write(folder.path().join(name), "").unwrap();
        }

        let files = ModelsFolder::at(folder.path()).gguf_files().unwrap();

        assert_eq!(files, [folder.path().join("a.gguf"), folder.path().join("b.gguf")]);
        assert_eq!(ModelsFolder::at(folder.path().join("none")).gguf_files().unwrap(), Vec::<PathBuf>::new());
    }
}

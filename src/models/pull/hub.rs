//! Fetches models from the Hugging Face hub, or from the mirror in `HF_ENDPOINT`, into the hub's own cache, where they
//! are used.
//!
//! hf-hub defines layout, resumption and locks of the cache. Its environment variables are read here, because hf-hub
//! 0.4 knows only two of them.

use super::PullError;
use crate::{config::Environment, models::progress::Progress};
use hf_hub::{
    Cache, Repo, RepoType,
    api::tokio::{Api, ApiBuilder, ApiError},
};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Bytes that are fetched at a time: an interrupted download continues after the last whole chunk.
const CHUNK_BYTES: usize = 16 * 1024 * 1024;

/// The hub with this user's settings.
#[derive(Clone)]
pub(in crate::models) struct Hub {
    /// The folder of the cache; `None` if there is no home directory for it.
    cache: Option<PathBuf>,
    endpoint: String,
    token: Option<String>,
    offline: bool,
    pub(in crate::models) chunk_bytes: usize,
}

// Debug is not derived: the token is a secret.
impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hub").field("cache", &self.cache).field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Hub {
    /// Reads `HF_HUB_CACHE`, `HF_HOME`, `HF_ENDPOINT`, `HF_TOKEN`, `HF_TOKEN_PATH` and `HF_HUB_OFFLINE`.
    pub(in crate::models) fn of(environment: &Environment) -> Self {
        // XDG's specification says to ignore a relative path in XDG_CACHE_HOME.
        let named = environment.path("XDG_CACHE_HOME").filter(|path| path.is_absolute());
        let user_cache = named.or_else(|| environment.path("HOME").map(|home| home.join(".cache")));
        let home = environment.path("HF_HOME").or_else(|| user_cache.map(|cache| cache.join("huggingface")));
        let in_home = |name: &str| home.as_ref().map(|home| home.join(name));
        let token_file = environment.path("HF_TOKEN_PATH").or_else(|| in_home("token"));
        let token = environment.text("HF_TOKEN").map(str::to_owned).or_else(|| fs::read_to_string(token_file?).ok());
        let endpoint = environment.text("HF_ENDPOINT").unwrap_or("https://huggingface.co");
        let offline = environment.text("HF_HUB_OFFLINE").map(str::to_ascii_lowercase);
        Self {
            cache: environment.path("HF_HUB_CACHE").or_else(|| in_home("hub")),
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            token: token.map(|token| token.trim().to_owned()).filter(|token| !token.is_empty()),
            offline: offline.is_some_and(|word| matches!(word.as_str(), "1" | "true" | "yes" | "on")),
            chunk_bytes: CHUNK_BYTES,
        }
    }

    /// The path of a file that is completely in the cache.
    pub(in crate::models) fn cached(&self, repo: &str, file: &str) -> Option<PathBuf> {
        self.cache()?.repo(repository(repo)).get(file)
    }

    /// True if a path without links is in the cache.
    pub(in crate::models) fn holds(&self, path: &Path) -> bool {
        self.cache.as_ref().and_then(|cache| fs::canonicalize(cache).ok()).is_some_and(|cache| path.starts_with(cache))
    }

    /// Removes a broken file from the cache; leaves files elsewhere alone.
    pub(in crate::models) fn forget(&self, path: &Path) {
        if let Ok(blob) = fs::canonicalize(path)
            && self.holds(&blob)
        {
            for file in [path, &blob] {
                if let Err(error) = fs::remove_file(file) {
                    tracing::warn!("{} is broken and cannot be removed: {error}", file.display());
                }
            }
        }
    }

    /// Fetches a file into the cache. Continues an earlier attempt if there was one.
    pub(in crate::models) fn fetch(&self, repo: &str, file: &str) -> Result<PathBuf, PullError> {
        let failed = |hint: String, source| PullError::Hub { repo: repo.to_owned(), hint, source };
        if self.offline {
            return Err(failed(format!("{file} is not in the cache, and HF_HUB_OFFLINE forbids fetching it"), None));
        }
        let Some(cache) = self.cache() else {
            let hint = "there is no folder to keep it in: none of HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME and HOME is set";
            return Err(failed(hint.to_owned(), None));
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| failed("no runtime".into(), Some(Box::new(ApiError::IoError(error)))))?;
        tracing::info!("fetching {file} from {} of {}", repo, self.endpoint);
        let progress = Progress::new(file, 0);
        let outcome = runtime.block_on(async { self.api(cache)?.repo(repository(repo)).download_with_progress(file, progress).await });
        outcome.map_err(|error| failed(hint(&error), Some(Box::new(error))))
    }

    #[cfg(test)]
    pub(in crate::models) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    fn cache(&self) -> Option<Cache> {
        self.cache.clone().map(Cache::new)
    }

    fn api(&self, cache: Cache) -> Result<Api, ApiError> {
        ApiBuilder::from_cache(cache)
            .with_endpoint(self.endpoint.clone())
            .with_token(self.token.clone())
            .with_chunk_size(Some(self.chunk_bytes))
            .with_user_agent("llamero", env!("CARGO_PKG_VERSION"))
            .build()
    }
}

fn repository(repo: &str) -> Repo {
    Repo::new(repo.to_owned(), RepoType::Model)
}

/// Advice for the user about an error.
fn hint(error: &ApiError) -> String {
    let status = match error {
        ApiError::RequestError(error) => error.status().map(|status| status.as_u16()),
        _ => None,
    };
    match status {
        Some(401 | 403) => "access was refused; accept the model's licence on its page and set HF_TOKEN",
        Some(404) => "there is no such file any more",
        Some(429) => "too many requests; wait, or set HF_TOKEN",
        _ => "the download failed; the next attempt goes on where it stopped (HF_ENDPOINT names a mirror, HTTPS_PROXY a proxy)",
    }
    .to_owned()
}

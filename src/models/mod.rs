//! Known models, downloads, and the check of a GGUF header before llama.cpp sees the file.
//!
//! `catalog` has the known models, `folder` the place of the files, `store` their states; `pull` downloads, `resolve`
//! turns a user's name or path into a checked file, `identity` computes its checksum, `opened` keeps its files open.
//! All functions block: they run on threads of their own.

pub mod catalog;
mod checksum;
pub mod folder;
pub mod gguf;
mod identity;
mod marker;
pub mod opened;
mod parts;
mod plain_file;
mod progress;
pub mod pull;
pub mod resolve;
pub mod store;

pub use catalog::{Catalog, CatalogModel, Source};
pub use folder::ModelsFolder;
pub use identity::model_checksum;
pub use resolve::{LocalModel, ModelSearch, ResolveError, Resolved};
pub use store::{Store, StoredModel};

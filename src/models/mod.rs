//! Known models, downloads, and the check of a GGUF header before llama.cpp sees the file.
//!
//! `catalog` is what is known, `folder` where files are, `store` which of them are usable, `pull` fetches,
//! `resolve` turns what a user calls a model into a checked file, `identity` tells it from others, `opened` holds its files. Everything
//! blocks: it runs on threads of its own.

pub mod catalog;
mod checksum;
pub mod folder;
pub mod gguf;
mod identity;
mod marker;
pub mod opened;
mod plain_file;
mod progress;
pub mod pull;
pub mod resolve;
pub mod store;

pub use catalog::{Catalog, CatalogModel, Source};
pub use folder::ModelsFolder;
pub use identity::model_checksum;
pub use resolve::{ModelSearch, ResolveError, Resolved};
pub use store::{Place, Store};

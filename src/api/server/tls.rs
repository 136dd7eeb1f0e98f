//! The certificate of a server that speaks TLS: read from PEM files at the start, and again on request.
//!
//! A file that is broken, or that does not fit the others, changes nothing. Connections that are open keep the
//! certificate with which they began. TLS 1.2 and 1.3, HTTP/1.1 only.

use crate::config::TlsConfig;
use axum_server::tls_rustls::RustlsConfig;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem, pem::PemObject as _},
    server::WebPkiClientVerifier,
};
use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

/// Maximum size of a file, bytes: thousands of certificates.
const MAX_BYTES: u64 = 4 << 20;

/// The reason why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file is no file, and reading it again would wait for a writer.
    #[error("{} is a pipe or a device, which is read once, at the start", path.display())]
    NoFile {
        /// The path.
        path: PathBuf,
    },
    /// The file is larger than any file of certificates.
    #[error("{} has more than {} MiB, so it is no file of certificates", path.display(), MAX_BYTES >> 20)]
    TooLong {
        /// The file.
        path: PathBuf,
    },
    /// The file has nothing of this kind.
    #[error("{} has no {wanted} in PEM format", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The thing that was looked for.
        wanted: &'static str,
    },
    /// A block of the file cannot be decoded.
    #[error("{} is not valid PEM: {source}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The decoder's error.
        source: pem::Error,
    },
    /// The certificate cannot be used with its key.
    #[error("the certificate of {} and the key of {} cannot be used: {reason}", cert.display(), key.display())]
    Unusable {
        /// The file of the certificate.
        cert: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The certificates for clients cannot be used.
    #[error("the certificates of {} cannot be used to check clients: {reason}", path.display())]
    UnusableClientCa {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
}

/// The certificate that new connections get. Cheap to clone; clones are reloaded together.
#[derive(Debug, Clone)]
pub struct Certificate {
    files: TlsConfig,
    current: RustlsConfig,
}

impl Certificate {
    /// Reads the files.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub fn load(files: &TlsConfig) -> Result<Self, TlsError> {
        Ok(Self { files: files.clone(), current: RustlsConfig::from_config(Arc::new(server_config(files)?)) })
    }

    /// Reads the files again; new connections get what they have now.
    ///
    /// # Errors
    /// As [`Self::load`], or a file is a pipe; the certificate then stays as it was.
    pub fn reload(&self) -> Result<(), TlsError> {
        for path in [Some(&self.files.cert), Some(&self.files.key), self.files.client_ca.as_ref()].into_iter().flatten() {
            if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
                return Err(TlsError::NoFile { path: path.clone() });
            }
        }
        self.current.reload_from_config(Arc::new(server_config(&self.files)?));
        Ok(())
    }

    pub(super) fn current(&self) -> RustlsConfig {
        self.current.clone()
    }
}

fn server_config(files: &TlsConfig) -> Result<ServerConfig, TlsError> {
    let unusable =
        |error: rustls::Error| TlsError::Unusable { cert: files.cert.clone(), key: files.key.clone(), reason: error.to_string() };
    let provider = Arc::new(ring::default_provider());
    let chain = certificates(&files.cert)?;
    let key = private_key(&files.key)?;
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions().map_err(unusable)?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => builder.with_client_cert_verifier(client_verifier(path, provider)?),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(unusable)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

fn client_verifier(path: &Path, provider: Arc<CryptoProvider>) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
    let unusable = |reason: String| TlsError::UnusableClientCa { path: path.to_owned(), reason };
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| unusable(error.to_string()))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().map_err(|error| unusable(error.to_string()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = read(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let certificates = certificates.map_err(|source| TlsError::Malformed { path: path.to_owned(), source })?;
    if certificates.is_empty() { Err(TlsError::Missing { path: path.to_owned(), wanted: "certificate" }) } else { Ok(certificates) }
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| match error {
        pem::Error::NoItemsFound => TlsError::Missing { path: path.to_owned(), wanted: "private key without a passphrase" },
        source => TlsError::Malformed { path: path.to_owned(), source },
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let mut bytes = Vec::new();
    let unreadable = |source| TlsError::Unreadable { path: path.to_owned(), source };
    File::open(path).map_err(unreadable)?.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES { Err(TlsError::TooLong { path: path.to_owned() }) } else { Ok(bytes) }
}

#[cfg(test)]
mod tests;

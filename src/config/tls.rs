//! Options of encrypted connections.

use super::{Kind, OptionSpec, values::SettingsReader};
use std::path::PathBuf;

/// The files of a server that speaks TLS, in PEM format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsConfig {
    /// The server's certificate, followed by those that vouch for it.
    pub cert: PathBuf,
    /// The private key of the certificate.
    pub key: PathBuf,
    /// The certificates of which one must vouch for each client; `None` if clients need none.
    pub client_ca: Option<PathBuf>,
}

const CERT: OptionSpec = OptionSpec::new(
    "tls_cert",
    Kind::Text,
    "",
    "Serve HTTPS with this certificate: a PEM file with the server's certificate first and those that vouch for it after it. SIGHUP reads it again.",
)
.also(&["--ssl-certfile", "--ssl-cert-file"], &["LLAMA_ARG_SSL_CERT_FILE"]);
const KEY: OptionSpec = OptionSpec::new("tls_key", Kind::Text, "", "The private key of tls_cert, a PEM file without a passphrase.")
    .also(&["--ssl-keyfile", "--ssl-key-file"], &["LLAMA_ARG_SSL_KEY_FILE"]);
const CLIENT_CA: OptionSpec = OptionSpec::new(
    "tls_client_ca",
    Kind::Text,
    "",
    "Accept only clients with a certificate that one of this PEM file vouches for (mutual TLS), besides keys. SIGHUP reads it again.",
)
.also(&["--ssl-ca-certs"], &[]);

pub(super) const OPTIONS: &[OptionSpec] = &[CERT, KEY, CLIENT_CA];

impl TlsConfig {
    pub(super) fn read(values: &mut SettingsReader) -> Option<Self> {
        let [cert, key, client_ca] = [&CERT, &KEY, &CLIENT_CA].map(|spec| values.optional_text(spec).map(PathBuf::from));
        match (cert, key) {
            (Some(cert), Some(key)) => return Some(Self { cert, key, client_ca }),
            (Some(_), None) => values.problem(&KEY, "is missing: --tls-cert needs the private key of the certificate"),
            (None, Some(_)) => values.problem(&CERT, "is missing: --tls-key is the key of a certificate"),
            (None, None) if client_ca.is_some() => {
                values.problem(&CERT, "is missing: only a server with a certificate can ask clients for one")
            }
            (None, None) => {}
        }
        None
    }
}

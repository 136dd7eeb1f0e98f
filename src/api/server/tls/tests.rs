//! Certificates that can and cannot be used. Connections: tests/clients/test_tls.py.

use super::*;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use std::fs;
use tempfile::TempDir;

/// Files of a certificate for this name.
fn files(folder: &TempDir, name: &str) -> TlsConfig {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed([name.to_owned()]).unwrap();
    let path = |kind: &str| folder.path().join(format!("{name}.{kind}"));
    fs::write(path("crt"), cert.pem()).unwrap();
    fs::write(path("key"), signing_key.serialize_pem()).unwrap();
    TlsConfig { cert: path("crt"), key: path("key"), client_ca: None }
}

fn served(certificate: &Certificate) -> Arc<ServerConfig> {
    certificate.current().get_inner()
}

#[test]
fn a_certificate_with_its_key_can_be_used_and_speaks_http_1_1() {
    let folder = TempDir::new().unwrap();
    let files = files(&folder, "localhost");
    let mutual = TlsConfig { client_ca: Some(files.cert.clone()), ..files.clone() };

    assert_eq!(served(&Certificate::load(&files).unwrap()).alpn_protocols, [b"http/1.1"]);
    Certificate::load(&mutual).unwrap();
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let folder = TempDir::new().unwrap();
    let (one, two) = (files(&folder, "one"), files(&folder, "two"));
    let with = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    };
    let long = with("long", &vec![b'x'; usize::try_from(MAX_BYTES + 1).unwrap()]);
    let cases = [
        (TlsConfig { cert: folder.path().join("none"), ..one.clone() }, "none cannot be read: "),
        (TlsConfig { cert: folder.path().to_owned(), ..one.clone() }, "cannot be read: "),
        (TlsConfig { cert: one.key.clone(), ..one.clone() }, "one.key has no certificate in PEM format"),
        (TlsConfig { key: one.cert.clone(), ..one.clone() }, "one.crt has no private key without a passphrase in PEM format"),
        (TlsConfig { key: two.key, ..one.clone() }, "cannot be used: "),
        (TlsConfig { cert: with("cut", b"-----BEGIN CERTIFICATE-----\nMIIB\n"), ..one.clone() }, "cut is not valid PEM: "),
        (TlsConfig { cert: long.clone(), ..one.clone() }, "long has more than 4 MiB"),
        (TlsConfig { client_ca: Some(with("empty", b"")), ..one.clone() }, "empty has no certificate in PEM format"),
        (TlsConfig { client_ca: Some(long), ..one }, "long has more than 4 MiB"),
    ];

    for (files, expected) in cases {
        let error = Certificate::load(&files).unwrap_err().to_string();

        assert!(error.contains(expected), "{error}: {expected}");
    }
}

#[test]
fn a_reload_takes_the_new_files_and_broken_ones_change_nothing() {
    let folder = TempDir::new().unwrap();
    let (wanted, other) = (files(&folder, "wanted"), files(&folder, "other"));
    let certificate = Certificate::load(&wanted).unwrap();
    let first = served(&certificate);

    fs::copy(&other.cert, &wanted.cert).unwrap();
    let error = certificate.reload().unwrap_err();
    let after_error = served(&certificate);
    fs::copy(&other.key, &wanted.key).unwrap();
    certificate.reload().unwrap();

    assert!(error.to_string().contains("cannot be used: "), "the key is that of the first certificate: {error}");
    assert!(Arc::ptr_eq(&first, &after_error));
    assert!(!Arc::ptr_eq(&first, &served(&certificate)));
}

#[test]
fn a_pipe_is_not_waited_for_by_a_reload() {
    let folder = TempDir::new().unwrap();
    let files = files(&folder, "localhost");
    let certificate = Certificate::load(&files).unwrap();

    fs::remove_file(&files.key).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &files.key, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR, 0)
        .unwrap();

    assert!(matches!(certificate.reload(), Err(TlsError::NoFile { .. })));
}

//! A model on several machines by ggml's RPC backend: the devices of workers count as devices of the engine's process.
//!
//! The protocol has no keys and no encryption, and a worker trusts what it is sent (ggml/src/ggml-rpc): both ends must
//! be on a network that nobody else reaches. A worker that dies ends the engine's process; another engine is started
//! then and connects again.

use super::{
    backend::backend,
    log,
    raw::rpc::{add_server, is_built_in, serve},
};
use crate::protocol::LoadError;
use std::{
    ffi::CString,
    io::{self, ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    thread,
    time::{Duration, Instant},
};

/// Longest wait for a worker that is not there or serves another engine: it may be starting. No longer, because the
/// gateway holds requests while it tries several loads, and a service manager starts a server that gave up again.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest wait for a worker to accept a connection, and to answer.
const ANSWER: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_secs(1);

/// `RPC_PROTO_MAJOR_VERSION` and `RPC_PROTO_MINOR_VERSION` of ggml-rpc.h.
const VERSION: (u8, u8) = (7, 0);
/// `RPC_CMD_HELLO` of ggml-rpc.cpp.
const HELLO: u8 = 14;
/// Size of `rpc_msg_hello_req`: the capabilities of the connection, none of which is asked for.
const REQUEST_BYTES: u64 = 24;
/// Size of `rpc_msg_hello_rsp`: major, minor, patch, a byte of padding, and the same capabilities.
const RESPONSE_BYTES: u64 = 28;

/// Connects to the workers. Their devices are used by models that are loaded from now on.
///
/// # Errors
/// `Unsupported` if this build has no RPC backend, `Backend` if a worker does not answer within ten seconds or has
/// another version.
pub(super) fn connect(workers: &[SocketAddr]) -> Result<(), LoadError> {
    if workers.is_empty() {
        return Ok(());
    }
    if !is_built_in() {
        return Err(LoadError::Unsupported(
            "--rpc: this build has no RPC backend; build it with GGML_RPC=ON in the environment".to_owned(),
        ));
    }
    for worker in workers {
        let failed = |reason: String| LoadError::Backend(format!("the RPC worker {worker} cannot be used: {reason}"));
        wait_for(worker, PATIENCE, ANSWER).map_err(failed)?;
        drop(log::take_complaints());
        if !add_server(&endpoint(*worker)) {
            return Err(failed(log::take_complaints().unwrap_or_else(|| "it has no devices".to_owned())));
        }
        tracing::info!(%worker, "an RPC worker is connected");
    }
    Ok(())
}

/// Waits until a worker of this version answers. ggml would wait without end for one that serves another engine, and
/// abort the process for one of another version. The error is the reason in words.
fn wait_for(worker: &SocketAddr, patience: Duration, answer: Duration) -> Result<(), String> {
    let deadline = Instant::now() + patience;
    let mut is_said = false;
    loop {
        let reason = match version_of(worker, answer) {
            // The same rule as ggml's (`negotiate_hello`).
            Ok((major, minor)) if major == VERSION.0 && minor <= VERSION.1 => return Ok(()),
            Ok((major, minor)) => {
                let (own_major, own_minor) = VERSION;
                return Err(format!(
                    "it speaks version {major}.{minor} of the protocol, not {own_major}.{own_minor}; both ends need the same llamero"
                ));
            }
            Err(error) if error.kind() == ErrorKind::InvalidData => return Err(error.to_string()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                "it does not answer: another engine uses it, or the network is broken".to_owned()
            }
            Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => {
                "it closed the connection: it is no RPC worker, or one of another version".to_owned()
            }
            Err(error) => error.to_string(),
        };
        if Instant::now() >= deadline {
            return Err(reason);
        }
        if !std::mem::replace(&mut is_said, true) {
            tracing::warn!("the RPC worker {worker} cannot be used yet: {reason}; it is asked again for {patience:?}");
        }
        #[expect(clippy::disallowed_methods, reason = "a worker that starts tells nobody")]
        thread::sleep(PAUSE.min(patience));
    }
}

/// The version of the protocol that a worker speaks, major and minor: greets it as ggml does (`negotiate_hello`). Each
/// step takes at most `patience`. `InvalidData` if it is no RPC worker.
fn version_of(worker: &SocketAddr, patience: Duration) -> io::Result<(u8, u8)> {
    let mut stream = TcpStream::connect_timeout(worker, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let mut request = vec![HELLO];
    request.extend(REQUEST_BYTES.to_ne_bytes());
    request.resize(request.len() + REQUEST_BYTES as usize, 0);
    stream.write_all(&request)?;
    let mut size = [0; 8];
    stream.read_exact(&mut size)?;
    if u64::from_ne_bytes(size) != RESPONSE_BYTES {
        return Err(io::Error::new(ErrorKind::InvalidData, "it is no RPC worker, or one of another version"));
    }
    let mut response = [0; RESPONSE_BYTES as usize];
    stream.read_exact(&mut response)?;
    let [major, minor, ..] = response;
    Ok((major, minor))
}

/// Serves this machine's devices at `address` for ever, one engine after the other. With `cache_dir`, weights that were
/// sent once are kept there.
///
/// # Errors
/// The server cannot be started, or this build has no RPC backend.
pub fn work(address: SocketAddr, cache_dir: Option<&Path>, threads: usize) -> io::Result<()> {
    backend().map_err(io::Error::other)?;
    let cache_dir = cache_dir.map(|path| CString::new(path.as_os_str().as_encoded_bytes())).transpose()?;
    if !serve(&endpoint(address), cache_dir.as_deref(), threads) {
        return Err(io::Error::other("this build has no RPC backend; build it with GGML_RPC=ON in the environment"));
    }
    Err(io::Error::other(log::take_complaints().unwrap_or_else(|| format!("the RPC server at {address} ended by itself"))))
}

fn endpoint(address: SocketAddr) -> CString {
    CString::new(address.to_string()).expect("an address has no NUL")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    const SOON: Duration = Duration::from_millis(200);
    const AMPLE: Duration = Duration::from_secs(30);

    /// The result for a worker that answers a greeting with these bytes and closes the connection.
    fn with_answer(answer: Vec<u8>) -> Result<(), String> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let worker = thread::spawn(move || {
            let (mut client, _) = listener.accept().unwrap();
            let mut greeting = [0; 33];
            client.read_exact(&mut greeting).unwrap();
            client.write_all(&answer).unwrap();
            greeting
        });
        let result = wait_for(&address, Duration::ZERO, AMPLE);
        let greeting = worker.join().unwrap();
        assert_eq!((greeting[0], &greeting[1..9], &greeting[9..]), (14, &24_u64.to_ne_bytes()[..], &[0; 24][..]));
        result
    }

    fn version(major: u8, minor: u8) -> Vec<u8> {
        [28_u64.to_ne_bytes().as_slice(), &[major, minor], &[0; 26]].concat()
    }

    #[test]
    fn a_worker_of_this_version_is_used_and_others_are_named() {
        let (major, minor) = VERSION;
        assert_eq!(with_answer(version(major, minor)), Ok(()));
        assert!(with_answer(version(major - 1, 9)).unwrap_err().contains("it speaks version 6.9 of the protocol, not 7.0"));
        assert!(with_answer(version(major, minor + 1)).unwrap_err().contains("version 7.1"));
        assert!(with_answer(b"HTTP/1.1 400 Bad Request".to_vec()).unwrap_err().contains("no RPC worker"));
        assert!(with_answer(Vec::new()).unwrap_err().contains("closed the connection"), "ggml's answer to a greeting of another size");
    }

    #[test]
    fn one_that_serves_another_engine_and_one_that_is_away_are_named_in_time() {
        let busy = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        assert!(wait_for(&busy.local_addr().unwrap(), Duration::ZERO, SOON).unwrap_err().contains("another engine uses it"));

        let away = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
        assert!(wait_for(&away, SOON, SOON).unwrap_err().contains("refused"));
    }

    #[test]
    fn one_that_starts_meanwhile_is_waited_for() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let waiting = thread::spawn(move || wait_for(&address, AMPLE, AMPLE));
        // As a worker that ends, and its successor.
        drop(listener.accept().unwrap());
        let (mut client, _) = listener.accept().unwrap();
        client.write_all(&version(VERSION.0, VERSION.1)).unwrap();
        assert_eq!(waiting.join().unwrap(), Ok(()));
    }
}

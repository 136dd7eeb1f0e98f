//! A server behind a real socket, and a client that writes bytes: tests of hyper and of the connections.

use super::server::TestServer;
use llamero::{
    api::server::{Endpoint, Server},
    gateway::keys::KeyRing,
};
use std::{future::pending, io, net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinHandle,
};

/// Maximum wait: everything here is quick, so a longer wait means a hang.
const PATIENCE: Duration = Duration::from_secs(30);

/// A port on which a [`TestServer`] answers until this value is dropped.
pub(crate) struct Listening {
    pub(crate) address: SocketAddr,
    task: JoinHandle<io::Result<()>>,
}

impl Listening {
    /// Listens on a port that the system chooses.
    pub(crate) fn start(server: &TestServer) -> Self {
        let listener = Server::bind(&server.listen, &KeyRing::default()).unwrap();
        let Endpoint::Tcp(address) = *listener.endpoint() else { panic!("tests listen on TCP") };
        Self { address, task: tokio::spawn(listener.serve(server.router(), pending())) }
    }

    pub(crate) async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.address).await.unwrap())
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A connection; dropping it closes it.
pub(crate) struct Client(pub(crate) TcpStream);

/// One response of HTTP/1.1.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    /// Status line and headers, in lower case.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Client {
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        within(self.0.write_all(bytes.as_ref())).await.unwrap();
    }

    /// Closes the sending side, and continues to read.
    pub(crate) async fn finish_sending(&mut self) {
        within(self.0.shutdown()).await.unwrap();
    }

    /// The next response with a length, including interim ones.
    pub(crate) async fn response(&mut self) -> Response {
        let head = self.head().await;
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        within(self.0.read_exact(&mut body)).await.unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Response { status, head, body: String::from_utf8(body).unwrap() }
    }

    /// The next response that is not interim.
    pub(crate) async fn final_response(&mut self) -> Response {
        loop {
            let response = self.response().await;
            if response.status >= 200 {
                return response;
            }
        }
    }

    /// The head of the next response, in lower case.
    pub(crate) async fn head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let byte = within(self.0.read_u8()).await;
            head.push(byte.unwrap_or_else(|error| panic!("{error} after {:?}", String::from_utf8_lossy(&head))));
        }
        String::from_utf8(head).unwrap().to_lowercase()
    }

    /// Reads up to the end of `text`, wherever it comes.
    pub(crate) async fn until(&mut self, text: &str) {
        let mut seen = Vec::new();
        while !seen.ends_with(text.as_bytes()) {
            let byte = within(self.0.read_u8()).await;
            seen.push(byte.unwrap_or_else(|error| panic!("{error} after {:?}", String::from_utf8_lossy(&seen))));
        }
    }

    /// Reads everything until the server closes the connection.
    pub(crate) async fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        within(self.0.read_to_end(&mut bytes)).await.unwrap();
        String::from_utf8(bytes).unwrap()
    }
}

/// A POST of JSON.
pub(crate) fn post(path: &str, body: &str) -> String {
    format!("{}{body}", head_of_post(path, body.len(), ""))
}

/// The head of a POST of `length` bytes, with more header lines.
pub(crate) fn head_of_post(path: &str, length: usize, lines: &str) -> String {
    format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{lines}Content-Length: {length}\r\n\r\n")
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("the server hangs")
}

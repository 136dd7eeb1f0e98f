//! Tests with real sockets on loopback. None waits for a time: each reads until the server answers or closes.

use super::*;
use crate::{
    api::testing::{Setup, TestApp},
    config::KeyConfig,
};
use axum::routing::{get, post};
use std::{future::pending, sync::Arc};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    sync::{Notify, oneshot},
    task::JoinHandle,
    time::timeout,
};

fn config() -> ListenConfig {
    ListenConfig {
        host: IpAddr::from([127, 0, 0, 1]),
        port: 0,
        unix_socket: None,
        insecure_no_auth: false,
        header_timeout: Duration::from_secs(60),
        idle_timeout: Duration::from_secs(60),
        shutdown_delay: Duration::ZERO,
        drain_timeout: Duration::from_secs(60),
    }
}

fn hello() -> Router {
    Router::new().route("/", get(async || "hello"))
}

fn tcp(server: &Server) -> SocketAddr {
    match server.endpoint() {
        Endpoint::Tcp(address) => *address,
        Endpoint::Unix(path) => panic!("{}", path.display()),
    }
}

struct Running {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<io::Result<()>>,
}

fn start(config: &ListenConfig, connections: usize, router: Router) -> Running {
    start_within(config, Bounds::of(connections), router)
}

fn start_within(config: &ListenConfig, bounds: Bounds, router: Router) -> Running {
    let server = Server::bind(config, &KeyRing::default()).unwrap();
    let address = tcp(&server);
    let (stop, stopped) = oneshot::channel::<()>();
    let drain_timeout = config.drain_timeout;
    let task = tokio::spawn(server.serve_within(bounds, router, async move {
        if stopped.await.is_err() {
            pending::<()>().await;
        }
        drain_timeout
    }));
    Running { address, stop: Some(stop), task }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Sends `bytes` and reads until the server closes the connection.
async fn exchange(address: SocketAddr, bytes: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    read_all(&mut stream).await
}

/// The bytes that the server sends until it closes; a reset is a close too.
async fn read_all(stream: &mut TcpStream) -> String {
    let read = async {
        let mut answer = Vec::new();
        let mut buffer = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            answer.extend_from_slice(&buffer[..read]);
        }
        String::from_utf8(answer).unwrap()
    };
    within_a_minute(read).await
}

/// A test that waits in vain fails instead of hanging.
async fn within_a_minute<T>(event: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(60), event).await.expect("it should have happened by now")
}

fn status(answer: &str) -> &str {
    answer.split("\r\n").next().unwrap_or_default()
}

#[test]
fn listening_for_everybody_without_keys_is_refused_before_anything_is_opened() {
    // If the server tried to listen, the error would be that the port is in use.
    let taken = TcpListener::bind("0.0.0.0:0").unwrap();
    let everywhere = ListenConfig { host: IpAddr::from([0, 0, 0, 0]), port: taken.local_addr().unwrap().port(), ..config() };

    let error = Server::bind(&everywhere, &KeyRing::default()).unwrap_err();

    assert!(matches!(error, ListenError::OpenToEverybody { .. }), "{error}");
    assert!(error.to_string().contains("--insecure-no-auth"), "{error}");
}

#[test]
fn beyond_loopback_keys_or_insistence_are_enough() {
    let everywhere = ListenConfig { host: IpAddr::from([0, 0, 0, 0]), ..config() };
    let keys = KeyRing::load(&KeyConfig { keys: vec!["key".to_owned()], file: None }).unwrap();

    assert!(tcp(&Server::bind(&everywhere, &keys).unwrap()).port() > 0);
    let insisting = ListenConfig { insecure_no_auth: true, ..everywhere };
    assert!(tcp(&Server::bind(&insisting, &KeyRing::default()).unwrap()).port() > 0);
}

#[test]
fn a_socket_that_was_handed_over_is_served_whatever_the_configuration_names_unless_it_is_open_to_everybody() {
    let (loopback, everywhere) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("0.0.0.0:0").unwrap());
    let address = loopback.local_addr().unwrap();

    let server = Server::take_over(OpenSocket::Tcp(loopback), &config(), &KeyRing::default()).unwrap();
    let error = Server::take_over(OpenSocket::Tcp(everywhere), &config(), &KeyRing::default()).unwrap_err();

    assert_eq!(tcp(&server), address);
    assert!(matches!(error, ListenError::OpenToEverybody { .. }), "{error}");
}

#[test]
fn a_socket_that_was_handed_over_must_listen() {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();

    let error = Server::take_over(OpenSocket::Tcp(TcpListener::from(socket)), &config(), &KeyRing::default()).unwrap_err();

    assert!(matches!(error, ListenError::NotListening), "{error}");
}

#[test]
fn a_port_in_use_is_named_with_the_way_out() {
    let first = Server::bind(&config(), &KeyRing::default()).unwrap();
    let same = ListenConfig { port: tcp(&first).port(), ..config() };

    let error = Server::bind(&same, &KeyRing::default()).unwrap_err();

    let expected = format!("port {} on 127.0.0.1 is in use; stop what listens there, or choose another port with --port", same.port);
    assert_eq!(error.to_string(), expected);
}

#[test]
fn each_reason_not_to_listen_has_its_own_words() {
    let address = SocketAddr::from(([10, 0, 0, 1], 80));
    let words = |kind: io::ErrorKind| ListenError::new(address, io::Error::new(kind, "os")).to_string();

    assert!(words(io::ErrorKind::PermissionDenied).starts_with("no permission to listen on port 80;"));
    assert!(words(io::ErrorKind::AddrNotAvailable).starts_with("this machine has no address 10.0.0.1;"));
    assert_eq!(words(io::ErrorKind::Other), "cannot listen on 10.0.0.1:80: os");
}

#[tokio::test]
async fn a_head_that_does_not_end_in_time_is_cut_off() {
    let server = start(&ListenConfig { header_timeout: Duration::from_millis(50), ..config() }, 8, hello());

    assert_eq!(exchange(server.address, "").await, "");
    assert_eq!(exchange(server.address, "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ").await, "");
}

#[tokio::test]
async fn a_connection_that_is_silent_after_an_answer_is_closed_after_the_idle_timeout() {
    let short = Duration::from_millis(20);
    let server = start(&ListenConfig { header_timeout: short, idle_timeout: short, ..config() }, 8, hello());

    assert!(exchange(server.address, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.ends_with("hello"));
}

#[tokio::test]
async fn a_connection_may_be_silent_for_longer_than_a_head_may_take() {
    let server = start(&ListenConfig { header_timeout: Duration::from_millis(20), ..config() }, 8, hello());
    let mut kept = TcpStream::connect(server.address).await.unwrap();
    kept.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = [0; 4096];
    assert_ne!(kept.read(&mut answer).await.unwrap(), 0);

    // The time of a head passes.
    assert_eq!(exchange(server.address, "GET / HTTP/1.1\r\n").await, "");
    kept.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();

    assert!(read_all(&mut kept).await.ends_with("hello"));
}

#[tokio::test]
async fn a_client_that_never_reads_loses_its_stream() {
    let dropped = Arc::new(Notify::new());
    let told = Arc::clone(&dropped);
    // An answer without end, which signals when it is dropped.
    let endless = async move || {
        let guard = notify_on_drop(told);
        axum::body::Body::from_stream(async_stream::stream! {
            let _guard = guard;
            loop {
                yield Ok::<_, io::Error>(vec![b'x'; 64 * 1024]);
            }
        })
    };
    let router = Router::new().route("/", get(endless));
    let server = start_within(&config(), Bounds { write_timeout: Duration::from_millis(50), ..Bounds::of(8) }, router);
    let mut client = TcpStream::connect(server.address).await.unwrap();

    client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();

    within_a_minute(dropped.notified()).await;
}

const HOUR: Duration = Duration::from_secs(3600);

/// A client that has its whole answer and may continue to send: it asked whether to send its body, and was answered
/// without it.
async fn lingering(bounds: Bounds) -> (Running, TcpStream) {
    let server = start_within(&config(), bounds, Router::new().route("/", post(async || "hello")));
    let mut client = TcpStream::connect(server.address).await.unwrap();
    client.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\nExpect: 100-continue\r\n\r\n").await.unwrap();
    let answer = read_all(&mut client).await;
    assert_eq!(status(&answer), "HTTP/1.1 200 OK");
    (server, client)
}

/// Waits until the server closes a connection to which the client goes on sending. Returns the number of bytes sent.
async fn send_until_closed(client: &mut TcpStream, piece: usize) -> usize {
    let send = async {
        let mut sent = 0;
        while client.write_all(&vec![b'x'; piece]).await.is_ok() {
            sent += piece;
            tokio::task::yield_now().await;
        }
        sent
    };
    within_a_minute(send).await
}

#[tokio::test]
async fn a_client_that_is_silent_after_its_last_answer_loses_its_place() {
    let bounds = Bounds { linger_silence: Duration::from_millis(50), linger_time: HOUR, ..Bounds::of(1) };
    let (server, _silent) = lingering(bounds).await;

    within_a_minute(async {
        while exchange(server.address, "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").await.is_empty() {}
    })
    .await;
}

#[tokio::test]
async fn a_client_that_never_stops_sending_is_cut_off_after_a_time() {
    let bounds = Bounds { linger_silence: HOUR, linger_time: Duration::from_millis(50), linger_bytes: usize::MAX, ..Bounds::of(1) };
    let (_server, mut client) = lingering(bounds).await;

    send_until_closed(&mut client, 1).await;
}

#[tokio::test]
async fn a_client_that_never_stops_sending_is_cut_off_after_a_number_of_bytes() {
    let bounds = Bounds { linger_silence: HOUR, linger_time: HOUR, linger_bytes: 100_000, ..Bounds::of(1) };
    let (_server, mut client) = lingering(bounds).await;

    let sent = send_until_closed(&mut client, 1000).await;

    assert!(sent >= 100_000, "{sent}");
}

#[tokio::test]
async fn the_rest_of_a_body_is_waited_for_for_a_time() {
    let bounds = Bounds { drain_time: Duration::from_millis(50), linger_silence: HOUR, linger_time: HOUR, ..Bounds::of(8) };
    let server = start_within(&config(), bounds, Router::new().route("/", post(async || "hello")));

    // No byte of this body is sent.
    let answer = exchange(server.address, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n").await;

    assert_eq!(status(&answer), "HTTP/1.1 200 OK");
}

#[tokio::test]
async fn a_body_that_came_too_late_is_drained_behind_its_answer() {
    let mut setup = Setup::default();
    setup.config.max_body_bytes = 8 << 20;
    setup.config.body_timeout = Duration::from_millis(5);
    let app = TestApp::start(setup).await;
    // The server waits only for the drained connections.
    let bounds = Bounds { drain_time: HOUR, linger_silence: Duration::ZERO, linger_time: Duration::ZERO, ..Bounds::of(8) };
    let server = start_within(&config(), bounds, app.router.clone());
    let mut client = TcpStream::connect(server.address).await.unwrap();
    let length = 4 << 20;

    client.write_all(format!("POST /generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n").as_bytes()).await.unwrap();
    let mut first = [0; 12];
    within_a_minute(client.read_exact(&mut first)).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 408");
    within_a_minute(client.write_all(&vec![b'x'; length])).await.expect("all of it is taken");
    let mut rest = String::new();
    within_a_minute(client.read_to_string(&mut rest)).await.expect("the end, and no reset");

    assert!(rest.contains("connection: close"), "{rest}");
    assert!(rest.contains(r#"{"detail":"#), "{rest}");
}

#[tokio::test]
async fn an_answer_behind_which_requests_were_dropped_is_the_last_one() {
    let (entered, open) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let server = start(&config(), 8, gated(&entered, &open));
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_send_buffer_size(4096).unwrap();
    let mut client = socket.connect(server.address).await.unwrap();
    let request = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    client.write_all(request).await.unwrap();
    entered.notified().await;

    // The client sends more than the system buffers: the server has read more than it keeps when all was sent.
    client.write_all(&request.repeat(900_000 / request.len())).await.unwrap();
    open.notify_one();
    // The client stays connected, and sends nothing more.
    let answer = read_all(&mut client).await;

    assert_eq!((status(&answer), answer.matches("HTTP/1.1 200").count()), ("HTTP/1.1 200 OK", 1), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
}

/// Notifies when it is dropped.
fn notify_on_drop(told: Arc<Notify>) -> impl Drop {
    struct Guard(Arc<Notify>);
    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.notify_one();
        }
    }
    Guard(told)
}

#[tokio::test]
async fn a_hundred_headers_are_read_and_one_more_is_a_431() {
    let server = start(&config(), 8, hello());
    let request = |headers: usize| {
        let rest: String = (0..headers - 2).map(|number| format!("x-{number}: y\r\n")).collect();
        format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{rest}\r\n")
    };

    assert_eq!(status(&exchange(server.address, &request(100)).await), "HTTP/1.1 200 OK");
    assert_eq!(status(&exchange(server.address, &request(101)).await), "HTTP/1.1 431 Request Header Fields Too Large");
}

#[tokio::test]
async fn a_head_of_sixteen_kilobytes_is_read_and_one_of_twice_that_is_a_431() {
    let server = start(&config(), 8, hello());
    let request = |bytes: usize| {
        let head = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nx-long: \r\n\r\n";
        head.replace("x-long: ", &format!("x-long: {}", "y".repeat(bytes - head.len())))
    };

    assert_eq!(status(&exchange(server.address, &request(16 * 1024)).await), "HTTP/1.1 200 OK");
    assert_eq!(status(&exchange(server.address, &request(32 * 1024)).await), "HTTP/1.1 431 Request Header Fields Too Large");
}

#[tokio::test]
async fn http2_is_not_spoken() {
    let server = start(&config(), 8, hello());

    let answer = exchange(server.address, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;

    assert!(!answer.contains("200 OK"), "{answer}");
}

#[tokio::test]
async fn a_connection_beyond_the_bound_is_closed_and_one_that_ends_makes_room() {
    let server = start(&config(), 1, hello());
    let mut first = TcpStream::connect(server.address).await.unwrap();
    first.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut byte = [0];
    first.read_exact(&mut byte).await.unwrap();

    let second = exchange(server.address, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    drop(first);
    // The server learns of the close when it reads it; until then the answer is the same as for the second.
    let third = within_a_minute(async {
        loop {
            let answer = exchange(server.address, "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
            if !answer.is_empty() {
                break answer;
            }
        }
    })
    .await;

    assert_eq!(second, "");
    assert_eq!(status(&third), "HTTP/1.1 200 OK");
}

/// A route that signals when it was entered and answers on a signal.
fn gated(entered: &Arc<Notify>, open: &Arc<Notify>) -> Router {
    let (entered, open) = (Arc::clone(entered), Arc::clone(open));
    let handler = async move || {
        entered.notify_one();
        open.notified().await;
        "done"
    };
    Router::new().route("/", post(handler))
}

#[tokio::test]
async fn after_the_shutdown_running_requests_finish_and_new_connections_are_refused() {
    let (entered, open) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let mut server = start(&config(), 8, gated(&entered, &open));
    let mut client = TcpStream::connect(server.address).await.unwrap();
    client.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    entered.notified().await;

    server.stop.take().unwrap().send(()).unwrap();
    within_a_minute(async {
        while TcpStream::connect(server.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    open.notify_one();
    let answer = read_all(&mut client).await;

    assert_eq!(status(&answer), "HTTP/1.1 200 OK");
    assert!(answer.ends_with("done"), "{answer}");
    within_a_minute(&mut server.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_drain_ends_even_if_a_request_does_not() {
    let (entered, open) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let mut server = start(&ListenConfig { drain_timeout: Duration::ZERO, ..config() }, 8, gated(&entered, &open));
    let mut client = TcpStream::connect(server.address).await.unwrap();
    client.write_all(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    entered.notified().await;

    server.stop.take().unwrap().send(()).unwrap();

    within_a_minute(&mut server.task).await.unwrap().unwrap();
    assert_eq!(read_all(&mut client).await, "");
}

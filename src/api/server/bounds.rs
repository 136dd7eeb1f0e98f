//! The bounds of connections: their number, and the time and bytes that each may take.

use std::time::Duration;

/// The bounds of connections in number, time and bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// The maximum number of connections at a time.
    pub(super) connections: usize,
    /// The maximum time that a write may wait for its client.
    pub(super) write_timeout: Duration,
    /// The maximum time for which the unread rest of a body is read and dropped.
    pub(super) drain_time: Duration,
    /// The maximum time for which a client may go on sending after its last answer.
    pub(super) linger_time: Duration,
    /// The maximum silence of a client that may go on sending after its last answer.
    pub(super) linger_silence: Duration,
    /// The maximum number of bytes that a client may send after its last answer.
    pub(super) linger_bytes: usize,
}

impl Bounds {
    /// The bounds of a server with this maximum of connections.
    pub(super) const fn of(connections: usize) -> Self {
        Self {
            connections,
            // This is nginx's `send_timeout`. After it the connection fails, and its request with it.
            write_timeout: Duration::from_secs(60),
            drain_time: Duration::from_secs(10),
            // nginx's `lingering_time` is 30 s, its `lingering_timeout` 5 s.
            linger_time: Duration::from_secs(10),
            linger_silence: Duration::from_secs(2),
            linger_bytes: 64 << 20,
        }
    }
}

//! The bounds of connections: their number, and the time and bytes that each may take.

use std::time::Duration;

/// What connections may cost.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// How many there may be at once.
    pub(super) connections: usize,
    /// How long a write may wait for its client.
    pub(super) write_timeout: Duration,
    /// Time for which the rest of a body that nobody wanted is read.
    pub(super) drain_time: Duration,
    /// Time for which a client may go on sending after its last answer.
    pub(super) linger_time: Duration,
    /// Time for which it may be silent meanwhile.
    pub(super) linger_silence: Duration,
    /// Bytes that it may send meanwhile.
    pub(super) linger_bytes: usize,
}

impl Bounds {
    /// Those of a server, for so many connections.
    pub(super) const fn of(connections: usize) -> Self {
        Self {
            connections,
            // nginx's `send_timeout`. Then the client is gone, and its request with it.
            write_timeout: Duration::from_secs(60),
            drain_time: Duration::from_secs(10),
            // nginx's `lingering_time` is 30 s, its `lingering_timeout` 5 s.
            linger_time: Duration::from_secs(10),
            linger_silence: Duration::from_secs(2),
            linger_bytes: 64 << 20,
        }
    }
}

//! Counts HTTP requests by route, as the instrumentation that vLLM uses does.
//!
//! Routes come from the table of routes, and methods and statuses from closed sets; a path that has no route counts
//! under `none`.

use super::metrics::{STATUS_CLASSES, name};
use metrics::{counter, histogram};
use std::time::Instant;

/// The route of paths that have none.
pub const NO_ROUTE: &str = "none";
/// The method of requests with another one than those that routes have.
const OTHER_METHOD: &str = "other";

/// Registers a route, so that its series begin at zero.
pub fn register_route(path: &'static str, method: &'static str) {
    for status in STATUS_CLASSES {
        counter!(name::HTTP_REQUESTS, "handler" => path, "method" => method, "status" => status).absolute(0);
    }
    let _registered = histogram!(name::HTTP_SECONDS, "handler" => path, "method" => method);
}

/// An HTTP request from its receipt to the end of its answer. Dropping it ends the answer.
#[derive(Debug)]
pub struct HttpTimer {
    path: &'static str,
    method: &'static str,
    received: Instant,
    is_counted: bool,
}

impl HttpTimer {
    /// For a request that was just received, by the path of its route.
    #[must_use]
    pub fn start(path: Option<&'static str>, method: &str) -> Self {
        let known = ["GET", "POST", "HEAD", "OPTIONS"].into_iter().find(|known| *known == method);
        Self { path: path.unwrap_or(NO_ROUTE), method: known.unwrap_or(OTHER_METHOD), received: Instant::now(), is_counted: false }
    }

    /// Counts the request when the status of its answer is known.
    pub fn count(&mut self, status: u16) {
        self.is_counted = true;
        let class = match status {
            0..300 => STATUS_CLASSES[0],
            300..400 => STATUS_CLASSES[1],
            400..500 => STATUS_CLASSES[2],
            500.. => STATUS_CLASSES[3],
        };
        counter!(name::HTTP_REQUESTS, "handler" => self.path, "method" => self.method, "status" => class).increment(1);
    }
}

impl Drop for HttpTimer {
    fn drop(&mut self) {
        // A client that left before the head of its answer is in neither series, so that both agree.
        if self.is_counted {
            histogram!(name::HTTP_SECONDS, "handler" => self.path, "method" => self.method).record(self.received.elapsed());
        }
    }
}

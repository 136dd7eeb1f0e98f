//! Refuses requests that were meant for another host, or that do not name a host exactly once (RFC 9112 3.2).
//!
//! On loopback without keys, the address is the only protection; this layer prevents web pages from using it. A page
//! may call `http://its-own-name:8000` after pointing that name to 127.0.0.1 (DNS rebinding, CVE-2024-28224), or post
//! to `http://127.0.0.1:8000` without reading the answer. So `Host` must name this machine, and `Origin`, if sent, too,
//! unless it is one of the configured origins.

use crate::{api::error::ApiError, gateway::keys::KeyRing};
use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, Version, header, uri::Authority},
};
use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

/// The values of `Host` and `Origin` that a request may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPolicy {
    /// Any host: keys protect the server, or the operator turned this protection off.
    Any,
    /// Only names of this machine, and these origins.
    ThisMachine {
        /// The origins that are configured for CORS; `*` allows all.
        allowed_origins: Arc<[String]>,
    },
}

impl HostPolicy {
    /// The policy of a server that listens on the address `host`.
    #[must_use]
    pub fn new(host: IpAddr, keys: &KeyRing, allowed_origins: &[String]) -> Self {
        if host.is_loopback() && keys.is_empty() { Self::ThisMachine { allowed_origins: allowed_origins.into() } } else { Self::Any }
    }

    fn allows(&self, request: &Request) -> bool {
        let Self::ThisMachine { allowed_origins } = self else { return true };
        // All browsers send Host; a client that sends none (HTTP/1.0) is no browser that a page could mislead.
        let host_allowed = every(request.headers(), &header::HOST, names_this_machine);
        // A request line in absolute form names the host as well.
        let target_allowed = request.uri().authority().is_none_or(|authority| names_this_machine(authority.as_str()));
        let origin_allowed = every(request.headers(), &header::ORIGIN, |origin| is_allowed_origin(origin, allowed_origins));
        host_allowed && target_allowed && origin_allowed
    }
}

/// Refuses a missing, repeated or malformed `Host` (400), and hosts or origins that the policy forbids (403).
pub(super) fn check(policy: &HostPolicy, request: &Request) -> Result<(), ApiError> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let fault = match (hosts.next(), hosts.next()) {
        (None, _) if request.version() <= Version::HTTP_10 => None,
        (None, _) => Some("The request has no 'Host' header; HTTP/1.1 requires one."),
        (Some(_), Some(_)) => Some("The request has more than one 'Host' header."),
        (Some(host), None) if host.to_str().is_ok_and(is_host) => None,
        (Some(_), None) => Some("The 'Host' header is no host name or address with or without a port."),
    };
    if let Some(message) = fault {
        return Err(ApiError::BadRequest { message: message.to_owned(), param: None, code: None });
    }
    if policy.allows(request) { Ok(()) } else { Err(ApiError::HostNotAllowed) }
}

/// True if `host` is a valid value of a `Host` header: `uri-host [":" port]`, or nothing for a target that has no host.
fn is_host(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return host.is_empty() };
    let port = host.strip_prefix(authority.host()).unwrap_or(host);
    !authority.host().is_empty() && (port.is_empty() || port == ":" || authority.port_u16().is_some())
}

/// True if all values of a header are fine; true without any.
fn every(headers: &HeaderMap, name: &HeaderName, is_fine: impl Fn(&str) -> bool) -> bool {
    headers.get_all(name).iter().all(|value| value.to_str().is_ok_and(&is_fine))
}

/// True if `host`, with or without a port, is `localhost`, a name below it, or a loopback address.
fn names_this_machine(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().trim_end_matches('.').to_ascii_lowercase();
    if name == "localhost" || name.ends_with(".localhost") {
        return true;
    }
    if let Some(address) = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok_and(|address| address.to_canonical().is_loopback());
    }
    name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn is_allowed_origin(origin: &str, allowed: &[String]) -> bool {
    if allowed.iter().any(|allowed| allowed == "*" || allowed.trim_end_matches('/') == origin) {
        return true;
    }
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(names_this_machine)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_machine_are_taken_for_it() {
        for host in [
            "localhost",
            "LOCALHOST:8000",
            "localhost.",
            "app.localhost:1",
            "127.0.0.1",
            "127.0.0.1:8000",
            "127.9.9.9",
            "[::1]",
            "[::1]:8000",
            "[::ffff:127.0.0.1]:80",
        ] {
            assert!(names_this_machine(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:8000",
            "localhost.evil.example",
            "notlocalhost",
            "127.0.0.1.evil.example",
            "128.0.0.1",
            "0.0.0.0",
            "192.168.1.1:8000",
            "[::2]",
            "[::]",
            "::1",
            "localhost@evil.example",
            "evil.example/localhost",
            "2130706433",
        ] {
            assert!(!names_this_machine(host), "{host}");
        }
    }

    #[test]
    fn a_host_is_a_name_or_an_address_with_or_without_a_port() {
        for host in ["", "localhost", "a_b.example:80", "EXAMPLE.", "10.0.0.1:65535", "[::1]", "[::1]:8000", "example:"] {
            assert!(is_host(host), "{host:?}");
        }
        for host in ["a b", "a/b", "user@example", "example:http", "example:65536", "example:1:2", ":80", "http://example", "[::1"] {
            assert!(!is_host(host), "{host:?}");
        }
    }

    #[test]
    fn an_origin_is_allowed_if_it_is_this_machine_or_configured() {
        let configured = ["https://app.example/".to_owned()];

        for origin in ["http://localhost:3000", "https://127.0.0.1", "https://app.example"] {
            assert!(is_allowed_origin(origin, &configured), "{origin}");
        }
        for origin in ["null", "", "http://evil.example", "https://app.example.evil", "http://app.example", "file://localhost"] {
            assert!(!is_allowed_origin(origin, &configured), "{origin}");
        }
        assert!(is_allowed_origin("http://evil.example", &["*".to_owned()]));
    }

    #[test]
    fn hosts_are_checked_only_on_loopback_without_keys() {
        let open = KeyRing::default();

        assert_eq!(HostPolicy::new(IpAddr::from([127, 0, 0, 1]), &open, &[]), HostPolicy::ThisMachine { allowed_origins: Arc::from([]) });
        assert_eq!(HostPolicy::new(IpAddr::from([0, 0, 0, 0]), &open, &[]), HostPolicy::Any);
        let keys = KeyRing::load(&crate::config::KeyConfig { keys: vec!["key".to_owned()], file: None }).unwrap();
        assert_eq!(HostPolicy::new(IpAddr::from([127, 0, 0, 1]), &keys, &[]), HostPolicy::Any);
    }
}

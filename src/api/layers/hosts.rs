//! Refuses requests that were meant for another host, or that do not name a host exactly once (RFC 9112 3.2).
//!
//! On loopback without keys, the address is the only protection; this layer prevents web pages from using it. A page
//! may call `http://its-own-name:8000` after pointing that name to 127.0.0.1 (DNS rebinding, CVE-2024-28224), or post
//! to `http://127.0.0.1:8000` without reading the answer. So `Host` must name this machine or a configured host.
//! `Origin`, if sent, must be that host, this machine or a configured origin. Health checks are exempt: they reveal
//! nothing that a page could use, and balancers send whatever host they are configured with.

use crate::{api::error::ApiError, config::ApiConfig, gateway::keys::KeyRing};
use axum::{
    extract::Request,
    http::{HeaderMap, HeaderName, Version, header, uri::Authority},
};
use std::{
    net::{IpAddr, Ipv6Addr},
    sync::Arc,
};

/// Characters of a refused name that its error repeats.
const MAX_NAME: usize = 128;

/// The values of `Host` and `Origin` that a request may have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostPolicy {
    /// Any host: keys protect the server, or the operator turned this protection off.
    Any,
    /// Only names of this machine, and those that are configured.
    ThisMachine {
        /// Host names without a port; `*` allows all, `*.name` all below a name.
        allowed_hosts: Arc<[String]>,
        /// The origins that are configured for CORS; `*` allows all.
        allowed_origins: Arc<[String]>,
    },
}

impl HostPolicy {
    /// The policy of a server that listens on the address `host`, or, with `None`, on a Unix socket, which no page
    /// reaches.
    #[must_use]
    pub fn new(host: Option<IpAddr>, keys: &KeyRing, config: &ApiConfig) -> Self {
        if !host.is_some_and(|host| host.is_loopback()) || !keys.is_empty() {
            return Self::Any;
        }
        let (allowed_hosts, allowed_origins) = (config.allowed_hosts.as_slice().into(), config.allowed_origins.as_slice().into());
        Self::ThisMachine { allowed_hosts, allowed_origins }
    }

    /// True if pages of this origin may call the server because of its policy. A server with keys, or one that others
    /// reach, leaves that to the configured origins.
    pub(super) fn allows_pages_of(&self, origin: &str) -> bool {
        match self {
            Self::Any => false,
            Self::ThisMachine { allowed_hosts, allowed_origins } => is_allowed_origin(origin, allowed_hosts, allowed_origins),
        }
    }

    fn check(&self, request: &Request) -> Result<(), ApiError> {
        let Self::ThisMachine { allowed_hosts, allowed_origins } = self else { return Ok(()) };
        // All browsers send Host; a client that sends none (HTTP/1.0) is no browser that a page could mislead. A
        // request line in absolute form names the host as well.
        let target = request.uri().authority().map(Authority::as_str);
        let hosts: Vec<&str> = values(request.headers(), &header::HOST).chain(target).collect();
        if let Some(host) = hosts.iter().find(|host| !is_allowed_host(host, allowed_hosts)) {
            return Err(ApiError::HostNotAllowed { host: shortened(host) });
        }
        let is_same = |origin: &str| authority_of(origin).is_some_and(|origin| hosts.contains(&origin));
        let is_allowed = |origin: &str| is_same(origin) || is_allowed_origin(origin, allowed_hosts, allowed_origins);
        match values(request.headers(), &header::ORIGIN).find(|origin| !is_allowed(origin)) {
            Some(origin) => Err(ApiError::origin_not_allowed(origin)),
            None => Ok(()),
        }
    }
}

/// Refuses a missing, repeated or malformed `Host` (400), and hosts or origins that the policy forbids (403), but no
/// health check.
pub(super) fn check(policy: &HostPolicy, is_probe: bool, request: &Request) -> Result<(), ApiError> {
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
    if is_probe { Ok(()) } else { policy.check(request) }
}

/// The values of a header; one that is no text is empty.
fn values<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers.get_all(name).iter().map(|value| value.to_str().unwrap_or_default())
}

fn shortened(name: &str) -> String {
    name.chars().take(MAX_NAME).collect()
}

/// True if `host` is a valid value of a `Host` header: `uri-host [":" port]`, or nothing for a target that has no host.
fn is_host(host: &str) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return host.is_empty() };
    let port = host.strip_prefix(authority.host()).unwrap_or(host);
    !authority.host().is_empty() && (port.is_empty() || port == ":" || authority.port_u16().is_some())
}

/// True if `host`, with or without a port, is this machine or one of the hosts that are allowed.
fn is_allowed_host(host: &str, allowed: &[String]) -> bool {
    let Ok(authority) = host.parse::<Authority>() else { return false };
    let name = authority.host().trim_end_matches('.').to_ascii_lowercase();
    let matches = |allowed: &String| match allowed.strip_prefix('*') {
        Some(end) => name.ends_with(end),
        None => name == *allowed,
    };
    is_this_machine(&name) || allowed.iter().any(matches)
}

/// True if a name in lower case is `localhost`, a name below it, or a loopback address.
fn is_this_machine(name: &str) -> bool {
    if name == "localhost" || name.ends_with(".localhost") {
        return true;
    }
    if let Some(address) = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        return address.parse::<Ipv6Addr>().is_ok_and(|address| address.to_canonical().is_loopback());
    }
    name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// True if an origin is configured, or its host is allowed by its name.
fn is_allowed_origin(origin: &str, allowed_hosts: &[String], allowed_origins: &[String]) -> bool {
    if allowed_origins.iter().any(|allowed| allowed == "*" || allowed.trim_end_matches('/') == origin) {
        return true;
    }
    // `*` allows any name of this server. It does not allow pages of other servers.
    let named: Vec<String> = allowed_hosts.iter().filter(|allowed| *allowed != "*").cloned().collect();
    authority_of(origin).is_some_and(|authority| is_allowed_host(authority, &named))
}

/// Host and port of a web page's origin.
fn authority_of(origin: &str) -> Option<&str> {
    origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"))
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
            assert!(is_allowed_host(host, &[]), "{host}");
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
            assert!(!is_allowed_host(host, &[]), "{host}");
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
            assert!(is_allowed_origin(origin, &[], &configured), "{origin}");
        }
        for origin in ["null", "", "http://evil.example", "https://app.example.evil", "http://app.example", "file://localhost"] {
            assert!(!is_allowed_origin(origin, &[], &configured), "{origin}");
        }
        assert!(is_allowed_origin("http://evil.example", &[], &["*".to_owned()]));
    }

    #[test]
    fn hosts_are_checked_only_on_loopback_without_keys() {
        let open = KeyRing::default();

        let config = ApiConfig::served_as(&["tiny"]);

        let this_machine = HostPolicy::ThisMachine { allowed_hosts: Arc::from([]), allowed_origins: Arc::from([]) };
        assert_eq!(HostPolicy::new(Some(IpAddr::from([127, 0, 0, 1])), &open, &config), this_machine);
        assert_eq!(HostPolicy::new(Some(IpAddr::from([0, 0, 0, 0])), &open, &config), HostPolicy::Any);
        let keys = KeyRing::load(&crate::config::KeyConfig { keys: vec!["key".to_owned()], file: None }).unwrap();
        assert_eq!(HostPolicy::new(Some(IpAddr::from([127, 0, 0, 1])), &keys, &config), HostPolicy::Any);
        assert_eq!(HostPolicy::new(None, &open, &config), HostPolicy::Any);
    }

    #[test]
    fn a_host_may_be_allowed_by_its_name_or_the_end_of_it() {
        let allowed = ["llm.example", "*.lan", "10.0.0.5"].map(str::to_owned);

        for host in ["llm.example", "LLM.example.:8000", "a.lan", "b.a.lan:80", "10.0.0.5:8000", "localhost"] {
            assert!(is_allowed_host(host, &allowed), "{host}");
        }
        for host in ["example", "x.llm.example", "lan", "alan", "10.0.0.50", "llm.example.evil"] {
            assert!(!is_allowed_host(host, &allowed), "{host}");
        }
        assert!(is_allowed_host("any.example", &["*".to_owned()]));
        assert!(is_allowed_origin("https://llm.example", &allowed, &[]));
        assert!(!is_allowed_origin("https://any.example", &["*".to_owned()], &[]), "the name of a server is no page");
    }
}

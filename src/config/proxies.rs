//! Options of a server behind a proxy: the proxies that are believed, and the prefix under which they show the server.

use super::{Kind, OptionSpec, values::SettingsReader};
use ipnet::IpNet;
use std::net::IpAddr;

/// Facts about the proxies in front.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProxyConfig {
    /// The proxies whose word on the client's address is believed.
    pub trusted: TrustedProxies,
    /// The prefix under which the server is reachable, such as `/llm`; empty without one.
    pub root_path: String,
}

/// Proxies whose word on the client's address is believed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    /// True if a program that connects by the Unix socket is such a proxy.
    unix: bool,
}

const TRUSTED_PROXIES: OptionSpec = OptionSpec::new(
    "trusted_proxies",
    Kind::List,
    "",
    "Addresses and networks of proxies, such as 127.0.0.1 or 10.0.0.0/8, or unix for those on the Unix socket: the client's address in log lines is then what their X-Forwarded-For or Forwarded says. * believes everybody.",
)
.also(&["--forwarded-allow-ips"], &["FORWARDED_ALLOW_IPS"]);
const ROOT_PATH: OptionSpec = OptionSpec::new(
    "root_path",
    Kind::Text,
    "",
    "Prefix under which a proxy shows the server, such as /llm. Requests may have it or not, so the proxy may leave it on or take it off.",
)
.also(&["--api-prefix"], &["LLAMA_ARG_API_PREFIX"]);

pub(super) const OPTIONS: &[OptionSpec] = &[TRUSTED_PROXIES, ROOT_PATH];

impl ProxyConfig {
    pub(super) fn read(values: &mut SettingsReader) -> Self {
        let mut trusted = TrustedProxies::default();
        for text in values.list(&TRUSTED_PROXIES) {
            if !trusted.add(&text) {
                let message = format!("{text:?} is not an address such as 127.0.0.1, a network such as 10.0.0.0/8, unix or *");
                values.problem(&TRUSTED_PROXIES, message);
            }
        }
        let root_path = values.parsed(&ROOT_PATH, |text| {
            let path = text.trim_end_matches('/');
            let is_path = path.is_empty() || path.starts_with('/') && path.bytes().all(is_path_byte);
            if is_path { Ok(path.to_owned()) } else { Err("a path such as /llm".to_owned()) }
        });
        Self { trusted, root_path }
    }
}

impl TrustedProxies {
    /// True if the program that connects from this address, or, with `None`, by the Unix socket, is a trusted proxy.
    #[must_use]
    pub fn trusts(&self, from: Option<IpAddr>) -> bool {
        match from {
            None => self.unix,
            Some(ip) => {
                let ip = ip.to_canonical();
                self.networks.iter().any(|network| network.contains(&ip))
            }
        }
    }

    /// Adds proxies. False if the text names none.
    fn add(&mut self, text: &str) -> bool {
        let everything = || ["0.0.0.0/0", "::/0"].into_iter().filter_map(|network| network.parse::<IpNet>().ok());
        match text {
            "unix" => self.unix = true,
            "*" => {
                self.unix = true;
                self.networks.extend(everything());
            }
            text => match text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)) {
                Ok(network) => self.networks.push(network),
                Err(_) => return false,
            },
        }
        true
    }
}

/// A letter of a path that needs no escape and means nothing to the router (RFC 3986 3.3).
fn is_path_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
impl TrustedProxies {
    /// These proxies, for tests.
    pub(crate) fn of(texts: &[&str]) -> Self {
        let mut trusted = Self::default();
        assert!(texts.iter().all(|text| trusted.add(text)), "{texts:?}");
        trusted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_addresses_networks_the_unix_socket_or_all() {
        let named = TrustedProxies::of(&["127.0.0.1", "10.0.0.0/8", "fd00::/8"]);
        let ip = |text: &str| Some(text.parse().unwrap());

        for text in ["127.0.0.1", "10.255.0.1", "fd12::1", "::ffff:10.0.0.1"] {
            assert!(named.trusts(ip(text)), "{text}");
        }
        for text in ["127.0.0.2", "11.0.0.1", "fe80::1", "::ffff:11.0.0.1"] {
            assert!(!named.trusts(ip(text)), "{text}");
        }
        assert_eq!([named.trusts(None), TrustedProxies::of(&["unix"]).trusts(None)], [false, true]);
        let all = TrustedProxies::of(&["*"]);
        assert!(all.trusts(None) && all.trusts(ip("8.8.8.8")) && all.trusts(ip("2001:db8::1")));
        assert!(!TrustedProxies::default().trusts(ip("127.0.0.1")));
        for text in ["localhost", "10.0.0.0/33", "", "unix:/run/x"] {
            assert!(!TrustedProxies::default().add(text), "{text:?}");
        }
    }
}

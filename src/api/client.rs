//! The client of a request, for its log line: the address at the other end of the connection, or, where that is a
//! trusted proxy, the address that the proxy names.
//!
//! Nothing else depends on it, so a wrong word of a proxy misleads only a reader of the log.

use crate::config::TrustedProxies;
use axum::http::{HeaderMap, HeaderName, header};
use rfc7239::Forwarded;
use std::net::{IpAddr, SocketAddr};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// The maximum number of proxies on the way that are followed.
const MAX_PROXIES: usize = 16;
/// Characters of `User-Agent` that the log repeats.
const MAX_AGENT: usize = 200;

/// The other end of a request's connection; the server puts it into the extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Remote {
    /// The IP address; `None` for a Unix socket.
    pub(super) ip: Option<IpAddr>,
}

/// The address of the client; `None` if it connected by a Unix socket or left already, and no trusted proxy names it.
pub(super) fn address(remote: Remote, headers: &HeaderMap, trusted: &TrustedProxies) -> Option<IpAddr> {
    if !trusted.trusts(remote.ip) {
        return remote.ip;
    }
    let by_list = nearest_untrusted(listed(headers), trusted);
    let by_standard = nearest_untrusted(forwarded(headers), trusted);
    match (by_list, by_standard) {
        // A proxy writes one of these headers and may pass on the other as the client sent it, so neither is believed.
        (Some(one), Some(other)) if one != other => remote.ip,
        (Some(one), _) | (None, Some(one)) => Some(one),
        (None, None) => remote.ip,
    }
}

/// The first letters of `User-Agent`; `None` if there are none, or if they are not all visible ASCII.
pub(super) fn user_agent(headers: &HeaderMap) -> Option<&str> {
    let agent = headers.get(header::USER_AGENT)?.to_str().ok().filter(|agent| !agent.is_empty())?;
    Some(agent.get(..MAX_AGENT).unwrap_or(agent))
}

/// The address that is nearest to this server and no trusted proxy's own. Addresses are nearest first; each was added
/// by the one before it, so what follows an address that is not trusted may be invented. If all are trusted, the
/// farthest.
fn nearest_untrusted(addresses: impl Iterator<Item = Option<IpAddr>>, trusted: &TrustedProxies) -> Option<IpAddr> {
    let mut farthest = None;
    for address in addresses.take(MAX_PROXIES) {
        // A name that is no address, such as `unknown`, hides all that are farther.
        let Some(address) = address else { break };
        farthest = Some(address);
        if !trusted.trusts(farthest) {
            break;
        }
    }
    farthest
}

/// The addresses of `X-Forwarded-For`, nearest first; `None` for a word that is no address.
fn listed(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    let lines = headers.get_all(X_FORWARDED_FOR).iter().rev().map(|line| line.to_str().unwrap_or_default());
    lines.flat_map(|line| line.rsplit(',')).map(|word| ip(word.trim()))
}

/// The addresses of `Forwarded` (RFC 7239), nearest first; `None` for a hidden or malformed one.
fn forwarded(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    let lines = headers.get_all(header::FORWARDED).iter().rev().map(|line| line.to_str().unwrap_or_default());
    lines.flat_map(|line| rfc7239::parse(line).rev()).map(|node| node.ok().as_ref().and_then(client_of))
}

fn client_of(node: &Forwarded<'_>) -> Option<IpAddr> {
    node.forwarded_for.as_ref()?.ip().copied()
}

/// An address with or without a port, as proxies write them.
fn ip(word: &str) -> Option<IpAddr> {
    let bare = word.strip_prefix('[').and_then(|word| word.strip_suffix(']')).unwrap_or(word);
    bare.parse().ok().or_else(|| word.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        let mut headers = HeaderMap::new();
        lines.iter().map(pair).for_each(|(name, value)| {
            headers.append(name, value);
        });
        headers
    }

    /// The client of a request from the proxy 10.0.0.1, where the network 10.0.0.0/8 is trusted.
    fn client(lines: &[(&'static str, &str)]) -> String {
        let remote = Remote { ip: Some(IpAddr::from([10, 0, 0, 1])) };
        address(remote, &headers(lines), &TrustedProxies::of(&["10.0.0.0/8"])).unwrap().to_string()
    }

    #[test]
    fn the_client_is_the_nearest_address_that_is_no_trusted_proxy() {
        let list = |text| client(&[("x-forwarded-for", text)]);
        let standard = |text| client(&[("forwarded", text)]);

        assert_eq!(list("203.0.113.7"), "203.0.113.7");
        assert_eq!(list("1.1.1.1, 203.0.113.7, 10.0.0.9"), "203.0.113.7", "the first word is the client's own");
        assert_eq!(list("203.0.113.7:5123"), "203.0.113.7");
        assert_eq!(list("[2001:db8::1]:80"), "2001:db8::1");
        assert_eq!(list("2001:db8::1"), "2001:db8::1");
        assert_eq!(list("10.0.0.3, 10.0.0.2"), "10.0.0.3", "all are trusted");
        assert_eq!(client(&[("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "203.0.113.7")]), "203.0.113.7");
        assert_eq!(standard("for=203.0.113.7;proto=https;by=10.0.0.1"), "203.0.113.7");
        assert_eq!(standard(r#"for=1.1.1.1, for="[2001:db8::1]:4711""#), "2001:db8::1");
    }

    #[test]
    fn without_a_believable_address_it_is_the_proxy_itself() {
        for text in ["", "unknown", "1.1.1.1, unknown", "evil\"", ", ,"] {
            assert_eq!(client(&[("x-forwarded-for", text)]), "10.0.0.1", "{text:?}");
        }
        for text in ["for=unknown", "for=_hidden", "for=1.1.1.1, for=unknown", "by=10.0.0.1", "nonsense", r#"for="1.1.1.1, for=_x"#] {
            assert_eq!(client(&[("forwarded", text)]), "10.0.0.1", "{text:?}");
        }
        let both = [("x-forwarded-for", "203.0.113.7"), ("forwarded", "for=1.1.1.1")];
        assert_eq!(client(&both), "10.0.0.1", "one of the two is the client's invention");
        assert_eq!(client(&[("x-forwarded-for", "203.0.113.7"), ("forwarded", "for=203.0.113.7")]), "203.0.113.7");
    }

    #[test]
    fn the_word_of_a_stranger_is_not_believed() {
        let claim = headers(&[("x-forwarded-for", "1.1.1.1")]);
        let stranger = Remote { ip: Some(IpAddr::from([192, 0, 2, 1])) };

        assert_eq!(address(stranger, &claim, &TrustedProxies::of(&["10.0.0.0/8"])), stranger.ip);
        assert_eq!(address(Remote { ip: None }, &claim, &TrustedProxies::of(&["*"])), Some(IpAddr::from([1, 1, 1, 1])));
        assert_eq!(address(Remote { ip: None }, &claim, &TrustedProxies::of(&["127.0.0.1"])), None);
    }

    #[test]
    fn a_long_user_agent_is_cut() {
        let agent = |text: &str| user_agent(&headers(&[("user-agent", text)])).map(str::len);

        assert_eq!([agent("OpenAI/Python 2.0"), agent(&"x".repeat(500)), agent("")], [Some(17), Some(200), None]);
    }
}

//! Options of the listening socket and of the server's shutdown.

use super::{KeyConfig, Kind, OptionSpec, values::SettingsReader};
use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
    time::Duration,
};

/// The endpoint to listen on, and its time limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListenConfig {
    /// IP address to listen on. Default 127.0.0.1. Any address other than loopback needs keys.
    pub host: IpAddr,
    /// Port to listen on. Default 8000; 0 lets the system choose.
    pub port: u16,
    /// The Unix socket to listen on instead; `None` for address and port.
    pub unix_socket: Option<UnixSocketConfig>,
    /// True if the server may listen beyond loopback without keys.
    pub insecure_no_auth: bool,
    /// Longest wait for the head of a request. Default 10 s.
    pub header_timeout: Duration,
    /// Longest silence on a connection between two requests. Default 620 s.
    pub idle_timeout: Duration,
    /// Time after SIGTERM during which requests are served as before although the server reports not to be ready.
    /// Default 0.
    pub shutdown_delay: Duration,
    /// Time after SIGTERM and the delay that running streams get. Default 25 s, because Kubernetes kills after 30.
    pub drain_timeout: Duration,
}

/// A Unix socket to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnixSocketConfig {
    /// Its path, at most 107 bytes (unix(7)).
    pub path: PathBuf,
    /// The rights of its file, up to 0o777. Users with the right to write may connect.
    pub mode: u32,
}

impl UnixSocketConfig {
    /// True if users who are neither the socket's owner nor of its group may connect.
    #[must_use]
    pub fn is_for_all_users(&self) -> bool {
        allows_all_users(self.mode)
    }
}

/// True if these rights of a Unix socket let every user connect, for which the right to write counts (unix(7)).
#[must_use]
pub fn allows_all_users(mode: u32) -> bool {
    mode & 0o002 != 0
}

const HOST: OptionSpec =
    OptionSpec::new("host", Kind::Text, "127.0.0.1", "Address to listen on; 0.0.0.0 or :: is every one, and needs keys.")
        .also(&[], &["LLAMA_ARG_HOST"]);
const PORT: OptionSpec =
    OptionSpec::new("port", Kind::Integer { min: 0, max: 65_535, auto: &[] }, "8000", "Port to listen on; 0 lets the system choose.")
        .also(&[], &["LLAMA_ARG_PORT"]);
const UDS: OptionSpec = OptionSpec::new(
    "uds",
    Kind::Text,
    "",
    "Listen on a Unix socket at this path instead of host and port, for a proxy on the same machine. A socket there that nobody listens on is replaced.",
);
const UDS_MODE: OptionSpec = OptionSpec::new(
    "uds_mode",
    Kind::Text,
    "660",
    "Rights of the socket's file, octal: 600 lets its user connect, 660 its group too, 666 everybody on this machine, which needs keys.",
);
const INSECURE_NO_AUTH: OptionSpec = OptionSpec::new(
    "insecure_no_auth",
    Kind::Switch,
    "false",
    "Serve without keys on an address that others can reach: anybody there may then use the model.",
);
const HEADER_TIMEOUT: OptionSpec = OptionSpec::new(
    "header_timeout",
    Kind::Duration { min_s: 1, max_s: 600 },
    "10s",
    "Longest wait for the head of a request, and before it for the handshake of TLS.",
);
const IDLE_TIMEOUT: OptionSpec = OptionSpec::new(
    "idle_timeout",
    Kind::Duration { min_s: 1, max_s: 86_400 },
    "620s",
    "Longest silence on a connection between two requests. Give more than the proxy in front does, or it sends requests on connections that are about to close; cloud balancers have up to 600 s.",
);
const SHUTDOWN_DELAY: OptionSpec = OptionSpec::new(
    "shutdown_delay",
    Kind::Duration { min_s: 0, max_s: 3600 },
    "0s",
    "After SIGTERM or Ctrl-C, time for load balancers to notice that /readyz is 503; requests are served as before until then.",
);
const DRAIN_TIMEOUT: OptionSpec = OptionSpec::new(
    "drain_timeout",
    Kind::Duration { min_s: 0, max_s: 3600 },
    "25s",
    "Time for running streams to finish after SIGTERM or Ctrl-C and shutdown_delay. A supervisor must wait for both and 5 s more, 15 s with prefix_cache_dir, before it kills.",
);

pub(super) const OPTIONS: &[OptionSpec] =
    &[HOST, PORT, UDS, UDS_MODE, INSECURE_NO_AUTH, HEADER_TIMEOUT, IDLE_TIMEOUT, SHUTDOWN_DELAY, DRAIN_TIMEOUT];

impl ListenConfig {
    pub(super) fn read(values: &mut SettingsReader, keys: &KeyConfig) -> Self {
        let config = Self {
            host: values.parsed(&HOST, |text| match text.trim() {
                "localhost" => Ok(IpAddr::from(Ipv4Addr::LOCALHOST)),
                text => text.trim_matches(['[', ']']).parse().map_err(|_| "an IP address such as 127.0.0.1, or localhost".to_owned()),
            }),
            port: values.integer(&PORT),
            unix_socket: read_unix_socket(values),
            insecure_no_auth: values.switch(&INSECURE_NO_AUTH),
            header_timeout: values.duration(&HEADER_TIMEOUT),
            idle_timeout: values.duration(&IDLE_TIMEOUT),
            shutdown_delay: values.duration(&SHUTDOWN_DELAY),
            drain_timeout: values.duration(&DRAIN_TIMEOUT),
        };
        if config.unix_socket.is_none() && !config.host.is_loopback() && keys.is_empty() && !config.insecure_no_auth {
            let message = format!(
                "{} can be reached from other machines, and anybody there could use the model; give a key with --api-key or \
                 --api-key-file, or set --insecure-no-auth to serve without keys",
                config.host
            );
            values.problem(&HOST, message);
        }
        config
    }
}

fn read_unix_socket(values: &mut SettingsReader) -> Option<UnixSocketConfig> {
    let path = values.optional_text(&UDS).map(PathBuf::from);
    let mode = values.parsed(&UDS_MODE, |text| {
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777);
        mode.ok_or_else(|| "an octal number up to 777, such as 660".to_owned())
    });
    path.map(|path| UnixSocketConfig { path, mode })
}

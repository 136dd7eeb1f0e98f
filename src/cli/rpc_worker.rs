//! `llamero rpc-worker`: serves the devices of this machine to an engine on another one (`llamero serve --rpc`).

use crate::llama;
use anyhow::{Context as _, bail};
use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
};

/// The options of the command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RpcWorker {
    /// Address and port to listen on.
    pub(super) listen: SocketAddr,
    /// Folder for weights that were sent once.
    pub(super) cache_dir: Option<PathBuf>,
    /// Threads of a worker that computes on the CPU; `None` for all cores.
    pub(super) threads: Option<usize>,
    /// True if the worker may listen where strangers reach it.
    pub(super) insecure: bool,
}

pub(super) fn run(worker: &RpcWorker) -> anyhow::Result<()> {
    let RpcWorker { listen, cache_dir, threads, insecure } = worker;
    if !insecure && !is_private(listen.ip()) {
        bail!(
            "refusing to listen on {}: the protocol has no keys, and whoever reaches a worker can run what they like on it; give a loopback \
             or private address, or insist with --insecure-rpc",
            listen.ip()
        );
    }
    if listen.is_ipv6() {
        bail!("--listen {listen}: ggml's RPC server knows only IPv4 addresses");
    }
    if let Some(folder) = cache_dir {
        std::fs::create_dir_all(folder).with_context(|| format!("--cache-dir {} cannot be used", folder.display()))?;
    }
    let threads = threads.unwrap_or_else(num_cpus::get_physical);
    llama::rpc_work(*listen, cache_dir.as_deref(), threads).with_context(|| format!("the worker cannot serve at {listen}"))
}

/// True for addresses that only this machine or its own network reaches.
pub(super) fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_this_machine_or_its_network_are_private() {
        let private = |text: &str| is_private(text.parse().unwrap());

        for text in ["127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.0.1", "::1", "fd00::1", "fe80::1", "::ffff:10.0.0.1"] {
            assert!(private(text), "{text}");
        }
        for text in ["0.0.0.0", "8.8.8.8", "172.32.0.1", "::", "2001:db8::1", "::ffff:8.8.8.8"] {
            assert!(!private(text), "{text}");
        }
    }

    #[test]
    fn a_worker_that_strangers_reach_is_refused() {
        let worker = |insecure| RpcWorker { listen: SocketAddr::from(([0, 0, 0, 0], 0)), cache_dir: None, threads: None, insecure };

        let error = run(&worker(false)).unwrap_err().to_string();
        assert!(error.starts_with("refusing to listen on 0.0.0.0") && error.contains("--insecure-rpc"), "{error}");
    }
}

//! Flags of other servers that have no counterpart here, and what to do instead.
//!
//! Flags that have one are respelled (`spelling.rs`).

use clap::error::{ContextKind, ContextValue};

/// Flags of vLLM, llama-server and Ollama, and the way to what they do.
const FLAGS: [(&[&str], &str); 14] = [
    (
        &["--gpu-memory-utilization", "--cpu-offload-gb", "--kv-cache-memory-bytes"],
        "memory is bounded by --max-model-len and --max-num-seqs; --n-gpu-layers puts a part of the layers on the GPU",
    ),
    (
        &["--tensor-parallel-size", "-tp", "--pipeline-parallel-size", "-pp", "--data-parallel-size", "--split-mode", "--tensor-split"],
        "the model runs on one device; start a server for each, behind a proxy",
    ),
    (
        &["--dtype", "--quantization", "-q", "--load-format"],
        "the type of the weights is that of the GGUF file; --kv-cache-dtype is that of the KV cache",
    ),
    (
        &["--tokenizer", "--tokenizer-mode", "--hf-config-path", "--trust-remote-code", "--revision"],
        "tokenizer and settings are those of the GGUF file",
    ),
    (
        &["-hf", "-hfr", "--hf-repo", "-hff", "--hf-file", "-mu", "--model-url"],
        "give the path of a GGUF file, or a name that `llamero models` lists",
    ),
    (
        &["--enable-prefix-caching", "--enable-chunked-prefill", "--cont-batching", "-cb", "--cache-prompt", "--cache-reuse"],
        "it is always on",
    ),
    (&["--no-enable-prefix-caching", "--no-cont-batching", "-nocb", "--no-cache-prompt"], "it cannot be turned off"),
    (
        &["--enable-auto-tool-choice", "--tool-call-parser", "--reasoning-parser", "--jinja", "--reasoning-format"],
        "calls and reasoning are read as the model's family writes them; leave it out",
    ),
    (&["--enforce-eager", "--swap-space-gb", "--block-size", "--ubatch-size", "-ub", "--numa"], "leave it out: there is nothing to choose"),
    (
        &[
            "--yarn-orig-ctx",
            "--yarn-ext-factor",
            "--yarn-attn-factor",
            "--yarn-beta-slow",
            "--yarn-beta-fast",
            "--rope-freq-base",
            "--rope-freq-scale",
        ],
        "--max-model-len with --rope-scaling yarn or linear is enough: the rest is that of the GGUF file",
    ),
    (&["--lora", "--enable-lora", "--lora-modules", "--mmproj", "-mm"], "adapters and other media are not supported"),
    (&["--ssl-cert-reqs"], "--tls-client-ca names the certificates that vouch for clients"),
    (
        &["--cors-allowed-origins", "--allow-credentials", "--allowed-headers", "--allowed-methods"],
        "--cors-origins names the pages that may call",
    ),
    (
        &["--slots", "--props", "--metrics", "--embeddings", "--embedding", "--reranking", "--pooling"],
        "routes are always there, and the model's file says whether it embeds",
    ),
];

/// A line to add to an error of clap's about an unknown flag; empty for other errors and flags.
pub(super) fn advice(error: &clap::Error) -> String {
    match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(flag)) => of_flag(flag),
        _ => String::new(),
    }
}

fn of_flag(flag: &str) -> String {
    let name = flag.split(['=', ' ']).next().unwrap_or(flag);
    let known = FLAGS.iter().find(|(flags, _)| flags.contains(&name));
    known.map_or_else(String::new, |(_, advice)| format!("\n{name} of another server: {advice}.\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::args, config::options};
    use std::ffi::OsString;

    #[test]
    fn a_foreign_flag_has_an_answer_that_helps() {
        let told = |flag: &str| advice(&args::parse(["serve", flag, "2"].map(OsString::from).to_vec()).unwrap_err());

        assert!(told("--gpu-memory-utilization").contains("--max-model-len"), "{}", told("--gpu-memory-utilization"));
        assert!(told("--tensor-parallel-size=2").contains("--tensor-parallel-size of another server: the model runs on one device"));
        assert_eq!(told("--no-such-flag"), "");
    }

    #[test]
    fn no_flag_is_listed_twice_or_has_a_counterpart() {
        let all: Vec<&str> = FLAGS.iter().flat_map(|(flags, _)| flags.iter().copied()).collect();
        for (at, flag) in all.iter().enumerate() {
            assert!(!all[..at].contains(flag), "{flag}");
            let ours = options().any(|spec| format!("--{}", spec.flag()) == *flag || spec.flag_aliases.contains(flag));
            assert!(!ours, "{flag}");
        }
    }
}

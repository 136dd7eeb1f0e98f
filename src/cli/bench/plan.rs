//! The options of `llamero bench`, with their limits.

use clap::{Arg, ArgMatches, Command, value_parser};
use std::path::PathBuf;

/// A command of `llamero bench`.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::cli) enum Action {
    /// Measure a server.
    Measure(Box<BenchPlan>),
    /// Show two results side by side.
    Compare { a: PathBuf, b: PathBuf },
}

/// A measurement.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::cli) struct BenchPlan {
    /// URL of the server, without `/v1`.
    pub(super) url: String,
    /// Name of the model; `None` takes the first one that the server lists.
    pub(super) model: Option<String>,
    /// Key that is sent as `Authorization: Bearer`. Never printed.
    pub(super) api_key: Option<String>,
    /// Kind of the requests.
    pub(super) workload: Workload,
    /// Times at which the requests are sent.
    pub(super) arrival: Arrival,
    /// Number of requests.
    pub(super) requests: usize,
    /// Tokens of a prompt; `None` is the workload's own number.
    pub(super) input_tokens: Option<usize>,
    /// Tokens to generate; `None` is the workload's own number.
    pub(super) max_tokens: Option<u32>,
    /// Temperature of every request, 0–2; `None` is the workload's own, 0, or what the lines of a file say.
    pub(super) temperature: Option<f64>,
    /// Seed of prompts and arrivals, which are always the same for one seed.
    pub(super) seed: u64,
    /// Limits below which a request counts as good.
    pub(super) slo: Slo,
    /// Time after which a request counts as failed, seconds.
    pub(super) timeout_seconds: u64,
    /// Name of the result.
    pub(super) label: Option<String>,
    pub(super) json: Option<PathBuf>,
    pub(super) records: Option<PathBuf>,
    pub(super) html: Option<PathBuf>,
}

/// Kinds of requests. W1 to W5 are the workloads of `docs/benchmarks`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum Workload {
    /// Distinct prompts, 104 tokens in, 64 out.
    W1,
    /// Prompts with 620 tokens in common and 40 of their own, 32 out.
    W2,
    /// Four streams of 256 tokens, while prompts of 700 tokens keep arriving.
    W3,
    /// Objects of a JSON schema with six fixed keys.
    W4,
    /// Short prompts and long answers: 32 in, 128 out.
    W5,
    /// A file with a prompt, or a request body, per line.
    File(PathBuf),
}

/// The times at which requests are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::cli) enum Arrival {
    /// A fixed number at a time: another request is sent when one ends.
    Closed { concurrency: usize },
    /// A number per second on average, at random (Poisson), whether earlier requests have ended or not.
    Open { per_second: f64 },
}

/// A service level objective. A part that is `None` counts as met.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(in crate::cli) struct Slo {
    pub(super) ttft_ms: Option<f64>,
    pub(super) tpot_ms: Option<f64>,
    pub(super) e2e_ms: Option<f64>,
}

/// Options that have no meaning for a comparison.
const ONLY_TO_MEASURE: [&str; 8] = ["prompts", "concurrency", "rate", "requests", "json", "records", "html", "label"];

/// The command in clap's terms.
pub(in crate::cli) fn command() -> Command {
    let option = |name: &'static str, value: &'static str, help: &'static str| Arg::new(name).long(name).value_name(value).help(help);
    let path = |name: &'static str, help: &'static str| option(name, "FILE", help).value_parser(value_parser!(PathBuf));
    let number = |name: &'static str, help: &'static str| option(name, "N", help).value_parser(value_parser!(u64).range(1..=1_000_000));
    let ms = |name: &'static str, help: &'static str| option(name, "MS", help).value_parser(positive);
    Command::new("bench")
        .about("Put load on an OpenAI-compatible server and measure what its clients would feel")
        .arg(option("url", "URL", "Where the server is").default_value("http://127.0.0.1:8000"))
        .arg(option("model", "NAME", "The model to ask for [default: the first that the server lists]"))
        .arg(option("api-key", "KEY", "Sent as Authorization: Bearer").env("OPENAI_API_KEY").hide_env_values(true))
        .arg(
            option(
                "workload",
                "NAME",
                "w1 distinct prompts, w2 a common prefix, w3 streams beside long prompts, w4 JSON schema, w5 long answers",
            )
            .value_parser(["w1", "w2", "w3", "w4", "w5"])
            .default_value("w1"),
        )
        .arg(
            path("prompts", "Requests of your own: in each line a prompt, or a JSON body for completions or chat")
                .conflicts_with("workload"),
        )
        .arg(number("concurrency", "Requests at a time; another one is sent when one ends [default: 1]").conflicts_with("rate"))
        .arg(option("rate", "R", "Requests a second, at random times, whether others have ended or not").value_parser(positive))
        .arg(number("requests", "Number of requests [default: 32; every line of --prompts]"))
        .arg(number("input-tokens", "Tokens of each prompt [default: the workload's]"))
        .arg(number("max-tokens", "Tokens to generate [default: the workload's]"))
        .arg(option("temperature", "T", "Temperature of every request, 0 to 2 [default: 0, or as in --prompts]").value_parser(temperature))
        .arg(option("seed", "N", "Prompts and times of one seed are the same").default_value("1").value_parser(value_parser!(u64)))
        .arg(ms("slo-ttft-ms", "A request is good if its first token comes within this"))
        .arg(ms("slo-tpot-ms", "… and its further tokens take this long each, on average"))
        .arg(ms("slo-e2e-ms", "… and it takes this long in all"))
        .arg(number("timeout", "Seconds after which a request has failed [default: 600]"))
        .arg(option("label", "TEXT", "Name of the result"))
        .arg(path("json", "Write the result as JSON"))
        .arg(path("records", "Write each request's times and text, as a line of JSON"))
        .arg(path("html", "Write the result as a page with plots; it loads nothing"))
        .arg(path("compare", "Put two JSON results beside each other").num_args(2).conflicts_with_all(ONLY_TO_MEASURE))
}

fn temperature(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|value| (0.0..=2.0).contains(value)).ok_or_else(|| "a number from 0 to 2 is expected".to_owned())
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value > 0.0 => Ok(value),
        Ok(_) | Err(_) => Err("a number greater than 0 is expected".to_owned()),
    }
}

/// Reads clap's matches, whose ranges clap has checked.
pub(in crate::cli) fn read(matches: &mut ArgMatches) -> Action {
    if let Some(files) = matches.remove_many::<PathBuf>("compare")
        && let [a, b] = files.collect::<Vec<_>>().as_slice()
    {
        return Action::Compare { a: a.clone(), b: b.clone() };
    }
    let workload = match (matches.remove_one::<PathBuf>("prompts"), matches.remove_one::<String>("workload").as_deref()) {
        (Some(file), _) => Workload::File(file),
        (None, Some("w2")) => Workload::W2,
        (None, Some("w3")) => Workload::W3,
        (None, Some("w4")) => Workload::W4,
        (None, Some("w5")) => Workload::W5,
        (None, _) => Workload::W1,
    };
    let count = |matches: &mut ArgMatches, name: &str| matches.remove_one::<u64>(name);
    let small = |number: u64| usize::try_from(number).expect("clap's range fits");
    let arrival = match (matches.remove_one::<f64>("rate"), count(matches, "concurrency")) {
        (Some(per_second), _) => Arrival::Open { per_second },
        (None, concurrency) => Arrival::Closed { concurrency: small(concurrency.unwrap_or(1)) },
    };
    let every_line = if matches!(workload, Workload::File(_)) { usize::MAX } else { 32 };
    Action::Measure(Box::new(BenchPlan {
        url: matches.remove_one::<String>("url").unwrap_or_default().trim_end_matches('/').trim_end_matches("/v1").to_owned(),
        model: matches.remove_one("model"),
        api_key: matches.remove_one("api-key"),
        workload,
        arrival,
        requests: count(matches, "requests").map_or(every_line, small),
        input_tokens: count(matches, "input-tokens").map(small),
        max_tokens: count(matches, "max-tokens").map(|tokens| u32::try_from(tokens).expect("clap's range fits")),
        temperature: matches.remove_one("temperature"),
        seed: count(matches, "seed").unwrap_or(1),
        slo: Slo {
            ttft_ms: matches.remove_one("slo-ttft-ms"),
            tpot_ms: matches.remove_one("slo-tpot-ms"),
            e2e_ms: matches.remove_one("slo-e2e-ms"),
        },
        timeout_seconds: count(matches, "timeout").unwrap_or(600),
        label: matches.remove_one("label"),
        json: matches.remove_one("json"),
        records: matches.remove_one("records"),
        html: matches.remove_one("html"),
    }))
}

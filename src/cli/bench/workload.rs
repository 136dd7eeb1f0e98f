//! The requests of a workload: always the same for a seed, so that two servers get the same requests.
//!
//! Prompts are token ids: they need no tokenizer here and have the intended length on every server. Their tokens have
//! no meaning; requests with real text come from a file.

use super::plan::{BenchPlan, Workload};
use anyhow::{Context, bail};
use fastrand::Rng;
use serde_json::{Map, Value, json};
use std::path::Path;

/// Ids of ordinary tokens in every vocabulary of at least 32,000 tokens.
const IDS: std::ops::Range<u32> = 1_000..30_000;
/// Maximum number of lines of a file.
const MAX_LINES: usize = 1_000_000;
/// Number of W3's streams, which run all the time.
const W3_STREAMS: usize = 4;

/// The group that a request belongs to. Each group has percentiles of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Group {
    /// All requests of one kind.
    Requests,
    /// W3: a stream that goes on while long prompts arrive.
    Streams,
    /// W3: a long prompt.
    LongPrompts,
}

/// A request to send.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct BenchRequest {
    pub(super) group: Group,
    /// Its place in the workload, from 0.
    pub(super) index: usize,
    /// True for a chat, false for a completion.
    pub(super) is_chat: bool,
    /// The body without `model` and `stream`.
    pub(super) body: Map<String, Value>,
}

/// All requests of the plan, in order.
///
/// # Errors
/// A file cannot be read or has a line that is no request.
pub(super) fn bench_requests(plan: &BenchPlan) -> anyhow::Result<Vec<BenchRequest>> {
    let mut rng = Rng::with_seed(plan.seed);
    let numbers = |input: usize, output: u32| (plan.input_tokens.unwrap_or(input), plan.max_tokens.unwrap_or(output));
    let each = 0..plan.requests;
    let mut requests = match &plan.workload {
        Workload::W1 => {
            let (input, output) = numbers(104, 64);
            each.map(|_| completion(&ids(&mut rng, input), output)).collect()
        }
        Workload::W2 => {
            let (own, output) = numbers(40, 32);
            let common = ids(&mut rng, 620);
            each.map(|_| completion(&[common.clone(), ids(&mut rng, own)].concat(), output)).collect()
        }
        Workload::W3 => {
            let (long, output) = numbers(700, 256);
            let streams = (0..W3_STREAMS).map(|_| BenchRequest { group: Group::Streams, ..completion(&ids(&mut rng, 32), output) });
            let mut requests: Vec<BenchRequest> = streams.collect();
            requests.extend(each.map(|_| BenchRequest { group: Group::LongPrompts, ..completion(&ids(&mut rng, long), 1) }));
            requests
        }
        Workload::W4 => each.map(|n| structured(n, plan.max_tokens.unwrap_or(200))).collect(),
        Workload::W5 => {
            let (input, output) = numbers(32, 128);
            each.map(|_| completion(&ids(&mut rng, input), output)).collect()
        }
        Workload::File(file) => from_file(file, plan)?,
    };
    for (index, request) in requests.iter_mut().enumerate() {
        request.index = index;
        if let Some(temperature) = plan.temperature {
            request.body.insert("temperature".to_owned(), temperature.into());
        }
    }
    Ok(requests)
}

fn ids(rng: &mut Rng, count: usize) -> Vec<u32> {
    (0..count).map(|_| rng.u32(IDS)).collect()
}

fn completion(prompt: &[u32], max_tokens: u32) -> BenchRequest {
    let body = json!({"prompt": prompt, "max_tokens": max_tokens, "temperature": 0, "ignore_eos": true});
    bench_request(false, body)
}

/// A greedy request with a `json_schema`, which llamero, llama-server and vLLM's relatives all read in this field.
fn structured(n: usize, max_tokens: u32) -> BenchRequest {
    let schema = json!({
        "type": "object",
        "properties": {
            "first_name": {"type": "string", "maxLength": 12}, "family_name": {"type": "string", "maxLength": 12},
            "age_in_years": {"type": "integer", "minimum": 1, "maximum": 99}, "is_registered": {"type": "boolean"},
            "favourite_colour": {"enum": ["red", "green", "blue", "yellow"]}, "home_country": {"type": "string", "maxLength": 12},
        },
        "required": ["first_name", "family_name", "age_in_years", "is_registered", "favourite_colour", "home_country"],
        "additionalProperties": false,
    });
    let prompt = format!("Person number {n} of the register, as JSON:\n");
    bench_request(false, json!({"prompt": prompt, "max_tokens": max_tokens, "temperature": 0, "json_schema": schema}))
}

fn bench_request(is_chat: bool, body: Value) -> BenchRequest {
    let Value::Object(body) = body else { unreachable!("the callers write objects") };
    BenchRequest { group: Group::Requests, index: 0, is_chat, body }
}

fn from_file(file: &Path, plan: &BenchPlan) -> anyhow::Result<Vec<BenchRequest>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    let lines = text.strip_prefix('\u{feff}').unwrap_or(&text).lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let requests = lines
        .take(plan.requests.min(MAX_LINES))
        .map(|(number, line)| request_of_line(line, plan.max_tokens).with_context(|| format!("line {} of {}", number + 1, file.display())));
    let requests: Vec<BenchRequest> = requests.collect::<anyhow::Result<_>>()?;
    if requests.is_empty() {
        bail!("{} has no prompt", file.display());
    }
    Ok(requests)
}

/// Reads a line of a file: one that begins with `{` is a body; any other is a prompt.
fn request_of_line(line: &str, max_tokens: Option<u32>) -> anyhow::Result<BenchRequest> {
    let mut body = if line.trim_start().starts_with('{') {
        serde_json::from_str::<Map<String, Value>>(line)?
    } else {
        Map::from_iter([("prompt".to_owned(), line.into())])
    };
    let is_chat = body.contains_key("messages");
    if !is_chat && !body.contains_key("prompt") {
        bail!("a body needs 'prompt' or 'messages'");
    }
    if let Some(max_tokens) = max_tokens {
        body.insert("max_tokens".to_owned(), max_tokens.into());
    }
    Ok(BenchRequest { group: Group::Requests, index: 0, is_chat, body })
}

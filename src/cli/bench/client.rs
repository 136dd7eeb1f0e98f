//! Sends one streamed request and records when its pieces came.

use super::{plan::BenchPlan, record::RequestRecord, workload::BenchRequest};
use anyhow::{Context, bail};
use eventsource_stream::Eventsource;
use futures_util::StreamExt;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Maximum number of characters of an error that are kept.
const MAX_ERROR: usize = 300;

/// A server, as one of its clients sees it.
#[derive(Debug, Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    url: String,
    api_key: Option<String>,
    timeout: Duration,
}

/// The fields of a chunk that are read.
#[derive(Deserialize)]
struct Chunk {
    #[serde(default)]
    choices: Vec<ChunkChoice>,
    usage: Option<StreamUsage>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct ChunkChoice {
    text: Option<String>,
    delta: Option<Delta>,
}

#[derive(Deserialize)]
struct Delta {
    content: Option<String>,
    reasoning_content: Option<String>,
    tool_calls: Option<Vec<IgnoredAny>>,
}

#[derive(Deserialize)]
struct StreamUsage {
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
    prompt_tokens_details: Option<PromptDetails>,
}

#[derive(Deserialize)]
struct PromptDetails {
    cached_tokens: Option<u64>,
}

impl ChunkChoice {
    /// True if the chunk has text or tool calls.
    fn is_visible(&self) -> bool {
        let said = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        let calls = |delta: &Delta| delta.tool_calls.as_ref().is_some_and(|calls| !calls.is_empty());
        said(&self.text) || self.delta.as_ref().is_some_and(|delta| said(&delta.content) || said(&delta.reasoning_content) || calls(delta))
    }

    /// The text that the chunk adds.
    fn text(&self) -> &str {
        let content = || self.delta.as_ref()?.content.as_deref();
        self.text.as_deref().or_else(content).unwrap_or_default()
    }
}

impl Client {
    /// Creates a client for the plan's server. Sends nothing yet.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub(super) fn new(plan: &BenchPlan) -> anyhow::Result<Self> {
        // Each request gets its own connection. llama-server announces keep-alive but closes after each stream, so a
        // client that believes the announcement would count failures that are none.
        let http = reqwest::Client::builder().pool_max_idle_per_host(0).tcp_nodelay(true).build()?;
        Ok(Self { http, url: plan.url.clone(), api_key: plan.api_key.clone(), timeout: Duration::from_secs(plan.timeout_seconds) })
    }

    fn with_key(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        match &self.api_key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    /// The first model of `GET /v1/models`.
    ///
    /// # Errors
    /// The server cannot be reached, or lists no model.
    pub(super) async fn first_model(&self) -> anyhow::Result<String> {
        let answer = self.with_key(self.http.get(format!("{}/v1/models", self.url))).timeout(Duration::from_secs(10)).send().await?;
        let models: Value = answer.error_for_status()?.json().await?;
        models["data"][0]["id"].as_str().map(str::to_owned).context("GET /v1/models lists no model")
    }

    /// Sends a request and follows its stream to the end. `began` is the beginning of the run.
    pub(super) async fn send(&self, request: BenchRequest, model: &str, began: Instant) -> RequestRecord {
        let start = Instant::now();
        let mut record = RequestRecord {
            group: request.group,
            index: request.index,
            prompt: request.body.get(if request.is_chat { "messages" } else { "prompt" }).cloned().unwrap_or_default(),
            start: (start - began).as_secs_f64(),
            pieces: Vec::new(),
            total: 0.0,
            completion_tokens: 0,
            prompt_tokens: 0,
            cached_tokens: 0,
            text: String::new(),
            error: None,
        };
        let outcome = match timeout(self.timeout, self.follow(request, model, start, &mut record)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(anyhow::anyhow!("it took longer than {} s", self.timeout.as_secs())),
        };
        record.total = start.elapsed().as_secs_f64();
        record.error = outcome.err().map(|error| format!("{error:#}").chars().take(MAX_ERROR).collect());
        if record.completion_tokens == 0 {
            record.completion_tokens = u64::try_from(record.pieces.len()).unwrap_or(u64::MAX);
        }
        record
    }

    async fn follow(&self, request: BenchRequest, model: &str, start: Instant, record: &mut RequestRecord) -> anyhow::Result<()> {
        let path = if request.is_chat { "chat/completions" } else { "completions" };
        let mut body = request.body;
        body.insert("model".to_owned(), model.into());
        body.insert("stream".to_owned(), true.into());
        body.entry("stream_options").or_insert_with(|| json!({"include_usage": true}));
        let answer = self.with_key(self.http.post(format!("{}/v1/{path}", self.url)).json(&body)).send().await?;
        let status = answer.status();
        if !status.is_success() {
            bail!("{status}: {}", answer.text().await.unwrap_or_default().trim());
        }
        let mut events = answer.bytes_stream().eventsource();
        while let Some(event) = events.next().await {
            let event = event?;
            if event.data.trim() == "[DONE]" {
                return Ok(());
            }
            let at = start.elapsed().as_secs_f64();
            let chunk: Chunk = serde_json::from_str(&event.data).with_context(|| format!("no chunk: {}", event.data))?;
            if let Some(error) = chunk.error.filter(|error| !error.is_null()) {
                bail!("the stream failed: {error}");
            }
            if chunk.choices.iter().any(ChunkChoice::is_visible) {
                record.pieces.push(at);
            }
            chunk.choices.iter().for_each(|choice| record.text.push_str(choice.text()));
            if let Some(usage) = chunk.usage {
                record.prompt_tokens = usage.prompt_tokens;
                record.completion_tokens = usage.completion_tokens;
                record.cached_tokens = usage.prompt_tokens_details.and_then(|details| details.cached_tokens).unwrap_or(0);
            }
        }
        bail!("the stream ended without [DONE]")
    }
}

//! Traces of requests by OpenTelemetry's protocol (OTLP over HTTP): a span for each request, with children for the time
//! in the queue, in the prompt and in the answer. Attributes are those of OpenTelemetry's GenAI conventions and vLLM's.
//!
//! Spans are made at the end of a request from its record, so nothing is measured for them. The SDK's own thread sends
//! them; its queue is bounded, and what has no room is dropped (`OTEL_BSP_MAX_QUEUE_SIZE`). Off unless a collector is
//! named. Never has a prompt or a completion.

use super::{EmbeddingRecord, GenerationRecord, Outcome};
use opentelemetry::{
    Context, KeyValue, StringValue, Value,
    propagation::TextMapPropagator as _,
    trace::{
        Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId, Tracer as _, TracerProvider as _,
    },
};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig as _};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{IdGenerator, RandomIdGenerator, SdkTracer, SdkTracerProvider},
};
use std::{
    cell::Cell,
    collections::HashMap,
    sync::OnceLock,
    time::{Duration, SystemTime},
};

/// Longest wait for a collector to take a batch.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest wait for the last spans at the end of the process.
const FAREWELL: Duration = Duration::from_secs(2);

static TRACER: OnceLock<SdkTracer> = OnceLock::new();

thread_local! {
    /// The ids of the span that this thread makes next; `None` for ids that are drawn.
    static NEXT: Cell<Option<(TraceId, SpanId)>> = const { Cell::new(None) };
}

/// Gives spans the ids that were drawn when their request arrived: the SDK has no other way to name them.
#[derive(Debug, Default)]
struct Ids(RandomIdGenerator);

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        NEXT.get().map_or_else(|| self.0.new_trace_id(), |(trace_id, _)| trace_id)
    }

    fn new_span_id(&self) -> SpanId {
        NEXT.get().map_or_else(|| self.0.new_span_id(), |(_, span_id)| span_id)
    }
}

/// Sends the last spans when it is finished.
#[derive(Debug)]
pub struct Traces(SdkTracerProvider);

/// Sends traces to the collector at `endpoint` from now on, such as `http://127.0.0.1:4318`; spans go to `/v1/traces`
/// below it. The SDK reads `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER`, `OTEL_BSP_*` and
/// `OTEL_EXPORTER_OTLP_HEADERS` itself.
///
/// # Errors
/// The endpoint is no URL, in the words of the SDK.
pub fn install(endpoint: &str) -> Result<Traces, String> {
    let url = format!("{}/v1/traces", endpoint.trim_end_matches('/').trim_end_matches("/v1/traces"));
    let exporter = SpanExporter::builder().with_http().with_protocol(Protocol::HttpBinary).with_endpoint(url).with_timeout(PATIENCE);
    let exporter = exporter.build().map_err(|error| error.to_string())?;
    let resource = Resource::builder();
    let resource = if std::env::var_os("OTEL_SERVICE_NAME").is_some() { resource } else { resource.with_service_name("llamero") };
    let resource = resource.with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))).build();
    let provider =
        SdkTracerProvider::builder().with_batch_exporter(exporter).with_id_generator(Ids::default()).with_resource(resource).build();
    TRACER.get_or_init(|| provider.tracer("llamero"));
    Ok(Traces(provider))
}

impl Traces {
    /// Sends the last spans, for at most 2 s. Blocks.
    pub fn finish(self) {
        if let Err(error) = self.0.shutdown_with_timeout(FAREWELL) {
            tracing::debug!(%error, "the last traces were not sent");
        }
    }
}

/// The place of a request in a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceContext {
    /// The client's span; invalid if it named none.
    parent: SpanContext,
    trace_id: TraceId,
    span_id: SpanId,
    /// The request's id (`x-request-id`), by which log lines and spans are found from each other.
    request_id: String,
}

impl TraceContext {
    /// The place of a request with this id and these values of `traceparent` and `tracestate` (W3C Trace Context);
    /// `None` if traces are off.
    #[must_use]
    pub fn of(request_id: &str, traceparent: Option<&str>, tracestate: Option<&str>) -> Option<Self> {
        TRACER.get()?;
        let pairs = [("traceparent", traceparent), ("tracestate", tracestate)];
        let carrier: HashMap<String, String> =
            pairs.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))).collect();
        let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &carrier).span().span_context().clone();
        let ids = RandomIdGenerator::default();
        let trace_id = if parent.is_valid() { parent.trace_id() } else { ids.new_trace_id() };
        Some(Self { parent, trace_id, span_id: ids.new_span_id(), request_id: request_id.to_owned() })
    }

    /// The id of the trace, 32 hexadecimal digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        self.trace_id.to_string()
    }

    /// The value of `traceparent` that names the request's own span.
    #[must_use]
    pub fn traceparent(&self) -> String {
        let flags = if self.parent.is_valid() { self.parent.trace_flags() } else { TraceFlags::SAMPLED };
        format!("00-{}-{}-{:02x}", self.trace_id, self.span_id, flags)
    }

    fn record(&self, ended: Ended<'_>) {
        let Some(tracer) = TRACER.get() else { return };
        let Ended { name, total, failure, mut attributes, phases } = ended;
        attributes.push(KeyValue::new("gen_ai.request.id", self.request_id.clone()));
        let end = SystemTime::now();
        let begin = end.checked_sub(total).unwrap_or(end);
        let builder = tracer.span_builder(name).with_kind(SpanKind::Server).with_start_time(begin);
        // A sampler takes an invalid parent for one that was not sampled.
        let root = Context::new();
        let context = if self.parent.is_valid() { root.with_remote_span_context(self.parent.clone()) } else { root };
        NEXT.set(Some((self.trace_id, self.span_id)));
        let mut span = tracer.build_with_context(builder.with_attributes(attributes), &context);
        NEXT.set(None);
        if let Some(reason) = failure {
            span.set_status(Status::error(reason.to_owned()));
        }
        let own = Context::new().with_remote_span_context(span.span_context().clone());
        for phase in phases {
            let builder = tracer.span_builder(phase.name).with_start_time(begin + phase.begin);
            tracer.build_with_context(builder, &own).end_with_timestamp(begin + phase.end);
        }
        span.end_with_timestamp(end);
    }
}

/// A request at its end.
struct Ended<'a> {
    name: String,
    total: Duration,
    /// The reason why it failed.
    failure: Option<&'a str>,
    attributes: Vec<KeyValue>,
    phases: Vec<RequestPhase>,
}

/// A part of a request, in time since its receipt.
#[derive(Debug, Clone, PartialEq)]
struct RequestPhase {
    name: &'static str,
    begin: Duration,
    end: Duration,
}

/// The phases of a generation that began: `queue` until its first row, `prefill` until its first token, `decode` until
/// its last one.
fn phases(record: &GenerationRecord) -> Vec<RequestPhase> {
    let (Some(first_token), Some(prefill), Some(inference)) = (record.first_token, record.prefill, record.inference) else {
        return Vec::new();
    };
    let first_row = first_token.saturating_sub(prefill);
    let queued = first_row.saturating_sub(record.queue.unwrap_or_default());
    let last_token = (first_row + inference).max(first_token);
    vec![
        RequestPhase { name: "queue", begin: queued, end: first_row },
        RequestPhase { name: "prefill", begin: first_row, end: first_token },
        RequestPhase { name: "decode", begin: first_token, end: last_token },
    ]
}

/// Makes the span of a generation.
pub(super) fn generation(record: &GenerationRecord) {
    let Some(trace) = &record.trace else { return };
    let operation = match record.endpoint {
        "chat_completions" | "responses" | "messages" => "chat",
        _ => "text_completion",
    };
    let finish_reasons: Vec<StringValue> = record.finish_reasons.iter().map(|reason| StringValue::from(*reason)).collect();
    let mut attributes = shared(operation, &record.model, record.endpoint, &record.outcome);
    attributes.extend([
        KeyValue::new("gen_ai.request.max_tokens", i64::from(record.max_tokens)),
        KeyValue::new("gen_ai.request.choice.count", integer(record.n)),
        KeyValue::new("gen_ai.usage.input_tokens", integer(record.prompt_tokens)),
        KeyValue::new("gen_ai.usage.cache_read.input_tokens", integer(record.cached_tokens)),
        KeyValue::new("gen_ai.usage.output_tokens", integer(record.completion_tokens)),
        KeyValue::new("gen_ai.response.finish_reasons", Value::Array(finish_reasons.into())),
        KeyValue::new("gen_ai.latency.e2e", record.total.as_secs_f64()),
        KeyValue::new("llamero.stream", record.stream),
    ]);
    let times = [
        ("gen_ai.latency.time_in_queue", record.queue),
        ("gen_ai.latency.time_to_first_token", record.first_token),
        ("gen_ai.latency.time_in_model_prefill", record.prefill),
    ];
    attributes.extend(times.into_iter().filter_map(|(name, time)| Some(KeyValue::new(name, time?.as_secs_f64()))));
    let (name, failure) = (format!("{operation} {}", record.model), failure(&record.outcome));
    trace.record(Ended { name, total: record.total, failure, attributes, phases: phases(record) });
}

/// Makes the span of a request for vectors or scores.
pub(super) fn embedding(record: &EmbeddingRecord) {
    let Some(trace) = &record.trace else { return };
    let mut attributes = shared("embeddings", &record.model, record.endpoint, &record.outcome);
    attributes.push(KeyValue::new("gen_ai.usage.input_tokens", integer(record.prompt_tokens)));
    let (name, failure) = (format!("embeddings {}", record.model), failure(&record.outcome));
    trace.record(Ended { name, total: record.total, failure, attributes, phases: Vec::new() });
}

/// Makes the span of any other request. Its name is the method alone, because a client may send any path.
pub fn record_request(trace: &TraceContext, method: &str, path: &str, status: u16, total: Duration) {
    let attributes = vec![
        KeyValue::new("http.request.method", method.to_owned()),
        KeyValue::new("url.path", path.to_owned()),
        KeyValue::new("http.response.status_code", i64::from(status)),
    ];
    let failure = (status >= 500).then_some("the server failed");
    trace.record(Ended { name: method.to_owned(), total, failure, attributes, phases: Vec::new() });
}

fn shared(operation: &'static str, model: &str, endpoint: &'static str, outcome: &Outcome) -> Vec<KeyValue> {
    let mut attributes = vec![
        KeyValue::new("gen_ai.operation.name", operation),
        KeyValue::new("gen_ai.provider.name", "llamero"),
        KeyValue::new("gen_ai.request.model", model.to_owned()),
        KeyValue::new("llamero.endpoint", endpoint),
    ];
    if let Some(code) = failure(outcome) {
        attributes.push(KeyValue::new("error.type", code));
    }
    attributes
}

/// The code of a failure; `None` for a request that ended as it should.
fn failure(outcome: &Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Finished => None,
        Outcome::ClientGone => Some("client_gone"),
        Outcome::Failed { code, .. } => Some(code),
    }
}

/// A count as an attribute, which has 63 bits.
fn integer(count: impl TryInto<i64>) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

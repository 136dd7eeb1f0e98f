//! The table of metrics: names, buckets, descriptions, and the closed sets of label values.
//!
//! The names, meanings and buckets are vLLM's where vLLM has the metric, those of its earlier versions included, so
//! that its dashboards and the schedulers that read it find them; `http_` names are those of the instrumentation that
//! vLLM uses; `llamero:` names are our own. No client can add a label value.

/// Names used elsewhere in `telemetry`; each is in a row of the tables below.
pub(in crate::telemetry) mod name {
    pub(in crate::telemetry) const TTFT: &str = "vllm:time_to_first_token_seconds";
    pub(in crate::telemetry) const ITL: &str = "vllm:inter_token_latency_seconds";
    pub(in crate::telemetry) const ITL_FORMERLY: &str = "vllm:time_per_output_token_seconds";
    pub(in crate::telemetry) const TPOT: &str = "vllm:request_time_per_output_token_seconds";
    pub(in crate::telemetry) const E2E: &str = "vllm:e2e_request_latency_seconds";
    pub(in crate::telemetry) const QUEUE: &str = "vllm:request_queue_time_seconds";
    pub(in crate::telemetry) const PREFILL: &str = "vllm:request_prefill_time_seconds";
    pub(in crate::telemetry) const DECODE: &str = "vllm:request_decode_time_seconds";
    pub(in crate::telemetry) const INFERENCE: &str = "vllm:request_inference_time_seconds";
    pub(in crate::telemetry) const PROMPT_TOKENS: &str = "vllm:request_prompt_tokens";
    pub(in crate::telemetry) const GENERATION_TOKENS: &str = "vllm:request_generation_tokens";
    pub(in crate::telemetry) const LONGEST_CHOICE: &str = "vllm:request_max_num_generation_tokens";
    pub(in crate::telemetry) const PARAMS_N: &str = "vllm:request_params_n";
    pub(in crate::telemetry) const PARAMS_MAX_TOKENS: &str = "vllm:request_params_max_tokens";
    pub(in crate::telemetry) const STEP_TOKENS: &str = "vllm:iteration_tokens_total";
    pub(in crate::telemetry) const HTTP_SECONDS: &str = "http_request_duration_seconds";
    pub(in crate::telemetry) const HTTP_REQUESTS: &str = "http_requests_total";
    pub(in crate::telemetry) const PROMPT_TOTAL: &str = "vllm:prompt_tokens_total";
    pub(in crate::telemetry) const PROMPT_SOURCES: &str = "vllm:prompt_tokens_by_source_total";
    pub(in crate::telemetry) const GENERATION_TOTAL: &str = "vllm:generation_tokens_total";
    pub(in crate::telemetry) const CACHED_TOTAL: &str = "llamero:cached_prompt_tokens_total";
    pub(in crate::telemetry) const EMBEDDED_TOTAL: &str = "llamero:embedded_inputs_total";
    pub(in crate::telemetry) const SUCCESS: &str = "vllm:request_success_total";
    pub(in crate::telemetry) const REFUSED: &str = "llamero:requests_refused_total";
    pub(in crate::telemetry) const WARNINGS: &str = "llamero:request_warnings_total";
    pub(in crate::telemetry) const DEATHS: &str = "llamero:engine_deaths_total";
    pub(in crate::telemetry) const LOG_LINES_LOST: &str = "llamero:log_lines_lost_total";
    pub(in crate::telemetry) const WAITING_BY_REASON: &str = "vllm:num_requests_waiting_by_reason";
    pub(in crate::telemetry) const CACHE_CONFIG: &str = "vllm:cache_config_info";
}

/// vLLM's buckets, seconds (vllm/v1/metrics/loggers.py).
const TTFT_BUCKETS: &[f64] =
    &[0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0, 160.0, 640.0, 2560.0];
const ITL_BUCKETS: &[f64] = &[0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0];
const REQUEST_BUCKETS: &[f64] =
    &[0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0, 960.0, 1920.0, 7680.0];
/// Buckets in 1-2-5 steps, tokens.
const TOKEN_BUCKETS: &[f64] =
    &[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10000.0, 20000.0, 50000.0, 100_000.0, 200_000.0];
/// vLLM's buckets of the tokens of a step.
const STEP_BUCKETS: &[f64] = &[1.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0];
const N_BUCKETS: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0];
/// The buckets of prometheus-fastapi-instrumentator, seconds.
const HTTP_BUCKETS: &[f64] = &[0.1, 0.5, 1.0];

/// Name, buckets and help text of each histogram.
pub(super) const HISTOGRAMS: &[(&str, &[f64], &str)] = &[
    (name::TTFT, TTFT_BUCKETS, "From receipt of a request to its first token; recorded when that token arrives."),
    (name::ITL, ITL_BUCKETS, "Gap between neighbouring tokens of a choice, one value per gap."),
    (name::ITL_FORMERLY, ITL_BUCKETS, "The former name of vllm:inter_token_latency_seconds."),
    (name::TPOT, ITL_BUCKETS, "(last - first token) / (completion tokens - 1), one value per request."),
    (name::E2E, REQUEST_BUCKETS, "From receipt of the request to its last byte."),
    (name::QUEUE, REQUEST_BUCKETS, "From the engine's receipt of a sequence to its first scheduled row."),
    (name::PREFILL, REQUEST_BUCKETS, "From the first scheduled row of a request to its first token."),
    (name::DECODE, REQUEST_BUCKETS, "From the first token of a request to its last one."),
    (name::INFERENCE, REQUEST_BUCKETS, "From the first scheduled row of a request to its last token."),
    (name::PROMPT_TOKENS, TOKEN_BUCKETS, "Prompt tokens of a request."),
    (name::GENERATION_TOKENS, TOKEN_BUCKETS, "Completion tokens of a request, over all its choices."),
    (name::LONGEST_CHOICE, TOKEN_BUCKETS, "Completion tokens of the longest choice of a request."),
    (name::PARAMS_N, N_BUCKETS, "Choices per prompt that a request asked for."),
    (name::PARAMS_MAX_TOKENS, TOKEN_BUCKETS, "Maximum number of completion tokens of a request's choices."),
    (name::STEP_TOKENS, STEP_BUCKETS, "Prompt tokens computed and tokens generated in a step of the engine."),
    (name::HTTP_SECONDS, HTTP_BUCKETS, "From receipt of an HTTP request to the end of its answer, streams included, by route."),
];

/// Name and help text of each counter.
pub(super) const COUNTERS: &[(&str, &str)] = &[
    (name::PROMPT_TOTAL, "Prompt tokens of requests that have started."),
    (name::PROMPT_SOURCES, "The same by where their KV came from: computed here, or found in the prefix cache."),
    (name::GENERATION_TOTAL, "Tokens that the engine has generated."),
    (name::CACHED_TOTAL, "Prompt tokens that were taken from the prefix cache."),
    (name::EMBEDDED_TOTAL, "Inputs that vectors or scores were computed for."),
    (name::SUCCESS, "Generations, and requests for vectors, by how they ended: stop, length, abort (the client left), error."),
    (name::REFUSED, "Requests answered with an error status, by status."),
    (name::WARNINGS, "Warnings of requests that were not done exactly as asked (x-llamero-warnings), by what they concern."),
    (name::HTTP_REQUESTS, "HTTP requests by route, method and class of the status; probes are not counted."),
    ("vllm:num_preemptions_total", "Sequences put back to wait because the KV cache was full."),
    ("vllm:prefix_cache_queries_total", "Prompt tokens looked up in the prefix cache."),
    ("vllm:prefix_cache_hits_total", "Prompt tokens found there."),
    ("vllm:gpu_prefix_cache_queries_total", "The former name of vllm:prefix_cache_queries_total."),
    ("vllm:gpu_prefix_cache_hits_total", "The former name of vllm:prefix_cache_hits_total."),
    ("llamero:parked_tokens_total", "Tokens whose KV was saved to host memory (--swap-space)."),
    ("llamero:loaded_tokens_total", "Tokens whose KV was loaded from there instead of being computed."),
    ("llamero:restored_tokens_total", "Tokens whose KV was read from disk at the start (--prefix-cache-dir)."),
    ("llamero:kv_cache_resets_total", "Times that the KV cache was dropped because its record contradicted itself; a bug."),
    ("llamero:prefill_rows_total", "Prompt rows computed."),
    ("llamero:forced_tokens_total", "Tokens that a constraint left no choice about, computed together with the one before."),
    ("vllm:spec_decode_num_draft_tokens_total", "Tokens guessed ahead and computed to see whether they are right."),
    ("vllm:spec_decode_num_accepted_tokens_total", "Of these, the ones that were."),
    ("llamero:engine_steps_total", "Steps the engine finished."),
    (name::DEATHS, "Engine processes that ended unasked, by cause."),
    (name::LOG_LINES_LOST, "Log lines that could not be written: standard error was closed or full, or its reader stalled."),
];

/// Name and help text of each gauge.
pub(super) const GAUGES: &[(&str, &str)] = &[
    ("vllm:num_requests_running", "Sequences that hold a slot."),
    ("vllm:num_requests_waiting", "Sequences that wait for one."),
    (name::WAITING_BY_REASON, "The same by reason: capacity, or deferred until another sequence has computed a common prefix."),
    ("vllm:num_requests_swapped", "Of vLLM's earlier versions; 0 here, because a sequence that gives way waits like any other."),
    ("vllm:kv_cache_usage_perc", "Share of KV cells that running sequences hold, 0-1."),
    ("vllm:gpu_cache_usage_perc", "The former name of vllm:kv_cache_usage_perc."),
    ("vllm:cpu_cache_usage_perc", "Share of --swap-space that holds cached prompts, 0-1."),
    (name::CACHE_CONFIG, "Facts about the KV cache as labels; a cell (one token) counts as a block."),
    ("llamero:engine_threads", "CPU threads of a step at the moment; fewer than at the start while other programs want the cores."),
    ("llamero:parked_bytes", "Bytes of KV in host memory (--swap-space)."),
    ("llamero:engine_up", "1 while the engine serves."),
    (
        "llamero:engine_still_seconds",
        "Seconds for which the engine has not done what it has to: steps while it has work, answers; 0 while it loads.",
    ),
    ("llamero:engine_process_resident_memory_bytes", "Resident memory of the engine process; 0 while there is none."),
    ("llamero:engine_process_virtual_memory_bytes", "Virtual memory of the engine process."),
    ("llamero:engine_process_threads", "Threads of the engine process."),
];

/// The ends of a generation or of a request for vectors.
pub(super) const FINISHED_REASONS: [&str; 4] = ["stop", "length", "abort", "error"];

/// The sources of the KV of prompt tokens, in vLLM's words; nothing is transferred from other servers here.
pub(super) const PROMPT_SOURCES: [&str; 3] = ["local_compute", "local_cache_hit", "external_kv_transfer"];

/// The error statuses that this server answers with.
pub const REFUSED_STATUSES: [u16; 14] = [400, 401, 403, 404, 405, 408, 413, 415, 422, 426, 429, 500, 503, 529];

/// The names by which warnings of requests are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WarningName {
    /// Fields without effect.
    IgnoredFields,
    /// The model that answers.
    Model,
    /// The length of prompt or answer.
    Length,
    /// Messages, and other texts that are read.
    Messages,
    /// Tools and calls.
    Tools,
    /// The format of the answer.
    Format,
    /// Another field.
    Other,
}

impl WarningName {
    /// All names.
    pub(super) const ALL: [Self; 7] =
        [Self::IgnoredFields, Self::Model, Self::Length, Self::Messages, Self::Tools, Self::Format, Self::Other];

    /// The name as a label.
    pub(super) fn text(self) -> &'static str {
        match self {
            Self::IgnoredFields => "ignored_fields",
            Self::Model => "model",
            Self::Length => "length",
            Self::Messages => "messages",
            Self::Tools => "tools",
            Self::Format => "format",
            Self::Other => "other",
        }
    }
}

/// Classes of statuses.
pub(in crate::telemetry) const STATUS_CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_histogram_has_rising_buckets() {
        for (name, buckets, _) in HISTOGRAMS {
            assert!(buckets.is_sorted_by(|a, b| a < b), "{name}");
        }
    }
}

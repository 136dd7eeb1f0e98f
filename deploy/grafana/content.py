"""The panels of each dashboard. Functions take the metrics of the server and yield rows."""

from metrics import SERVERS, foreign
from parts import GREEN, RED, YELLOW, Row, figure, graph, heat_map, label_table, thresholds

TTFT, ITL = "vllm:time_to_first_token_seconds", "vllm:inter_token_latency_seconds"
E2E, QUEUE = "vllm:e2e_request_latency_seconds", "vllm:request_queue_time_seconds"
PROMPT, GENERATED = "vllm:prompt_tokens_total", "vllm:generation_tokens_total"
ENDED, REFUSED, HTTP = "vllm:request_success_total", "llamero:requests_refused_total", "http_requests_total"
DEATHS, UP = "llamero:engine_deaths_total", "llamero:engine_up"
RUNNING, WAITING = "vllm:num_requests_running", "vllm:num_requests_waiting"
KV, PREEMPTIONS = "vllm:kv_cache_usage_perc", "vllm:num_preemptions_total"
NAMES = {TTFT: "Time to first token (TTFT)", ITL: "Inter-token latency (ITL)", QUEUE: "Queue time", E2E: "End-to-end latency"}
TOKENS, STEP = "tok/s", "vllm:iteration_tokens_total"

# The times of the objectives in deploy/prometheus/rules/recording.yml, s.
TTFT_OBJECTIVE, ITL_OBJECTIVE = 2.5, 0.5

NO_GPU_EXPORTER = (
    "Comes from dcgm-exporter, not from llamero, and stays empty until Prometheus reads one. Shows all GPUs that this "
    "Prometheus knows, whichever servers are selected."
)
BY_INSTANCE = "{{instance}}"
# increase() extrapolates to the ends of its range, so that one event can be 1.3.
ROUNDED = "round({})"
EVENTS = "An event is drawn for a minute or more."


def quantiles(m, name):
    return [(f"p{which * 100:.0f}", m.quantile(which, name)) for which in (0.5, 0.95, 0.99)]


def by_instance(expression):
    return [(BY_INSTANCE, expression.total("instance"))]


def overview(m):
    yield Row("State", [*state(m), *speed(m)])
    finished = [("{{finished_reason}}", m.rate(ENDED).total("finished_reason"))]
    tokens = [("prompt", m.rate(PROMPT).total()), ("generated", m.rate(GENERATED).total())]
    sequences = [("running", m.value(RUNNING).total()), ("waiting", m.value(WAITING).total())]
    yield Row(
        "Traffic",
        [
            graph("Finished requests by end", "reqps", finished, 8, stacked=True),
            graph("Tokens", TOKENS, tokens, 8),
            graph("Sequences", "none", sequences, 8),
        ],
    )
    yield Row("Latency", [graph(title, "s", quantiles(m, name), 8) for name, title in NAMES.items() if name != QUEUE])
    yield Row("Failures", failures(m))


def state(m):
    silent = foreign("up", f"{{{SERVERS}}}").wrapped("count({} == 0) or vector(0)")
    deaths = m.increase(DEATHS, over="$__range").total().wrapped(ROUNDED)
    red_from_one = thresholds((1, RED))
    return [
        figure("Servers that do not answer", "none", silent, note="Prometheus could not read their metrics.", steps=red_from_one),
        figure("Engines that serve", "none", m.value(UP).total(), steps=thresholds((1, GREEN), base=RED)),
        figure("Engine deaths", "none", deaths, note="In the selected range of time.", steps=red_from_one, at_once=True),
        figure("Running sequences", "none", m.value(RUNNING).total()),
        figure("Waiting sequences", "none", m.value(WAITING).total()),
        figure("Fullest KV cache", "percentunit", m.value(KV).folded("max"), steps=thresholds((0.95, YELLOW))),
    ]


def speed(m):
    # The quantiles of the objectives: 95 % of first tokens, 99 % of gaps.
    slow = {TTFT: thresholds((TTFT_OBJECTIVE, YELLOW)), ITL: thresholds((ITL_OBJECTIVE, YELLOW))}
    return [
        figure("Finished requests", "reqps", m.rate(ENDED).total()),
        figure("Prompt tokens", TOKENS, m.rate(PROMPT).total()),
        figure("Generated tokens", TOKENS, m.rate(GENERATED).total()),
        figure("TTFT, p95", "s", m.quantile(0.95, TTFT), steps=slow[TTFT]),
        figure("ITL, p99", "s", m.quantile(0.99, ITL), steps=slow[ITL]),
        figure("End-to-end latency, p95", "s", m.quantile(0.95, E2E)),
    ]


def failures(m):
    failed = m.rate(ENDED, 'finished_reason="error"').total().over(m.rate(ENDED, 'finished_reason!="abort"').total())
    broken = m.rate(HTTP, 'status="5xx"').total().over(m.rate(HTTP).total())
    shares = [("generations that ended with an error", failed), ("HTTP answers with 5xx", broken)]
    return [
        graph("Answers with an error", "reqps", [("{{status}}", m.rate(REFUSED).total("status"))], 8, stacked=True),
        graph("Shares of failures", "percentunit", shares, 8, note="Nothing is drawn while there are no requests."),
        graph("Engine deaths by cause", "none", [("{{cause}}", m.increase(DEATHS).total("cause").wrapped(ROUNDED))], 8, note=EVENTS, stacked=True),
    ]


def latency(m):
    for name, title in NAMES.items():
        lines = [*quantiles(m, name), ("mean", m.mean(name))]
        yield Row(title, [graph(f"{title}: quantiles and mean", "s", lines), heat_map(f"{title}: distribution", "s", m.buckets(name))])
    yield Row("Objectives", objectives(m))
    yield Row("Phases of requests", phases(m))


def objectives(m):
    note = "The share that the alerts of deploy/prometheus compare with its objective: {}. Nothing is drawn without requests."
    first = [("within", m.share_within(TTFT, TTFT_OBJECTIVE))]
    gaps = [("within", m.share_within(ITL, ITL_OBJECTIVE))]
    return [
        graph(f"First tokens within {TTFT_OBJECTIVE} s", "percentunit", first, note=note.format("95 %")),
        graph(f"Gaps between tokens within {ITL_OBJECTIVE} s", "percentunit", gaps, note=note.format("99 %")),
    ]


def phases(m):
    names = [
        ("queue", QUEUE),
        ("prefill", "vllm:request_prefill_time_seconds"),
        ("decode", "vllm:request_decode_time_seconds"),
    ]
    means = [(legend, m.mean(name)) for legend, name in names]
    tails = [(f"{legend}, p95", m.quantile(0.95, name)) for legend, name in names]
    inference = "vllm:request_inference_time_seconds"
    per_token = "vllm:request_time_per_output_token_seconds"
    routes = [("{{handler}}", m.mean("http_request_duration_seconds", "handler"))]
    return [
        graph("Mean time of each phase", "s", means, 8, stacked=True),
        graph("Time of each phase, p95", "s", [*tails, ("prefill and decode, p95", m.quantile(0.95, inference))], 8),
        graph("Time per output token of requests (TPOT)", "s", quantiles(m, per_token), 8),
        graph("HTTP requests by route, mean", "s", routes, 24, note="Only routes that were asked are drawn."),
    ]


def throughput(m):
    yield Row("Throughput", flow(m))
    yield Row("Steps of the engine", steps(m))
    yield Row("Sizes of requests", sizes(m))
    yield Row("Prefix cache", cache(m))
    yield Row("KV cells and host memory", memory(m))
    yield Row("Speculative decoding and constraints", speculation(m))


def flow(m):
    tokens = [("prompt", m.rate(PROMPT).total()), ("generated", m.rate(GENERATED).total())]
    return [
        graph("Tokens", TOKENS, tokens, 8),
        graph("Generated tokens by server", TOKENS, by_instance(m.rate(GENERATED)), 8),
        graph("Running sequences by server", "none", by_instance(m.value(RUNNING)), 8),
        graph("Finished requests by end", "reqps", [("{{finished_reason}}", m.rate(ENDED).total("finished_reason"))], stacked=True),
        graph("Inputs of embeddings and scores", "cps", by_instance(m.rate("llamero:embedded_inputs_total"))),
    ]


def steps(m):
    return [
        graph("Tokens per step", "none", [*quantiles(m, STEP), ("mean", m.mean(STEP))], 8),
        graph("Steps", "steps/s", by_instance(m.rate("llamero:engine_steps_total")), 8),
        graph("Prefill rows", "rows/s", by_instance(m.rate("llamero:prefill_rows_total")), 8),
    ]


def sizes(m):
    prompt, answer = "vllm:request_prompt_tokens", "vllm:request_generation_tokens"
    longest, choices = "vllm:request_max_num_generation_tokens", "vllm:request_params_n"
    allowed = "vllm:request_params_max_tokens"
    return [
        heat_map("Prompt tokens: distribution", "short", m.buckets(prompt)),
        heat_map("Generated tokens: distribution", "short", m.buckets(answer)),
        graph("Prompt tokens", "short", quantiles(m, prompt), 8),
        graph("Generated tokens", "short", quantiles(m, answer), 8),
        graph("Generated tokens of the longest choice", "short", quantiles(m, longest), 8),
        graph("Allowed tokens", "short", quantiles(m, allowed)),
        graph("Choices per prompt", "none", quantiles(m, choices)),
    ]


def cache(m):
    hits, asked = (m.rate(f"vllm:prefix_cache_{end}_total").total() for end in ("hits", "queries"))
    sources = [("{{source}}", m.rate("vllm:prompt_tokens_by_source_total").total("source"))]
    cached = m.rate("llamero:cached_prompt_tokens_total").total()
    return [
        graph("Prompt tokens found in the cache", "percentunit", [("found", hits.over(asked))], 8, note="Nothing is drawn without prompts."),
        graph("Prompt tokens by source", TOKENS, sources, 8, note="Prompt tokens of requests that have started.", stacked=True),
        graph("Prompt tokens from the cache", TOKENS, [("cached", cached)], 8),
    ]


def memory(m):
    moved = [(what, m.rate(f"llamero:{what}_tokens_total").total()) for what in ("parked", "loaded")]
    restored = m.count("llamero:restored_tokens_total")
    reasons = [("{{reason}}", m.value("vllm:num_requests_waiting_by_reason").total("reason"))]
    labels = ("instance", "model_name", "num_gpu_blocks", "cache_dtype", "swap_space_bytes")
    headings = ("Server", "Model", "KV cells", "Type of cells", "Host memory, bytes")
    facts = m.value("vllm:cache_config_info").folded("max", *labels)
    return [
        graph("KV cells in use", "percentunit", by_instance(m.value(KV)), 8),
        graph("Waiting sequences by reason", "none", reasons, 8, note="Sequences that wait for a slot.", stacked=True),
        graph("Preemptions", "cps", by_instance(m.rate(PREEMPTIONS)), 8),
        graph("Host memory with cached prompts", "bytes", by_instance(m.value("llamero:parked_bytes")), 8),
        graph("Share of host memory in use", "percentunit", by_instance(m.value("vllm:cpu_cache_usage_perc")), 8),
        graph("Tokens to and from host memory", TOKENS, moved, 8),
        graph("Tokens restored from disk", "short", by_instance(restored), 8, note="Counted once, at the start of a server."),
        label_table("Facts about the KV cache", facts, list(zip(labels, headings)), 16),
    ]


def speculation(m):
    drafts, accepted = (m.rate(f"vllm:spec_decode_num_{what}_tokens_total").total() for what in ("draft", "accepted"))
    rates = [("draft", drafts), ("accepted", accepted)]
    nothing = "Nothing is drawn while no tokens are drafted."
    return [
        graph("Draft tokens", TOKENS, rates, 8),
        graph("Accepted share of draft tokens", "percentunit", [("accepted", accepted.over(drafts))], 8, note=nothing),
        graph("Forced tokens", TOKENS, by_instance(m.rate("llamero:forced_tokens_total")), 8),
    ]


def engine(m):
    yield Row("Engine health", health(m))
    yield Row("Keys and limits", limits(m))
    yield Row("GPU", gpu())


def health(m):
    process = "llamero:engine_process_"
    deaths = [("{{instance}} {{cause}}", m.increase(DEATHS).total("instance", "cause").wrapped(ROUNDED))]
    lost, resets = m.rate("llamero:log_lines_lost_total"), m.increase("llamero:kv_cache_resets_total")
    still = "The server starts another engine after --stall-timeout, 2 minutes unless set."
    cores = m.rate(f"{process}cpu_seconds_total")
    threads = [("{{instance}} of a step", m.value("llamero:engine_threads").total("instance"))]
    threads += [("{{instance}} of the process", m.value(f"{process}threads").total("instance"))]
    return [
        graph("Engine serves", "bool", by_instance(m.value(UP)), 8),
        graph("Time without progress", "s", [(BY_INSTANCE, m.value("llamero:engine_still_seconds").folded("max", "instance"))], 8, note=still),
        graph("Engine deaths", "none", deaths, 8, note=EVENTS),
        graph("Resident memory", "bytes", by_instance(m.value(f"{process}resident_memory_bytes")), 8),
        graph("Virtual memory", "bytes", by_instance(m.value(f"{process}virtual_memory_bytes")), 8),
        graph("CPU cores in use", "none", by_instance(cores), 8, note="1 is one core in use the whole time."),
        graph("Threads", "none", threads, 8),
        graph("Lost log lines", "cps", by_instance(lost), 8),
        graph("Resets of the KV cache", "none", [(BY_INSTANCE, resets.total("instance").wrapped(ROUNDED))], 8, note=EVENTS),
    ]


def limits(m):
    sent = m.rate(HTTP, 'method="POST"').total()
    causes = [("more than --rpm (429)", 'status="429"'), ("no room, engine or time (503, 529)", 'status=~"503|529"')]
    shares = [(legend, m.rate(REFUSED, statuses).total().over(sent)) for legend, statuses in causes]
    no_keys = "No metric tells keys apart."
    return [
        graph("Refused requests by status", "reqps", [("{{status}}", m.rate(REFUSED).total("status"))], 8, stacked=True),
        graph("Refused requests as shares of POST requests", "percentunit", shares, 8, note=no_keys),
        graph("Warnings by what they concern", "cps", [("{{warning}}", m.rate("llamero:request_warnings_total").total("warning"))], 8),
        graph("HTTP requests by class of status", "reqps", [("{{status}}", m.rate(HTTP).total("status"))], stacked=True),
        graph("HTTP requests by route", "reqps", [("{{handler}}", m.rate(HTTP).total("handler"))], stacked=True),
    ]


def gpu():
    legend = "{{instance}} GPU {{gpu}}"

    def lines(title, unit, name, **size):
        return graph(title, unit, [(legend, foreign(name))], note=NO_GPU_EXPORTER, **size)

    used, free = "DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_FB_FREE"
    share = foreign(used).over(foreign(used).plus(foreign(free)))
    return [
        lines("GPU utilization", "percent", "DCGM_FI_DEV_GPU_UTIL", width=8),
        lines("Used GPU memory", "mbytes", used, width=8),
        lines("Free GPU memory", "mbytes", free, width=8),
        graph("Share of GPU memory in use", "percentunit", [(legend, share)], 8, note=NO_GPU_EXPORTER),
        lines("GPU temperature", "celsius", "DCGM_FI_DEV_GPU_TEMP", width=8),
        lines("GPU power", "watt", "DCGM_FI_DEV_POWER_USAGE", width=8),
    ]


# File name, title, description and rows of each dashboard.
DASHBOARDS = [
    ("overview", "llamero: overview", "State, traffic, latency and failures of the selected servers.", overview),
    ("latency", "llamero: latency", "Times of requests and of their phases.", latency),
    ("throughput", "llamero: throughput and cache", "Tokens, requests, prefix cache and KV cache.", throughput),
    ("engine", "llamero: engine, limits and GPU", "Health of engines, refused requests, GPUs.", engine),
]

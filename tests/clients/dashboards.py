"""The queries of the Grafana dashboards that vLLM ships (examples/observability in its repository), as PromQL.

Variables have the values that Grafana gives them when everything is selected; `$__rate_interval` and `$__range` are
INTERVAL and RANGE, which are longer than the test on a slow machine. Each dashboard is a function that yields (panel,
query).
"""

INTERVAL, RANGE = "5m", "10m"
EVERYTHING = '{job=~".+", model_name=~".+", instance=~".+"}'


def rate(series, selector="", over=INTERVAL):
    return f"rate({series}{selector}[{over}])"


def quantile(which, series, selector="", over=INTERVAL, by="le"):
    return f"histogram_quantile({which}, sum by({by}) ({rate(f'{series}_bucket', selector, over)}))"


def mean(series, selector=""):
    return f"{rate(f'{series}_sum', selector)} / {rate(f'{series}_count', selector)}"


def guarded(above, below):
    """A ratio of sums that has no value without traffic."""
    return f"sum({above}) / (sum({below}) > 0)"


def plus(selector, label):
    return selector.replace("}", f", {label}}}")


def grafana(model):
    """prometheus_grafana/grafana.json"""
    one = f'{{model_name="{model}"}}'
    for panel, series in [
        ("E2E Request Latency", "vllm:e2e_request_latency_seconds"),
        ("Inter Token Latency", "vllm:inter_token_latency_seconds"),
        ("Time To First Token Latency", "vllm:time_to_first_token_seconds"),
    ]:
        for which in [0.99, 0.95, 0.9, 0.5]:
            yield panel, quantile(which, series, one)
        yield panel, mean(series, one)
    for series in ["vllm:prompt_tokens_total", "vllm:generation_tokens_total"]:
        yield "Token Throughput", rate(series, one)
    for series in ["vllm:num_requests_running", "vllm:num_requests_waiting"]:
        yield "Scheduler State", series + one
    yield "Cache Utilization", f"vllm:kv_cache_usage_perc{one}"
    for panel, series in [("Prompt", "vllm:request_prompt_tokens"), ("Generation", "vllm:request_generation_tokens")]:
        yield f"Request {panel} Length", f"sum by(le) (increase({series}_bucket{one}[{INTERVAL}]))"
    yield "Finish Reason", f"sum by(finished_reason) (increase(vllm:request_success_total{one}[{INTERVAL}]))"
    yield "Queue Time", rate("vllm:request_queue_time_seconds_sum", one)
    for phase in ["prefill", "decode"]:
        yield "Requests Prefill and Decode Time", rate(f"vllm:request_{phase}_time_seconds_sum", one)
    yield "Max Generation Token in Sequence Group", rate("vllm:request_max_num_generation_tokens_sum", one)


def former_grafana(model):
    """The panels of earlier versions of the same dashboard whose series had other names."""
    one = f'{{model_name="{model}"}}'
    for which in [0.99, 0.95, 0.9, 0.5]:
        yield "Time Per Output Token Latency", quantile(which, "vllm:time_per_output_token_seconds", one)
    yield "Time Per Output Token Latency", mean("vllm:time_per_output_token_seconds", one)
    yield "Scheduler State", f"vllm:num_requests_swapped{one}"
    for kind in ["gpu", "cpu"]:
        yield "Cache Utilization", f"vllm:{kind}_cache_usage_perc{one}"
    hits, queries = rate("vllm:gpu_prefix_cache_hits_total", one), rate("vllm:gpu_prefix_cache_queries_total", one)
    yield "Prefix Cache Hit Rate", f"{hits} / {queries}"


def performance_statistics(_model):
    """dashboards/grafana/performance_statistics.json"""
    for panel, series in [
        ("E2E Latency", "vllm:e2e_request_latency_seconds"),
        ("TTFT", "vllm:time_to_first_token_seconds"),
        ("ITL", "vllm:inter_token_latency_seconds"),
    ]:
        yield panel, mean(series)
        for which in [0.99, 0.90, 0.50]:
            yield panel, quantile(which, series, over=RANGE)
            yield panel, quantile(which, series)
        yield panel, f"(sum(increase({series}_sum[{RANGE}])) / sum(increase({series}_count[{RANGE}])))"
    for series in ["vllm:generation_tokens_total", "vllm:prompt_tokens_total", "vllm:iteration_tokens_total_count"]:
        yield "TPS", rate(series)


def query_statistics(_model):
    """dashboards/grafana/query_statistics.json"""
    all_models = '{model_name=~".+"}'
    success = rate("vllm:request_success_total", all_models)
    yield "Successful Requests Over Time", f"sum by (model_name) ({success})"
    yield "Requests Avg Rate", f"sum({success})"
    for which in [0.50, 0.90, 0.99]:
        yield "Latency", quantile(which, "vllm:e2e_request_latency_seconds", all_models, by="le, model_name")
        yield "Input Token Size", quantile(which, "vllm:request_prompt_tokens", all_models, by="le, model_name")
    yield "Input Token Size Distribution", f"sum by (le, model_name) ({rate('vllm:request_prompt_tokens_bucket', all_models)})"
    yield "Input Token Size Avg", f"sum({rate('vllm:prompt_tokens_total', all_models)}) / sum({success})"
    for series in ["vllm:prompt_tokens_total", "vllm:generation_tokens_total"]:
        yield "Tokens Over Time", f"sum by (model_name) ({rate(series, all_models)})"
        yield "Tokens/Sec Avg", f"sum({rate(series, all_models)})"


def overview(_model):
    """dashboards/grafana/vllm_overview.json"""
    yield from overview_figures()
    yield from overview_of_models()
    yield from overview_latency()
    yield from overview_load()
    yield from overview_http()


def overview_figures():
    for panel, series in [
        ("Requests / s", "vllm:request_success_total"),
        ("Input tok/s", "vllm:prompt_tokens_total"),
        ("Output tok/s", "vllm:generation_tokens_total"),
        ("Preemptions", "vllm:num_preemptions_total"),
    ]:
        yield panel, f"sum({rate(series, EVERYTHING)})"
    for panel, series in [
        ("TTFT p95", "vllm:time_to_first_token_seconds"),
        ("ITL p95", "vllm:inter_token_latency_seconds"),
        ("E2E p95", "vllm:e2e_request_latency_seconds"),
    ]:
        yield panel, quantile(0.95, series, EVERYTHING)
    yield "Unreachable", 'count(up{job=~".+"} == 0) or vector(0)'
    yield "Engines", f"count(vllm:num_requests_running{EVERYTHING})"
    yield "Running", f"sum(vllm:num_requests_running{EVERYTHING})"
    yield "Waiting", f"sum(vllm:num_requests_waiting{EVERYTHING})"
    hits, queries = (rate(f"vllm:prefix_cache_{what}_total", EVERYTHING) for what in ["hits", "queries"])
    yield "Prefix hits", guarded(hits, queries)
    for panel, series, bound in [
        ("TTFT SLO", "vllm:time_to_first_token_seconds", "1.0"),
        ("TPOT SLO", "vllm:request_time_per_output_token_seconds", "0.1"),
    ]:
        within = rate(f"{series}_bucket", plus(EVERYTHING, f'le="{bound}"'))
        yield panel, guarded(within, rate(f"{series}_count", EVERYTHING))


def overview_of_models():
    panel = "Per-model summary"
    success = f"sum by (model_name) ({rate('vllm:request_success_total', EVERYTHING, RANGE)})"
    errors = rate("vllm:request_success_total", plus(EVERYTHING, 'finished_reason="error"'), RANGE)
    running = f"last_over_time(vllm:num_requests_running{EVERYTHING}[{RANGE}])"
    yield panel, f"count by (model_name) (group by (model_name, instance) ({running}))"
    yield panel, success
    yield panel, f"sum by (model_name) ({rate('vllm:generation_tokens_total', EVERYTHING, RANGE)})"
    for series in ["vllm:time_to_first_token_seconds", "vllm:inter_token_latency_seconds", "vllm:e2e_request_latency_seconds"]:
        yield panel, quantile(0.95, series, EVERYTHING, RANGE, "le, model_name")
    yield panel, f"sum by (model_name) ({errors}) / ({success} > 0)"
    yield panel, f"max by (model_name) (max_over_time(vllm:kv_cache_usage_perc{EVERYTHING}[{RANGE}]))"
    yield panel, f"round(sum by (model_name) (increase(vllm:num_preemptions_total{EVERYTHING}[{RANGE}])))"


def overview_latency():
    for panel, series in [
        ("Time to first token (TTFT)", "vllm:time_to_first_token_seconds"),
        ("Inter-token latency (ITL)", "vllm:inter_token_latency_seconds"),
        ("Time per output token (TPOT)", "vllm:request_time_per_output_token_seconds"),
        ("End-to-end latency", "vllm:e2e_request_latency_seconds"),
        ("Queue time", "vllm:request_queue_time_seconds"),
        ("Prompt length", "vllm:request_prompt_tokens"),
        ("Output length", "vllm:request_generation_tokens"),
    ]:
        for which in [0.5, 0.95, 0.99]:
            yield panel, quantile(which, series, EVERYTHING)
        yield panel, guarded(rate(f"{series}_sum", EVERYTHING), rate(f"{series}_count", EVERYTHING))
        yield f"{panel} distribution", f"sum by (le) ({rate(f'{series}_bucket', EVERYTHING)})"
    for phase in ["queue", "prefill", "decode"]:
        series = f"vllm:request_{phase}_time_seconds"
        yield "Mean time per request phase", guarded(rate(f"{series}_sum", EVERYTHING), rate(f"{series}_count", EVERYTHING))


def overview_load():
    success = rate("vllm:request_success_total", EVERYTHING)
    yield "Finished requests by reason", f"sum by (finished_reason) ({success})"
    yield (
        "Finish reason share",
        f"sum by (finished_reason) ({success}) / ignoring (finished_reason) group_left () (sum({success}) > 0)",
    )
    for series in ["vllm:prompt_tokens_total", "vllm:generation_tokens_total"]:
        yield "Token throughput", f"sum by (model_name) ({rate(series, EVERYTHING)})"
    for reason in ["capacity", "deferred"]:
        waiting = plus(EVERYTHING, f'reason="{reason}"')
        yield "Scheduler queue", f"sum(vllm:num_requests_waiting_by_reason{waiting})"
    for fold in ["max", "avg", "min"]:
        yield "KV cache usage", f"{fold}(vllm:kv_cache_usage_perc{EVERYTHING})"
    for which in [0.5, 0.99]:
        yield "Tokens per engine step", quantile(which, "vllm:iteration_tokens_total", EVERYTHING)
    tokens, steps = (rate(f"vllm:iteration_tokens_total_{what}", EVERYTHING) for what in ["sum", "count"])
    yield "Tokens per engine step", guarded(tokens, steps)
    for source in ["local_compute", "local_cache_hit", "external_kv_transfer"]:
        selector = plus(EVERYTHING, f'source="{source}"')
        yield "Prompt tokens by source", f"sum({rate('vllm:prompt_tokens_by_source_total', selector)})"
    for panel, series in [("Prompt", "vllm:request_prompt_tokens"), ("Output", "vllm:request_generation_tokens")]:
        buckets, count = (f"increase({series}_{what}{EVERYTHING}[{RANGE}])" for what in ["bucket", "count"])
        yield f"{panel} length distribution", f"sum by (le) ({buckets}) / on () group_left () (sum({count}) > 0)"


def overview_http():
    where = '{job=~".+", instance=~".+"}'
    failed = plus(where, 'status="5xx"')
    requests = rate("http_requests_total", where)
    yield "5xx ratio", f"(sum({rate('http_requests_total', failed)}) or vector(0)) / (sum({requests}) > 0)"
    for label in ["status", "handler"]:
        yield f"HTTP requests by {label}", f"sum by ({label}) ({requests})"
    total, count = (rate(f"http_request_duration_seconds_{what}", where) for what in ["sum", "count"])
    yield "HTTP mean duration by endpoint", f"sum by (handler) ({total}) / (sum by (handler) ({count}) > 0)"


def other_readers(_model):
    """Series that schedulers and other dashboards read."""
    yield "cache_config", 'vllm:cache_config_info{block_size=~".+", num_gpu_blocks=~".+"}'
    yield "inference", quantile(0.9, "vllm:request_inference_time_seconds")
    yield "n", quantile(0.9, "vllm:request_params_n")
    yield "max_tokens", quantile(0.9, "vllm:request_params_max_tokens")
    yield "memory", "llamero:engine_process_resident_memory_bytes > 1000000"
    yield "CPU", f"{rate('llamero:engine_process_cpu_seconds_total')} > 0"


DASHBOARDS = [grafana, former_grafana, performance_statistics, query_statistics, overview, other_readers]

# Panels of the overview that stay empty in vLLM too, unless a KV connector or a model that sees is served:
# `vllm:external_prefix_cache_*` and `vllm:mm_cache_*`. They are not asked.

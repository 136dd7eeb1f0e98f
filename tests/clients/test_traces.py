"""Traces: a collector that this test plays, written with OpenTelemetry's own messages."""

import socket
import time
from contextlib import contextmanager
from http.server import ThreadingHTTPServer

import pytest
from conftest import connect
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from support import MODEL, HttpStub, Server, answering, clean_environment, free_port, killed_at_end, wait_until

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = "00f067aa0ba902b7"
SECRET = "persimmon"


class Collector:
    """Spans that were received, and the bodies that they came in."""

    def __init__(self):
        self.spans, self.resources, self.bodies = [], [], []

    def take(self, body):
        self.bodies.append(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resources.append(attributes(resource.resource))
            self.spans += [span for scope in resource.scope_spans for span in scope.spans]

    def named(self, start):
        return next((span for span in self.spans if span.name.startswith(start)), None)

    def children(self, parent):
        return sorted((span for span in self.spans if span.parent_span_id == parent.span_id), key=lambda span: span.start_time_unix_nano)


def attributes(holder):
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in holder.attributes}


@contextmanager
def collector():
    taken = Collector()

    class Handler(HttpStub):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path != "/v1/traces" or self.headers["Content-Type"] != "application/x-protobuf":
                self.send_error(404)
                return
            taken.take(body)
            self.reply(ExportTraceServiceResponse().SerializeToString(), Content_Type="application/x-protobuf")

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    with answering(server):
        yield taken, f"http://127.0.0.1:{server.server_address[1]}"


@contextmanager
def serving(tmp_path, endpoint, *arguments, **variables):
    environment = clean_environment(OTEL_BSP_SCHEDULE_DELAY="100", OTEL_SERVICE_NAME="a-service", **variables)
    with killed_at_end(Server(tmp_path / "log", "--otlp-endpoint", endpoint, *arguments, environment=environment)) as server:
        yield server.wait_ready()


def test_a_request_is_a_span_of_the_client_s_trace_with_its_phases_and_without_its_words(tmp_path):
    with collector() as (taken, url), serving(tmp_path, url) as server:
        body = {"model": MODEL, "messages": [{"role": "user", "content": f"{SECRET} and more"}], "max_tokens": 5, "ignore_eos": True}
        answer = server.ask("/v1/chat/completions", body, {"traceparent": f"00-{TRACE}-{PARENT}-01"})
        wait_until(lambda: taken.named("chat ") and len(taken.children(taken.named("chat "))) == 3, 20, "its spans are sent")

        span = taken.named("chat ")
        assert (span.trace_id.hex(), span.parent_span_id.hex(), span.kind) == (TRACE, PARENT, 2)
        assert answer.headers["traceparent"] == f"00-{TRACE}-{span.span_id.hex()}-01"
        facts = attributes(span)
        assert facts["gen_ai.operation.name"] == "chat" and facts["gen_ai.request.model"] == MODEL
        assert facts["gen_ai.usage.output_tokens"] == 5 and facts["gen_ai.usage.input_tokens"] == answer.json()["usage"]["prompt_tokens"]
        assert [reason.string_value for reason in facts["gen_ai.response.finish_reasons"].values] == ["length"]
        assert facts["gen_ai.request.id"] == answer.headers["x-request-id"] and "error.type" not in facts
        assert taken.resources[0]["service.name"] == "a-service"

        queue, prefill, decode = taken.children(span)
        assert [queue.name, prefill.name, decode.name] == ["queue", "prefill", "decode"]
        assert span.start_time_unix_nano <= queue.start_time_unix_nano <= queue.end_time_unix_nano == prefill.start_time_unix_nano
        assert prefill.end_time_unix_nano == decode.start_time_unix_nano < decode.end_time_unix_nano <= span.end_time_unix_nano
        assert not any(SECRET.encode() in body for body in taken.bodies)


def test_streams_refusals_and_requests_without_a_trace_are_spans_too(tmp_path):
    with collector() as (taken, url), serving(tmp_path, url, "--log-format", "json") as server:
        with connect(server) as client:
            list(client.completions.create(model=MODEL, prompt="Hello", max_tokens=3, stream=True))
        refused = server.ask("/v1/completions", {"model": MODEL, "prompt": "Hello", "temperature": "hot"})
        server.ask("/readyz")
        wait_until(lambda: taken.named("text_completion ") and taken.named("POST"), 20, "their spans are sent")

        stream, refusal = taken.named("text_completion "), taken.named("POST")
        assert attributes(stream)["llamero.stream"] is True and not stream.parent_span_id
        assert attributes(refusal)["http.response.status_code"] == 400
        trace_id = refused.headers["traceparent"].split("-")[1]
        assert refusal.trace_id.hex() == trace_id
        assert trace_id in server.log.read_text(), "the log line of the request names its trace"
        assert taken.named("GET") is None, "probes have no spans"


def test_spans_are_sent_before_the_server_ends(tmp_path):
    with collector() as (taken, url), serving(tmp_path, url) as server:
        server.ask("/v1/completions", {"model": MODEL, "prompt": "Hello", "max_tokens": 1})
        server.stop()
        assert taken.named("text_completion ")


@pytest.fixture(params=["away", "mute"])
def no_collector(request):
    """The URL of a collector that refuses connections, or accepts them and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        yield f"http://127.0.0.1:{free_port() if request.param == 'away' else mute.getsockname()[1]}"


def test_a_collector_that_does_not_answer_costs_requests_nothing_even_when_the_queue_of_spans_is_full(tmp_path, no_collector):
    # Each request has four spans.
    queue = {"OTEL_BSP_MAX_QUEUE_SIZE": "8", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": "4"}
    with serving(tmp_path, no_collector, **queue) as server:
        begun = time.monotonic()
        for _ in range(40):
            assert server.ask("/v1/completions", {"model": MODEL, "prompt": "Hello", "max_tokens": 1}).status == 200
        # If requests waited for exports to the mute one, each of which takes five seconds, it would be minutes.
        assert time.monotonic() - begun < 30
        server.stop()


def test_without_a_collector_there_is_no_trace(tmp_path):
    server = Server(tmp_path / "log").wait_ready()
    try:
        answer = server.ask("/v1/completions", {"model": MODEL, "prompt": "Hello", "max_tokens": 1}, {"traceparent": f"00-{TRACE}-{PARENT}-01"})
        assert "traceparent" not in answer.headers
    finally:
        server.stop()


@pytest.mark.parametrize("endpoint", ["collector:4318", "ftp://collector"])
def test_an_endpoint_that_is_no_url_is_named(tmp_path, endpoint):
    server = Server(tmp_path / "log", "--otlp-endpoint", endpoint)
    assert server.process.wait(20) == 64
    assert "otlp-endpoint" in server.log.read_text()

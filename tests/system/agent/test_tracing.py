"""Jobs as traces, received as a collector does: OTLP over HTTP."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Status

from cgagent.errors import CommandNotFoundError

pytestmark = [pytest.mark.system, pytest.mark.native]


class Collector(ThreadingHTTPServer):
    """Takes what is sent to it."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Taking)
        self.resources = []

    @property
    def endpoint(self):
        return f"http://127.0.0.1:{self.server_port}"

    def spans(self):
        scopes = [scope for r in self.resources for scope in r.scope_spans]
        return [span for scope in scopes for span in scope.spans]


class Taking(BaseHTTPRequestHandler):
    def do_POST(self):
        assert self.path == "/v1/traces"
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.resources += ExportTraceServiceRequest.FromString(body).resource_spans
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.end_headers()
        self.wfile.write(ExportTraceServiceResponse().SerializeToString())

    def log_message(self, *_):
        """Not on the test's output."""


@pytest.fixture
def collector():
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def traced(own_agent, collector, monkeypatch):
    own_agent.stop()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.endpoint)
    own_agent.start()
    return own_agent


def values(attributes):
    return {a.key: a.value.string_value or a.value.int_value for a in attributes}


def test_a_start_is_a_span_with_its_steps_below(traced, collector):
    one = traced.launch("true")
    traced.wait(one)
    other = traced.create("nosuch")
    with pytest.raises(CommandNotFoundError):
        traced.post(other, "start")
    traced.stop()  # sends what is left
    assert values(collector.resources[0].resource.attributes)["service.name"] == "cgagent"
    spans = collector.spans()
    started, failed = (
        next(
            s
            for s in spans
            if s.name == "start" and values(s.attributes)["container.id"] == container
        )
        for container in (one, other)
    )
    below = [s for s in spans if s.parent_span_id == started.span_id]
    names = [s.name for s in sorted(below, key=lambda s: s.start_time_unix_nano)]
    assert names == [
        f"start {step}" for step in ("prepare", "configure", "limit", "network", "launch", "record")
    ]
    for span in below:
        assert span.trace_id == started.trace_id
        assert started.start_time_unix_nano <= span.start_time_unix_nano
        assert span.start_time_unix_nano <= span.end_time_unix_nano <= started.end_time_unix_nano
    assert started.status.code == Status.STATUS_CODE_UNSET
    assert failed.status.code == Status.STATUS_CODE_ERROR
    assert "nosuch" in failed.status.message


def test_a_collector_that_does_not_answer_stops_nothing(own_agent, monkeypatch):
    own_agent.stop()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    own_agent.start()
    assert own_agent.wait(own_agent.launch("true")) == 0
    assert own_agent.stop() == 0

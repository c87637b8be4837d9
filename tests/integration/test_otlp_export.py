"""Spans on their way to real OTLP receivers that answer, refuse, hang or come back."""

import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import grpc  # type: ignore[import-untyped] # grpcio is published without types
import pytest
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpanExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.trace import Tracer

from ktrdr_otel.exporters.delivery import Fate
from ktrdr_otel.exporters.doctor import probe_endpoint
from ktrdr_otel.exporters.endpoints import traces_url
from ktrdr_otel.exporters.lane import DropCause
from ktrdr_otel.exporters.otlp import OtlpGrpcExporter, OtlpHttpExporter, OverheardExporter, accountable
from ktrdr_otel.exporters.processor import ExportProcessor
from ktrdr_otel.exporters.providers import private_provider
from ktrdr_otel.exporters.queue import ExportQueue
from tests.integration.otlp_receivers import GrpcReceiver, HttpReceiver
from tests.unit.exporters.conftest import finished_spans

DONE = ExportTraceServiceResponse()


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    """An OTLP/HTTP receiver that keeps everything."""
    receiver = HttpReceiver()
    yield receiver
    receiver.close()


@pytest.fixture
def grpc_receiver() -> Iterator[GrpcReceiver]:
    """An OTLP/gRPC receiver that keeps everything."""
    receiver = GrpcReceiver()
    yield receiver
    receiver.close()


def feed(exporter: SpanExporter) -> tuple[ExportQueue, Tracer]:
    """A queue to the exporter and a tracer that feeds it."""
    queue = ExportQueue([exporter], interval_seconds=0.01)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(ExportProcessor(queue))
    return queue, provider.get_tracer("tests")


def http_exporter(url: str, timeout_seconds: float = 0.5) -> OtlpHttpExporter:
    """An exporter whose own retries end before they begin, so that the queue's are seen."""
    return OtlpHttpExporter(traces_url(url), timeout_seconds=timeout_seconds)


def test_a_tree_arrives_whole_and_in_order(receiver: HttpReceiver) -> None:
    """Every span once, in the order of the ends, each with its parent and a real end time."""
    pinned = private_provider(otlp_endpoint=receiver.url)
    with pinned.tracer.start_as_current_span("operation"):
        for symbol in range(20):
            with pinned.tracer.start_as_current_span(f"symbol {symbol}"):
                for item in range(60):
                    pinned.tracer.start_span(f"item {symbol}.{item}").end()
    assert pinned.flush(20)
    assert pinned.shutdown(5)

    expected: list[str] = []
    for symbol in range(20):
        expected += [f"item {symbol}.{item}" for item in range(60)] + [f"symbol {symbol}"]
    assert receiver.names == [*expected, "operation"]
    name_of_id = {span.span_id: span.name for span in receiver.spans}
    assert len(name_of_id) == len(receiver.spans)
    for span in receiver.spans:
        kind, _, number = span.name.partition(" ")
        parent = {"operation": "", "symbol": "operation", "item": f"symbol {number.split('.')[0]}"}[kind]
        assert name_of_id.get(span.parent_span_id, "") == parent
        assert span.end_time_unix_nano >= span.start_time_unix_nano > 0
    assert {
        attribute.value.string_value
        for request in receiver.requests
        for attribute in request.resource_spans[0].resource.attributes
        if attribute.key == "service.name"
    } == {"ktrdr-otel"}


def test_the_standard_variables_reach_the_receiver(
    receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Endpoint and headers come from the environment."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20token")
    pinned = private_provider()
    pinned.tracer.start_span("one").end()
    assert pinned.shutdown(10)
    assert receiver.names == ["one"]
    assert receiver.headers[0]["authorization"] == "Bearer token"


def test_a_receiver_that_comes_up_late_gets_everything(caplog: pytest.LogCaptureFixture) -> None:
    """While the connection is refused the spans wait; outage and recovery are one log record each."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        port = reserved.getsockname()[1]
    queue, tracer = feed(http_exporter(f"http://127.0.0.1:{port}"))
    with caplog.at_level(logging.INFO):
        tracer.start_span("early").end()
        assert not queue.flush(0.2)
        assert "Connection refused" in (queue.health().last_error or "")
        receiver = HttpReceiver(port)
        try:
            tracer.start_span("late").end()
            assert queue.flush(10)
        finally:
            queue.shutdown(5)
            receiver.close()
    assert receiver.names == ["early", "late"]
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert "do not get through" in told[0]
    assert "again after" in told[1]


def test_a_busy_receiver_is_asked_again(receiver: HttpReceiver) -> None:
    """A 503 is no loss: the same spans are sent until they are taken, once each."""
    answers = [503, 503]
    receiver.answer = lambda spans: (answers.pop() if answers else 200, DONE)
    queue, tracer = feed(http_exporter(receiver.url))
    for number in range(10):
        tracer.start_span(str(number)).end()
    assert queue.flush(10)
    health = queue.health()
    assert receiver.names == [str(number) for number in range(10)]
    assert health.failures >= 1
    assert sum(health.dropped.values()) == 0
    queue.shutdown(5)


def test_a_receiver_that_hangs_bounds_nothing_but_its_own_spans(receiver: HttpReceiver) -> None:
    """Flush and shutdown end in time, the span's thread never waits, and what was left is counted."""
    release = threading.Event()

    def hang(spans: list[Span]) -> tuple[int, ExportTraceServiceResponse]:
        release.wait(20)
        return 200, DONE

    receiver.answer = hang
    queue, tracer = feed(http_exporter(receiver.url, timeout_seconds=20))
    tracer.start_span("first").end()
    assert receiver.asked.wait(5)
    before = time.monotonic()
    for _ in range(1000):
        tracer.start_span("more").end()
    assert not queue.flush(0.1)
    assert not queue.shutdown(0.1)
    assert time.monotonic() - before < 5
    assert queue.health().dropped[DropCause.SHUTDOWN] == 1001
    release.set()


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_process_ends_although_its_receiver_hangs(protocol: str) -> None:
    """An export that hangs does not keep the interpreter from its exit, and prints nothing."""
    program = (
        "from ktrdr_otel.exporters.providers import private_provider; pinned = private_provider();"
        "pinned.tracer.start_span('one').end(); assert not pinned.shutdown(0.2)"
    )
    with socket.create_server(("127.0.0.1", 0)) as never_accepts:
        variables = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{never_accepts.getsockname()[1]}",
            "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
            "OTEL_EXPORTER_OTLP_TIMEOUT": "60",
        }
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", program],
            capture_output=True,
            text=True,
            timeout=30,
            env=dict(os.environ) | variables,
        )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_slow_receiver_loses_nothing(receiver: HttpReceiver) -> None:
    """While one request is under way the next spans wait, and arrive."""
    turn = threading.Semaphore(0)

    def slowly(spans: list[Span]) -> tuple[int, ExportTraceServiceResponse]:
        turn.acquire(timeout=5)
        return 200, DONE

    receiver.answer = slowly
    queue, tracer = feed(http_exporter(receiver.url, timeout_seconds=20))
    for number in range(30):
        tracer.start_span(str(number)).end()
        turn.release()
    turn.release(30)
    assert queue.flush(10)
    assert receiver.names == [str(number) for number in range(30)]
    queue.shutdown(5)


def test_spans_that_were_not_stored_are_counted(receiver: HttpReceiver) -> None:
    """A partial success is read: the SDK's exporter takes it for a success."""
    partial = ExportTraceServiceResponse()
    partial.partial_success.rejected_spans = 2
    partial.partial_success.error_message = "too old"
    receiver.answer = lambda spans: (200, partial)
    queue, tracer = feed(http_exporter(receiver.url))
    spans = [tracer.start_span(str(number)) for number in range(2)]
    for span in spans:
        span.end()
    assert not queue.flush(5)
    health = queue.health()
    assert health.dropped[DropCause.REJECTED] == 2
    assert health.last_error is not None
    assert health.last_error.endswith("spans not stored: too old")
    queue.shutdown(5)


def test_a_span_that_the_receiver_cannot_digest_is_lost_alone(receiver: HttpReceiver) -> None:
    """A 400 makes the queue look for the span at fault; the others arrive in order."""
    receiver.answer = lambda spans: (400 if any(span.name == "5" for span in spans) else 200, DONE)
    queue, tracer = feed(http_exporter(receiver.url, timeout_seconds=5))
    for number in range(16):
        tracer.start_span(str(number)).end()
    assert not queue.flush(10)
    assert receiver.names == [str(number) for number in range(16) if number != 5]
    assert queue.health().dropped[DropCause.REJECTED] == 1
    queue.shutdown(5)


@pytest.mark.parametrize("status", [401, 404, 307])
def test_a_receiver_that_wants_nothing_is_not_asked_twice(receiver: HttpReceiver, status: int) -> None:
    """Spans that a receiver refuses for good are dropped, counted, and do not pile up."""
    asked: list[int] = []

    def refuse(spans: list[Span]) -> tuple[int, ExportTraceServiceResponse]:
        asked.append(len(spans))
        return status, DONE

    receiver.answer = refuse
    queue, tracer = feed(http_exporter(receiver.url))
    tracer.start_span("one").end()
    assert not queue.flush(5)
    health = queue.health()
    assert (health.queued, health.dropped[DropCause.REJECTED], asked) == (0, 1, [1])
    assert (health.last_error or "").startswith(f"HTTP {status}")
    queue.shutdown(5)


def test_spans_arrive_over_grpc(grpc_receiver: GrpcReceiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the standard variables naming gRPC, every span arrives once, in order."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{grpc_receiver.port}")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    pinned = private_provider()
    with pinned.tracer.start_as_current_span("root"):
        for number in range(5):
            pinned.tracer.start_span(str(number)).end()
    assert pinned.flush(20)
    assert pinned.shutdown(5)
    assert grpc_receiver.names == ["0", "1", "2", "3", "4", "root"]
    assert {span.parent_span_id for span in grpc_receiver.spans[:5]} == {grpc_receiver.spans[5].span_id}


def test_a_busy_grpc_receiver_is_asked_again(grpc_receiver: GrpcReceiver) -> None:
    """UNAVAILABLE is no loss."""
    grpc_receiver.refusal = grpc.StatusCode.UNAVAILABLE
    queue, tracer = feed(OtlpGrpcExporter(f"http://127.0.0.1:{grpc_receiver.port}", timeout_seconds=0.5))
    tracer.start_span("waits").end()
    assert not queue.flush(0.3)
    assert queue.health().last_error == "UNAVAILABLE"
    grpc_receiver.refusal = None
    assert queue.flush(10)
    assert grpc_receiver.names == ["waits"]
    queue.shutdown(5)


def test_a_grpc_receiver_that_refuses_for_good_costs_no_memory(grpc_receiver: GrpcReceiver) -> None:
    """UNAUTHENTICATED drops and counts."""
    grpc_receiver.refusal = grpc.StatusCode.UNAUTHENTICATED
    queue, tracer = feed(OtlpGrpcExporter(f"http://127.0.0.1:{grpc_receiver.port}", timeout_seconds=0.5))
    tracer.start_span("refused").end()
    assert not queue.flush(10)
    assert queue.health().dropped[DropCause.REJECTED] == 1
    queue.shutdown(5)


def test_a_probe_tells_who_answers(receiver: HttpReceiver) -> None:
    """None where an empty export is taken, else one line without anything secret."""
    assert probe_endpoint(receiver.url) is None
    receiver.answer = lambda spans: (401, DONE)
    answer = probe_endpoint(receiver.url.replace("//", "//user:secret@"))
    assert answer == f"{receiver.url}/v1/traces: HTTP 401 Unauthorized"
    receiver.close()
    assert probe_endpoint(receiver.url) == f"{receiver.url}/v1/traces: nobody answers there"
    assert "is no URL" in (probe_endpoint("localhost") or "")


@pytest.mark.parametrize(
    ("status", "fate"),
    [
        (None, Fate.UNREACHABLE),
        (200, Fate.DELIVERED),
        (400, Fate.INDIGESTIBLE),
        (401, Fate.REFUSED),
        (413, Fate.INDIGESTIBLE),
        (503, Fate.UNREACHABLE),
    ],
)
def test_an_applications_own_http_exporter_says_what_became_of_a_batch(
    receiver: HttpReceiver, status: int | None, fate: Fate
) -> None:
    """An outage is told from a batch that is at fault, by what it says in its log."""
    receiver.answer = lambda spans: (status or 200, DONE)
    if status is None:
        receiver.close()
    exporter = accountable(OTLPSpanExporter(traces_url(receiver.url), timeout=0.5))
    assert isinstance(exporter, OverheardExporter)
    assert exporter.deliver(finished_spans(1)).fate is fate
    assert exporter.receiver is not None
    assert exporter.receiver.endpoint == traces_url(receiver.url)
    exporter.shutdown()


@pytest.mark.parametrize(
    ("refusal", "fate"),
    [
        (None, Fate.DELIVERED),
        (grpc.StatusCode.UNAVAILABLE, Fate.UNREACHABLE),
        (grpc.StatusCode.UNAUTHENTICATED, Fate.REFUSED),
        (grpc.StatusCode.INVALID_ARGUMENT, Fate.INDIGESTIBLE),
    ],
)
def test_an_applications_own_grpc_exporter_does_too(
    grpc_receiver: GrpcReceiver, refusal: grpc.StatusCode | None, fate: Fate
) -> None:
    """By the code in its log."""
    grpc_receiver.refusal = refusal
    exporter = accountable(GrpcSpanExporter(f"http://127.0.0.1:{grpc_receiver.port}", timeout=1))
    assert isinstance(exporter, OverheardExporter)
    assert exporter.deliver(finished_spans(1)).fate is fate
    exporter.shutdown()

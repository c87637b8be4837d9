"""`/v1/traces`: an operation driven from anywhere by plain OTLP, and what hostile bodies do: nothing."""

import gzip
import threading
from typing import Any

import httpx
import pytest
from google.rpc.status_pb2 import Status as RpcStatus
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from ktrdr_otel.exporters.records import final_span_id
from ktrdr_otel.server.ingest import Bucket
from tests.integration.server.conftest import Running, Serve, begin
from tests.integration.server.spans import request, span, span_id

PROTOBUF = {"Content-Type": "application/x-protobuf"}


def send(running: Running, *spans: Any, operation_id: str | None = "far") -> ExportTraceServiceResponse:
    """The server has taken them."""
    answer = running.client.post(
        "/v1/traces", content=request(*spans, operation_id=operation_id), headers=PROTOBUF
    )
    assert answer.status_code == 200, answer.content
    return ExportTraceServiceResponse.FromString(answer.content)


def indicator(symbol_index: int, index: int, parent: bytes, **more: Any) -> Any:
    """A finished indicator, of two symbols with three each."""
    return span(
        "computing_indicator RSI",
        parent=parent,
        progress__type="indicator_computation",
        step="computing_indicator",
        symbol__name=f"S{symbol_index}",
        symbol__index=symbol_index,
        symbol__total=2,
        timeframe="1h",
        item__name=f"RSI_{index}",
        item__index=index,
        item__total=3,
        **more,
    )


def test_a_stranger_drives_an_operation_end_to_end(running: Running) -> None:
    """Children come before their parents, the root last; words, percentages and counts are those of our own runs."""
    root, symbol = span_id(), span_id()
    send(running, indicator(1, 1, symbol))
    operation = running.service.get("far")
    assert (operation.status.value, operation.name) == ("running", "a Go service")
    assert operation.message == "Processing S1 (1/2) [1h] - Computing RSI_1 (1/3)"
    first = operation.percentage
    send(
        running, indicator(1, 2, symbol), indicator(1, 3, symbol), span("symbol S1", own=symbol, parent=root)
    )
    send(running, indicator(2, 1, root))
    operation = running.service.get("far")
    assert operation.message == "Processing S2 (2/2) [1h] - Computing RSI_1 (1/3)"
    assert operation.items_completed == 4
    assert first < operation.percentage < 5
    epoch = span(
        "epoch",
        parent=root,
        progress__type="epoch",
        item__index=1,
        item__total=2,
        training__loss=0.5,
        training__accuracy=1,
    )
    send(running, epoch)
    assert 45 <= running.service.get("far").percentage <= 55
    [metrics] = running.client.get("/api/v1/operations/far/metrics").json()["metrics"]
    assert (metrics["epoch"], metrics["loss"], metrics["accuracy"]) == (0, 0.5, 1.0)
    send(running, span("operation", own=root, operation__type="training", operation__name="train far"))
    operation = running.service.get("far")
    assert (operation.status.value, operation.percentage) == ("completed", 100.0)
    assert (operation.operation_type, operation.name) == ("training", "train far")
    assert len(running.service.checkpoints("far")) == 7


def test_a_stranger_fails(running: Running) -> None:
    """Status ERROR on the root: type and message of the exception, and the step where it broke."""
    root = span_id()
    send(running, indicator(1, 2, root, error="no such file"))
    send(running, span("operation", own=root, error="no such file"))
    operation = running.service.get("far")
    assert operation.status.value == "failed"
    assert operation.error is not None
    assert (operation.error.type, operation.error.message) == ("IOError", "no such file")
    assert operation.error.step == "Processing S1 (1/2) [1h] - Computing RSI_2 (2/3)"


def test_a_stranger_is_cancelled(running: Running) -> None:
    """The root says so."""
    send(running, span("operation", operation__status="cancelled"))
    assert running.service.get("far").status.value == "cancelled"


def test_any_word_is_a_unit(running: Running) -> None:
    """A job of which this program knows nothing."""
    for index in (1, 2, 3):
        send(running, span("load", parent=span_id(), progress__type="load", item__index=index, item__total=4))
    operation = running.service.get("far")
    assert (operation.items_completed, operation.items_planned, operation.percentage) == (3, 4, 75.0)


def test_a_second_delivery_changes_nothing(running: Running) -> None:
    """An exporter that heard no answer sends its batch again; also to another server of the store."""
    root = span_id()
    body = request(indicator(1, 1, root), indicator(1, 2, root), operation_id="far")
    for _ in range(3):
        assert running.client.post("/v1/traces", content=body, headers=PROTOBUF).status_code == 200
    assert running.service.get("far").items_completed == 2
    assert len(running.service.checkpoints("far")) == 2
    end = request(span("operation", own=root), operation_id="far")
    for _ in range(2):
        running.client.post("/v1/traces", content=end, headers=PROTOBUF)
    running.client.post("/v1/traces", content=body, headers=PROTOBUF)
    assert running.service.get("far").status.value == "completed"
    assert len(running.service.checkpoints("far")) == 3


def test_open_spans_are_starts_and_their_ends_close_them(running: Running) -> None:
    """A snapshot under its own id; a marker whose true end is its child."""
    root, snapshot, marker = span_id(), span_id(), span_id()
    load: dict[str, Any] = {"progress__type": "load", "item__index": 1, "item__total": 2}
    send(running, span("load", own=snapshot, parent=root, span__state="in_progress", **load))
    send(running, span("load", own=marker, parent=root, span__state="started", **load))
    rows = running.service.checkpoints("far")
    assert [row.status.value for row in rows] == ["running", "running"]
    send(running, span("load", own=snapshot, parent=root, span__state="in_progress", **load))
    assert len(running.service.checkpoints("far")) == 2
    send(
        running,
        span("load", own=snapshot, parent=root, **load),
        span("load", parent=marker, span__state="finished", **load),
    )
    rows = running.service.checkpoints("far")
    assert [(row.status.value, row.parent_span_id) for row in rows] == [("completed", root.hex())] * 2
    assert running.service.get("far").items_completed == 2
    send(running, span("operation", own=root, span__state="started"))
    assert running.service.get("far").status.value == "running"
    send(running, span("operation", parent=root, span__state="finished"))
    assert running.service.get("far").status.value == "completed"


def test_the_end_of_a_cancelled_span_is_known_by_its_id(running: Running) -> None:
    """Its state says that it was cancelled, so its id has to say that it is its marker's end."""
    root, marker = span_id(), span_id()
    load: dict[str, Any] = {"progress__type": "load", "item__index": 1, "item__total": 2}
    send(running, span("load", own=marker, parent=root, span__state="started", **load))
    end = final_span_id(int.from_bytes(marker, "big")).to_bytes(8, "big")
    send(running, span("load", own=end, parent=marker, span__state="cancelled", **load))
    (row,) = running.service.checkpoints("far")
    assert (row.status.value, row.span_id, row.parent_span_id) == ("cancelled", marker.hex(), root.hex())


def test_a_restarted_server_goes_on_where_the_other_was(serve: Serve, tmp_path: Any) -> None:
    """Its state is folded from the store, and never falls."""
    database = str(tmp_path / "operations.db")
    first, second = serve(database=database), serve(database=database)
    root = span_id()
    send(first, indicator(1, 1, root), indicator(1, 2, root))
    before = first.service.get("far")
    send(second, indicator(1, 3, root))
    send(first, indicator(2, 1, root))
    after = first.service.get("far")
    assert after.items_completed == 4
    assert after.percentage > before.percentage
    assert after.message == "Processing S2 (2/2) [1h] - Computing RSI_1 (1/3)"


def test_many_senders_at_once_lose_nothing(serve: Serve, postgresql_url: str) -> None:
    """Two servers, eight threads, each batch delivered twice."""
    servers = [serve(database=postgresql_url), serve(database=postgresql_url)]
    root = span_id()

    def sender(number: int) -> None:
        for index in range(5):
            body = request(
                span(
                    "load", parent=root, progress__type="load", item__name=f"{number}-{index}", item__total=40
                ),
                operation_id="far",
            )
            for server in (servers[number % 2], servers[number % 2]):
                with httpx.Client(base_url=server.url, timeout=30) as client:
                    assert client.post("/v1/traces", content=body, headers=PROTOBUF).status_code == 200

    threads = [threading.Thread(target=sender, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    send(servers[0], span("other", parent=root))
    assert servers[0].service.get("far").items_completed == 40


def test_gzip_and_chunks_are_taken(running: Running) -> None:
    """Go's SDK sends both."""
    body = gzip.compress(request(span("load", parent=span_id(), progress__type="load"), operation_id="far"))
    headers = {**PROTOBUF, "Content-Encoding": "gzip"}
    chunks = iter([body[:7], body[7:]])
    assert running.client.post("/v1/traces", content=chunks, headers=headers).status_code == 200
    assert running.service.get("far").items_completed == 1


def test_spans_that_are_no_operations_are_nobodys_business(running: Running) -> None:
    """They are accepted, as OTLP wants it, and kept nowhere."""
    answer = send(running, span("GET /"), operation_id=None)
    assert answer.partial_success.rejected_spans == 0
    assert running.service.list() == []


def test_what_cannot_be_understood_is_counted_as_rejected(running: Running) -> None:
    """Partial success: the others are taken."""
    broken = span("load", parent=span_id(), progress__type="load")
    broken.span_id = b"short"
    endless = span("load", parent=span_id(), progress__type="load")
    endless.end_time_unix_nano = 2**64 - 1
    answer = send(running, broken, endless, span("load", parent=span_id(), progress__type="load"))
    assert answer.partial_success.rejected_spans == 2
    assert "year 2100" in answer.partial_success.error_message
    assert running.service.get("far").items_completed == 1


@pytest.mark.parametrize("operation_id", ["", "a\0b", "two\nlines", "x" * 201])
def test_an_operation_id_that_cannot_be_shown_is_rejected(running: Running, operation_id: str) -> None:
    """As anywhere else; a sender is told, and does not come back with it."""
    answer = send(running, span("load", operation__id=operation_id, progress__type="load"), span("other"))
    assert answer.partial_success.rejected_spans == 1
    assert answer.partial_success.error_message.endswith("give it 1 to 200 printable characters")
    assert [each.operation_id for each in running.service.list()] == ["far"]


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"\xff\xff\xff", PROTOBUF, 400),
        (b"not gzip", {**PROTOBUF, "Content-Encoding": "gzip"}, 400),
        (gzip.compress(b"x" * 100, mtime=0)[:-9], {**PROTOBUF, "Content-Encoding": "gzip"}, 400),
        (b"{}", {"Content-Type": "application/json"}, 415),
        (b"", {**PROTOBUF, "Content-Encoding": "br"}, 415),
    ],
)
def test_a_refusal_is_said_as_otlp_says_it(
    running: Running, body: bytes, headers: dict[str, str], status: int
) -> None:
    """With a `google.rpc.Status` that has one sentence."""
    answer = running.client.post("/v1/traces", content=body, headers=headers)
    assert answer.status_code == status
    assert RpcStatus.FromString(answer.content).message


def test_too_many_requests_are_told_when_to_come_back(running: Running) -> None:
    """429 with Retry-After; once time has passed the next one is taken."""
    seconds = [0.0]
    bucket = running.server.app.state.bucket = Bucket(now=lambda: seconds[0])
    while bucket.take():
        pass
    body = request(span("load", parent=span_id(), progress__type="load"), operation_id="far")
    refused = running.client.post("/v1/traces", content=body, headers=PROTOBUF)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    assert running.service.list() == []
    seconds[0] += 1
    assert running.client.post("/v1/traces", content=body, headers=PROTOBUF).status_code == 200


def test_a_run_of_this_store_is_not_told_twice(running: Running) -> None:
    """Its own process writes it; what it exports besides says nothing new."""
    begin(running.service, "far")
    send(running, span("load", parent=span_id(), progress__type="load"), span("operation"))
    assert running.service.get("far").status.value == "running"
    assert running.service.checkpoints("far") == []


def test_a_reported_operation_cannot_be_cancelled_from_here(running: Running) -> None:
    """Nobody would hear it: that is said."""
    send(running, span("load", parent=span_id(), progress__type="load"))
    answer = running.client.post("/api/v1/operations/far/cancel")
    assert answer.status_code == 409
    assert "stop it where it runs" in answer.json()["detail"]

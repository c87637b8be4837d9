"""What somebody else sends of a run whose receiver was away: the spans as its process would have sent them."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from ktrdr_otel import semconv
from tests.integration.command_line import answer, ktrdr_otel
from tests.integration.otlp_receivers import HttpReceiver
from tests.integration.test_live_traces import value_of

PROGRAM = """
import contextlib, logging, sys
from opentelemetry import trace
from ktrdr_otel import checkpoint, hold, observe

with contextlib.suppress(ValueError), observe(
    "job", operation_id="job", operation_type="training", database=sys.argv[1], display="off"
):
    with checkpoint("symbol", symbol="AAPL", symbol_index=1, total_symbols=1):
        with checkpoint("load", item="w1", index=1, total=3):
            trace.get_current_span().set_attributes({"rows": 15847, "columns": ("open", "close"), "is_gapless": False})
            logging.getLogger("bars").warning("a gap of %d bars", 3)
            logging.getLogger("bars").error("and one of %d", 4)
        with checkpoint("load", item="w2", index=2, total=3):
            pass
        with checkpoint("preparation", preparation_phase="splitting_data", total_samples=15847):
            pass
        with hold("the broker", allowance_seconds=60):
            pass
        with checkpoint("epoch", epoch_index=1, total_epochs=2) as epoch:
            epoch.record({"loss": 0.5})
        with checkpoint("load", item="w3", index=3, total=3):
            raise ValueError("no bars")
"""


def environment(port: int, **more: str) -> dict[str, str]:
    """The program's, with a receiver at that port."""
    return {
        **os.environ,
        "KTRDR_OTEL_LIVE": "off",
        "KTRDR_OTEL_SHUTDOWN_TIMEOUT_SECONDS": "3",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "3",
        "OTEL_SERVICE_NAME": "trainer",
        **more,
    }


def run(database: Path, port: int, program: str = PROGRAM) -> None:
    """The program has run."""
    subprocess.run(
        [sys.executable, "-c", program, str(database)], env=environment(port), check=True, timeout=60
    )


def look(database: Path, receiver: HttpReceiver, *, spans: int) -> None:
    """Somebody has looked at the store, and so many spans have arrived."""
    listed = ktrdr_otel("operations", "list", database=database, environment=environment(receiver.port))
    assert listed.returncode == 0, listed.stderr
    deadline = time.monotonic() + 30
    while len(receiver.spans) < spans and time.monotonic() < deadline:
        time.sleep(0.05)


def told(attributes: Any) -> dict[str, Any]:
    """The attributes by name."""

    def plain(each: KeyValue) -> Any:
        value = value_of(each.value)
        return [value_of(one) for one in value.values] if hasattr(value, "values") else value

    return {each.key: plain(each) for each in attributes}


def tree(spans: list[Span]) -> list[Mapping[str, Any]]:
    """What the spans say, but for ids, times and what only the process itself has of an exception."""
    names = {span.span_id: span.name for span in spans}
    return [
        {
            "name": span.name,
            "parent": names.get(span.parent_span_id),
            "kind": span.kind,
            "status": (span.status.code, span.status.message),
            "attributes": told(span.attributes),
            "events": [
                (
                    event.name,
                    {
                        name: value
                        for name, value in told(event.attributes).items()
                        if name not in (semconv.EXCEPTION_STACKTRACE, "exception.escaped")
                    },
                )
                for event in span.events
            ],
        }
        for span in sorted(spans, key=lambda span: span.start_time_unix_nano)
    ]


def test_an_owed_span_says_what_its_process_would_have_said(tmp_path: Path) -> None:
    """Attributes, the program's own among them, status, warnings and exceptions; the root has the traceback."""
    receiver = HttpReceiver()
    run(tmp_path / "there.db", receiver.port)
    receiver.close()
    run(tmp_path / "away.db", receiver.port)
    back = HttpReceiver(receiver.port)
    try:
        look(tmp_path / "away.db", back, spans=len(receiver.spans))
    finally:
        back.close()
    assert len(receiver.spans) == 8
    assert tree(back.spans) == tree(receiver.spans)
    resource, usual = (
        told(each.requests[0].resource_spans[0].resource.attributes) for each in (back, receiver)
    )
    assert resource.pop("service.instance.id") != usual.pop("service.instance.id")  # of another process
    assert resource == usual
    for span in back.spans:
        inside = [event.time_unix_nano for event in span.events]
        assert all(span.start_time_unix_nano - 1000 <= at_ns <= span.end_time_unix_nano for at_ns in inside)
    (root,) = (span for span in back.spans if span.name == "operation")
    (failure,) = root.events
    assert "Traceback (most recent call last)" in told(failure.attributes)[semconv.EXCEPTION_STACKTRACE]


def test_the_export_of_the_command_line_says_the_same(tmp_path: Path) -> None:
    """With the resource and scope under which the process exported."""
    receiver = HttpReceiver()
    run(tmp_path / "there.db", receiver.port)
    receiver.close()
    exported = answer(ktrdr_otel("trace", "export", "job", database=tmp_path / "there.db"))
    # OTLP's JSON has ids in hex, protobuf's in base64, as which hex can be read too.
    request = ParseDict(exported, ExportTraceServiceRequest())
    (resource_spans,) = request.resource_spans
    (scope_spans,) = resource_spans.scope_spans
    sent = receiver.requests[0].resource_spans[0]
    assert tree(list(scope_spans.spans)) == tree(receiver.spans)
    assert scope_spans.scope == sent.scope_spans[0].scope
    resource = told(resource_spans.resource.attributes)
    assert resource.pop(semconv.OPERATION_ID) == "job"
    assert resource == told(sent.resource.attributes)


def test_what_could_not_leave_before_the_end_is_sent_by_who_looks(tmp_path: Path) -> None:
    """A run completes while its receiver is away: its last spans are owed, and arrive when somebody looks."""
    receiver = HttpReceiver()
    receiver.close()
    program = (
        "import sys; from ktrdr_otel import checkpoint, observe\n"
        "with observe('job', operation_id='job', database=sys.argv[1], display='off'):\n"
        "    for item in range(1, 8):\n"
        "        with checkpoint('load', item=f'w{item}', index=item, total=7): pass\n"
    )
    database = tmp_path / "operations.db"
    run(database, receiver.port, program)
    back = HttpReceiver(receiver.port)
    try:
        look(database, back, spans=8)
        assert sorted(back.names) == ["load"] * 7 + ["operation"]
        root = next(span for span in back.spans if span.name == "operation")
        assert told(root.attributes)[semconv.OPERATION_STATUS] == "completed"
    finally:
        back.close()

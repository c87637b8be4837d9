"""Open spans under whatever has configured OpenTelemetry: each backend sees each span once, and nothing lies."""

import json
import os
import sqlite3
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from ktrdr_otel import semconv
from tests.integration.otlp_receivers import HttpReceiver
from tests.integration.test_live_traces import id_of, seen, shown_by_all
from tests.unit.exporters.storages import fold

JOB = """
import threading
from ktrdr_otel import checkpoint, observe
with observe("job", operation_id="job", database={database!r}, display="off") as operation:
    with checkpoint("symbol", symbol="AAPL", symbol_index=1, total_symbols=1):
        for index in range(1, 4):
            with checkpoint("load", item=f"w{{index}}", index=index, total=3):
                operation.flush()
    assert operation.status()["items_completed"] == 3
"""
OWN_PROVIDER = """
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON
from ktrdr_otel import LiveSpanProcessor

kept = InMemorySpanExporter()
provider = TracerProvider(sampler={sampler})
provider.add_span_processor(SimpleSpanProcessor(kept))
provider.add_span_processor({processor})
trace.set_tracer_provider(provider)
"""


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    """An OTLP/HTTP receiver that keeps everything."""
    receiver = HttpReceiver()
    yield receiver
    receiver.close()


def run(
    folder: Path, receiver: HttpReceiver, *, before: str = "", after: str = "", command: str = "", **more: str
) -> str:
    """What the job prints, with those lines around it."""
    program = folder / "job.py"
    lines = [
        textwrap.dedent(before),
        JOB.format(database=str(folder / "operations.db")),
        textwrap.dedent(after),
    ]
    program.write_text("\n".join(lines))
    interpreter = (
        [sys.executable] if not command else [str(Path(sys.executable).with_name(command)), sys.executable]
    )
    done = subprocess.run(
        [*interpreter, str(program)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, **more},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def states(spans: list[Span]) -> set[str]:
    """What they say of themselves."""
    return {
        each.value.string_value
        for span in spans
        for each in span.attributes
        if each.key == semconv.SPAN_STATE
    }


def test_an_application_that_exports_by_itself_does_so_alone(tmp_path: Path, receiver: HttpReceiver) -> None:
    """Its batch processor sends each span once, and nobody else sends anything."""
    before = OWN_PROVIDER.format(sampler="ALWAYS_ON", processor="BatchSpanProcessor(OTLPSpanExporter())")
    run(tmp_path, receiver, before=before, after="provider.shutdown()")
    assert Counter(receiver.names) == {"operation": 1, "symbol AAPL": 1, "load": 3}
    assert states(receiver.spans) == set()


@pytest.mark.parametrize("mode", ["snapshot", "markers"])
def test_an_application_with_our_processor_shows_open_spans(
    tmp_path: Path, receiver: HttpReceiver, mode: str
) -> None:
    """Its other processors see each span once, its backend has the plain trace in the end."""
    before = OWN_PROVIDER.format(
        sampler="ALWAYS_ON", processor=f"LiveSpanProcessor(OTLPSpanExporter(), live={mode!r})"
    )
    after = "provider.shutdown(); print(*sorted(span.name for span in kept.get_finished_spans()), sep=',')"
    said = run(tmp_path, receiver, before=before, after=after)
    assert said.strip() == "load,load,load,operation,symbol AAPL"
    if mode == "markers":
        assert states(receiver.spans) == {"started", "finished"}
        shown = fold(shown_by_all(receiver.spans))
    else:
        shown = {id_of(span): seen(span) for span in receiver.spans}
    assert Counter(each.name for each in shown.values()) == {"operation": 1, "symbol AAPL": 1, "load": 3}
    parents = {each.name: each.parent for each in shown.values()}
    assert parents["operation"] is None
    assert shown[_there(parents["load"])].name == "symbol AAPL"
    assert shown[_there(parents["symbol AAPL"])].name == "operation"


def _there(parent: int | None) -> int:
    assert parent is not None
    return parent


@pytest.mark.parametrize("processor", ["LiveSpanProcessor(OTLPSpanExporter())", None])
def test_what_a_sampler_drops_is_not_shown(
    tmp_path: Path, receiver: HttpReceiver, processor: str | None
) -> None:
    """Under an application's sampler and under our own provider's; progress goes on all the same."""
    if processor is None:
        run(tmp_path, receiver, OTEL_TRACES_SAMPLER="always_off")
    else:
        before = OWN_PROVIDER.format(sampler="ALWAYS_OFF", processor=processor)
        run(tmp_path, receiver, before=before, after="provider.shutdown()")
    assert receiver.names == []


def test_opentelemetry_instrument_exports_alone(tmp_path: Path, receiver: HttpReceiver) -> None:
    """It sets a provider of its own before the program begins: that one exports, each span once."""
    run(
        tmp_path,
        receiver,
        command="opentelemetry-instrument",
        OTEL_TRACES_EXPORTER="otlp",
        OTEL_METRICS_EXPORTER="none",
        OTEL_LOGS_EXPORTER="none",
        OTEL_EXPORTER_OTLP_PROTOCOL="http/protobuf",
    )
    assert Counter(receiver.names) == {"operation": 1, "symbol AAPL": 1, "load": 3}
    assert states(receiver.spans) == set()


def test_workers_that_are_forked_export_their_own_spans(tmp_path: Path, receiver: HttpReceiver) -> None:
    """Nothing of the parent leaves a child, a child's spans leave it once, and no connection is shared."""
    before = (
        OWN_PROVIDER.format(
            sampler="ALWAYS_ON", processor="LiveSpanProcessor(OTLPSpanExporter(), live='markers')"
        )
        + """
import os
tracer = trace.get_tracer("workers")
with tracer.start_as_current_span("parent"):
    tracer.start_span("before the fork").end()
    provider.force_flush()  # its connection is open
    children = []
    for number in range(3):
        child = os.fork()
        if child == 0:
            with tracer.start_as_current_span(f"child {number}"):
                tracer.start_span(f"inside {number}").end()
                provider.force_flush()
            provider.shutdown()
            os._exit(0)
        children.append(child)
    assert {os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children} == {0}
"""
    )
    run(tmp_path, receiver, before=before, after="provider.shutdown()")
    ended = [span for span in receiver.spans if not _is_marker(span)]
    expected: dict[str, int] = {
        "parent": 1,
        "before the fork": 1,
        "operation": 1,
        "symbol AAPL": 1,
        "load": 3,
    }
    expected |= {f"{what} {number}": 1 for what in ("child", "inside") for number in range(3)}
    assert Counter(span.name for span in ended) == expected


def _is_marker(span: Span) -> Any:
    return any(
        each.key == semconv.SPAN_STATE and each.value.string_value == semconv.STATE_STARTED
        for each in span.attributes
    )


def test_a_resource_that_json_does_not_know_stops_nothing(tmp_path: Path, receiver: HttpReceiver) -> None:
    """The SDK takes bytes there; where the trace goes is stored all the same."""
    before = OWN_PROVIDER.format(
        sampler="ALWAYS_ON", processor="LiveSpanProcessor(OTLPSpanExporter())"
    ).replace(
        "TracerProvider(", "TracerProvider(resource=Resource({'build': b'\\x01', 'share': float('nan')}), "
    )
    imports = "from opentelemetry.sdk.resources import Resource"
    run(tmp_path, receiver, before=f"{imports}\n{before}", after="provider.shutdown()")
    with sqlite3.connect(tmp_path / "operations.db") as connection:
        [(resource,)] = connection.execute("SELECT resource FROM trace_exports")
    connection.close()
    assert json.loads(resource)["share"] == "nan"


def test_an_operation_that_could_not_begin_is_not_shown(tmp_path: Path, receiver: HttpReceiver) -> None:
    """Its id was taken: nothing of it is seen as open, however long the application goes on."""
    before = OWN_PROVIDER.format(
        sampler="ALWAYS_ON", processor="LiveSpanProcessor(OTLPSpanExporter(), live='snapshot')"
    )
    after = f"""
from ktrdr_otel import OperationExistsError
import time
before = len(kept.get_finished_spans())
try:
    with observe("again", operation_id="job", database={str(tmp_path / "operations.db")!r}, display="off"):
        raise AssertionError
except OperationExistsError:
    pass
time.sleep(2.5)
provider.shutdown()
assert len(kept.get_finished_spans()) == before
"""
    run(tmp_path, receiver, before=before, after=after)
    assert receiver.names.count("operation") == 1

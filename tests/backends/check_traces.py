"""With a real Jaeger, on Badger and in memory: runs as they go, the traces that they leave, and what a death leaves.

`make test-backends JAEGER_BIN=...`; with `JAEGER_UI=...`, the folder of its built pages, docs/ gets its pictures.
"""

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ktrdr_otel import semconv
from ktrdr_otel.exporters.live import LiveMode
from ktrdr_otel.exporters.records import final_span_id
from ktrdr_otel.operations.service import OperationsService
from ktrdr_otel.runtime import open_service
from ktrdr_otel.settings import load_settings
from tests.acceptance.test_lost_traces import JOB as ENDLESS
from tests.acceptance.test_lost_traces import disagreements, retold
from tests.backends.jaeger import Jaeger, running_jaeger
from tests.browser.chromium import chromium
from tests.browser.pictures import PICTURES
from tests.dashboards.test_real_servers import until
from tests.unit.exporters.storages import Seen, fold

KILLS = int(os.environ.get("KTRDR_OTEL_TEST_KILLS", "20"))
FRESH_SECONDS = 6.0  # the oldest that Jaeger's picture of the run may be
MODE_OF_STORAGE = {"badger": LiveMode.SNAPSHOT, "memory": LiveMode.MARKERS}

JOB = """
import sys, time
from pathlib import Path
from ktrdr_otel import checkpoint, observe

with observe("train momentum", operation_type="training", operation_id="run", database=sys.argv[1], display="off",
             trace_file=Path(sys.argv[2])) as operation:
    print(operation.trace_id, flush=True)
    for number, symbol in enumerate(["AAPL", "MSFT"], start=1):
        with checkpoint("symbol", symbol=symbol, symbol_index=number, total_symbols=2):
            with checkpoint("timeframe", timeframe="1h"):
                for index, (name, seconds) in enumerate([("RSI", 0.1), ("MACD", 2.5), ("ADX", 9), ("ATR", 0)], start=1):
                    with checkpoint("indicator_computation", indicator_name=name, indicator_index=index,
                                    total_indicators=4):
                        time.sleep(seconds)
"""


@dataclass
class Backend:
    """A Jaeger, and the mode of export that suits its storage."""

    jaeger: Jaeger
    mode: LiveMode
    folder: Path

    def environment(self) -> dict[str, str]:
        """Of a job that exports to it."""
        return {
            **os.environ,
            "KTRDR_OTEL_LIVE": str(self.mode),
            "KTRDR_OTEL_LEASE_SECONDS": "2",
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.jaeger.otlp,
        }

    def trace(self, trace_id: str) -> tuple[dict[int, Seen], int]:
        """What Jaeger has of it, by span id, and how many of its records share an id."""
        kept: dict[int, Seen] = {}
        doubles = 0
        for span in self.jaeger.spans(trace_id):
            doubles += int(span["spanId"], 16) in kept
            kept[int(span["spanId"], 16)] = seen(span)
        return kept, doubles


@pytest.fixture(scope="module", params=["badger", "memory"])
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    """Of each storage."""
    binary = os.environ.get("JAEGER_BIN", "")
    assert Path(binary).is_file(), "set JAEGER_BIN to a real binary: nothing here can be shown without"
    folder = tmp_path_factory.mktemp(request.param)
    with running_jaeger(binary, folder, request.param, os.environ.get("JAEGER_UI") or None) as jaeger:
        yield Backend(jaeger, MODE_OF_STORAGE[request.param], folder)


def seen(span: dict[str, Any]) -> Seen:
    """A span of OTLP JSON."""
    status = span.get("status", {})
    code = {0: "UNSET", 1: "OK", 2: "ERROR"}[status.get("code", 0)]
    attributes = {each["key"]: _value(each["value"]) for each in span.get("attributes", ())}
    return Seen(
        span["name"],
        int(span["parentSpanId"], 16) if span.get("parentSpanId") else None,
        int(span["startTimeUnixNano"]) // 1000 * 1000,  # Jaeger keeps microseconds
        int(span["endTimeUnixNano"]) // 1000 * 1000,
        code,
        status.get("message") or None,
        tuple(event["name"] for event in span.get("events", ())),
        {name: value for name, value in attributes.items() if not _is_of_a_double(name, value)},
    )


def _is_of_a_double(name: str, value: Any) -> bool:
    """Jaeger's own remark that a span came twice, which is counted here."""
    return name == "@jaeger@warnings" and all(each.startswith("duplicate span IDs") for each in value)


def _value(any_value: dict[str, Any]) -> Any:
    """As OTLP JSON has it: whole numbers are text there."""
    [(kind, value)] = any_value.items()
    if kind == "intValue":
        return int(value)
    return [_value(each) for each in value.get("values", ())] if kind == "arrayValue" else value


def is_open(shown: dict[int, Seen], span_id: int, mode: LiveMode) -> bool:
    """Whether Jaeger shows the span as open."""
    state = shown[span_id].attributes.get(semconv.SPAN_STATE) if span_id in shown else None
    if mode is LiveMode.SNAPSHOT:
        return state == semconv.STATE_IN_PROGRESS
    return state == semconv.STATE_STARTED and final_span_id(span_id) not in shown


def take_picture(jaeger: Jaeger, trace_id: str, name: str, wanted: str) -> None:
    """Jaeger's own page of the trace, with the span that is wanted unfolded."""
    if not os.environ.get("JAEGER_UI"):
        return
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.goto(f"{jaeger.query}/trace/{trace_id}")
        page.locator(".span-row", has_text=wanted).first.locator(".span-view").click()
        page.locator(".AccordionAttributes--header").first.click()
        page.wait_for_timeout(300)  # its unfolding is drawn
        page.screenshot(path=PICTURES / f"{name}.png")
        print(f"docs/pictures/{name}.png")


@pytest.mark.timeout(180)
def test_jaeger_shows_the_run_as_it_was_seconds_ago(backend: Backend) -> None:
    """Its open spans while they are open, no parent missing with markers, and in the end exactly the plain trace."""
    database, plain = str(backend.folder / "run.db"), backend.folder / "trace.jsonl"
    process = subprocess.Popen(
        [sys.executable, "-c", JOB, database, str(plain)],
        env=backend.environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    trace_id = process.stdout.readline().strip()
    service: OperationsService = open_service(load_settings(database=database))
    began, looks, seen_open, pictured = time.monotonic(), 0, set(), False
    while process.poll() is None:
        asked = time.time()
        shown, doubles = backend.trace(trace_id)
        assert doubles == 0
        if backend.mode is LiveMode.MARKERS:
            assert all(each.parent is None or each.parent in shown for each in shown.values())
        for checkpoint in service.checkpoints("run"):
            span_id = int(checkpoint.span_id, 16)
            if checkpoint.started_at.timestamp() <= asked - FRESH_SECONDS and checkpoint.ended_at is None:
                assert span_id in shown, f"{checkpoint.name} is not seen"
                # The store hears of an end a moment after Jaeger does.
                if is_open(shown, span_id, backend.mode) and backend.mode is LiveMode.SNAPSHOT:
                    assert (shown[span_id].end_ns or 0) / 1e9 >= asked - FRESH_SECONDS, "seen long ago"
                seen_open.add(checkpoint.name)
            if checkpoint.ended_at is not None and checkpoint.ended_at.timestamp() <= asked - FRESH_SECONDS:
                assert not is_open(shown, span_id, backend.mode), f"{checkpoint.name} is still open there"
        looks += 1
        if not pictured and "computing_indicator ADX" in seen_open and backend.mode is LiveMode.SNAPSHOT:
            take_picture(backend.jaeger, trace_id, "jaeger-open", "operation")
            pictured = True
        time.sleep(0.5)
    assert process.returncode == 0
    process.stdout.close()
    service.close()
    assert {"operation", "symbol AAPL", "timeframe 1h", "computing_indicator ADX"} <= seen_open
    kept, doubles = backend.trace(trace_id)
    shown = kept if backend.mode is LiveMode.SNAPSHOT else fold(kept)
    expected = {
        int(span["spanId"], 16): seen(span)
        for line in plain.read_text().splitlines()
        for resource in json.loads(line)["resourceSpans"]
        for scope in resource["scopeSpans"]
        for span in scope["spans"]
    }
    assert doubles == 0
    assert shown == expected
    print(
        f"{backend.mode}: {looks} looks in {time.monotonic() - began:.0f} s, {len(shown)} spans, the plain trace"
    )


@pytest.mark.timeout(120 + KILLS * 30)
def test_the_trace_of_a_killed_run_is_closed_in_jaeger(backend: Backend) -> None:
    """At random moments; span by span what the store says."""
    chance = random.Random(5)
    doubles = []
    for seed in range(KILLS // 2):
        folder = backend.folder / f"killed {seed}"
        folder.mkdir()
        database = str(folder / "operations.db")
        service: OperationsService = open_service(load_settings(database=database, lease_seconds=2))
        process = subprocess.Popen(
            [sys.executable, "-c", ENDLESS, database, str(seed)],
            env=backend.environment(),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(2.5 + chance.uniform(0, 2))
        process.kill()
        process.wait()
        process.stdout.close()
        trace_id = service.get("job").trace_id or ""
        until(lambda trace_id=trace_id: is_closed(backend, trace_id), 60)  # type: ignore[misc] # bound now
        until(lambda service=service: service.traces.debt("job") is None, 60)  # type: ignore[misc] # bound now
        kept, twice = backend.trace(trace_id)
        shown = kept if backend.mode is LiveMode.SNAPSHOT else fold(kept)
        assert disagreements(shown, backend.mode, retold(service)) == []
        doubles.append(twice)
        if seed == 0 and backend.mode is LiveMode.SNAPSHOT:
            take_picture(backend.jaeger, trace_id, "jaeger-lost", "operation")
        service.close()
    print(f"{backend.mode}: {len(doubles)} kills, records that came twice: {sorted(doubles)}")


def is_closed(backend: Backend, trace_id: str) -> bool:
    """Whether Jaeger shows the root as lost."""
    kept, _ = backend.trace(trace_id)
    return any(
        span.name == "operation" and span.attributes.get(semconv.SPAN_STATE) == semconv.STATE_LOST
        for span in kept.values()
    )

"""The same live progress, unit by unit, whatever the tracing around it does."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ktrdr_otel.runtime import open_service
from ktrdr_otel.settings import load_settings

PROLOGUES = {
    "ratio 1": ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "1"}, ""),
    "ratio 0": ({"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"}, ""),
    "always off": ({"OTEL_TRACES_SAMPLER": "always_off"}, ""),
    "sdk disabled": ({"OTEL_SDK_DISABLED": "true"}, ""),
    "proxy tracer": ({}, "trace.get_tracer('early').start_span('x').end()"),
    "unsampled remote parent": (
        {},
        "context.attach(trace.set_span_in_context(trace.NonRecordingSpan(trace.SpanContext(5, 6, True))))",
    ),
    "application's provider before": ({}, "install()"),
    "application's provider at ratio 0": (
        {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "0"},
        "install()",
    ),
    "application's provider drops all": ({"OTEL_TRACES_SAMPLER": "always_off"}, "install()"),
}

PROGRAM = """
import json, sys
from opentelemetry import context, trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from ktrdr_otel import checkpoint, observe, track

exporter = InMemorySpanExporter()

def install():
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)

class Heard:
    lines = []
    def operation_started(self, operation): pass
    def unit_started(self, unit, progress): self.say("started", unit, progress)
    def unit_finished(self, unit, progress): self.say("finished", unit, progress)
    def say(self, event, unit, progress):
        self.lines.append([event, unit.name, dict(unit.context), progress.percentage, progress.message])
    def ticked(self, tick, progress): pass
    def status_changed(self, operation_id, status, progress, error):
        self.lines.append([status.value, progress.percentage])

def job():
    for number, symbol in enumerate(["AAPL", "MSFT"], 1):
        with checkpoint("symbol", symbol=symbol, symbol_index=number, total_symbols=2):
            with checkpoint("timeframe", timeframe="1h"):
                for index in range(1, 21):
                    item = dict(indicator_name="RSI", indicator_index=index, total_indicators=20)
                    with checkpoint("indicator_computation", **item):
                        pass
    for epoch in range(1, 4):
        with checkpoint("epoch", index=epoch, total=3) as unit:
            for batch in track(range(5), "batch"):
                pass
            unit.record({"loss": 1 / epoch})

PROLOGUE
heard = Heard()
with observe("job", display="off", database=sys.argv[1], listeners=[heard]) as operation:
    INSIDE
    job()
spans = len(exporter.get_finished_spans())
json.dump({"lines": heard.lines, "spans": spans, "report": operation.report().finished_units}, sys.stdout)
"""


def run(folder: Path, environment: dict[str, str], prologue: str, inside: str = "pass") -> dict[str, Any]:
    """What a program of its own heard."""
    program = PROGRAM.replace("PROLOGUE", prologue).replace("INSIDE", inside)
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder / "operations.db")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": "/usr/bin:/bin", **environment},
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What is heard with nothing configured."""
    told = run(tmp_path_factory.mktemp("plain"), {}, "")
    assert told["report"] == 2 * 20 + 3
    assert told["lines"][-1] == ["completed", 100.0]
    return told


@pytest.mark.parametrize("situation", sorted(PROLOGUES))
def test_progress_is_the_same(tmp_path: Path, expected: dict[str, Any], situation: str) -> None:
    """Every start and end, with its context, percentage and message."""
    environment, prologue = PROLOGUES[situation]
    assert run(tmp_path, environment, prologue)["lines"] == expected["lines"]


def test_a_provider_set_during_the_operation_serves_the_next_one(
    tmp_path: Path, expected: dict[str, Any]
) -> None:
    """This one goes on with the provider that it began with."""
    told = run(tmp_path, {}, "", inside="install()")
    assert told["lines"] == expected["lines"]
    assert told["spans"] == 0


def test_an_applications_own_processors_see_each_span_once(tmp_path: Path) -> None:
    """Root, two symbols, two timeframes, forty indicators, three epochs."""
    assert run(tmp_path, {}, "install()")["spans"] == 1 + 2 + 2 + 40 + 3


def test_an_applications_shutdown_does_not_end_progress(tmp_path: Path, expected: dict[str, Any]) -> None:
    """Its provider is shut down in the middle; progress goes on."""
    told = run(tmp_path, {}, "install()", inside="trace.get_tracer_provider().shutdown()")
    assert told["lines"] == expected["lines"]


@pytest.mark.parametrize("prologue", ["", "trace.set_tracer_provider(TracerProvider())"])
def test_attributes_that_a_program_adds_are_in_its_record(tmp_path: Path, prologue: str) -> None:
    """Of the checkpoint whose span got them, whoever made the span; others have none."""
    program = (
        "import sys\n"
        "from opentelemetry import trace\n"
        "from opentelemetry.sdk.trace import TracerProvider\n"
        "from ktrdr_otel import checkpoint, observe\n"
        f"{prologue}\n"
        "with observe('job', operation_id='job', display='off', database=sys.argv[1]):\n"
        "    for index in (1, 2):\n"
        "        with checkpoint('load', item=f'w{index}', index=index, total=2):\n"
        "            if index == 1:\n"
        "                trace.get_current_span().set_attribute('rows', 15847)\n"
    )
    database = str(tmp_path / "operations.db")
    subprocess.run([sys.executable, "-c", program, database], check=True, timeout=60)
    service = open_service(load_settings(database=database))
    try:
        stored = {each.item_name: each.attributes for each in service.checkpoints("job")}
    finally:
        service.close()
    assert stored == {None: {}, "w1": {"rows": 15847}, "w2": {}}

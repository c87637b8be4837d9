"""`ktrdr-otel trace`, on a store with a real run in it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.integration.command_line import answer, ktrdr_otel

RUN = """
import contextlib, time
from ktrdr_otel import checkpoint, observe
with contextlib.suppress(ValueError), observe("job", operation_id="job", display="off", operation_type="training"):
    with checkpoint("symbol", symbol="AAPL", symbol_index=1, total_symbols=1):
        for index in range(1, 21):
            with checkpoint("indicator_computation", timeframe="1h", indicator_name=f"I{index}",
                            indicator_index=index, total_indicators=20):
                time.sleep(1.0 if index == 7 else 0.001)
    with checkpoint("load", item="x", index=1, total=1):
        raise ValueError("no such file")
"""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a run that failed."""
    path = tmp_path_factory.mktemp("store") / "operations.db"
    subprocess.run([sys.executable, "-c", RUN], check=True, env={"KTRDR_OTEL_DATABASE": str(path)})
    return path


def test_the_tree_shows_the_slowest_path(database: Path) -> None:
    """With durations and states; what took little is summed up."""
    said = ktrdr_otel("trace", "show", "job", database=database)
    lines = said.stdout.splitlines()
    assert lines[0].startswith("> ")
    assert "✗ operation  ValueError: no such file" in lines[0]
    assert any(line.startswith(">") and "✓ computing_indicator I7" in line for line in lines)
    assert any("and 12 more" in line for line in lines)
    assert any("✗ load x (1)  ValueError: no such file" in line for line in lines)


def test_the_export_is_otlp(database: Path) -> None:
    """Ids are hex in OTLP's JSON, so they are taken as they are; everything else is what protobuf reads."""
    exported = answer(ktrdr_otel("trace", "export", "job", database=database))
    [resource] = exported["resourceSpans"]
    spans = resource["scopeSpans"][0]["spans"]
    ids = {span["spanId"] for span in spans}
    assert len(spans) == len(ids) == 23
    assert all(len(span["spanId"]) == 16 and len(span["traceId"]) == 32 for span in spans)
    assert [span["name"] for span in spans if span.get("parentSpanId") not in ids] == ["operation"]
    for span in spans:
        for name in ("spanId", "traceId", "parentSpanId"):
            span.pop(name, None)
    request = ParseDict(exported, ExportTraceServiceRequest())
    [failed] = [each for each in request.resource_spans[0].scope_spans[0].spans if each.name == "load"]
    assert (failed.status.code, failed.status.message) == (2, "no such file")
    assert 0 < failed.start_time_unix_nano <= failed.end_time_unix_nano
    assert json.dumps(exported)


def test_open_prints_the_address(database: Path) -> None:
    """By the template; without one it says which setting is missing."""
    url = {"KTRDR_OTEL_TRACE_URL": "http://jaeger/trace/{trace_id}"}
    said = ktrdr_otel("trace", "open", "job", database=database, environment=url)
    trace_id = answer(ktrdr_otel("operations", "show", "job", "--json", database=database))["trace_id"]
    assert said.stdout == f"http://jaeger/trace/{trace_id}\n"
    missing = ktrdr_otel("trace", "open", "job", database=database)
    assert (missing.returncode, missing.stderr.count("\n")) == (2, 1)
    assert "KTRDR_OTEL_TRACE_URL" in missing.stderr

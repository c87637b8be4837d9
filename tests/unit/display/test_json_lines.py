"""JSON lines for programs."""

import io
import json
import math
from typing import Any

from ktrdr_otel.display.json_lines import JsonLines
from ktrdr_otel.operations.models import OperationError, OperationStatus
from tests.unit.display.builders import (
    HandClock,
    an_operation,
    container,
    epoch,
    failed,
    finished,
    indicator,
    progress,
    tick,
)

FIELDS = {"event", "operation_id", "status", "phase", "percentage", "message", "timestamp", "context"}


def read(stream: io.StringIO) -> list[dict[str, Any]]:
    """The lines as a program reads them."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_no_unit_and_no_status_is_dropped() -> None:
    """A thousand units in no time are two thousand lines, each with every field."""
    stream = io.StringIO()
    lines = JsonLines(stream, HandClock())
    lines.operation_started(an_operation())
    for number in range(1000):
        unit = indicator(f"I{number}")
        lines.unit_started(unit, progress(f"at {number}"))
        lines.unit_finished(finished(unit), progress(f"at {number}"))
    lines.status_changed("training-1", OperationStatus.COMPLETED, progress("done", 100), None)
    lines.close()
    said = read(stream)

    assert [each["event"] for each in said] == ["status", *(["started", "finished"] * 1000), "status"]
    assert all(each.keys() >= FIELDS for each in said)
    assert [each["context"]["indicator_name"] for each in said[1:-1:2]] == [f"I{n}" for n in range(1000)]
    assert {each["operation_id"] for each in said} == {"training-1"}
    assert said[-1]["status"] == "completed"


def test_times_are_utc_to_the_microsecond_when_it_happened() -> None:
    """A started unit has its start, a finished one its end; no float has rounded them."""
    stream = io.StringIO()
    lines = JsonLines(stream, HandClock())
    unit = indicator()._replace(started_ns=1_795_000_000_123_456_789)
    lines.unit_started(unit, progress())
    lines.unit_finished(unit._replace(ended_ns=1_795_000_000_999_999_999), progress())

    assert [each["timestamp"] for each in read(stream)] == [
        "2026-11-18T11:06:40.123456Z",
        "2026-11-18T11:06:40.999999Z",
    ]


def test_a_finished_unit_has_its_length_metrics_and_error() -> None:
    """What a program plots or alerts on is on the line of the unit."""
    stream = io.StringIO()
    lines = JsonLines(stream, HandClock())
    lines.unit_finished(finished(epoch(1), 2.5, metrics={"loss": 0.5, "val_loss": math.nan}), progress())
    lines.unit_finished(failed(indicator()), progress())
    lines.unit_finished(finished(indicator(), cancelled=True), progress())
    good, bad, left = read(stream)

    assert (good["duration_seconds"], good["metrics"]) == (2.5, {"loss": 0.5, "val_loss": None})
    assert "error" not in good
    assert bad["error"] == {"type": "ValueError", "message": "no volume"}
    assert left["cancelled"] is True


def test_containers_are_not_lines() -> None:
    """They are in the context of what they hold."""
    stream = io.StringIO()
    lines = JsonLines(stream, HandClock())
    lines.unit_started(container(), progress())
    lines.unit_finished(finished(container()), progress())

    assert stream.getvalue() == ""


def test_ticks_are_ten_a_second_and_the_last_comes_before_what_follows() -> None:
    """A thousand turns in a second are ten lines; the count before the epoch's end is the true one."""
    clock, stream = HandClock(), io.StringIO()
    lines = JsonLines(stream, clock)
    for count in range(1, 1001):
        lines.ticked(tick(count, 1000), progress(f"Batch {count}"))
        clock.advance(0.001)
    lines.unit_finished(finished(epoch(1)), progress())
    *ticks, end = read(stream)

    assert 9 <= len(ticks) <= 12
    assert ticks[-1]["count"] == 1000
    assert end["event"] == "finished"


def test_a_failure_has_its_step() -> None:
    """The line of the end says what broke, and where."""
    stream = io.StringIO()
    lines = JsonLines(stream, HandClock())
    error = OperationError(type="ValueError", message="no volume", step="Loading")
    lines.status_changed("training-1", OperationStatus.FAILED, progress(), error)

    assert read(stream)[0]["error"] == {"type": "ValueError", "message": "no volume", "step": "Loading"}


def test_hostile_names_stay_values() -> None:
    """Escapes, line ends and lone surrogates are read back as they were, on one line, as ASCII."""
    hostile = 'A\x1b[31m\n"\x9b\u2028\ud800'
    stream = io.StringIO()
    lines = JsonLines(stream, HandClock())
    lines.unit_started(indicator(hostile), progress(hostile))

    (line,) = stream.getvalue().splitlines()
    assert line.isascii()
    assert line.isprintable()
    assert json.loads(line)["context"]["indicator_name"] == hostile

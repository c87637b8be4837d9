"""Log records where nothing may be drawn."""

import logging

import pytest

from ktrdr_otel.display.log import LogRecords
from ktrdr_otel.operations.models import OperationError, OperationStatus
from tests.unit.display.builders import HandClock, an_operation, indicator, progress, tick


def test_records_come_once_a_second_and_say_the_end(caplog: pytest.LogCaptureFixture) -> None:
    """A log is read by people: 3,000 units in 3 seconds are a handful of records."""
    clock = HandClock()
    records = LogRecords(monotonic=clock.monotonic)
    with caplog.at_level(logging.INFO, "ktrdr_otel.progress"):
        records.operation_started(an_operation())
        for number in range(3000):
            records.unit_started(indicator(symbol=f"S{number % 7}"), progress(f"at {number}", number / 30))
            records.ticked(tick(number), progress(f"at {number}", number / 30))
            clock.advance(0.001)
        records.status_changed("training-1", OperationStatus.COMPLETED, progress("done", 100), None)
        records.close()

    assert 5 <= len(caplog.messages) <= 8
    assert caplog.messages[0] == "operation training-1: train momentum"
    assert caplog.messages[-2:] == ["100.0 % at 2999", "operation training-1 completed"]


def test_a_failure_is_a_warning_and_hostile_text_is_text(caplog: pytest.LogCaptureFixture) -> None:
    """A message with line ends cannot forge a record of its own."""
    records = LogRecords(monotonic=HandClock().monotonic)
    error = OperationError(type="ValueError", message="bad\nINFO root: all is well\x1b[2K", step="Loading %s")
    records.status_changed("training-1", OperationStatus.FAILED, progress(), error)

    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == (
        "operation training-1 failed in Loading %s: bad\\nINFO root: all is well\\x1b[2K"
    )

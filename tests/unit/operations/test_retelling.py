"""Spans as the store tells them: their times, states and events."""

import dataclasses
from datetime import UTC, datetime, timedelta

from ktrdr_otel import semconv
from ktrdr_otel.clock import ns_from_utc
from ktrdr_otel.events import MOST_WARNINGS
from ktrdr_otel.operations.logs import LogLine
from ktrdr_otel.operations.models import (
    Checkpoint,
    CheckpointStatus,
    Operation,
    OperationError,
    OperationStatus,
    Stall,
)
from ktrdr_otel.operations.retelling import Retelling, RetoldSpan

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
ROOT, STEP = "01" * 8, "02" * 8


def after(seconds: float) -> datetime:
    """So long after the beginning."""
    return NOW + timedelta(seconds=seconds)


def operation(status: OperationStatus, **more: object) -> Operation:
    """One that began at NOW, and ended 9 s later if it did."""
    known = Operation(
        operation_id="one",
        operation_type="training",
        name="train",
        status=status,
        percentage=25.0,
        message="Loading data",
        started_at=NOW,
        ended_at=after(9) if status.is_terminal else None,
    )
    return dataclasses.replace(known, **more)  # type: ignore[arg-type] # whatever the test says


def checkpoint(span_id: str, status: CheckpointStatus, **more: object) -> Checkpoint:
    """The root, or a step in it, from the first to the third second."""
    is_root = span_id == ROOT
    known = Checkpoint(
        sequence=1,
        operation_id="one",
        progress_type=None if is_root else "load",
        name="operation" if is_root else "load",
        step=None,
        symbol=None,
        symbol_index=None,
        symbol_total=None,
        timeframe=None,
        item_name=None if is_root else "w1",
        item_index=None,
        item_total=None,
        started_at=after(0 if is_root else 1),
        ended_at=None if status is CheckpointStatus.RUNNING else after(9 if is_root else 3),
        status=status,
        trace_id="0a" * 16,
        span_id=span_id,
        parent_span_id=None if is_root else ROOT,
    )
    return dataclasses.replace(known, **more)  # type: ignore[arg-type] # whatever the test says


def line(message: str, level: str, seconds: float, span_id: str | None = STEP) -> LogLine:
    """It was logged then."""
    return LogLine(
        sequence=1,
        at=after(seconds),
        level=level,
        logger="bars",
        message=message,
        trace_id="0a" * 16,
        span_id=span_id,
        step=None,
        file="/job.py",
        line=7,
        function="load",
    )


def happened(span: RetoldSpan) -> list[tuple[str, float]]:
    """The events of the span, and how many seconds after the beginning."""
    return [(event.name, (event.at_ns - ns_from_utc(NOW)) / 1e9) for event in span.events]


def test_what_failed_says_of_what_and_the_root_where() -> None:
    """As an exception event at its end; the traceback that ended the operation is the root's."""
    error = OperationError(type="ValueError", message="no bars", step=None)
    failed = operation(
        OperationStatus.FAILED, error=dataclasses.replace(error, traceback="Traceback: in load")
    )
    root, step = Retelling(failed, ROOT, ()).spans(
        [checkpoint(each, CheckpointStatus.FAILED, error=error) for each in (ROOT, STEP)]
    )
    assert (happened(root), happened(step)) == ([("exception", 9.0)], [("exception", 3.0)])
    said = {semconv.EXCEPTION_TYPE: "ValueError", semconv.EXCEPTION_MESSAGE: "no bars"}
    assert step.events[0].attributes == said
    assert root.events[0].attributes == said | {semconv.EXCEPTION_STACKTRACE: "Traceback: in load"}
    assert (step.is_error, step.message) == (True, "no bars")


def test_warnings_are_events_of_the_span_that_they_were_logged_in() -> None:
    """The newest of them, with where they were logged; what is less than a warning is none."""
    logged = [
        line("read", "INFO", 1.5),
        line("elsewhere", "ERROR", 1.5, None),
        *(line(f"gap {number}", "WARNING", 2 + number / 100) for number in range(25)),
    ]
    (step,) = Retelling(operation(OperationStatus.LOST), ROOT, logged).spans(
        [checkpoint(STEP, CheckpointStatus.LOST)]
    )
    assert len(step.events) == MOST_WARNINGS
    assert step.events[-1].attributes == {
        semconv.LOG_LEVEL: "WARNING",
        semconv.LOG_LOGGER: "bars",
        semconv.LOG_MESSAGE: "gap 24",
        semconv.CODE_FILE_PATH: "/job.py",
        semconv.CODE_LINE_NUMBER: 7,
        semconv.CODE_FUNCTION_NAME: "load",
    }


def test_a_stall_that_lasted_to_the_end_is_on_what_stood_still() -> None:
    """On the last span that was open, with the stack that proves it, once in however many pages."""
    stall = Stall(since=after(2), until=None, step="load", activity="waiting", stack="in load")
    retelling = Retelling(operation(OperationStatus.LOST, stall=stall), ROOT, ())
    root, step = retelling.spans([checkpoint(each, CheckpointStatus.LOST) for each in (ROOT, STEP)])
    assert (happened(root), happened(step)) == ([], [("ktrdr.stalled", 2.0)])
    assert step.events[0].attributes[semconv.STACKTRACE] == "in load"
    (again,) = retelling.spans([checkpoint("03" * 8, CheckpointStatus.LOST)])
    assert again.events == ()


def test_a_stall_that_passed_is_on_the_root_with_its_end() -> None:
    """As the process itself says it: what stood still then may have ended long ago."""
    stall = Stall(since=after(2), until=after(4), step="load", activity="waiting", stack="in load")
    root, step = Retelling(operation(OperationStatus.LOST, stall=stall), ROOT, ()).spans(
        [checkpoint(each, CheckpointStatus.LOST) for each in (ROOT, STEP)]
    )
    assert (happened(root), happened(step)) == ([("ktrdr.stalled", 2.0), ("ktrdr.resumed", 4.0)], [])


def test_what_is_open_is_lost_only_where_the_operation_is_over() -> None:
    """Of one that runs it is in progress, without an error, up to the latest that is known."""
    open_step = checkpoint(STEP, CheckpointStatus.RUNNING)
    (running,) = Retelling(operation(OperationStatus.RUNNING), ROOT, ()).spans([open_step], after(2))
    assert running.attributes[semconv.SPAN_STATE] == semconv.STATE_IN_PROGRESS
    assert (running.is_error, running.end_ns) == (False, ns_from_utc(after(2)))
    (lost,) = Retelling(operation(OperationStatus.LOST, lost_reason="it died"), ROOT, ()).spans([open_step])
    assert lost.attributes[semconv.SPAN_STATE] == semconv.STATE_LOST
    assert (lost.is_error, lost.message, lost.end_ns) == (True, "it died", ns_from_utc(after(9)))


def test_the_root_says_how_the_operation_stands() -> None:
    """Its status only at the end, as the process does."""
    root = checkpoint(ROOT, CheckpointStatus.COMPLETED)
    (ended,) = Retelling(operation(OperationStatus.COMPLETED), ROOT, ()).spans([root])
    (running,) = Retelling(operation(OperationStatus.RUNNING), ROOT, ()).spans([root])
    assert ended.attributes[semconv.OPERATION_STATUS] == "completed"
    assert semconv.OPERATION_STATUS not in running.attributes
    assert running.attributes[semconv.PROGRESS_RATIO] == 0.25


def test_attributes_that_have_no_column_are_told_too() -> None:
    """The program's own; they do not replace ours."""
    own = {"rows": 15847, semconv.OPERATION_ID: "another"}
    (step,) = Retelling(operation(OperationStatus.COMPLETED), ROOT, ()).spans(
        [checkpoint(STEP, CheckpointStatus.COMPLETED, attributes=own)]
    )
    assert step.attributes == {
        "rows": 15847,
        semconv.OPERATION_ID: "one",
        semconv.PROGRESS_TYPE: "load",
        semconv.ITEM_NAME: "w1",
    }

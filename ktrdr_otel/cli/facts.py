"""What `ktrdr-otel operations show` says: names and values, for people."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final

from ktrdr_otel.clock import isoformat
from ktrdr_otel.display.base import seconds_text
from ktrdr_otel.operations.logs import LogLine
from ktrdr_otel.operations.models import Operation, OperationStatus, Stall
from ktrdr_otel.operations.samples import Sample, activity
from ktrdr_otel.operations.sentence import sentence_of

Fact = tuple[str, str]

NEWEST_LOGS: Final = 5  # shown of what went wrong
_WRONG: Final = (OperationStatus.FAILED, OperationStatus.LOST)


def facts(
    operation: Operation, samples: Sequence[Sample], logs: Sequence[LogLine], now: datetime
) -> Iterator[Fact]:
    """Where it is, how it ended and why, and what its process used."""
    yield "operation", operation.operation_id
    yield "name", operation.name
    yield "type", operation.operation_type
    yield "status", ", ".join([operation.status.value, *_conditions(operation)])
    yield "progress", f"{operation.percentage:.1f} %"
    yield "at", operation.message
    yield "units", f"{operation.items_completed} of {operation.items_planned or '?'}"
    yield "started", isoformat(operation.started_at)
    took = max(((operation.ended_at or now) - operation.started_at).total_seconds(), 0.0)
    yield "took" if operation.ended_at else "running for", seconds_text(took)
    if operation.slow or operation.stalled or operation.suspended:
        yield "stands", sentence_of(operation, now)
    if operation.stall is not None:
        yield from _stall(operation.stall, has_ended=operation.status.is_terminal)
    if samples:
        yield "process", _process(samples, has_ended=operation.status.is_terminal)
    if operation.last_progress_at is not None and operation.ended_at is None:
        since = max((now - operation.last_progress_at).total_seconds(), 0.0)
        yield "last progress", f"{seconds_text(since)} ago"
    if operation.estimated_remaining_seconds is not None:
        yield "remaining", seconds_text(operation.estimated_remaining_seconds)
    yield "trace", operation.trace_id or "none"
    yield from _ending(operation)
    if operation.stalled or operation.status in _WRONG:
        yield from _lines("log", [log_text(line) for line in logs])


def log_text(line: LogLine) -> str:
    """The record on one line, with the step in which it was logged."""
    step = f"  [{line.step}]" if line.step else ""
    return f"{line.at.astimezone(UTC):%H:%M:%S.%f} {line.level} {line.logger}: {line.message}{step}"


def bytes_text(count: int) -> str:
    """An amount of memory as people say it.

    >>> bytes_text(812 * 2**20), bytes_text(3 * 2**29)
    ('812 MiB', '1.5 GiB')
    """
    mebibytes = count / 2**20
    return f"{mebibytes:.0f} MiB" if mebibytes < 1000 else f"{mebibytes / 1024:.1f} GiB"


def _process(samples: Sequence[Sample], *, has_ended: bool) -> str:
    newest = samples[-1]
    limit = "" if newest.limit_bytes is None else f" of {bytes_text(newest.limit_bytes)}"
    most = max(sample.rss_bytes for sample in samples)
    when = f" at {isoformat(newest.at)}" if has_ended else ""
    return f"{activity(newest.cpu_share)}, {bytes_text(newest.rss_bytes)}{limit}{when}; at most {bytes_text(most)}"


def _stall(stall: Stall, *, has_ended: bool) -> Iterator[Fact]:
    until = isoformat(stall.until) if stall.until is not None else "its end" if has_ended else "now"
    yield "stall", f"{isoformat(stall.since)} to {until} in {stall.step}"
    yield "activity", stall.activity
    yield from _lines("stack", stall.stack.splitlines())


def _lines(name: str, lines: Sequence[str]) -> Iterator[Fact]:
    for number, line in enumerate(lines):
        yield "" if number else name, line


def _conditions(operation: Operation) -> list[str]:
    return [name for name in ("slow", "stalled", "suspended") if getattr(operation, name)]


def _ending(operation: Operation) -> Iterator[Fact]:
    if operation.error is not None:
        yield "failed in", operation.error.step or "?"
        yield "error", f"{operation.error.type}: {operation.error.message}"
        yield from _lines("traceback", (operation.error.traceback or "").splitlines())
    if operation.lost_reason is not None:
        yield "lost", operation.lost_reason
    if operation.cancel_reason is not None:
        is_cancelled = operation.status is OperationStatus.CANCELLED
        yield "cancelled" if is_cancelled else "asked to stop", operation.cancel_reason


def next_command(operation: Operation, logs: Sequence[LogLine]) -> str:
    if not operation.status.is_terminal:
        return "cancel"
    return "logs" if logs and operation.status in _WRONG else "checkpoints"

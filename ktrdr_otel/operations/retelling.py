"""The spans of an operation, told again by whoever has its record and not its process: what is known of each, once.

What the store does not keep is not there, such as links and events of the program's own: `docs/traces.md` says it in
full.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from ktrdr_otel import semconv
from ktrdr_otel.clock import ns_from_utc
from ktrdr_otel.events import MOST_WARNINGS
from ktrdr_otel.operations.logs import LogLine
from ktrdr_otel.operations.models import Checkpoint, CheckpointStatus, Operation, Stall
from ktrdr_otel.operations.stored_unit import unit_of

_DIED_FIRST: Final = "its process ended before it did"
_WARNINGS: Final = frozenset({"WARN", "WARNING", "ERROR", "CRITICAL", "FATAL"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RetoldEvent:
    """What happened in a span."""

    name: str
    at_ns: int
    attributes: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetoldSpan:
    """A span as the store knows it."""

    trace_id: str  # 32 hex digits
    span_id: str  # 16 hex digits
    parent_span_id: str | None
    name: str
    start_ns: int
    end_ns: int
    attributes: Mapping[str, Any]
    is_error: bool
    message: str | None  # of its status
    events: tuple[RetoldEvent, ...]  # in the order in which they happened


class Retelling:
    """Tells the spans of one operation, with the names and times under which its process would have."""

    def __init__(self, operation: Operation, root_span_id: str | None, logged: Iterable[LogLine]) -> None:
        self._operation = operation
        self._root_span_id = root_span_id
        self._warnings: dict[str, list[RetoldEvent]] = defaultdict(list)
        for line in logged:
            if line.span_id is not None and line.level in _WARNINGS:
                self._warnings[line.span_id].append(_warning(line))
        self._stall = operation.stall

    def spans(
        self, checkpoints: Iterable[Checkpoint], seen_until: datetime | None = None
    ) -> list[RetoldSpan]:
        """One for each; those that nobody saw end are lost, but of an operation that runs they end at `seen_until`.

        The newest stall is told once: on the root if it had an end, else on the last of those that were open.
        """
        told: list[RetoldSpan] = []
        last_open: int | None = None
        root: int | None = None
        for place, checkpoint in enumerate(checkpoints):
            told.append(self._span(checkpoint, seen_until))
            if checkpoint.status in (CheckpointStatus.LOST, CheckpointStatus.RUNNING):
                last_open = place
            if checkpoint.span_id == self._root_span_id:
                root = place
        stall = self._stall
        stood = root if stall is None or stall.until is not None or last_open is None else last_open
        if stall is not None and stood is not None:
            self._stall = None
            told[stood] = _with_events(told[stood], _of_stall(stall))
        return told

    def _span(self, checkpoint: Checkpoint, seen_until: datetime | None) -> RetoldSpan:
        operation = self._operation
        is_root = checkpoint.span_id == self._root_span_id
        status = checkpoint.status
        if status is CheckpointStatus.RUNNING and operation.status.is_terminal:
            status = CheckpointStatus.LOST  # stored by a flush that came after the end
        ended_at = checkpoint.ended_at or operation.ended_at or seen_until or checkpoint.started_at
        span = RetoldSpan(
            trace_id=checkpoint.trace_id,
            span_id=checkpoint.span_id,
            parent_span_id=checkpoint.parent_span_id,
            name=checkpoint.name,
            start_ns=ns_from_utc(checkpoint.started_at),
            end_ns=ns_from_utc(max(ended_at, checkpoint.started_at)),
            attributes=_attributes(checkpoint, status) | (self._of_root() if is_root else {}),
            is_error=status in (CheckpointStatus.FAILED, CheckpointStatus.LOST),
            message=self._message(checkpoint, status),
            events=(),
        )
        events = self._warnings.get(checkpoint.span_id, [])[-MOST_WARNINGS:]
        if checkpoint.error is not None:
            traceback = operation.error.traceback if is_root and operation.error is not None else None
            events = [
                *events,
                _exception(checkpoint.error.type, checkpoint.error.message, traceback, span.end_ns),
            ]
        return _with_events(span, events)

    def _message(self, checkpoint: Checkpoint, status: CheckpointStatus) -> str | None:
        if status is CheckpointStatus.LOST:
            return self._operation.lost_reason or _DIED_FIRST
        return None if checkpoint.error is None else checkpoint.error.message

    def _of_root(self) -> dict[str, Any]:
        operation = self._operation
        told = {
            semconv.OPERATION_TYPE: operation.operation_type,
            semconv.OPERATION_NAME: operation.name,
            semconv.PROGRESS_RATIO: operation.percentage / 100,
            semconv.PROGRESS_MESSAGE: operation.message,
        }
        if operation.status.is_terminal:
            told[semconv.OPERATION_STATUS] = operation.status.value
        return told


def _attributes(checkpoint: Checkpoint, status: CheckpointStatus) -> dict[str, Any]:
    attributes = {**checkpoint.attributes, semconv.OPERATION_ID: checkpoint.operation_id}
    if checkpoint.progress_type is not None:
        attributes[semconv.PROGRESS_TYPE] = checkpoint.progress_type
    keys = {key: name for name, key in semconv.context_keys(checkpoint.progress_type).items()}
    attributes |= {keys[key]: value for key, value in unit_of(checkpoint).context.items() if key in keys}
    attributes |= {
        semconv.TRAINING_METRICS[key]: value
        for key, value in checkpoint.metrics.items()
        if key in semconv.TRAINING_METRICS
    }
    if status in _STATES:
        attributes[semconv.SPAN_STATE] = _STATES[status]
    if checkpoint.error is not None:
        attributes[semconv.ERROR_TYPE] = checkpoint.error.type
    return attributes


_STATES: Final = {
    CheckpointStatus.RUNNING: semconv.STATE_IN_PROGRESS,
    CheckpointStatus.LOST: semconv.STATE_LOST,
    CheckpointStatus.CANCELLED: semconv.STATE_CANCELLED,
}


def _warning(line: LogLine) -> RetoldEvent:
    told = {
        semconv.LOG_LEVEL: line.level,
        semconv.LOG_LOGGER: line.logger,
        semconv.LOG_MESSAGE: line.message,
        semconv.CODE_FILE_PATH: line.file,
        semconv.CODE_LINE_NUMBER: line.line,
        semconv.CODE_FUNCTION_NAME: line.function,
    }
    known = {name: value for name, value in told.items() if value is not None}
    return RetoldEvent(name=semconv.LOGGED_EVENT, at_ns=ns_from_utc(line.at), attributes=known)


def _exception(kind: str, message: str, traceback: str | None, at_ns: int) -> RetoldEvent:
    told = {semconv.EXCEPTION_TYPE: kind, semconv.EXCEPTION_MESSAGE: message}
    if traceback is not None:
        told[semconv.EXCEPTION_STACKTRACE] = traceback
    return RetoldEvent(name=semconv.EXCEPTION_EVENT, at_ns=at_ns, attributes=told)


def _of_stall(stall: Stall) -> list[RetoldEvent]:
    told = {
        semconv.PROGRESS_MESSAGE: stall.step,
        semconv.STALL_ACTIVITY: stall.activity,
        semconv.STACKTRACE: stall.stack,
    }
    events = [RetoldEvent(name=semconv.STALLED_EVENT, at_ns=ns_from_utc(stall.since), attributes=told)]
    if stall.until is not None:
        went_on = {semconv.PROGRESS_MESSAGE: stall.step}
        events.append(
            RetoldEvent(name=semconv.RESUMED_EVENT, at_ns=ns_from_utc(stall.until), attributes=went_on)
        )
    return events


def _with_events(span: RetoldSpan, more: Sequence[RetoldEvent]) -> RetoldSpan:
    return replace(span, events=tuple(sorted((*span.events, *more), key=lambda event: event.at_ns)))

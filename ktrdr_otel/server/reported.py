"""An operation that runs elsewhere and is known by its spans alone: its live state, folded from what the store has."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Final

from opentelemetry.trace import NoOpTracer

from ktrdr_otel import semconv
from ktrdr_otel.bridge.live import LiveOperation
from ktrdr_otel.cancellation import CancellationToken
from ktrdr_otel.clock import Clock, utc_from_ns
from ktrdr_otel.context import ActiveOperation, Inbox
from ktrdr_otel.operations.durations import Kind
from ktrdr_otel.operations.models import (
    Checkpoint,
    Ending,
    NewOperation,
    Operation,
    OperationError,
    OperationStatus,
    Progress,
    Worker,
)
from ktrdr_otel.operations.service import OperationsService
from ktrdr_otel.operations.step_row import StepRow
from ktrdr_otel.operations.stored_unit import unit_of
from ktrdr_otel.progress.events import Unit, UnitError
from ktrdr_otel.server.otlp import Report

_ENDINGS: Final = {
    status.value: status
    for status in (OperationStatus.COMPLETED, OperationStatus.FAILED, OperationStatus.CANCELLED)
}
_PAGE: Final = 1000


class _Nowhere:
    """What the live state would record: the ingest has stored it already."""

    def __init__(self, durations: dict[Kind, float]) -> None:
        self._durations = durations

    def record(self, unit: Unit) -> None:
        """It is in the store."""

    def record_rows(self, rows: Sequence[StepRow]) -> None:
        """They are in the store."""

    def progress(self, operation_id: str, progress: Progress) -> None:
        """The ingest stores it with the units that led there."""

    def durations(self) -> dict[Kind, float]:
        """Mean seconds per kind of unit."""
        return self._durations


class ReportedOperation:
    """Its steps are read from the store, whichever server took them in: several servers agree, and a restart too."""

    def __init__(self, service: OperationsService, operation: Operation, clock: Clock) -> None:
        self._service = service
        self._operation_id = operation.operation_id
        self._floor = operation.percentage
        self._cursor = 0
        self._counted: set[str] = set()
        new = NewOperation(
            operation_id=operation.operation_id,
            operation_type=operation.operation_type,
            name=operation.name,
            started_at=operation.started_at,
            trace_id=operation.trace_id,
            span_id=None,
            worker=NOBODY,
            lease_seconds=0,
        )
        active = ActiveOperation(operation.operation_id, CancellationToken(), NoOpTracer(), Inbox())
        self._live = LiveOperation(
            new,
            active=active,
            plan=None,
            service=_Nowhere(service.durations()),
            listeners=[],
            clock=clock,
        )

    def catch_up(self) -> Progress:
        """Where it is, with all that any server has stored of it."""
        while True:
            rows = self._service.checkpoints(self._operation_id, after=self._cursor, limit=_PAGE)
            for row in rows:
                self._cursor = row.sequence
                self._fold(row)
            if len(rows) < _PAGE:
                break
        self._live.settle()
        progress = self._live.progress()
        self._floor = max(self._floor, progress.percentage)
        return dataclasses.replace(progress, percentage=self._floor)

    def end(self, root: Report, progress: Progress) -> Ending:
        """How it ended, by what its root says."""
        said = _ENDINGS.get(root.operation.get(semconv.OPERATION_STATUS, ""))
        status = OperationStatus.FAILED if root.failed else said or OperationStatus.COMPLETED
        error = None
        if status is OperationStatus.FAILED:
            told = root.unit.error or UnitError("Error", "")
            error = OperationError(type=told.type, message=told.message, step=self._live.failed_at())
        final = self._live.finish(status, error)
        assert root.unit.ended_ns is not None
        return Ending(
            status=status,
            ended_at=utc_from_ns(root.unit.ended_ns),
            progress=dataclasses.replace(final, percentage=max(progress.percentage, final.percentage)),
            error=error,
        )

    def _fold(self, row: Checkpoint) -> None:
        if row.span_id in self._counted:
            return
        unit = unit_of(row)
        opened = self._live.take_open(unit.span_id)
        if opened is None:
            self._live.started(unit._replace(ended_ns=None, error=None, metrics=None))
        elif unit.ended_ns is None:
            self._live.started(opened)
        if unit.ended_ns is not None:
            self._counted.add(row.span_id)
            self._live.take_open(unit.span_id)
            self._live.finished(unit)


NOBODY: Final = Worker(host="", boot_id="", pid=0, pid_started_ticks=0, pid_namespace="")


def newest(reports: Iterable[Report]) -> Report | None:
    """The report of the root that ended last; None while the root is open."""
    ended = [each for each in reports if each.is_root and not each.is_start]
    return max(ended, key=lambda each: each.unit.ended_ns or 0, default=None)

"""One JSON line per started unit, finished unit and change of status; none is dropped."""

import json
import time
from collections.abc import Mapping
from typing import Any, TextIO

from ktrdr_otel.clock import isoformat, utc_from_ns
from ktrdr_otel.operations.models import NewOperation, OperationError, OperationStatus, Progress
from ktrdr_otel.progress.events import Tick, Unit

_TICK_INTERVAL_SECONDS = 0.1


class JsonLines:
    """Writes lines with `event operation_id status phase percentage message timestamp context`.

    `event` is `started`, `finished`, `tick` (10 a second at most) or `status`.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._operation_id = ""
        self._next_tick = 0.0
        self._waiting_tick: tuple[Tick, Progress] | None = None

    def operation_started(self, operation: NewOperation) -> None:
        """A line with status `running`, the operation's name and its trace id."""
        self._operation_id = operation.operation_id
        self._write(
            "status",
            OperationStatus.RUNNING,
            None,
            operation.started_at.timestamp(),
            {
                "name": operation.name,
                "operation_type": operation.operation_type,
                "trace_id": operation.trace_id,
                "items_planned": operation.planned_units,
            },
        )

    def unit_started(self, unit: Unit, progress: Progress) -> None:
        """A line, if it is a unit of work; containers are in the context of what they hold."""
        if unit.progress_type is not None:
            self._flush_tick()
            self._unit("started", unit, progress, unit.started_ns, {})

    def unit_finished(self, unit: Unit, progress: Progress) -> None:
        """A line with `duration_seconds`, `metrics` of an epoch, and `error` of a failure."""
        if unit.progress_type is None or unit.ended_ns is None:
            return
        self._flush_tick()
        rest: dict[str, Any] = {"duration_seconds": unit.duration_seconds}
        if unit.metrics:
            rest["metrics"] = dict(unit.metrics)
        if unit.error is not None:
            rest["error"] = {"type": unit.error.type, "message": unit.error.message}
        if unit.cancelled:
            rest["cancelled"] = True
        self._unit("finished", unit, progress, unit.ended_ns, rest)

    def ticked(self, tick: Tick, progress: Progress) -> None:
        """A line, 10 a second at most, and always the last one before another event."""
        now = time.monotonic()
        if now < self._next_tick:
            self._waiting_tick = (tick, progress)
            return
        self._next_tick = now + _TICK_INTERVAL_SECONDS
        self._tick(tick, progress)

    def status_changed(
        self, operation_id: str, status: OperationStatus, progress: Progress, error: OperationError | None
    ) -> None:
        """A line with the operation's end, and its error."""
        self._flush_tick()
        rest: dict[str, Any] = {}
        if error is not None:
            rest["error"] = {"type": error.type, "message": error.message, "step": error.step}
        self._write("status", status, progress, time.time(), rest)

    def close(self) -> None:
        """Nothing waits to be written."""
        self._flush_tick()

    def _unit(self, event: str, unit: Unit, progress: Progress, at_ns: int, rest: Mapping[str, Any]) -> None:
        self._write(
            event,
            OperationStatus.RUNNING,
            progress,
            at_ns / 1e9,
            {"progress_type": unit.progress_type, **rest},
            context=unit.context,
        )

    def _flush_tick(self) -> None:
        if self._waiting_tick is not None:
            self._tick(*self._waiting_tick)

    def _tick(self, tick: Tick, progress: Progress) -> None:
        self._waiting_tick = None
        rest = {"progress_type": tick.unit, "count": tick.count, "total": tick.total}
        self._write("tick", OperationStatus.RUNNING, progress, time.time(), rest)

    def _write(
        self,
        event: str,
        status: OperationStatus,
        progress: Progress | None,
        at: float,
        rest: Mapping[str, Any],
        context: Mapping[str, object] | None = None,
    ) -> None:
        line = {
            "event": event,
            "operation_id": self._operation_id,
            "status": status.value,
            "phase": None if progress is None else progress.phase,
            "percentage": 0.0 if progress is None else progress.percentage,
            "message": "" if progress is None else progress.message,
            "timestamp": isoformat(utc_from_ns(int(at * 1e9))),
            "context": dict(context if context is not None else () if progress is None else progress.context),
            **rest,
        }
        self._stream.write(json.dumps(line, default=str) + "\n")
        self._stream.flush()

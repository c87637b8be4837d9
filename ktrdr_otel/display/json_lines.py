"""One JSON line per started unit, finished unit and change of status; none is dropped."""

from collections.abc import Mapping
from typing import Any, TextIO

from ktrdr_otel.clock import Clock, SystemClock, isoformat, utc_from_ns
from ktrdr_otel.display.outlet import LineOutlet
from ktrdr_otel.display.strict_json import strict_json
from ktrdr_otel.operations.models import NewOperation, OperationError, OperationStatus, Progress
from ktrdr_otel.progress.events import Tick, Unit

_TICK_INTERVAL_NS = 100_000_000
_NOTHING_YET = Progress(
    phase=None,
    percentage=0.0,
    message="",
    context={},
    last_progress_at=None,
    items_completed=0,
    items_planned=None,
    estimated_remaining_seconds=None,
)


class JsonLines:
    """Writes lines with `event operation_id status phase percentage message timestamp context`.

    `event` is `started`, `finished`, `tick` (10 a second at most) or `status`; `timestamp` is when it happened.
    A finished unit has `duration_seconds`, an epoch `metrics`, a failure `error`.
    """

    def __init__(self, stream: TextIO, clock: Clock | None = None) -> None:
        self._outlet = LineOutlet(stream)
        self._clock = clock or SystemClock()
        self._operation_id = ""
        self._next_tick_ns: int | None = None
        self._waiting_tick: tuple[Tick, Progress] | None = None

    def operation_started(self, operation: NewOperation) -> None:
        """A line with status `running`, the operation's name and its trace id."""
        self._operation_id = operation.operation_id
        self._write(
            "status",
            OperationStatus.RUNNING,
            _NOTHING_YET,
            isoformat(operation.started_at),
            name=operation.name,
            operation_type=operation.operation_type,
            trace_id=operation.trace_id,
            items_planned=operation.planned_units,
        )

    def unit_started(self, unit: Unit, progress: Progress) -> None:
        """A line, if it is a unit of work; containers are in the context of what they hold."""
        if unit.progress_type is not None:
            self._flush_tick()
            self._unit("started", unit, progress, unit.started_ns)

    def unit_finished(self, unit: Unit, progress: Progress) -> None:
        """A line with `duration_seconds`, `metrics` of an epoch, and `error` of a failure."""
        if unit.progress_type is None or unit.ended_ns is None:
            return
        self._flush_tick()
        rest: dict[str, Any] = {"duration_seconds": unit.duration_seconds}
        if unit.metrics:
            rest["metrics"] = unit.metrics
        if unit.error is not None:
            rest["error"] = {"type": unit.error.type, "message": unit.error.message}
        if unit.cancelled:
            rest["cancelled"] = True
        self._unit("finished", unit, progress, unit.ended_ns, **rest)

    def ticked(self, tick: Tick, progress: Progress) -> None:
        """A line, 10 a second at most, and always the last one before another event."""
        now = self._clock.monotonic_ns()
        if self._next_tick_ns is not None and now < self._next_tick_ns:
            self._waiting_tick = (tick, progress)
            return
        self._next_tick_ns = now + _TICK_INTERVAL_NS
        self._tick(tick, progress)

    def status_changed(
        self, operation_id: str, status: OperationStatus, progress: Progress, error: OperationError | None
    ) -> None:
        """A line with the operation's end, and its error."""
        self._flush_tick()
        rest: dict[str, Any] = {}
        if error is not None:
            rest["error"] = {"type": error.type, "message": error.message, "step": error.step}
        self._write("status", status, progress, self._now(), **rest)

    def close(self) -> None:
        """Nothing waits to be written."""
        self._flush_tick()

    def _unit(self, event: str, unit: Unit, progress: Progress, at_ns: int, **rest: Any) -> None:
        self._write(
            event,
            OperationStatus.RUNNING,
            progress,
            isoformat(utc_from_ns(at_ns)),
            context=unit.context,
            progress_type=unit.progress_type,
            **rest,
        )

    def _flush_tick(self) -> None:
        if self._waiting_tick is not None:
            self._tick(*self._waiting_tick)

    def _tick(self, tick: Tick, progress: Progress) -> None:
        self._waiting_tick = None
        self._write(
            "tick",
            OperationStatus.RUNNING,
            progress,
            self._now(),
            progress_type=tick.unit,
            count=tick.count,
            total=tick.total,
        )

    def _now(self) -> str:
        return isoformat(utc_from_ns(self._clock.wall_ns()))

    def _write(
        self,
        event: str,
        status: OperationStatus,
        progress: Progress,
        timestamp: str,
        *,
        context: Mapping[str, object] | None = None,
        **rest: Any,
    ) -> None:
        line = {
            "event": event,
            "operation_id": self._operation_id,
            "status": status.value,
            "phase": progress.phase,
            "percentage": progress.percentage,
            "message": progress.message,
            "timestamp": timestamp,
            "context": progress.context if context is None else context,
            **rest,
        }
        self._outlet.line(strict_json(line))

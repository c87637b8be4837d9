"""What the drawn displays have heard of an operation, ready to be drawn at any moment."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ktrdr_otel.operations.models import NewOperation, OperationError, OperationStatus, Progress
from ktrdr_otel.progress.events import Tick, Unit
from ktrdr_otel.progress.messages import describe

_LAST_STEPS = 8
_LOSSES = 200
_MOMENTS = 200
_RATE_WINDOW_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Step:
    """A unit that has ended."""

    what: str
    seconds: float
    well: bool


@dataclass(frozen=True, slots=True)
class Heard:
    """An operation at one moment; `rate` is (count per second, of what)."""

    name: str
    operation_id: str
    status: OperationStatus
    progress: Progress | None
    error: OperationError | None
    elapsed_seconds: float
    last: tuple[Step, ...]  # the newest last
    losses: tuple[float, ...]
    metrics: Mapping[str, float]
    rate: tuple[float, str] | None


class OperationPanel:
    """Hears an operation in one thread and tells others what to draw; its memory is bounded."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._name = ""
        self._operation_id = ""
        self._status = OperationStatus.RUNNING
        self._progress: Progress | None = None
        self._error: OperationError | None = None
        self._began = monotonic()
        self._ended: float | None = None
        self._last: deque[Step] = deque(maxlen=_LAST_STEPS)
        self._losses: deque[float] = deque(maxlen=_LOSSES)
        self._metrics: Mapping[str, float] = {}
        self._moments: deque[tuple[float, int]] = deque(maxlen=_MOMENTS)
        self._counted = "step"

    def operation_started(self, operation: NewOperation) -> None:
        """Its name and id head the picture."""
        with self._lock:
            self._name = operation.name
            self._operation_id = operation.operation_id

    def unit_started(self, unit: Unit, progress: Progress) -> None:
        """It is the current step."""
        with self._lock:
            self._progress = progress

    def unit_finished(self, unit: Unit, progress: Progress) -> None:
        """It is among the last steps, and counts into the rate."""
        with self._lock:
            self._progress = progress
            if unit.progress_type is None:
                return
            well = unit.error is None and not unit.cancelled
            self._last.append(
                Step(describe(unit.progress_type, unit.context), unit.duration_seconds or 0.0, well)
            )
            if self._counted == "step":
                self._count("step", self._moments[-1][1] + 1 if self._moments else 1)
            if unit.metrics:
                self._metrics = dict(unit.metrics)
                if (loss := unit.metrics.get("loss")) is not None:
                    self._losses.append(loss)

    def ticked(self, tick: Tick, progress: Progress) -> None:
        """The loop's state is the current step, and its turns are the rate."""
        with self._lock:
            self._progress = progress
            self._count(tick.unit, tick.count)

    def status_changed(
        self, operation_id: str, status: OperationStatus, progress: Progress, error: OperationError | None
    ) -> None:
        """The picture stands still."""
        with self._lock:
            self._status, self._progress, self._error = status, progress, error
            self._ended = self._monotonic()

    def heard(self) -> Heard:
        """All that there is to draw, as of now; from any thread."""
        with self._lock:
            return Heard(
                name=self._name,
                operation_id=self._operation_id,
                status=self._status,
                progress=self._progress,
                error=self._error,
                elapsed_seconds=(self._monotonic() if self._ended is None else self._ended) - self._began,
                last=tuple(self._last),
                losses=tuple(self._losses),
                metrics=self._metrics,
                rate=self._rate(),
            )

    def _count(self, counted: str, count: int) -> None:
        # A loop that begins anew counts from the start: what came before it says nothing about its rate.
        if counted != self._counted or (self._moments and count < self._moments[-1][1]):
            self._moments.clear()
            self._counted = counted
        self._moments.append((self._monotonic(), count))

    def _rate(self) -> tuple[float, str] | None:
        now = self._monotonic()
        window = [moment for moment in self._moments if now - moment[0] <= _RATE_WINDOW_SECONDS]
        if len(window) < 2:
            window = list(self._moments)[-2:]  # slow work: its last two are the best there is
        if len(window) < 2 or window[-1][1] == window[0][1]:
            return None
        (first, count), (_, last_count) = window[0], window[-1]
        return (last_count - count) / max(now - first, 0.1), self._counted

"""What the drawn displays have heard of an operation, ready to be drawn at any moment."""

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ktrdr_otel import semconv
from ktrdr_otel.display.base import held_allowance
from ktrdr_otel.operations.models import NewOperation, OperationError, OperationStatus, Progress
from ktrdr_otel.progress.events import Tick, Unit
from ktrdr_otel.progress.messages import describe

_LAST_STEPS = 8
_LOSSES = 200
_MOMENTS = 200
_RATE_WINDOW_SECONDS = 5.0
_LONGEST_LOOK_SECONDS = 1.0


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
    stands: str | None = None  # the sentence for one that is slow, stalled or suspended
    held: tuple[float, float] | None = None  # (seconds so far, seconds allowed) of a hold
    stalled_seconds: float | None = None  # for how long it has not moved, where that is too long


class _Counted:
    """How much of something there was when, for as long as its rate needs it."""

    def __init__(self, what: str) -> None:
        self.what = what
        self._total = 0
        self._moments: deque[tuple[float, int]] = deque(maxlen=_MOMENTS)

    def more(self, count: int, now: float) -> None:
        """So many more, now."""
        self._total += count
        self._moments.append((now, self._total))

    def is_fresh(self, now: float) -> bool:
        """Whether the newest is of the last seconds."""
        return bool(self._moments) and now - self._moments[-1][0] <= _RATE_WINDOW_SECONDS

    def rate(self, now: float) -> tuple[float, str] | None:
        """(count per second over the last seconds, of what); None while there is nothing to compare."""
        window = [moment for moment in self._moments if now - moment[0] <= _RATE_WINDOW_SECONDS]
        if len(window) < 2:
            window = list(self._moments)[-2:]  # slow work: its last two are the best there is
        if len(window) < 2 or window[-1][1] == window[0][1]:
            return None
        return (window[-1][1] - window[0][1]) / max(now - window[0][0], 0.1), self.what


def _is_held(progress: Progress) -> bool:
    return progress.context.get("progress_type") == semconv.HOLD


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
        self._steps = _Counted("step")
        self._turns: _Counted | None = None
        self._last_count = 0
        self._stands: str | None = None
        self._held_since: float | None = None
        self._looked = self._began
        self._unseen = 0.0  # of the silence: nobody could look

    def operation_started(self, operation: NewOperation) -> None:
        """Its name and id head the picture."""
        with self._lock:
            self._name = operation.name
            self._operation_id = operation.operation_id

    def has_run_for(self, seconds: float) -> None:
        """The operation began that long ago: whoever comes later sees its own time, not the looking."""
        with self._lock:
            self._began = self._monotonic() - max(seconds, 0.0)

    def stands(self, sentence: str | None) -> None:
        """It is slow, stalled or suspended, in these words; None: it moves."""
        with self._lock:
            self._stands = sentence

    def unit_started(self, unit: Unit, progress: Progress) -> None:
        """It is the current step."""
        with self._lock:
            began = unit.progress_type == semconv.HOLD
            # Of another process only states are heard: that of a hold after that of something else is its start.
            began = began or (
                self._progress is not None and not _is_held(self._progress) and _is_held(progress)
            )
            if began:
                self._held_since = self._monotonic()
            elif not _is_held(progress):
                self._held_since = None
            self._moves(progress)

    def unit_finished(self, unit: Unit, progress: Progress) -> None:
        """It is among the last steps, and counts into the rate."""
        with self._lock:
            self._moves(progress)
            if unit.progress_type is None:
                return
            if unit.progress_type == semconv.HOLD:
                self._held_since = None
            well = unit.error is None and not unit.cancelled
            self._last.append(
                Step(describe(unit.progress_type, unit.context), unit.duration_seconds or 0.0, well)
            )
            self._steps.more(1, self._monotonic())
            if unit.metrics:
                self._metrics = dict(unit.metrics)
                if (loss := unit.metrics.get("loss")) is not None:
                    self._losses.append(loss)

    def ticked(self, tick: Tick, progress: Progress) -> None:
        """The loop's state is the current step, and its turns are the rate."""
        with self._lock:
            self._moves(progress)
            if self._turns is None or self._turns.what != tick.unit:
                self._turns, self._last_count = _Counted(tick.unit), 0
            # A count that falls is that of the next loop: an epoch's batches go on where the last one's ended.
            new = tick.count - self._last_count if tick.count >= self._last_count else tick.count
            self._last_count = tick.count
            self._turns.more(new, self._monotonic())

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
            now = self._monotonic()
            # A longer gap was no silence that anybody saw: the process was stopped, or only one thread could run.
            if now - self._looked > _LONGEST_LOOK_SECONDS:
                self._unseen += now - self._looked
            self._looked = now
            return Heard(
                name=self._name,
                operation_id=self._operation_id,
                status=self._status,
                progress=self._progress,
                error=self._error,
                elapsed_seconds=(now if self._ended is None else self._ended) - self._began,
                last=tuple(self._last),
                losses=tuple(self._losses),
                metrics=self._metrics,
                rate=self._rate(now),
                stands=self._stands,
                held=self._held(now),
                stalled_seconds=self._stalled_seconds(now),
            )

    def _moves(self, progress: Progress) -> None:
        self._progress = progress
        self._looked, self._unseen = self._monotonic(), 0.0

    def _held(self, now: float) -> tuple[float, float] | None:
        progress = self._progress
        if progress is None or self._held_since is None:
            return None
        allowed = held_allowance(progress.context.get("progress_type"), progress.context)
        return None if allowed is None else (now - self._held_since, allowed)

    def _stalled_seconds(self, now: float) -> float | None:
        progress = self._progress
        if progress is None or progress.moved_monotonic_ns is None or progress.allowance_seconds is None:
            return None
        silence = now - progress.moved_monotonic_ns / 1e9 - self._unseen
        return silence if silence > progress.allowance_seconds else None

    def _rate(self, now: float) -> tuple[float, str] | None:
        if self._turns is not None and self._turns.is_fresh(now):
            return self._turns.rate(now)
        return self._steps.rate(now)

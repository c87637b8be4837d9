"""What the scrape and the push are made from: the operations of a store as its follower sees them."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ktrdr_otel import semconv
from ktrdr_otel.metrics import instruments
from ktrdr_otel.metrics.instruments import Instrument
from ktrdr_otel.operations.models import Checkpoint, Operation
from ktrdr_otel.operations.samples import Sample

_KEPT_ENDED: Final = 100
_KEPT_SECONDS: Final = 15 * 60
_SAMPLED_SECONDS: Final = 30.0  # what a process used so long ago says nothing about now
_MOST_ITEMS: Final = 300  # kinds of items with series of their own; the rest is `other`
_MOST_TYPES: Final = 50  # types of operations that are counted apart; they can be any word, too
OTHER: Final = "other"

# One number: an instrument, its attributes' values, and the value.
Point = tuple[Instrument, tuple[str, ...], float]
Health = Callable[[], list[Point]]  # the plugin's own


@dataclass(frozen=True, slots=True)
class Exemplar:
    """Where to look for one of the things that a histogram counts."""

    trace_id: str  # 32 hex digits
    span_id: str | None = None  # 16 hex digits


Observe = Callable[[Instrument, tuple[str, ...], float, Exemplar | None], None]

_METRICS: Final[Mapping[str, Instrument]] = {
    "loss": instruments.LOSS,
    "accuracy": instruments.ACCURACY,
    "val_loss": instruments.VAL_LOSS,
    "val_accuracy": instruments.VAL_ACCURACY,
    "learning_rate": instruments.LEARNING_RATE,
}


class MetricsState:
    """The latest of what runs, what has ended lately, and totals; nothing in it grows with time.

    One thread brings news, any thread asks for points.
    """

    def __init__(self, *, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._running: dict[str, Operation] = {}
        self._samples: Mapping[str, Sample] = {}
        self._training: dict[str, dict[Instrument, float]] = {}
        self._ended: OrderedDict[str, Operation] = OrderedDict()
        self._items: set[tuple[str, str, str]] = set()
        self._types: set[str] = set()
        self._looked_at = now()
        self.ended_total: dict[tuple[str, str], int] = {}
        self._last_traced: dict[tuple[str, ...], Exemplar] = {}
        self.overflowed = 0
        self.observe: Observe = lambda instrument, values, value, exemplar: None

    def stored(self, operations: Sequence[Operation], steps: Sequence[Checkpoint], _sequence: int) -> None:
        """The store has these operations and these new steps."""
        with self._lock:
            self._looked_at = self._now()
            told = {operation.operation_id: operation for operation in operations}
            for step in steps:
                self._take_step(step, told.get(step.operation_id) or self._known(step.operation_id))
            for operation in operations:
                self._take(operation)

    def sampled(self, samples: Mapping[str, Sample]) -> None:
        """What the processes of running operations used lately, by operation."""
        with self._lock:
            self._samples = samples

    def running(self) -> list[str]:
        """The operations that run."""
        with self._lock:
            return list(self._running)

    def points(self) -> list[Point]:
        """Every gauge, now."""
        with self._lock:
            self._forget_old()
            points = [point for operation in self._running.values() for point in self._of(operation)]
            points.extend(self._end_of(operation) for operation in self._ended.values())
            points.extend(self._totals())
        return points

    def counters(self) -> list[Point]:
        """Every counter, now."""
        with self._lock:
            ended = [(instruments.OPERATIONS, kind, float(count)) for kind, count in self.ended_total.items()]
        return [*ended, (instruments.CARDINALITY_OVERFLOW, (), float(self.overflowed))]

    def exemplar(self, instrument: Instrument, values: tuple[str, ...]) -> Exemplar | None:
        """Where to look for the newest of what a counter counts."""
        if instrument is not instruments.OPERATIONS:
            return None
        with self._lock:
            return self._last_traced.get(values)

    def _take(self, operation: Operation) -> None:
        operation_id = operation.operation_id
        if not operation.status.is_terminal:
            self._running[operation_id] = operation
            self._ended.pop(operation_id, None)  # it was taken for dead
            return
        self._running.pop(operation_id, None)
        self._training.pop(operation_id, None)
        if operation_id in self._ended:
            return
        self._ended[operation_id] = operation
        while len(self._ended) > _KEPT_ENDED:
            self._ended.popitem(last=False)
        kind = (self._bounded(operation.operation_type), operation.status.value)
        self.ended_total[kind] = self.ended_total.get(kind, 0) + 1
        exemplar = None if operation.trace_id is None else Exemplar(operation.trace_id)
        if exemplar is not None:
            self._last_traced[kind] = exemplar
        if operation.ended_at is not None:
            seconds = max((operation.ended_at - operation.started_at).total_seconds(), 0.0)
            self.observe(instruments.OPERATION_DURATION, kind, seconds, exemplar)

    def _bounded(self, operation_type: str) -> str:
        if operation_type in self._types:
            return operation_type
        if len(self._types) >= _MOST_TYPES:
            return OTHER
        self._types.add(operation_type)
        return operation_type

    def _known(self, operation_id: str) -> Operation | None:
        return self._running.get(operation_id) or self._ended.get(operation_id)

    def _take_step(self, step: Checkpoint, operation: Operation | None) -> None:
        if step.ended_at is None or step.progress_type is None:
            return
        item = step.item_name or step.step or ""
        values = (step.progress_type, step.timeframe or "", item if step.progress_type in _BOUNDED else "")
        if values not in self._items:
            if len(self._items) >= _MOST_ITEMS:
                self.overflowed += 1
                values = (OTHER, "", OTHER)
            else:
                self._items.add(values)
        seconds = max((step.ended_at - step.started_at).total_seconds(), 0.0)
        # An exemplar of a span that is not sampled would lead to no trace.
        is_sampled = operation is not None and operation.trace_id is not None
        exemplar = Exemplar(step.trace_id, step.span_id) if is_sampled else None
        self.observe(instruments.CHECKPOINT_DURATION, values, seconds, exemplar)
        if step.metrics:
            training = self._training.setdefault(step.operation_id, {})
            training.update(
                {_METRICS[name]: value for name, value in step.metrics.items() if name in _METRICS}
            )
            if step.progress_type == semconv.EPOCH and step.item_index is not None:
                training[instruments.EPOCH] = float(step.item_index)

    def _of(self, operation: Operation) -> Iterator[Point]:
        own = (operation.operation_id, operation.operation_type)
        yield instruments.PROGRESS, own, operation.percentage / 100
        if operation.phase is not None:
            yield instruments.PHASE_INFO, (*own, operation.phase), 1.0
        for phase, (completed, planned) in operation.phases.items():
            yield instruments.PHASE_COMPLETED, (*own, phase), float(completed)
            yield instruments.PHASE_PLANNED, (*own, phase), float(planned)
        yield instruments.STEP_INFO, (*own, *_place(operation.context), operation.trace_id or ""), 1.0
        yield instruments.ITEMS_COMPLETED, own, float(operation.items_completed)
        yield instruments.STALLED, own, float(operation.stalled and not operation.suspended)
        yield instruments.SUSPENDED, own, float(operation.suspended)
        yield instruments.SLOW, own, float(operation.slow)
        yield instruments.STARTED, own, operation.started_at.timestamp()
        for instrument, moment in (
            (instruments.LAST_PROGRESS, operation.last_progress_at),
            (instruments.HEARTBEAT, operation.heartbeat_at),
        ):
            if moment is not None:
                yield instrument, own, moment.timestamp()
        for instrument, value in (
            (instruments.ITEMS_PLANNED, operation.items_planned),
            (instruments.ALLOWANCE, operation.allowance_seconds),
            (instruments.REMAINING, operation.estimated_remaining_seconds),
        ):
            if value is not None:
                yield instrument, own, float(value)
        for instrument, value in self._training.get(operation.operation_id, {}).items():
            yield instrument, own, value
        yield from self._used_by(own)

    def _used_by(self, own: tuple[str, str]) -> Iterator[Point]:
        sample = self._samples.get(own[0])
        if sample is None or self._now() - sample.at.timestamp() > _SAMPLED_SECONDS:
            return
        yield instruments.CPU, own, sample.cpu_share
        yield instruments.MEMORY, own, float(sample.rss_bytes)
        if sample.limit_bytes is not None:
            yield instruments.MEMORY_LIMIT, own, float(sample.limit_bytes)

    def _end_of(self, operation: Operation) -> Point:
        ended_at = operation.ended_at or operation.started_at
        values = (
            operation.operation_id,
            operation.operation_type,
            *_place(operation.context),
            operation.status.value,
            operation.trace_id or "",
        )
        return instruments.ENDED, values, ended_at.timestamp()

    def _totals(self) -> Iterator[Point]:
        active: dict[str, int] = {}
        for operation in self._running.values():
            active[operation.operation_type] = active.get(operation.operation_type, 0) + 1
        for kind in {kind for kind, _ in self.ended_total} | active.keys():
            yield instruments.ACTIVE, (kind,), float(active.get(kind, 0))
        yield instruments.FRESHNESS, (), max(self._now() - self._looked_at, 0.0)

    def _forget_old(self) -> None:
        oldest = self._now() - _KEPT_SECONDS
        for operation_id, operation in list(self._ended.items()):
            if operation.ended_at is not None and operation.ended_at.timestamp() < oldest:
                del self._ended[operation_id]


# Types whose items a strategy file bounds; a stranger's items are not.
_BOUNDED: Final = frozenset(
    {semconv.PREPROCESSING, semconv.INDICATOR_COMPUTATION, semconv.FUZZY_GENERATION, semconv.PREPARATION}
)


def _place(context: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    """Symbol, timeframe, step, progress type and item of where an operation is."""
    step = context.get("preprocessing_step") or context.get("preparation_phase") or context.get("step")
    item = context.get("indicator_name") or context.get("fuzzy_set_name") or context.get("item")
    kind = next((kind for key, kind in _TYPE_OF_KEY if key in context), "")
    return (
        str(context.get("symbol") or ""),
        str(context.get("timeframe") or ""),
        str(step or ""),
        kind,
        str(item or ""),
    )


_TYPE_OF_KEY: Final = (
    ("indicator_name", semconv.INDICATOR_COMPUTATION),
    ("fuzzy_set_name", semconv.FUZZY_GENERATION),
    ("preparation_phase", semconv.PREPARATION),
    ("epoch_index", semconv.EPOCH),
    ("preprocessing_step", semconv.PREPROCESSING),
)

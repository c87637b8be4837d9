"""What the scrape and the push are made from: the operations of a store as its follower sees them."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from ktrdr_otel import semconv
from ktrdr_otel.metrics import instruments
from ktrdr_otel.metrics.bounds import OTHER, Bound
from ktrdr_otel.metrics.instruments import Instrument
from ktrdr_otel.operations.models import Checkpoint, Operation
from ktrdr_otel.operations.samples import Sample

KEPT_ENDED: Final = 100  # operations that have ended, the newest
KEPT_SECONDS: Final = 15 * 60  # after each one's end
_SAMPLED_SECONDS: Final = 30.0  # what a process used so long ago says nothing about now
_MOST_ITEMS: Final = (
    200  # names of items, each within its progress type: two strategies of 40 indicators and 40 sets
)
_UNUSED_SECONDS: Final = 3600.0  # then an item gives up its place, if somebody else needs it
_MOST_TIMEFRAMES: Final = 16
_MOST_WORDS: Final = 32  # progress types beside our own: they can be any word
_MOST_TYPES: Final = 50  # types of operations that are counted apart; they can be any word, too

# One number: an instrument, its attributes' values, and the value.
Point = tuple[Instrument, tuple[str, ...], float]
Health = Callable[[], list[Point]]  # the plugin's own


@dataclass(frozen=True, slots=True)
class Exemplar:
    """Where to look for one of the things that a histogram counts."""

    trace_id: str  # 32 hex digits
    span_id: str | None = None  # 16 hex digits


Observe = Callable[[Instrument, tuple[str, ...], float, Exemplar | None], None]
Forget = Callable[[Instrument, Mapping[str, str]], None]  # the series that have these attributes

_METRICS: Final[Mapping[str, Instrument]] = {
    "loss": instruments.LOSS,
    "accuracy": instruments.ACCURACY,
    "val_loss": instruments.VAL_LOSS,
    "val_accuracy": instruments.VAL_ACCURACY,
    "learning_rate": instruments.LEARNING_RATE,
}


@dataclass(frozen=True, slots=True)
class _End:
    """An operation that has ended."""

    operation: Operation
    shown_from: float  # seconds since the epoch: when it ended, or when that was told


class MetricsState:
    """The latest of what runs, what has ended lately, and totals; nothing in it grows with time.

    Steps are counted by progress type, timeframe and item, each of them bounded for itself: 200 items (a name within
    its type), 16 timeframes, and 32 words beside our own types. What one bound turns into `other` keeps its true
    place in the other two; at most 4,100 kinds of steps are told apart. An item that was not used for an hour
    makes room for a new one. One thread brings news, any thread asks for points.
    """

    def __init__(self, *, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._running: dict[str, Operation] = {}
        self._samples: Mapping[str, Sample] = {}
        self._training: dict[str, dict[Instrument, float]] = {}
        self._ended: OrderedDict[str, _End] = OrderedDict()  # the one that is shown for longest is the last
        self._items: Bound[tuple[str, str]] = Bound(
            _MOST_ITEMS, unused_seconds=_UNUSED_SECONDS, forget=self._forget_item, now=now
        )
        self._timeframes: Bound[str] = Bound(_MOST_TIMEFRAMES, always=[""])
        self._words: Bound[str] = Bound(_MOST_WORDS, always=_OUR_TYPES)
        self._types: Bound[str] = Bound(_MOST_TYPES)
        self._looked_at = now()
        self.ended_total: dict[tuple[str, str], int] = {}
        self._last_traced: dict[tuple[str, ...], Exemplar] = {}
        self.overflowed = 0
        self.observe: Observe = lambda instrument, values, value, exemplar: None
        self.forget: Forget = lambda instrument, attributes: None

    def stored(self, operations: Sequence[Operation], steps: Sequence[Checkpoint], _sequence: int) -> None:
        """The store has these operations and these new steps."""
        with self._lock:
            self._looked_at = self._now()
            told = {operation.operation_id: operation for operation in operations}
            for step in steps:
                self._take_step(step, told.get(step.operation_id) or self._known(step.operation_id))
            for operation in operations:
                self._take(operation)

    def recall(self, operations: Iterable[Operation]) -> None:
        """These had ended before anybody looked: they are shown as others are, and counted nowhere."""
        with self._lock:
            for operation in operations:
                if self._known(operation.operation_id) is None and operation.ended_at is not None:
                    self._ended[operation.operation_id] = _End(operation, operation.ended_at.timestamp())
            by_time = sorted(self._ended.items(), key=lambda each: each[1].shown_from)
            self._ended = OrderedDict(by_time[-KEPT_ENDED:])

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
            points.extend(self._end_of(each.operation) for each in self._ended.values())
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
        told = self._ended.get(operation_id)
        if told is not None and told.operation.status is operation.status:
            self._ended[operation_id] = _End(operation, told.shown_from)
            return
        # Also where another end was told before: it was taken for dead, and what is counted cannot be taken back.
        self._ended.pop(operation_id, None)
        self._ended[operation_id] = _End(operation, self._now())
        while len(self._ended) > KEPT_ENDED:
            self._ended.popitem(last=False)
        operation_type = operation.operation_type
        kind = (operation_type if self._types.admits(operation_type) else OTHER, operation.status.value)
        self.ended_total[kind] = self.ended_total.get(kind, 0) + 1
        exemplar = None if operation.trace_id is None else Exemplar(operation.trace_id)
        if exemplar is not None:
            self._last_traced[kind] = exemplar
        if operation.ended_at is not None:
            seconds = max((operation.ended_at - operation.started_at).total_seconds(), 0.0)
            self.observe(instruments.OPERATION_DURATION, kind, seconds, exemplar)

    def _known(self, operation_id: str) -> Operation | None:
        ended = self._ended.get(operation_id)
        return self._running.get(operation_id) if ended is None else ended.operation

    def _take_step(self, step: Checkpoint, operation: Operation | None) -> None:
        if step.ended_at is None or step.progress_type is None:
            return
        values = self._kind_of(step, step.progress_type)
        seconds = max((step.ended_at - step.started_at).total_seconds(), 0.0)
        # An exemplar of a span that is not sampled would lead to no trace.
        is_sampled = operation is not None and operation.trace_id is not None
        exemplar = Exemplar(step.trace_id, step.span_id) if is_sampled else None
        self.observe(instruments.CHECKPOINT_DURATION, values, seconds, exemplar)
        # Of what has ended, or was never told of, nobody would ask, and nothing would take it away.
        if step.metrics and operation is not None and not operation.status.is_terminal:
            self._learn(step)

    def _kind_of(self, step: Checkpoint, progress_type: str) -> tuple[str, str, str]:
        """Progress type, timeframe and item under which the step is counted."""
        timeframe = step.timeframe or ""
        item = (step.item_name or step.step or "") if progress_type in _BOUNDED else ""
        kind = (
            progress_type if self._words.admits(progress_type) else OTHER,
            timeframe if self._timeframes.admits(timeframe) else OTHER,
            item if not item or self._items.admits((progress_type, item)) else OTHER,
        )
        self.overflowed += kind != (progress_type, timeframe, item)
        return kind

    def _forget_item(self, place: tuple[str, str]) -> None:
        progress_type, item = place
        attributes = {semconv.PROGRESS_TYPE: progress_type, semconv.ITEM_NAME: item}
        self.forget(instruments.CHECKPOINT_DURATION, attributes)

    def _learn(self, step: Checkpoint) -> None:
        training = self._training.setdefault(step.operation_id, {})
        training.update({_METRICS[name]: value for name, value in step.metrics.items() if name in _METRICS})
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
        yield instruments.STEP_INFO, (*own, *self._place(operation.context), operation.trace_id or ""), 1.0
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
            *self._place(operation.context),
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

    def _place(self, context: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
        """Symbol, timeframe, step, progress type and item of where an operation is."""
        step = context.get("preprocessing_step") or context.get("preparation_phase") or context.get("step")
        item = context.get("indicator_name") or context.get("fuzzy_set_name") or context.get("item")
        kind = str(context.get("progress_type") or "")
        return (
            str(context.get("symbol") or ""),
            str(context.get("timeframe") or ""),
            str(step or ""),
            kind if self._words.admits(kind) else OTHER,
            str(item or ""),
        )

    def _forget_old(self) -> None:
        oldest = self._now() - KEPT_SECONDS
        while self._ended and next(iter(self._ended.values())).shown_from < oldest:
            self._ended.popitem(last=False)


# Types whose items a strategy file bounds; a stranger's items are not.
_BOUNDED: Final = frozenset(
    {semconv.PREPROCESSING, semconv.INDICATOR_COMPUTATION, semconv.FUZZY_GENERATION, semconv.PREPARATION}
)
_OUR_TYPES: Final = _BOUNDED | {"", semconv.EPOCH, semconv.BATCH, semconv.EVALUATION, semconv.HOLD}

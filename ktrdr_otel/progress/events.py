"""What happens in an operation, as values that may cross threads."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ktrdr_otel import semconv


@dataclass(frozen=True, slots=True)
class UnitError:
    """Why a unit failed."""

    type: str  # the exception's class, as in `error.type`
    message: str


class Unit(NamedTuple):
    """A span of an operation as progress sees it: a unit of work, a hold, or a container.

    `context` has the seed's keys (`semconv.context_keys`); `metrics` those of an epoch, set at its end.
    A unit with `ended_ns` None is open. A tuple, because one is made at every start and end: a frozen
    dataclass costs four times as much.
    """

    operation_id: str
    trace_id: int
    span_id: int
    parent_span_id: int | None
    name: str
    progress_type: str | None
    context: Mapping[str, object]
    started_ns: int  # wall clock, ns since the epoch
    seen_monotonic_ns: int  # when this value was made: start of an open unit, end of an ended one
    ended_ns: int | None = None
    metrics: Mapping[str, float] | None = None
    error: UnitError | None = None
    cancelled: bool = False
    export_place: int | None = None  # of the ended span in the export queue
    attributes: Mapping[str, object] | None = None  # of the ended span: the program's own

    @property
    def is_finished_work(self) -> bool:
        """Whether it counts: ended well, and neither a container nor a hold."""
        return (
            self.ended_ns is not None
            and self.error is None
            and not self.cancelled
            and self.progress_type is not None
            and self.progress_type != semconv.HOLD
        )

    @property
    def duration_seconds(self) -> float | None:
        """Its length, None while it is open."""
        return None if self.ended_ns is None else (self.ended_ns - self.started_ns) / 1e9


@dataclass(frozen=True, slots=True)
class Tick:
    """How far a tracked loop is: `count` turns of `total` (None: unknown) are finished."""

    operation_id: str
    unit: str  # the word given to `track`
    count: int
    total: int | None
    epoch_index: int | None  # 0-based, when the loop runs inside an epoch
    total_epochs: int | None
    seen_monotonic_ns: int

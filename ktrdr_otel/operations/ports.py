"""What the service needs of a store."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from ktrdr_otel.operations.durations import Kind, Learned
from ktrdr_otel.operations.lease import Heartbeat
from ktrdr_otel.operations.logs import Logged, LogLine
from ktrdr_otel.operations.models import (
    Checkpoint,
    Ending,
    NewOperation,
    Operation,
    OperationStatus,
    Progress,
)
from ktrdr_otel.operations.samples import Sample
from ktrdr_otel.operations.step_row import StepRow
from ktrdr_otel.operations.trace_debts import TraceDebt
from ktrdr_otel.operations.trace_export import TraceExport, TraceReceiver
from ktrdr_otel.progress.events import Unit


@dataclass(slots=True)
class Batch:
    """What one flush writes, in one transaction."""

    started: list[Unit] = field(default_factory=list)  # still open
    finished: list[Unit] = field(default_factory=list)  # never stored before
    closed: list[Unit] = field(default_factory=list)  # finished, and stored as open before
    rows: list[StepRow] = field(default_factory=list)  # finished, never stored before, and flat already
    progress: dict[str, Progress] = field(default_factory=dict)  # per operation: the latest
    endings: dict[str, Ending] = field(default_factory=dict)
    names: dict[str, tuple[str, str]] = field(default_factory=dict)  # per operation: its true type and name
    beating: Sequence[str] = ()  # operations whose heartbeat is due
    wall_ns: int = 0
    monotonic_ns: int = 0
    logs: Sequence[Logged] = ()  # in the order in which they were logged
    confirmed: dict[str, int] = field(
        default_factory=dict
    )  # per operation: up to which place its spans have arrived
    # Per operation: by id, whether the span has a marker.
    marked: dict[str, dict[int, bool]] = field(default_factory=dict)
    learned: Learned | None = None  # of operations that complete with this batch

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to write."""
        checkpoints = self.started or self.finished or self.closed or self.rows
        state = self.progress or self.endings or self.names or self.beating or self.confirmed or self.marked
        return not (checkpoints or state or self.logs)


@dataclass(frozen=True, slots=True)
class Movement:
    """When an operation moved last, and how long it may stand still from there on."""

    wall_ns: int
    monotonic_ns: int  # of the worker's boot
    allowance_seconds: float
    slow_after_seconds: float | None


@dataclass(frozen=True, slots=True)
class Stored:
    """An operation as it lies in the store, before anyone judges whether its worker still lives."""

    operation: Operation
    heartbeat: Heartbeat
    key: int  # rises with each begin
    movement: Movement | None = None


@dataclass(frozen=True, slots=True)
class StoredSpan:
    """What the store has of a span."""

    has_ended: bool
    parent_span_id: int | None


class Changes(Protocol):
    """Tells one thread that the store has been written, whoever wrote."""

    def wait(self, timeout_seconds: float) -> bool:
        """Whether something has been written since the last call; True at the first.

        Raises `StoreUnavailableError`; the next call tries again.
        """
        ...

    def close(self) -> None:
        """Whoever waits returns; called from another thread."""
        ...

    def forget(self) -> None:
        """Its connection is closed; called by the thread that waited."""
        ...


class OperationStore(Protocol):
    """Keeps operations; every method raises `StoreUnavailableError` when it cannot."""

    @property
    def is_in_memory(self) -> bool:
        """Whether no other process can see it."""
        ...

    def frozen_writer(self) -> int | None:
        """The process that keeps everybody from writing, because it was stopped by a signal in the middle of it."""
        ...

    def create(self, new: NewOperation, *, wall_ns: int, monotonic_ns: int) -> None:
        """The operation is running; raises `OperationExistsError`."""
        ...

    def write(self, batch: Batch) -> None:
        """All of the batch is stored, or nothing."""
        ...

    def get(self, operation_id: str) -> Stored:
        """The operation; raises `UnknownOperationError`."""
        ...

    def find(
        self,
        *,
        status: OperationStatus | None,
        operation_type: str | None,
        limit: int,
        before: str | None,
    ) -> list[Stored]:
        """Operations, the newest first; `before` is the id of the last one of the page before."""
        ...

    def checkpoints(self, operation_id: str, *, after: int, limit: int) -> list[Checkpoint]:
        """Checkpoints of a higher sequence than `after`, in order of sequence."""
        ...

    def following(self, operation_ids: Iterable[str], *, after_key: int) -> list[Stored]:
        """Those operations, all that run, and all that began after that key, in the order of their keys."""
        ...

    def ended_since(self, since_ns: int, *, limit: int) -> list[Stored]:
        """So many of the newest that have ended since then, in the order of their ends."""
        ...

    def ended_otherwise(self, operation_ids: Iterable[str]) -> list[Stored]:
        """Those of the operations, which had been declared lost, that have ended in another way after all."""
        ...

    def steps(self, *, after: int, limit: int, operation_id: str | None = None) -> list[Checkpoint]:
        """Ended units of work of a higher sequence, of one operation or of all, in order of sequence."""
        ...

    def latest_samples(self, operation_ids: Iterable[str]) -> dict[str, Sample]:
        """What the processes of those operations used when somebody looked last; only those that were looked at."""
        ...

    def last_sequence(self) -> int:
        """The highest sequence given so far; 0 before the first."""
        ...

    def measured(self, operation_id: str, *, after: int, limit: int) -> list[Checkpoint]:
        """Ended checkpoints that carry metrics, of a higher sequence than `after`, in order."""
        ...

    def logs(self, operation_id: str, *, newest: int) -> list[LogLine]:
        """So many of its last log records, in order; raises `UnknownOperationError`."""
        ...

    def samples(self, operation_id: str, *, most: int) -> list[Sample]:
        """What its process used, in order, the newest as it was; what is too much is put together.

        Several samples together have their mean CPU share and their highest memory. Raises `UnknownOperationError`.
        """
        ...

    def known_spans(self, operation_id: str, span_ids: Iterable[int]) -> dict[int, StoredSpan]:
        """Those of the spans that are stored already."""
        ...

    def forget_steps(self, *, ended_before_ns: int) -> int:
        """Checkpoints, markers, samples and log records of operations that ended before that time are gone.

        Returns how many checkpoints there were.
        """
        ...

    def changes(self) -> Changes:
        """Tells its caller of what is written from now on."""
        ...

    def request_cancel(self, operation_id: str, reason: str, *, wall_ns: int) -> None:
        """The worker of the operation will hear of it; raises `UnknownOperationError`."""
        ...

    def cancel_reasons(self, operation_ids: Iterable[str]) -> dict[str, str]:
        """Those of the operations that somebody wants to stop, with the reason."""
        ...

    def durations(self) -> dict[Kind, float]:
        """Mean seconds per kind of unit, from completed operations."""
        ...

    def p99_seconds(self) -> dict[Kind, float]:
        """The 99th percentile of seconds per kind of unit, from completed operations."""
        ...

    def mark_lost(self, operation_id: str, *, reason: str, ended_ns: int, heartbeat_ns: int) -> bool:
        """Whether it was this call that declared the operation lost: it ran, and had no heartbeat since that one."""
        ...

    def traces_owed(self, *, now_ns: int, due: bool = True) -> list[str]:
        """Operations whose process can export no more; with `due` those whose trace anybody may complete now."""
        ...

    def trace_export(self, operation_id: str) -> TraceExport | None:
        """How the operation's trace is exported; None where it is not, or where nobody else could."""
        ...

    def trace_debt(self, operation_id: str) -> TraceDebt | None:
        """What the operation's trace owes, whoever has the turn to send it; None where it owes nothing."""
        ...

    def take_trace(self, operation_id: str, *, now_ns: int, first: bool = False) -> TraceDebt | None:
        """What the operation's trace owes, if it was this call that got the turn to send it.

        Who is `first` waits for no pause, only for a request of somebody else that may be under way.
        """
        ...

    def owed_checkpoints(
        self, operation_id: str, confirmed: int, *, left_open: bool, after: int, limit: int
    ) -> list[Checkpoint]:
        """Those that have no place in the export queue, or one beyond the confirmed, in order of sequence.

        Those that death left open, or those that had ended.
        """
        ...

    def spans_arrived(self, operation_id: str, sequences: Sequence[int], *, now_ns: int) -> None:
        """The spans of those checkpoints owe nothing any more; the turn lasts a minute from now."""
        ...

    def put_off_trace(self, operation_id: str, receivers: Sequence[TraceReceiver], *, now_ns: int) -> None:
        """Those receivers did not take it, and are owed it still: somebody may try again later."""
        ...

    def leave_trace(self, operation_id: str, *, confirmed: int, marked: Mapping[int, bool]) -> None:
        """The operation's process exports no more, and somebody has to send what comes after that place."""
        ...

    def trace_complete(self, operation_id: str) -> None:
        """The operation's trace owes nothing."""
        ...

    def watching(self) -> dict[str, Any]:
        """What a watcher process needs to write to the store by itself."""
        ...

    def describe(self) -> str:
        """Where it is, for people; without secrets."""
        ...

    def close(self) -> None:
        """Its connections are closed."""
        ...

    def forget_after_fork(self) -> None:
        """The parent's connections are dropped without being closed."""
        ...

"""An operation and its checkpoints as the store keeps them and the world reads them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from ktrdr_otel.operations.trace_export import TraceExport


class OperationStatus(StrEnum):
    """Where in its life an operation is."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"

    @property
    def is_terminal(self) -> bool:
        """Whether the operation has ended."""
        return self not in (OperationStatus.PENDING, OperationStatus.RUNNING)


class CheckpointStatus(StrEnum):
    """How a checkpoint stands."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """The process that runs an operation, so that others can tell whether it is still there."""

    host: str
    boot_id: str  # "" where the platform has none
    pid: int
    pid_started_ticks: int  # start time in the boot's clock ticks; 0 where unknown
    pid_namespace: str  # "" where the platform has none


@dataclass(frozen=True, slots=True, kw_only=True)
class NewOperation:
    """What is known when an operation begins."""

    operation_id: str
    operation_type: str
    name: str
    started_at: datetime
    trace_id: str | None  # 32 hex digits
    span_id: str | None  # 16 hex digits, of the root
    worker: Worker
    lease_seconds: float  # 0: no lease, silence says nothing
    planned_units: int | None = None
    trace_export: TraceExport | None = None  # None: nobody could complete its trace


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """The live state of an operation: the latest one wins."""

    phase: str | None
    percentage: float  # 0-100, never falls
    message: str
    context: Mapping[str, object]
    last_progress_at: datetime | None  # moves only with finished work
    items_completed: int
    items_planned: int | None
    estimated_remaining_seconds: float | None  # None: not known, never made up
    phases: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # finished and planned units
    moved_monotonic_ns: int | None = None  # the last start, end or tick, on the worker's clock
    allowance_seconds: float | None = None  # how long nothing may move from there on
    slow_after_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """A time in which an operation lived and did not move."""

    since: datetime
    until: datetime | None  # None while it lasts
    step: str  # the words for what it stood still in
    activity: str  # what its process did meanwhile
    stack: str  # all threads, or why there is no stack
    noticed_at: datetime | None = None  # when it was told from a pause: the stack is of then


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationError:
    """The exception that ended an operation, and where."""

    type: str
    message: str
    step: str | None  # the last progress message
    traceback: str | None = None  # and what the other threads did then


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How an operation ended."""

    status: OperationStatus
    ended_at: datetime
    progress: Progress
    error: OperationError | None = None
    reason: str | None = None  # of a cancellation


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One run of a long job, as anyone who asks sees it."""

    operation_id: str
    operation_type: str
    name: str
    status: OperationStatus
    phase: str | None = None
    percentage: float = 0.0
    message: str = ""
    context: Mapping[str, object] = field(default_factory=dict)
    started_at: datetime
    ended_at: datetime | None = None
    last_progress_at: datetime | None = None
    heartbeat_at: datetime | None = None
    estimated_remaining_seconds: float | None = None
    items_completed: int = 0
    items_planned: int | None = None
    phases: Mapping[str, tuple[int, int]] = field(default_factory=dict)  # finished and planned units
    trace_id: str | None = None  # None where its spans are not sampled: then there is no trace to look at
    slow: bool = False
    stalled: bool = False
    suspended: bool = False
    stall: Stall | None = None  # the newest
    allowance_seconds: float | None = None  # how long it may stand still now
    error: OperationError | None = None
    lost_reason: str | None = None
    cancel_reason: str | None = None  # of who asked it to stop: while it runs, or was cancelled


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """One instrumented point of an operation, open or ended."""

    sequence: int  # the store's own, rising; the cursor of readers
    operation_id: str
    progress_type: str | None
    name: str
    step: str | None
    symbol: str | None
    symbol_index: int | None  # 1-based
    symbol_total: int | None
    timeframe: str | None
    item_name: str | None
    item_index: int | None
    item_total: int | None
    started_at: datetime
    ended_at: datetime | None
    status: CheckpointStatus
    trace_id: str
    span_id: str
    parent_span_id: str | None
    metrics: Mapping[str, float] = field(default_factory=dict)
    error: OperationError | None = None
    export_place: int | None = None  # of its span in the export queue
    attributes: Mapping[str, object] = field(
        default_factory=dict
    )  # of its span: those that are nowhere else here

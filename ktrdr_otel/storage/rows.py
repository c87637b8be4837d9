"""Between rows and records."""

import math
import time
from collections.abc import Mapping
from typing import Any

from ktrdr_otel.clock import ns_from_utc, utc_from_ns
from ktrdr_otel.operations.json_form import stall_of
from ktrdr_otel.operations.lease import Heartbeat
from ktrdr_otel.operations.models import (
    Checkpoint,
    CheckpointStatus,
    NewOperation,
    Operation,
    OperationError,
    OperationStatus,
    Progress,
    Worker,
)
from ktrdr_otel.operations.ports import Movement, Stored
from ktrdr_otel.operations.step_row import COLUMNS, storable

CHECKPOINT_COLUMNS = ("operation_key", *COLUMNS)


def new_operation_row(new: NewOperation, *, wall_ns: int, monotonic_ns: int) -> dict[str, Any]:
    """The first row of an operation."""
    worker = new.worker
    row = {
        "operation_id": new.operation_id,
        "operation_type": new.operation_type,
        "name": new.name,
        "status": OperationStatus.RUNNING.value,
        "percentage": 0.0,
        "message": "",
        "context": {},
        "started_ns": wall_ns,
        "heartbeat_ns": wall_ns,
        "heartbeat_monotonic_ns": monotonic_ns,
        "lease_seconds": new.lease_seconds,
        "items_completed": 0,
        "items_planned": new.planned_units,
        "trace_id": new.trace_id,
        "span_id": new.span_id,
        "worker_host": worker.host,
        "worker_boot_id": worker.boot_id,
        "worker_pid": worker.pid,
        "worker_pid_started_ticks": worker.pid_started_ticks,
        "worker_pid_namespace": worker.pid_namespace,
    }
    return {column: storable(value) if isinstance(value, str) else value for column, value in row.items()}


def progress_values(progress: Progress) -> dict[str, Any]:
    """The columns that live progress changes."""
    last = progress.last_progress_at
    return {
        "phase": progress.phase,
        "percentage": progress.percentage,
        "message": progress.message,
        "context": _plain(progress.context),
        "last_progress_ns": None if last is None else ns_from_utc(last),
        "estimated_remaining_seconds": progress.estimated_remaining_seconds,
        "items_completed": progress.items_completed,
        "items_planned": progress.items_planned,
        "suspended": False,  # who stores this runs
        **_movement(progress),
        "phases": {phase: list(counts) for phase, counts in progress.phases.items()} or None,
    }


def _movement(progress: Progress) -> dict[str, Any]:
    if progress.moved_monotonic_ns is None:
        return {}
    silent_ns = time.monotonic_ns() - progress.moved_monotonic_ns
    return {
        "moved_ns": time.time_ns() - silent_ns,
        "moved_monotonic_ns": progress.moved_monotonic_ns,
        "allowance_seconds": progress.allowance_seconds,
        "slow_after_seconds": progress.slow_after_seconds,
    }


def _plain(value: Any) -> Any:
    """The value as JSON has it; what JSON cannot say is said in words."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has neither NaN nor infinity
    return value if isinstance(value, str | int | float | bool | None) else str(value)


def stored_operation(row: Mapping[str, Any]) -> Stored:
    """The operation of a row, and its last heartbeat."""
    worker = Worker(
        host=row["worker_host"],
        boot_id=row["worker_boot_id"],
        pid=row["worker_pid"],
        pid_started_ticks=row["worker_pid_started_ticks"],
        pid_namespace=row["worker_pid_namespace"],
    )
    operation = Operation(
        operation_id=row["operation_id"],
        operation_type=row["operation_type"],
        name=row["name"],
        status=OperationStatus(row["status"]),
        phase=row["phase"],
        percentage=row["percentage"],
        message=row["message"],
        context=row["context"],
        started_at=utc_from_ns(row["started_ns"]),
        ended_at=None if row["ended_ns"] is None else utc_from_ns(row["ended_ns"]),
        last_progress_at=None if row["last_progress_ns"] is None else utc_from_ns(row["last_progress_ns"]),
        # Without a lease nobody beats for it: it is reported from elsewhere.
        heartbeat_at=utc_from_ns(row["heartbeat_ns"]) if row["lease_seconds"] > 0 else None,
        estimated_remaining_seconds=row["estimated_remaining_seconds"],
        items_completed=row["items_completed"],
        items_planned=row["items_planned"],
        phases={phase: (counts[0], counts[1]) for phase, counts in (row["phases"] or {}).items()},
        trace_id=row["trace_id"],
        stalled=row["stalled"],
        suspended=row["suspended"],
        stall=None if row["stall"] is None else stall_of(row["stall"]),
        allowance_seconds=row["allowance_seconds"],
        error=_error(row["error_type"], row["error_message"], row["error_step"], row["error_traceback"]),
        lost_reason=row["lost_reason"],
        cancel_reason=row["cancel_reason"],
    )
    movement = None
    if row["moved_ns"] is not None and row["allowance_seconds"] is not None:
        movement = Movement(
            row["moved_ns"], row["moved_monotonic_ns"], row["allowance_seconds"], row["slow_after_seconds"]
        )
    beat = Heartbeat(worker, row["heartbeat_ns"], row["heartbeat_monotonic_ns"], row["lease_seconds"])
    return Stored(operation, beat, row["key"], movement)


def stored_checkpoint(operation_id: str, row: Mapping[str, Any]) -> Checkpoint:
    """The checkpoint of a row."""
    return Checkpoint(
        sequence=row["sequence"],
        operation_id=operation_id,
        progress_type=row["progress_type"],
        name=row["name"],
        step=row["step"],
        symbol=row["symbol"],
        symbol_index=row["symbol_index"],
        symbol_total=row["symbol_total"],
        timeframe=row["timeframe"],
        item_name=row["item_name"],
        item_index=row["item_index"],
        item_total=row["item_total"],
        started_at=utc_from_ns(row["started_ns"]),
        ended_at=None if row["ended_ns"] is None else utc_from_ns(row["ended_ns"]),
        status=CheckpointStatus(row["status"]),
        trace_id=row["trace_id"],
        span_id=row["span_id"],
        parent_span_id=row["parent_span_id"],
        # What JSON cannot say, a loss that diverged, is stored in words that `float` reads.
        metrics={name: float(value) for name, value in (row["metrics"] or {}).items()},
        error=_error(row["error_type"], row["error_message"], row["step"]),
        export_place=row["export_place"],
        attributes=row["attributes"] or {},
    )


def _error(
    kind: str | None, message: str | None, step: str | None, traceback: str | None = None
) -> OperationError | None:
    if kind is None:
        return None
    return OperationError(type=kind, message=message or "", step=step, traceback=traceback)

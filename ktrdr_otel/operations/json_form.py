"""Operations and checkpoints as JSON has them everywhere: command line, server, streams."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from ktrdr_otel.clock import isoformat
from ktrdr_otel.operations.logs import LogLine
from ktrdr_otel.operations.models import (
    Checkpoint,
    CheckpointStatus,
    Operation,
    OperationError,
    OperationStatus,
    Stall,
)
from ktrdr_otel.operations.samples import Sample


def operation_json(operation: Operation) -> dict[str, Any]:
    """The operation; `error` and `lost_reason` only when they apply. Times are ISO 8601, UTC."""
    form: dict[str, Any] = {
        "operation_id": operation.operation_id,
        "operation_type": operation.operation_type,
        "name": operation.name,
        "status": operation.status.value,
        "phase": operation.phase,
        "percentage": operation.percentage,
        "message": operation.message,
        "context": dict(operation.context),
        "started_at": isoformat(operation.started_at),
        "ended_at": None if operation.ended_at is None else isoformat(operation.ended_at),
        "last_progress_at": (
            None if operation.last_progress_at is None else isoformat(operation.last_progress_at)
        ),
        "heartbeat_at": None if operation.heartbeat_at is None else isoformat(operation.heartbeat_at),
        "estimated_remaining_seconds": operation.estimated_remaining_seconds,
        "items_completed": operation.items_completed,
        "items_planned": operation.items_planned,
        "phases": {
            phase: {"completed": completed, "planned": planned}
            for phase, (completed, planned) in operation.phases.items()
        },
        "trace_id": operation.trace_id,
        "slow": operation.slow,
        "stalled": operation.stalled,
        "suspended": operation.suspended,
        "allowance_seconds": operation.allowance_seconds,
    }
    if operation.stall is not None:
        stall = operation.stall
        form["stall"] = {
            "since": isoformat(stall.since),
            "until": None if stall.until is None else isoformat(stall.until),
            "step": stall.step,
            "activity": stall.activity,
            "stack": stall.stack,
            "noticed_at": None if stall.noticed_at is None else isoformat(stall.noticed_at),
        }
    if operation.error is not None:
        error = operation.error
        form["error"] = {
            "type": error.type,
            "message": error.message,
            "step": error.step,
            "traceback": error.traceback,
        }
    if operation.lost_reason is not None:
        form["lost_reason"] = operation.lost_reason
    if operation.cancel_reason is not None:
        form["cancel_reason"] = operation.cancel_reason
    return form


def checkpoint_json(checkpoint: Checkpoint) -> dict[str, Any]:
    """The checkpoint; `error` only when it failed, `attributes` only where there are some.

    Times are ISO 8601, UTC.
    """
    form: dict[str, Any] = {
        "sequence": checkpoint.sequence,
        "progress_type": checkpoint.progress_type,
        "name": checkpoint.name,
        "step": checkpoint.step,
        "symbol": checkpoint.symbol,
        "symbol_index": checkpoint.symbol_index,
        "symbol_total": checkpoint.symbol_total,
        "timeframe": checkpoint.timeframe,
        "item_name": checkpoint.item_name,
        "item_index": checkpoint.item_index,
        "item_total": checkpoint.item_total,
        "started_at": isoformat(checkpoint.started_at),
        "ended_at": None if checkpoint.ended_at is None else isoformat(checkpoint.ended_at),
        "status": checkpoint.status.value,
        "trace_id": checkpoint.trace_id,
        "span_id": checkpoint.span_id,
        "parent_span_id": checkpoint.parent_span_id,
        "metrics": dict(checkpoint.metrics),
    }
    if checkpoint.attributes:
        form["attributes"] = dict(checkpoint.attributes)
    if checkpoint.error is not None:
        form["error"] = {"type": checkpoint.error.type, "message": checkpoint.error.message}
    return form


def log_line_json(line: LogLine) -> dict[str, Any]:
    """The log record. Times are ISO 8601, UTC."""
    return {
        "sequence": line.sequence,
        "at": isoformat(line.at),
        "level": line.level,
        "logger": line.logger,
        "message": line.message,
        "trace_id": line.trace_id,
        "span_id": line.span_id,
        "step": line.step,
        "file": line.file,
        "line": line.line,
        "function": line.function,
    }


def sample_json(sample: Sample) -> dict[str, Any]:
    """The sample. Times are ISO 8601, UTC."""
    return {
        "at": isoformat(sample.at),
        "cpu_share": sample.cpu_share,
        "rss_bytes": sample.rss_bytes,
        "limit_bytes": sample.limit_bytes,
    }


def operation_of(form: Mapping[str, Any]) -> Operation:
    """The operation that `operation_json` was made from."""
    return Operation(
        operation_id=form["operation_id"],
        operation_type=form["operation_type"],
        name=form["name"],
        status=OperationStatus(form["status"]),
        phase=form["phase"],
        percentage=form["percentage"],
        message=form["message"],
        context=form["context"],
        started_at=datetime.fromisoformat(form["started_at"]),
        ended_at=_moment(form["ended_at"]),
        last_progress_at=_moment(form["last_progress_at"]),
        heartbeat_at=_moment(form["heartbeat_at"]),
        estimated_remaining_seconds=form["estimated_remaining_seconds"],
        items_completed=form["items_completed"],
        items_planned=form["items_planned"],
        phases={name: (each["completed"], each["planned"]) for name, each in form["phases"].items()},
        trace_id=form["trace_id"],
        slow=form["slow"],
        stalled=form["stalled"],
        suspended=form["suspended"],
        stall=None if form.get("stall") is None else stall_of(form["stall"]),
        allowance_seconds=form["allowance_seconds"],
        error=_error(form),
        lost_reason=form.get("lost_reason"),
        cancel_reason=form.get("cancel_reason"),
    )


def stall_of(form: Mapping[str, Any]) -> Stall:
    """The stall that the form tells of."""
    return Stall(
        since=datetime.fromisoformat(form["since"]),
        until=_moment(form["until"]),
        step=form["step"],
        activity=form["activity"],
        stack=form["stack"],
        noticed_at=_moment(form.get("noticed_at")),
    )


def checkpoint_of(operation_id: str, form: Mapping[str, Any]) -> Checkpoint:
    """The checkpoint that `checkpoint_json` was made from; a metric that was no number is not there."""
    return Checkpoint(
        sequence=form["sequence"],
        operation_id=operation_id,
        progress_type=form["progress_type"],
        name=form["name"],
        step=form["step"],
        symbol=form["symbol"],
        symbol_index=form["symbol_index"],
        symbol_total=form["symbol_total"],
        timeframe=form["timeframe"],
        item_name=form["item_name"],
        item_index=form["item_index"],
        item_total=form["item_total"],
        started_at=datetime.fromisoformat(form["started_at"]),
        ended_at=_moment(form["ended_at"]),
        status=CheckpointStatus(form["status"]),
        trace_id=form["trace_id"],
        span_id=form["span_id"],
        parent_span_id=form["parent_span_id"],
        metrics={name: value for name, value in form["metrics"].items() if value is not None},
        error=_error(form),
        attributes=form.get("attributes") or {},
    )


def log_line_of(form: Mapping[str, Any]) -> LogLine:
    """The log record that `log_line_json` was made from."""
    return LogLine(**{**form, "at": datetime.fromisoformat(form["at"])})


def sample_of(form: Mapping[str, Any]) -> Sample:
    """The sample that `sample_json` was made from."""
    return Sample(**{**form, "at": datetime.fromisoformat(form["at"])})


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _error(form: Mapping[str, Any]) -> OperationError | None:
    error = form.get("error")
    if error is None:
        return None
    return OperationError(
        type=error["type"],
        message=error["message"],
        step=error.get("step"),
        traceback=error.get("traceback"),
    )

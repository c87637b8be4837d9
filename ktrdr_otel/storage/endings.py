"""How an operation's row changes, and how it ends: by itself, or declared lost by others."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import BigInteger, Connection, ScalarSelect, Text, delete, insert, literal, select, update

from ktrdr_otel.clock import ns_from_utc
from ktrdr_otel.operations.models import CheckpointStatus, Ending, OperationStatus
from ktrdr_otel.operations.step_row import storable
from ktrdr_otel.storage import rows, traces
from ktrdr_otel.storage.tables import cancel_requests, checkpoints, operations

_STATUS_OF_OPEN = {
    OperationStatus.COMPLETED: CheckpointStatus.COMPLETED,
    OperationStatus.CANCELLED: CheckpointStatus.CANCELLED,
    OperationStatus.FAILED: CheckpointStatus.FAILED,
    OperationStatus.LOST: CheckpointStatus.LOST,
}
# Of an operation that does not run any more, however it ended.
_OVER = {"stalled": False, "suspended": False, "estimated_remaining_seconds": None}


def set_values(connection: Connection, operation_id: str, values: Mapping[str, Any]) -> None:
    """The operation's row has them."""
    kept = {
        # Columns of JSON are written in ASCII, whatever is in them.
        column: value if isinstance(value, dict | list) else storable(value)
        for column, value in values.items()
    }
    connection.execute(update(operations).where(operations.c.operation_id == operation_id).values(kept))


def ask_to_end(connection: Connection, operation_id: str, reason: str) -> None:
    """Whoever reads sees that somebody wants the operation to stop, if it runs; the first reason stays."""
    still_unasked = (
        operations.c.operation_id == operation_id,
        operations.c.status == OperationStatus.RUNNING.value,
        operations.c.cancel_reason.is_(None),
    )
    connection.execute(update(operations).where(*still_unasked).values(cancel_reason=reason))


def end(connection: Connection, operation_id: str, ending: Ending) -> None:
    """The operation has ended so, and nothing of it is open."""
    ended_ns = ns_from_utc(ending.ended_at)
    values = rows.progress_values(ending.progress)
    values.update(_OVER)
    # Somebody may have taken it for dead.
    values.update(
        status=ending.status.value, ended_ns=ended_ns, lost_reason=None, cancel_reason=ending.reason
    )
    if ending.error is not None:
        error = ending.error
        values.update(
            error_type=error.type,
            error_message=error.message,
            error_step=error.step,
            error_traceback=error.traceback,
        )
    set_values(connection, operation_id, values)
    key = _key_of(operation_id)
    _close_open(connection, key, ended_ns, _STATUS_OF_OPEN[ending.status])
    connection.execute(delete(cancel_requests).where(cancel_requests.c.operation_key == key))
    traces.expect(connection, operation_id, ended_ns=ended_ns)


def lose(connection: Connection, operation_id: str, *, reason: str, ended_ns: int, heartbeat_ns: int) -> bool:
    """Whether it was this call that declared the operation lost: it ran, and had no heartbeat since that one."""
    still_ran = (
        operations.c.operation_id == operation_id,
        operations.c.status == OperationStatus.RUNNING.value,
        operations.c.heartbeat_ns == heartbeat_ns,
    )
    values = {
        **_OVER,
        "status": OperationStatus.LOST.value,
        "lost_reason": storable(reason),
        "ended_ns": ended_ns,
    }
    if connection.execute(update(operations).where(*still_ran).values(values)).rowcount == 0:
        return False
    _close_open(connection, _key_of(operation_id), ended_ns, CheckpointStatus.LOST)
    traces.owe(connection, operation_id, owed=True)
    return True


def _key_of(operation_id: str) -> ScalarSelect[Any]:
    return select(operations.c.key).where(operations.c.operation_id == operation_id).scalar_subquery()


def _close_open(
    connection: Connection, key: ScalarSelect[Any], ended_ns: int, status: CheckpointStatus
) -> None:
    """What was open takes a new place as ended: who reads on from a cursor hears of it."""
    still_open = (checkpoints.c.operation_key == key, checkpoints.c.ended_ns.is_(None))
    ended = {"ended_ns": literal(ended_ns, BigInteger), "status": literal(status.value, Text)}
    copied: list[Any] = [ended.get(name, checkpoints.c[name]) for name in rows.CHECKPOINT_COLUMNS]
    copies = select(*copied).where(*still_open).order_by(checkpoints.c.sequence)
    connection.execute(insert(checkpoints).from_select(list(rows.CHECKPOINT_COLUMNS), copies))
    connection.execute(delete(checkpoints).where(*still_open))

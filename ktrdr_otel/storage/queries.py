"""The hot queries of everyone who follows operations; their plans are guarded by tests."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Select, select

from ktrdr_otel.operations.models import OperationStatus
from ktrdr_otel.storage.tables import checkpoints, operations


def checkpoints_query(operation_key: int, *, after: int, limit: int) -> Select[Any]:
    """Of whoever follows one operation: all that is new, in order."""
    return (
        select(checkpoints)
        .where(checkpoints.c.operation_key == operation_key, checkpoints.c.sequence > after)
        .order_by(checkpoints.c.sequence)
        .limit(limit)
    )


def ended_since_query(since_ns: int, *, limit: int) -> Select[Any]:
    """Of a server that begins, once: the newest ends first. It looks at every operation."""
    return (
        select(operations)
        .where(operations.c.ended_ns >= since_ns)
        .order_by(operations.c.ended_ns.desc(), operations.c.key.desc())
        .limit(limit)
    )


def ended_otherwise_query(operation_ids: Iterable[str]) -> Select[Any]:
    """Of a server that has told of deaths lately: whose worker has come back, and has ended meanwhile."""
    alive_or_lost = (OperationStatus.RUNNING.value, OperationStatus.LOST.value)
    return (
        select(operations)
        .where(
            operations.c.operation_id.in_(list(operation_ids)),
            operations.c.status.not_in(alive_or_lost),
        )
        .order_by(operations.c.key)
    )


def steps_query(operation_key: int | None, *, after: int, limit: int) -> Select[Any]:
    """Of the streams: what has been finished since, of one operation or of all."""
    query = (
        select(checkpoints, operations.c.operation_id)
        .join(operations, operations.c.key == checkpoints.c.operation_key)
        .where(
            checkpoints.c.sequence > after,
            checkpoints.c.ended_ns.is_not(None),
            checkpoints.c.progress_type.is_not(None),
        )
        .order_by(checkpoints.c.sequence)
        .limit(limit)
    )
    return query if operation_key is None else query.where(checkpoints.c.operation_key == operation_key)

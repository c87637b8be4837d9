"""The hot queries of everyone who follows operations; their plans are guarded by tests."""

from typing import Any

from sqlalchemy import Select, select

from ktrdr_otel.storage.tables import checkpoints, operations


def checkpoints_query(operation_key: int, *, after: int, limit: int) -> Select[Any]:
    """Of whoever follows one operation: all that is new, in order."""
    return (
        select(checkpoints)
        .where(checkpoints.c.operation_key == operation_key, checkpoints.c.sequence > after)
        .order_by(checkpoints.c.sequence)
        .limit(limit)
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

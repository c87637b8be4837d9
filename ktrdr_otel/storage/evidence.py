"""The last log records of operations, and what their processes used."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from sqlalchemy import Connection, Dialect, Select, delete, func, select

from ktrdr_otel.clock import utc_from_ns
from ktrdr_otel.context import KEPT_LOGS
from ktrdr_otel.operations.logs import Logged, LogLine
from ktrdr_otel.operations.samples import Sample
from ktrdr_otel.operations.step_row import storable
from ktrdr_otel.storage.bulk import BulkInsert
from ktrdr_otel.storage.tables import logs, operations, samples

_LOG_COLUMNS: Final = (
    "operation_key", "at_ns", "level", "logger", "message", "trace_id", "span_id", "step",
    "file", "line", "function",
)  # fmt: skip


class Evidence:
    """Keeps the last `KEPT_LOGS` records of each operation."""

    def __init__(self, dialect: Dialect) -> None:
        self._insert = BulkInsert("logs", _LOG_COLUMNS, dialect)

    def keep(self, connection: Connection, operation_key: int, logged: Iterable[Logged]) -> None:
        """The records are stored, and those that they push out are gone."""
        self._insert.run(connection, [_row(operation_key, record) for record in logged])
        last_out = (
            select(logs.c.sequence)
            .where(logs.c.operation_key == operation_key)
            .order_by(logs.c.sequence.desc())
            .offset(KEPT_LOGS)
            .limit(1)
            .scalar_subquery()
        )
        connection.execute(
            delete(logs).where(logs.c.operation_key == operation_key, logs.c.sequence <= last_out)
        )


def _row(operation_key: int, record: Logged) -> tuple[Any, ...]:
    return (
        operation_key,
        record.at_ns,
        storable(record.level),
        storable(record.logger),
        storable(record.message),
        None if record.trace_id is None else f"{record.trace_id:032x}",
        None if record.span_id is None else f"{record.span_id:016x}",
        storable(record.step),
        storable(record.file),
        record.line,
        storable(record.function),
    )


def logs_query(operation_key: int, *, newest: int) -> Select[Any]:
    """So many of the last records, in order."""
    last = (
        select(logs)
        .where(logs.c.operation_key == operation_key)
        .order_by(logs.c.sequence.desc())
        .limit(newest)
        .subquery()
    )
    return select(last).order_by(last.c.sequence)


def samples_query(operation_key: int, *, most: int) -> Select[Any]:
    """The samples in order; of a long run neighbours are put together, but for the newest, until `most` are left."""
    places = (
        select(
            samples,
            (func.row_number().over(order_by=samples.c.sample) - 1).label("place"),
            func.count().over().label("total"),
        )
        .where(samples.c.operation_key == operation_key)
        .subquery()
    )
    is_newest = places.c.place == places.c.total - 1
    # Whole numbers: as many per group as make at most `most` groups, the newest being one of its own.
    size = (places.c.total + most - 2) // (most - 1)
    group = places.c.place // size
    return (
        select(
            func.max(places.c.at_ns).label("at_ns"),
            func.avg(places.c.cpu_share).label("cpu_share"),
            func.max(places.c.rss_bytes).label("rss_bytes"),
            func.max(places.c.limit_bytes).label("limit_bytes"),
        )
        .group_by(is_newest, group)
        .order_by(func.max(places.c.sample))
    )


def latest_samples_query(operation_ids: Iterable[str]) -> Select[Any]:
    """One step in the index per operation: a run of a week has a hundred thousand samples. A test guards its plan."""
    newest = (
        select(func.max(samples.c.sample))
        .where(samples.c.operation_key == operations.c.key)
        .correlate(operations)
        .scalar_subquery()
    )
    return (
        select(operations.c.operation_id, samples)
        .join(samples, samples.c.sample == newest)
        .where(operations.c.operation_id.in_(list(operation_ids)))
    )


def stored_line(row: Mapping[str, Any]) -> LogLine:
    """The log record of a row."""
    return LogLine(
        sequence=row["sequence"],
        at=utc_from_ns(row["at_ns"]),
        level=row["level"],
        logger=row["logger"],
        message=row["message"],
        trace_id=row["trace_id"],
        span_id=row["span_id"],
        step=row["step"],
        file=row["file"],
        line=row["line"],
        function=row["function"],
    )


def stored_sample(row: Mapping[str, Any]) -> Sample:
    """The sample of a row."""
    return Sample(
        at=utc_from_ns(row["at_ns"]),
        cpu_share=row["cpu_share"],
        rss_bytes=row["rss_bytes"],
        limit_bytes=row["limit_bytes"],
    )

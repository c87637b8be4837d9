"""How long units of each kind took in completed operations: counts and totals per bucket of length."""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, Select, func, select

from ktrdr_otel.operations.allowances import p99_seconds
from ktrdr_otel.operations.durations import Cells, Kind, means
from ktrdr_otel.operations.step_row import storable
from ktrdr_otel.storage.tables import durations

_KIND = (durations.c.progress_type, durations.c.item, durations.c.timeframe)


def totals_query() -> Select[Any]:
    """Units and nanoseconds of each kind."""
    totals = [func.sum(column).label(column.name) for column in (durations.c.units, durations.c.total_ns)]
    return select(*_KIND, *totals).group_by(*_KIND)


def means_of(found: Iterable[Mapping[Any, Any]]) -> dict[Kind, float]:
    """Mean seconds per kind, from what `totals_query` found."""
    return means({_kind_of(row): (int(row["units"]), int(row["total_ns"])) for row in found})


def buckets_query() -> Select[Any]:
    """Units of each kind in each bucket."""
    return select(*_KIND, durations.c.bucket, durations.c.units)


def p99_of(found: Iterable[Mapping[Any, Any]]) -> dict[Kind, float]:
    """The 99th percentile of seconds per kind, from what `buckets_query` found."""
    return p99_seconds((_kind_of(row), int(row["bucket"]), int(row["units"])) for row in found)


def learn(connection: Connection, upsert: Any, cells: Cells) -> None:
    """The cells are added to what is known; `upsert` is the dialect's insert into the table."""
    values = [
        {
            "progress_type": storable(kind),
            "item": storable(item or ""),
            "timeframe": storable(timeframe or ""),
            "bucket": bucket,
            "units": units,
            "total_ns": total_ns,
        }
        for ((kind, item, timeframe), bucket), (units, total_ns) in cells.items()
    ]
    if not values:
        return
    added = {name: durations.c[name] + upsert.excluded[name] for name in ("units", "total_ns")}
    index = list(durations.primary_key.columns)
    connection.execute(upsert.on_conflict_do_update(index_elements=index, set_=added), values)


def _kind_of(row: Mapping[Any, Any]) -> Kind:
    return row["progress_type"], row["item"] or None, row["timeframe"] or None

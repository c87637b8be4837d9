"""What completed operations have taught: a histogram of durations per kind of unit."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from ktrdr_otel.progress.events import Unit

Kind = tuple[str, str | None, str | None]  # progress type, item, timeframe

_BUCKETS_PER_DOUBLING = 8  # a bucket is 9 % wide


def bucket_of(duration_ns: int) -> int:
    """The bucket of a duration: eight per doubling, from 1 ns on."""
    return int(math.log2(max(duration_ns, 1)) * _BUCKETS_PER_DOUBLING)


def kind_of(unit: Unit) -> Kind | None:
    """What a unit's duration says something about; None for what does not count."""
    if unit.progress_type is None or not unit.is_finished_work:
        return None
    get = unit.context.get
    item = get("indicator_name") or get("fuzzy_set_name") or get("item") or get("preprocessing_step")
    timeframe = get("timeframe")
    return (
        unit.progress_type,
        None if item is None else str(item),
        None if timeframe is None else str(timeframe),
    )


@dataclass(slots=True)
class Learned:
    """Durations of one run, per kind and bucket: how many, and their sum in nanoseconds."""

    cells: dict[tuple[Kind, int], tuple[int, int]] = field(default_factory=dict)

    def add(self, unit: Unit) -> None:
        """The ended unit's duration counts."""
        kind = kind_of(unit)
        if kind is None or unit.ended_ns is None:
            return
        duration_ns = max(unit.ended_ns - unit.started_ns, 0)
        cell = (kind, bucket_of(duration_ns))
        units, total_ns = self.cells.get(cell, (0, 0))
        self.cells[cell] = (units + 1, total_ns + duration_ns)

    def merge(self, other: "Learned") -> None:
        """What the other run learned counts too."""
        for cell, (more_units, more_ns) in other.cells.items():
            units, total_ns = self.cells.get(cell, (0, 0))
            self.cells[cell] = (units + more_units, total_ns + more_ns)


def means(totals: Mapping[Kind, tuple[int, int]]) -> dict[Kind, float]:
    """Mean seconds per kind, from (units, nanoseconds)."""
    return {kind: total_ns / units / 1e9 for kind, (units, total_ns) in totals.items() if units}

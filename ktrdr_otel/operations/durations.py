"""What completed operations have taught: a histogram of durations per kind of unit."""

import math
from array import array
from collections.abc import Mapping
from typing import Final

from ktrdr_otel import semconv
from ktrdr_otel.operations.step_row import ENDED, ITEM_NAME, STARTED, STEP, TIMEFRAME, TYPE, StepRow
from ktrdr_otel.progress.events import Unit

Kind = tuple[str, str | None, str | None]  # progress type, item, timeframe
Cells = dict[tuple[Kind, int], tuple[int, int]]  # units and nanoseconds per kind and bucket

# The type of operations in which things go wrong on purpose: what their steps take says nothing about anybody else's.
DRILL: Final = "drill"

# A unit of these that has no item is known by its step.
_STEPS_ARE_ITEMS = frozenset({semconv.PREPROCESSING, semconv.INDICATOR_COMPUTATION, semconv.FUZZY_GENERATION})
_BUCKETS_PER_DOUBLING = 8  # a bucket is 9 % wide


def bucket_of(duration_ns: int) -> int:
    """The bucket of a duration: eight per doubling, from 1 ns on."""
    return int(math.log2(max(duration_ns, 1)) * _BUCKETS_PER_DOUBLING)


def kind_of(unit: Unit) -> Kind | None:
    """What a unit's duration says something about; None for what does not count."""
    return kind_of_open(unit) if unit.is_finished_work else None


def kind_of_open(unit: Unit) -> Kind | None:
    """The kind of a unit that may not have ended; None for a container."""
    if unit.progress_type is None:
        return None
    get = unit.context.get
    item = get("indicator_name") or get("fuzzy_set_name") or get("item") or get("preprocessing_step")
    return unit.progress_type, _text(item), _text(get("timeframe"))


def kind_of_row(row: StepRow) -> Kind:
    """The kind of a unit that is counted, from its row."""
    progress_type = row[TYPE]
    item = row[ITEM_NAME] or (row[STEP] if progress_type in _STEPS_ARE_ITEMS else None)
    return progress_type, _text(item), _text(row[TIMEFRAME])


def _text(value: object) -> str | None:
    return str(value) if value else None


class Learned:
    """Durations of one run, per kind; eight bytes each, so that a million units cost eight megabytes."""

    def __init__(self) -> None:
        self._durations_ns: dict[Kind, array[int]] = {}

    def add(self, unit: Unit) -> None:
        """The ended unit's duration counts."""
        kind = kind_of(unit)
        if kind is not None and unit.ended_ns is not None:
            self._add(kind, unit.ended_ns - unit.started_ns)

    def add_row(self, row: StepRow) -> None:
        """The duration of the unit, which ended well, counts."""
        self._add(kind_of_row(row), row[ENDED] - row[STARTED])

    def _add(self, kind: Kind, duration_ns: int) -> None:
        durations_ns = self._durations_ns.get(kind)
        if durations_ns is None:
            durations_ns = self._durations_ns[kind] = array("q")
        durations_ns.append(max(duration_ns, 0))

    def cells(self) -> Cells:
        """The histogram."""
        cells: Cells = {}
        for kind, durations_ns in self._durations_ns.items():
            for duration_ns in durations_ns:
                cell = (kind, bucket_of(duration_ns))
                units, total_ns = cells.get(cell, (0, 0))
                cells[cell] = (units + 1, total_ns + duration_ns)
        return cells

    def merge(self, other: "Learned") -> None:
        """What the other run learned counts too."""
        for kind, durations_ns in other._durations_ns.items():
            self._durations_ns.setdefault(kind, array("q")).extend(durations_ns)


def means(totals: Mapping[Kind, tuple[int, int]]) -> dict[Kind, float]:
    """Mean seconds per kind, from (units, nanoseconds)."""
    return {kind: total_ns / units / 1e9 for kind, (units, total_ns) in totals.items() if units}

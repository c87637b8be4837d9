"""A step as the store keeps it: a flat tuple, made once, by whoever knows it first."""

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from ktrdr_otel.operations.models import CheckpointStatus
from ktrdr_otel.progress.events import Unit
from ktrdr_otel.semconv import HOLD_ALLOWANCE, MODEL_INPUT_DIMENSION, SAMPLE_TOTAL, context_keys

# The id of its operation, then the values of `COLUMNS`. Of atoms alone, so the garbage collector forgets it at once.
StepRow = tuple[Any, ...]

COLUMNS: Final = (
    "progress_type",
    "name",
    "step",
    "symbol",
    "symbol_index",
    "symbol_total",
    "timeframe",
    "item_name",
    "item_index",
    "item_total",
    "started_ns",
    "ended_ns",
    "status",
    "trace_id",
    "span_id",
    "parent_span_id",
    "metrics",
    "error_type",
    "error_message",
    "export_place",
    "attributes",
)
OPERATION: Final = 0
TYPE, NAME, STEP, TIMEFRAME, ITEM_NAME, STARTED, ENDED = (
    1 + COLUMNS.index(column)
    for column in ("progress_type", "name", "step", "timeframe", "item_name", "started_ns", "ended_ns")
)
_LIMIT: Final = 2**63
_LONGEST_ATTRIBUTES: Final = 16_000  # characters of JSON per step
_WITHOUT_COLUMN: Final = {
    context_keys(None)[name]: name for name in (SAMPLE_TOTAL, MODEL_INPUT_DIMENSION, HOLD_ALLOWANCE)
}
# What a column is called in the context of one progress type or another.
_STEPS: Final = ("preprocessing_step", "preparation_phase", "step")
_NAMES: Final = ("indicator_name", "fuzzy_set_name", "item")
_INDICES: Final = ("indicator_index", "fuzzy_index", "epoch_index", "index")
_TOTALS: Final = ("total_indicators", "total_fuzzy_sets", "total_epochs", "total")


def row_of_unit(unit: Unit) -> StepRow:
    """The row of a unit, open or ended."""
    context, error, metrics = unit.context, unit.error, unit.metrics
    item = _first(context, _NAMES)
    return (
        unit.operation_id,
        *storables(
            (
                unit.progress_type,
                unit.name,
                _first(context, _STEPS),
                context.get("symbol"),
                context.get("symbol_index"),
                context.get("total_symbols"),
                context.get("timeframe"),
                None if item is None else str(item),
                _first(context, _INDICES),
                _first(context, _TOTALS),
            )
        ),
        unit.started_ns,
        unit.ended_ns,
        _status(unit).value,
        f"{unit.trace_id:032x}",
        f"{unit.span_id:016x}",
        None if unit.parent_span_id is None else f"{unit.parent_span_id:016x}",
        None
        if metrics is None
        else json.dumps({name: _in_json(float(value)) for name, value in metrics.items()}),
        None if error is None else storable(error.type),
        None if error is None else storable(error.message),
        unit.export_place,
        _other_attributes(unit),
    )


def storables(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values as every database takes them."""
    for value in values:
        # Nearly every value is taken as it is: that is seen here, without a call for each.
        if not (
            value is None
            or (value.__class__ is str and value.isascii() and "\0" not in value)
            or (value.__class__ is int and -_LIMIT <= value < _LIMIT)
        ):
            return tuple([storable(each) for each in values])
    return values


def storable(value: Any) -> Any:
    """The value as every database takes it: no lone surrogate, no NUL, no whole number beyond 64 bits."""
    if isinstance(value, str):
        if value.isascii() and "\0" not in value:
            return value
        return value.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, int):
        return int(value) if -_LIMIT <= value < _LIMIT else None
    return value if value is None or isinstance(value, float) else storable(str(value))


def _other_attributes(unit: Unit) -> str | None:
    """What the span says for which there is no column, as JSON: as many as there is room for, in order."""
    context = unit.context
    if unit.attributes is None and _WITHOUT_COLUMN.keys().isdisjoint(context):
        return None
    others = {name: context.get(key) for key, name in _WITHOUT_COLUMN.items()}
    others |= unit.attributes or {}
    room = _LONGEST_ATTRIBUTES
    kept: list[str] = []
    for name, value in others.items():
        plain = _plain(value)
        if plain is None:
            continue
        entry = f"{json.dumps(storable(name))}: {json.dumps(plain)}"
        if len(entry) <= room:
            room -= len(entry)
            kept.append(entry)
    return f"{{{', '.join(kept)}}}" if kept else None


def _plain(value: object) -> object:
    """The value as JSON and every database take it."""
    if isinstance(value, float):
        return _in_json(value)
    if isinstance(value, tuple | list):
        return [_plain(each) for each in value]
    return value if isinstance(value, bool) else storable(value)


def _first(context: Mapping[str, object], keys: tuple[str, ...]) -> object:
    for key in keys:
        if (value := context.get(key)) is not None:
            return value
    return None


def _in_json(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)  # JSON has neither NaN nor infinity


def _status(unit: Unit) -> CheckpointStatus:
    if unit.ended_ns is None:
        return CheckpointStatus.RUNNING
    if unit.error is not None:
        return CheckpointStatus.FAILED
    return CheckpointStatus.CANCELLED if unit.cancelled else CheckpointStatus.COMPLETED

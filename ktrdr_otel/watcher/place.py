"""Where an operation is, told by its pulse, where its own record is older. Standard library only.

A process that is stopped, dead, or whose interpreter's lock is held has not stored the step that it had just begun.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ktrdr_otel import semconv
from ktrdr_otel.progress.messages import describe

_NUMBERS = frozenset({semconv.ITEM_INDEX, semconv.ITEM_TOTAL})
_OF_THE_SYMBOL = ("symbol_index", "total_symbols")


class Place(NamedTuple):
    """What the record of an operation says of where it is."""

    message: str
    context: Mapping[str, Any]


def newer(known: Place, step: Mapping[str, str]) -> Place | None:
    """Where it is by the attributes of the step that is open; None where the record knows it already."""
    kind = step.get(semconv.PROGRESS_TYPE, "")
    told = _context(kind, step)
    is_same_symbol = str(known.context.get("symbol")) == str(told.get("symbol"))
    is_same_timeframe = "timeframe" not in told or known.context.get("timeframe") == told["timeframe"]
    if is_same_symbol and is_same_timeframe and _without_symbol(kind, told) in known.message:
        return None
    if all(key in known.context and str(known.context[key]) == str(value) for key, value in told.items()):
        return None  # in other words, which say more
    if not is_same_symbol:
        # The pulse does not say which one of how many it is.
        return Place(words(step), told)
    told = {**{key: known.context[key] for key in _OF_THE_SYMBOL if key in known.context}, **told}
    return Place(describe(kind, told), told)


def words(step: Mapping[str, str]) -> str:
    """The step in the words that the store and the displays have for it, without its symbol's number."""
    kind = step.get(semconv.PROGRESS_TYPE, "")
    told = [_without_symbol(kind, _context(kind, step))]
    if semconv.TIMEFRAME in step:
        told.append(f"[{step[semconv.TIMEFRAME]}]")
    if semconv.SYMBOL_NAME in step:
        told.append(step[semconv.SYMBOL_NAME])
    return " ".join(told)


def _context(kind: str, step: Mapping[str, str]) -> dict[str, Any]:
    keys = semconv.context_keys(kind)
    return {
        keys[name]: int(value) if name in _NUMBERS and value.isdecimal() else value
        for name, value in step.items()
        if name in keys
    }


def _without_symbol(kind: str, context: Mapping[str, Any]) -> str:
    return describe(kind, context).rpartition(" - ")[2]

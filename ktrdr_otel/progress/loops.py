"""The loops of an operation without a plan: what they announce is all that is known of what will come."""

from ktrdr_otel import semconv
from ktrdr_otel.progress.events import Unit


class Loops:
    """Counts the units that loops have announced, per progress type.

    The order in which the units of a loop begin or end does not matter, and one that is tried again after a failure is
    announced once. A unit that begins when all that were announced are done is the first of another loop, as in the
    next symbol, unless its index lies beyond them: then its loop has grown.
    """

    def __init__(self) -> None:
        self._announced: dict[str, int] = {}
        self._done: dict[str, int] = {}
        self._total: dict[str, int] = {}  # of the loop that runs

    def begins(self, unit: Unit) -> int | None:
        """Units of its type that are known of by now; None if the unit does not say of how many it is one."""
        kind, total = unit.progress_type, _number(unit, semconv.ITEM_TOTAL)
        if kind is None or total is None:
            return None
        running, announced = self._total.get(kind, 0), self._announced.get(kind, 0)
        index = _number(unit, semconv.ITEM_INDEX) or 1
        if self._done.get(kind, 0) >= announced and index <= running:
            running = 0
        self._total[kind] = max(total, running)
        self._announced[kind] = announced + self._total[kind] - running
        return self._announced[kind]

    def ends(self, unit: Unit) -> None:
        """It is done."""
        kind = unit.progress_type
        if kind in self._announced:
            self._done[kind] = self._done.get(kind, 0) + 1


def _number(unit: Unit, attribute: str) -> int | None:
    key = semconv.context_keys(unit.progress_type).get(attribute)
    value = None if key is None else unit.context.get(key)
    return value if isinstance(value, int) else None

"""The units of one operation that are open, and how long nothing may happen while they are."""

from collections.abc import Iterable

from ktrdr_otel import semconv
from ktrdr_otel.operations.allowances import Allowance, Allowances
from ktrdr_otel.operations.durations import kind_of_open
from ktrdr_otel.progress.events import Unit


class OpenUnits:
    """Known by their spans; only the pump's thread calls it."""

    def __init__(self, allowances: Allowances) -> None:
        self._allowances = allowances
        self._units: dict[int, Unit] = {}

    def add(self, unit: Unit) -> None:
        """The unit is open."""
        self._units[unit.span_id] = unit

    def take(self, span_id: int) -> Unit | None:
        """The unit of that span, which from now on is not open any more; None if there is none."""
        return self._units.pop(span_id, None)

    def is_nested(self, unit: Unit) -> bool:
        """Whether it is inside an open unit that counts."""
        parent = unit.parent_span_id
        while parent is not None and (outer := self._units.get(parent)) is not None:
            if outer.progress_type is not None:
                return True
            parent = outer.parent_span_id
        return False

    def allowance(self) -> Allowance:
        """What may pass now: the most generous allowance of those that are under way."""
        allowances = [self._allowance_of(unit) for unit in self._under_way()]
        return max(allowances, key=lambda each: each.seconds) if allowances else self._allowances.unknown

    def allowed_seconds_with(self, ended: Iterable[Unit]) -> float:
        """What was allowed while those were open too."""
        return max(self._allowance_of(unit).seconds for unit in (*ended, *self._under_way()))

    def held_seconds(self) -> float:
        """What an open hold allows, to whatever happens inside it; 0 if there is none."""
        holds = [unit for unit in self._units.values() if unit.progress_type == semconv.HOLD]
        return max((self._allowance_of(unit).seconds for unit in holds), default=0.0)

    def _under_way(self) -> Iterable[Unit]:
        return (unit for unit in self._units.values() if unit.progress_type is not None)

    def _allowance_of(self, unit: Unit) -> Allowance:
        if unit.progress_type == semconv.HOLD:
            seconds = unit.context.get("allowance_seconds")
            return Allowance(seconds, None) if isinstance(seconds, float) else self._allowances.unknown
        kind = kind_of_open(unit)
        return self._allowances.unknown if kind is None else self._allowances.of(kind)

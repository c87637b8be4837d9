"""How long an operation still takes: from what was learned, else from its own pace, else nobody knows."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ktrdr_otel.progress.events import Unit

# (progress type, item, timeframe) -> mean seconds
Kind = tuple[str, str | None, str | None]
Durations = Mapping[Kind, float]


@dataclass(slots=True)
class _Known:
    """What earlier runs say about a progress type: over its kinds, in seconds."""

    mean: float
    least: float
    kinds: int


@dataclass(slots=True)
class _Spent:
    """What this run's finished units of a progress type took, and what they would have taken in earlier runs."""

    count: int = 0
    seconds: float = 0.0
    expected: float = 0.0


class Pace:
    """Seconds that units take, of earlier runs and of this one.

    Few of a type's units can take most of its time, so what is left of a type that earlier runs know is their
    whole less what they say of the units that are finished, times how much slower this run has been so far.
    """

    def __init__(self, learned: Durations | None = None) -> None:
        self._learned: Durations = learned or {}
        seconds_of_type: dict[str, list[float]] = {}
        for (progress_type, _, _), seconds in self._learned.items():
            seconds_of_type.setdefault(progress_type, []).append(seconds)
        self._known = {
            progress_type: _Known(sum(means) / len(means), min(means), len(means))
            for progress_type, means in seconds_of_type.items()
        }
        self._spent: dict[str, _Spent] = {}

    @property
    def knows_earlier_runs(self) -> bool:
        """Whether it matters of which kind a finished unit is."""
        return bool(self._known)

    def finished(self, unit: Unit, kind: Kind | None = None) -> None:
        """A unit of this run has taken its time."""
        seconds = unit.duration_seconds
        if unit.progress_type is not None and seconds is not None:
            self.passed(unit.progress_type, 1, seconds, [kind])

    def passed(self, progress_type: str, count: int, seconds: float, kinds: Iterable[Kind | None]) -> None:
        """So many units of a type have taken those seconds together; `kinds` matter where earlier runs are known."""
        spent = self._spent.get(progress_type)
        if spent is None:
            spent = self._spent[progress_type] = _Spent()
        spent.count += count
        spent.seconds += seconds
        known = self._known.get(progress_type)
        if known is not None:
            for kind in kinds:
                spent.expected += known.mean if kind is None else self._learned.get(kind, known.mean)

    def remaining_seconds(self, remaining: Mapping[str, float]) -> float | None:
        """Seconds for the remaining units per progress type; None while a type's duration is unknown."""
        total = 0.0
        for progress_type, count in remaining.items():
            seconds = self._remaining(progress_type, count)
            if seconds is None:
                return None
            total += seconds
        return total

    def _remaining(self, progress_type: str, count: float) -> float | None:
        known, spent = self._known.get(progress_type), self._spent.get(progress_type)
        if known is None:
            return None if spent is None else count * spent.seconds / spent.count
        if spent is None:
            return count * known.mean
        # Units beyond what earlier runs had take at least as long as the shortest of them.
        left = max((spent.count + count) * known.mean - spent.expected, count * known.least)
        # Where kinds differ, one slow start says little: earlier runs weigh as much as one unit of this one.
        prior = known.mean if known.kinds > 1 else 0.0
        expected = spent.expected + prior
        return left * (spent.seconds + prior) / expected if expected > 0 else left

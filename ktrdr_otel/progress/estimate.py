"""How long an operation still takes: from what was learned, else from its own pace, else nobody knows."""

from collections.abc import Mapping

from ktrdr_otel.progress.events import Unit

# (progress type, item, timeframe) -> mean seconds
Durations = Mapping[tuple[str, str | None, str | None], float]


class Pace:
    """Mean seconds per progress type, of earlier runs and of this one."""

    def __init__(self, learned: Durations | None = None) -> None:
        sums: dict[str, tuple[float, int]] = {}
        for (progress_type, _, _), seconds in (learned or {}).items():
            total, count = sums.get(progress_type, (0.0, 0))
            sums[progress_type] = (total + seconds, count + 1)
        self._learned = {kind: total / count for kind, (total, count) in sums.items()}
        self._seconds: dict[str, float] = {}
        self._counts: dict[str, int] = {}

    def finished(self, unit: Unit) -> None:
        """A unit of this run has taken its time."""
        seconds = unit.duration_seconds
        if unit.progress_type is None or seconds is None:
            return
        self._seconds[unit.progress_type] = self._seconds.get(unit.progress_type, 0.0) + seconds
        self._counts[unit.progress_type] = self._counts.get(unit.progress_type, 0) + 1

    def remaining_seconds(self, remaining: Mapping[str, float]) -> float | None:
        """Seconds for the remaining units per progress type; None while a type's duration is unknown."""
        total = 0.0
        for kind, count in remaining.items():
            mean = self._mean(kind)
            if mean is None:
                return None
            total += count * mean
        return total

    def _mean(self, kind: str) -> float | None:
        """This run's own pace once it has one: more data make earlier runs a poor guide."""
        count = self._counts.get(kind, 0)
        if count:
            return self._seconds[kind] / count
        return self._learned.get(kind)

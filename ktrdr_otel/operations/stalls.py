"""Slow, stalled, suspended: a judgement on how long nothing has moved, and nothing else.

Standard library only: the watcher process judges by the same rule as whoever reads the store.
"""

from dataclasses import dataclass
from enum import StrEnum


class Condition(StrEnum):
    """How a running operation stands."""

    MOVING = "moving"
    SLOW = "slow"  # well beyond what such a step has taken so far, inside its allowance: shown, never alerted
    STALLED = "stalled"
    SUSPENDED = "suspended"


def judge(silence_seconds: float, allowance_seconds: float, slow_after_seconds: float | None) -> Condition:
    """How an operation stands that has not moved for so long.

    >>> judge(40, 30, 2)
    <Condition.STALLED: 'stalled'>
    """
    if silence_seconds > allowance_seconds:
        return Condition.STALLED
    if slow_after_seconds is not None and silence_seconds > slow_after_seconds:
        return Condition.SLOW
    return Condition.MOVING


@dataclass(slots=True)
class Silence:
    """How long something has not moved, on a clock that stands still while its process is stopped."""

    moved: object  # whatever differs from look to look is progress
    seconds: float = 0.0
    is_suspended: bool = False
    _looked_at: float | None = None

    def look(self, moved: object, now: float, *, is_stopped: bool) -> float:
        """Seconds without progress; `now` is a monotonic clock."""
        passed = 0.0 if self._looked_at is None else max(now - self._looked_at, 0.0)
        self._looked_at = now
        if moved != self.moved:
            self.moved = moved
            self.seconds = 0.0
            self.is_suspended = is_stopped
        elif is_stopped:
            self.is_suspended = True
        elif not self.is_suspended:
            self.seconds += passed
        else:
            # It runs again, and has not moved yet: its clock goes on from where it stood.
            self.is_suspended = False
        return self.seconds

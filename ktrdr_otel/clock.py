"""The clocks, in one place so that tests can put their own there.

The wall clock is for people and for span times; durations and judgements use the monotonic clock, which
stands still for nobody and is the same for all processes of one boot.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Where time comes from."""

    def wall_ns(self) -> int:
        """Nanoseconds since the Unix epoch."""
        ...

    def monotonic_ns(self) -> int:
        """Nanoseconds since some point in this boot (CLOCK_MONOTONIC)."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def wall_ns(self) -> int:
        """Nanoseconds since the Unix epoch."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """Nanoseconds since some point in this boot."""
        return time.monotonic_ns()


def utc_from_ns(wall_ns: int) -> datetime:
    """An aware UTC time, to the microsecond (never rounded through a float)."""
    seconds, nanoseconds = divmod(wall_ns, 1_000_000_000)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanoseconds // 1000)


def ns_from_utc(moment: datetime) -> int:
    """Nanoseconds since the Unix epoch, exact to the microsecond."""
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def isoformat(moment: datetime) -> str:
    """ISO 8601, UTC, always with microseconds: `2026-11-24T10:15:00.000000Z`."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")

"""What an operation's process used at a moment, and the words for it. Standard library only."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

_BUSY_SHARE: Final = 0.5  # of one core, from which on a process is said to be busy
_WAITING_SHARE: Final = 0.1  # below which it only waits


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """CPU and memory of a process; between two samples lie some seconds."""

    at: datetime
    cpu_share: float  # cores that were busy since the sample before
    rss_bytes: int
    limit_bytes: int | None  # of its cgroup; None where there is none


def activity(cpu_share: float, wanted_share: float = 0.0) -> str:
    """What a process does that keeps so many cores busy, and whose worker would keep so much of one busy if it got it.

    >>> activity(0.98), activity(0.23, 1.0)
    ('one core busy (98 %)', 'one core wanted (23 %, the machine is busy)')
    """
    percent = f"{cpu_share * 100:.0f} %"
    if cpu_share >= _BUSY_SHARE:
        cores = "one core" if cpu_share < 1.5 else f"{cpu_share:.0f} cores"
        return f"{cores} busy ({percent})"
    if wanted_share >= _BUSY_SHARE:
        return f"one core wanted ({percent}, the machine is busy)"
    if cpu_share >= _WAITING_SHARE:
        return f"partly busy ({percent} CPU)"
    return f"waiting ({percent} CPU)"

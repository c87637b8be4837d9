"""What every display hears, and how it writes what comes from outside."""

import unicodedata
from collections.abc import Mapping
from typing import Protocol

from ktrdr_otel import semconv
from ktrdr_otel.operations.models import NewOperation, OperationError, OperationStatus, Progress
from ktrdr_otel.progress.events import Tick, Unit


class Display(Protocol):
    """Shows one operation; called in order, one call at a time. What it raises is contained by the caller."""

    def operation_started(self, operation: NewOperation) -> None:
        """The operation runs."""
        ...

    def unit_started(self, unit: Unit, progress: Progress) -> None:
        """A unit, hold or container has begun."""
        ...

    def unit_finished(self, unit: Unit, progress: Progress) -> None:
        """It has ended, well or badly."""
        ...

    def ticked(self, tick: Tick, progress: Progress) -> None:
        """A tracked loop has moved."""
        ...

    def status_changed(
        self, operation_id: str, status: OperationStatus, progress: Progress, error: OperationError | None
    ) -> None:
        """The operation has another status."""
        ...

    def close(self) -> None:
        """Nothing more is shown; what was shown last stays."""
        ...


def printable(text: str) -> str:
    """The text on one line, with every control character shown as its code: names come from outside.

    >>> printable("AAPL\\x1b[31m")
    'AAPL\\\\x1b[31m'
    """
    if text.isprintable():
        return text
    return "".join(each if _is_shown(each) else each.encode("unicode_escape").decode() for each in text)


def seconds_text(seconds: float) -> str:
    """A length of time as people say it.

    >>> seconds_text(0.0123), seconds_text(75.2), seconds_text(7384)
    ('12 ms', '1 min 15 s', '2 h 3 min')
    """
    # Each bound is where the rounded figure would read as the next unit: never "1000 ms" or "60.0 s".
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def held_allowance(progress_type: object, context: Mapping[str, object]) -> float | None:
    """Seconds that a hold may take; None of anything else."""
    allowed = context.get("allowance_seconds") if progress_type == semconv.HOLD else None
    return float(allowed) if isinstance(allowed, int | float) else None


def _is_shown(character: str) -> bool:
    # A space of another width is no line break: only those of category Zs.
    return character.isprintable() or unicodedata.category(character) == "Zs"

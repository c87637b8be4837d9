"""How the export fares, and a count that costs the counting threads nothing."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count

from ktrdr_otel.exporters.lane import DropCause


@dataclass(frozen=True, slots=True)
class ExportHealth:
    """How the export fares; with several exporters a span counts once for each."""

    queued: int
    open_spans: int
    exported: int
    dropped: Mapping[DropCause, int]
    failures: int  # exports that did not deliver all they were given
    last_error: str | None


class Tally:
    """Counts from any thread without a lock; `add` is one atomic C call."""

    def __init__(self) -> None:
        self._count = count()
        self.add = self._count.__next__
        self._reads = 0
        self._reading = threading.Lock()

    @property
    def value(self) -> int:
        """How often something was counted."""
        with self._reading:
            value = next(self._count) - self._reads
            self._reads += 1
        return value

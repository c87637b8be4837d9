"""Brings what observed processes use into the metrics, as their watchers have written it down."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from ktrdr_otel.metrics.state import MetricsState
from ktrdr_otel.operations.models import Checkpoint, Operation
from ktrdr_otel.operations.samples import Sample

_READ_SECONDS: Final = 2.5  # a watcher writes every five


class Usage:
    """Reads the newest samples now and then, in the thread that follows the store: a scrape does no I/O."""

    def __init__(self, state: MetricsState, read: Callable[[Iterable[str]], Mapping[str, Sample]]) -> None:
        self._state = state
        self._read = read
        self._next = 0.0

    def stored(self, _operations: Sequence[Operation], _steps: Sequence[Checkpoint], _sequence: int) -> None:
        """Something was looked at: what the processes use is read again, if it is time."""
        now = time.monotonic()
        if now >= self._next:
            self._next = now + _READ_SECONDS
            self._state.sampled(self._read(self._state.running()))

"""`track`: a loop whose turns are counted at the price of a tqdm iteration, without a span per turn."""

import time
from collections.abc import Iterable, Iterator, Sized
from typing import Generic, TypeVar

from ktrdr_otel import context as here
from ktrdr_otel.context import ActiveOperation, Happening

T = TypeVar("T")


class Track(Generic[T]):
    """The turns of one loop; the pump reads `count` while it runs."""

    __slots__ = ("checkpoint", "count", "iterable", "operation", "total", "unit")

    def __init__(
        self, iterable: Iterable[T], unit: str, total: int | None, operation: ActiveOperation
    ) -> None:
        self.iterable = iterable
        self.unit = unit
        self.total = total
        self.operation = operation
        self.checkpoint = here.current_checkpoint.get()
        self.count = 0

    def __iter__(self) -> Iterator[T]:
        operation = self.operation
        token = operation.token
        loops = operation.loops
        if loops is None:
            loops = operation.loops = []
        loops.append(self)
        count = 0
        try:
            for turn in self.iterable:
                if token.cancelled:
                    token.raise_if_cancelled()
                yield turn
                count += 1
                self.count = count
        finally:
            if self in loops:
                loops.remove(self)
            operation.inbox.append((Happening.LOOP_ENDED, self, time.monotonic_ns()))


def length_of(iterable: Iterable[object]) -> int | None:
    """How many turns a loop over it has, None where only running it would tell."""
    return len(iterable) if isinstance(iterable, Sized) else None

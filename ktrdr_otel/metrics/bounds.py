"""How many values a label may have: what there is no place for is `other`."""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable
from typing import Final, Generic, TypeVar

OTHER: Final = "other"

Value = TypeVar("Value", bound=Hashable)


class Bound(Generic[Value]):
    """At most so many values have a place; one that was not used for so long gives up its place to a new one."""

    def __init__(
        self,
        most: int,
        *,
        always: Iterable[Value] = (),
        unused_seconds: float = math.inf,
        forget: Callable[[Value], None] = lambda value: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`always` are values that need no place; `forget` hears of each that has lost its own."""
        self._most = most
        self._always = frozenset(always)
        self._unused_seconds = unused_seconds
        self._forget = forget
        self._now = now
        self._used: OrderedDict[Value, float] = (
            OrderedDict()
        )  # when each was used; the last one used is the last

    def admits(self, value: Value) -> bool:
        """Whether the value has a place, which it takes where one is free."""
        if value in self._always:
            return True
        now = self._now()
        if value not in self._used and len(self._used) >= self._most and not self._makes_room(now):
            return False
        self._used[value] = now
        self._used.move_to_end(value)
        return True

    def _makes_room(self, now: float) -> bool:
        longest = next(iter(self._used))
        if now - self._used[longest] <= self._unused_seconds:
            return False
        del self._used[longest]
        self._forget(longest)
        return True

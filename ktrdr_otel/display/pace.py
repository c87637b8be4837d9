"""A human pace: at most so many lines a second, and never without the last one of each kind of work."""

import time
from collections.abc import Callable, Hashable

Scope = tuple[Hashable, ...]

_MOST_HELD = 32


class Pace:
    """Says lines at a bounded rate through `say`.

    A line that comes too early is held; a newer one of the same kind takes its place. What is held is said, in
    its order, when the time has come, when the work moves to another scope (symbol and timeframe), or at the
    end. So the last line of every kind in every scope is always said, and it is all that exceeds the rate.
    """

    def __init__(
        self,
        say: Callable[[str], None],
        *,
        interval_seconds: float = 0.1,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._say = say
        self._interval_seconds = interval_seconds
        self._monotonic = monotonic
        self._next = float("-inf")
        self._scope: Scope | None = None
        self._held: dict[str, str] = {}  # kind -> its last line, oldest first
        self._last: str | None = None

    def line(self, kind: str, scope: Scope, text: str) -> None:
        """The work of that kind in that scope is at `text`."""
        if scope != self._scope:
            self.flush()
            self._scope = scope
        if text == self._last and not self._held:
            return
        self._held.pop(kind, None)
        self._held[kind] = text
        if len(self._held) > _MOST_HELD or self._monotonic() >= self._next:
            self.flush()

    def flush(self) -> None:
        """Nothing is held."""
        if not self._held:
            return
        self._next = self._monotonic() + self._interval_seconds * len(self._held)
        for text in self._held.values():
            if text != self._last:
                self._last = text
                self._say(text)
        self._held.clear()

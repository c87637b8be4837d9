"""A human pace: at most so many lines a second, and never without the last one of each kind of work."""

import time
from collections.abc import Callable

Key = tuple[object, ...]


class Pace:
    """Says lines at a bounded rate through `say`.

    A line that comes too early waits; it is said when the work changes its kind (`key`), when the time has come
    for the next line of the kind, or at the end. So the last line of every kind is always said.
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
        self._next = 0.0
        self._key: Key | None = None
        self._waiting: str | None = None
        self._last: str | None = None

    def line(self, key: Key, text: str) -> None:
        """The work of that kind is at `text`."""
        if key != self._key:
            self.flush()
            self._key = key
        if text in (self._last, self._waiting):
            return
        if self._monotonic() < self._next:
            self._waiting = text
        else:
            self._now(text)

    def flush(self) -> None:
        """Nothing waits."""
        if self._waiting is not None:
            self._now(self._waiting)

    def _now(self, text: str) -> None:
        self._waiting = None
        self._last = text
        self._next = self._monotonic() + self._interval_seconds
        self._say(text)

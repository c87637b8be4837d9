"""Asking an operation to stop, and hearing it."""

import threading

from ktrdr_otel.errors import CancellationError


class CancellationToken:
    """A flag that anyone may raise and the observed program hears at its next checkpoint or tick.

    >>> token = CancellationToken()
    >>> token.cancel("enough")
    >>> token.is_cancelled()
    True
    """

    def __init__(self) -> None:
        # A plain attribute: read at each tick, where a method call would be a tenth of the price of the tick.
        self.cancelled = False
        self.reason: str | None = None
        self._lock = threading.Lock()

    def cancel(self, reason: str = "Operation cancelled") -> None:
        """Ask to stop. The first reason stays; safe from any thread."""
        with self._lock:
            if not self.cancelled:
                self.reason = reason
                self.cancelled = True

    def is_cancelled(self) -> bool:
        """Whether somebody has asked to stop."""
        return self.cancelled

    def raise_if_cancelled(self) -> None:
        """Raise `CancellationError` with the first reason if somebody has asked to stop."""
        if self.cancelled:
            raise CancellationError(self.reason or "Operation cancelled")

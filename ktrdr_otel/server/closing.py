"""Sees to it that the traces of dead runs are completed, by a process of its own."""

import threading
import time
from typing import Final

from ktrdr_otel import beside
from ktrdr_otel.operations.service import OperationsService

_LOOK_SECONDS: Final = 10.0


class TraceCloser:
    """Asks the store now and then whether anything is owed; used by one thread."""

    def __init__(self, service: OperationsService) -> None:
        self._service = service
        self._next_look = 0.0

    def look(self, *, is_urgent: bool) -> None:
        """What is owed is being sent: at once if somebody has just been found dead, else at the next look."""
        now = time.monotonic()
        if self._service.is_in_memory or not (is_urgent or now >= self._next_look):
            return
        self._next_look = now + _LOOK_SECONDS
        if self._service.traces_owed():
            # The start of an interpreter: nobody waits for it here.
            threading.Thread(
                target=beside.start,
                args=("ktrdr_otel.closing", {"database": self._service.database_url}),
                name="ktrdr-otel closing",
                daemon=True,
            ).start()

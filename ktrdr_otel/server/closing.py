"""Sees to it that the traces of dead runs are completed, by a process of its own."""

import threading
import time
from typing import Final

from ktrdr_otel import beside
from ktrdr_otel.operations.service import OperationsService

_LOOK_SECONDS: Final = 10.0
# As long as the process that was started may try by itself.
_FIRST_PAUSE_SECONDS: Final = 120.0
_LONGEST_PAUSE_SECONDS: Final = 3600.0


class TraceCloser:
    """Asks the store now and then whether anything is owed; used by one thread."""

    def __init__(self, service: OperationsService) -> None:
        self._service = service
        self._next_look = 0.0
        self._pauses: dict[str, tuple[float, float]] = {}  # operations -> until when, and of how many seconds

    def look(self, *, is_urgent: bool) -> None:
        """What is owed is being sent: at once if somebody has just been found dead, else at the next look."""
        now = time.monotonic()
        if self._service.is_in_memory or not (is_urgent or now >= self._next_look):
            return
        self._next_look = now + _LOOK_SECONDS
        owed = self._service.traces.owed()
        due = [operation_id for operation_id in owed if now >= self._pauses.get(operation_id, (0.0, 0.0))[0]]
        # What is not due any more is complete, or its next try has been put off by whoever tried.
        self._pauses = {
            operation_id: pause
            for operation_id, pause in self._pauses.items()
            if operation_id in owed or now < pause[0]
        }
        if not due:
            return
        # Some traces cannot be sent from here, and stay due: no process is started for them every ten seconds.
        for operation_id in due:
            _, seconds = self._pauses.get(operation_id, (0.0, _FIRST_PAUSE_SECONDS / 2))
            seconds = min(2 * seconds, _LONGEST_PAUSE_SECONDS)
            self._pauses[operation_id] = (now + seconds, seconds)
        # The start of an interpreter: nobody waits for it here.
        threading.Thread(
            target=beside.start,
            args=("ktrdr_otel.closing", {"database": self._service.database_url}),
            name="ktrdr-otel closing",
            daemon=True,
        ).start()

"""Log records for a program whose output is nobody's to draw on."""

import logging
import time
from collections.abc import Callable

from ktrdr_otel.display.base import printable
from ktrdr_otel.display.pace import Pace
from ktrdr_otel.operations.models import NewOperation, OperationError, OperationStatus, Progress
from ktrdr_otel.progress.events import Tick, Unit

logger = logging.getLogger("ktrdr_otel.progress")

_INTERVAL_SECONDS = 1.0


class LogRecords:
    """Says at level INFO where the operation is, once a second, and at WARNING how it failed."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._pace = Pace(_info, interval_seconds=_INTERVAL_SECONDS, monotonic=monotonic)

    def operation_started(self, operation: NewOperation) -> None:
        """A record with its id."""
        _info(f"operation {operation.operation_id}: {operation.name}")

    def unit_started(self, unit: Unit, progress: Progress) -> None:
        """A record, if one is due."""
        if unit.progress_type is not None:
            self._say(progress)

    def unit_finished(self, unit: Unit, progress: Progress) -> None:
        """Nothing: the next start says it."""

    def ticked(self, tick: Tick, progress: Progress) -> None:
        """A record, if one is due."""
        self._say(progress)

    def status_changed(
        self, operation_id: str, status: OperationStatus, progress: Progress, error: OperationError | None
    ) -> None:
        """A record of the end."""
        self._pace.flush()
        if error is None:
            _info(f"operation {operation_id} {status.value}")
        else:
            where = f" in {error.step}" if error.step else ""
            logger.warning("%s", printable(f"operation {operation_id} failed{where}: {error.message}"))

    def close(self) -> None:
        """Nothing waits to be said."""
        self._pace.flush()

    def _say(self, progress: Progress) -> None:
        # One kind and one scope: a log is read later, and needs no last line of each.
        self._pace.line("progress", (), f"{progress.percentage:.1f} % {progress.message}")


def _info(text: str) -> None:
    logger.info("%s", printable(text))

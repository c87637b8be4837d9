"""Log records for a program whose output is nobody's to draw on."""

import logging

from ktrdr_otel.display.pace import Pace
from ktrdr_otel.operations.models import NewOperation, OperationError, OperationStatus, Progress
from ktrdr_otel.progress.events import Tick, Unit

logger = logging.getLogger("ktrdr_otel.progress")

_INTERVAL_SECONDS = 1.0


class LogRecords:
    """Says at level INFO where the operation is, once a second at most, and at WARNING how it failed."""

    def __init__(self) -> None:
        self._pace = Pace(logger.info, interval_seconds=_INTERVAL_SECONDS)

    def operation_started(self, operation: NewOperation) -> None:
        """A record with its id."""
        logger.info("operation %s: %s", operation.operation_id, operation.name)

    def unit_started(self, unit: Unit, progress: Progress) -> None:
        """A record, if one is due."""
        if unit.progress_type is not None:
            key = (unit.progress_type, unit.context.get("symbol"), unit.context.get("timeframe"))
            self._pace.line(key, f"{progress.percentage:.1f} % {progress.message}")

    def unit_finished(self, unit: Unit, progress: Progress) -> None:
        """Nothing: the next start says it."""

    def ticked(self, tick: Tick, progress: Progress) -> None:
        """A record, if one is due."""
        self._pace.line((tick.unit, tick.epoch_index), f"{progress.percentage:.1f} % {progress.message}")

    def status_changed(
        self, operation_id: str, status: OperationStatus, progress: Progress, error: OperationError | None
    ) -> None:
        """A record of the end."""
        self._pace.flush()
        if error is None:
            logger.info("operation %s %s", operation_id, status.value)
        else:
            logger.warning("operation %s failed in %s: %s", operation_id, error.step, error.message)

    def close(self) -> None:
        """Nothing waits to be said."""
        self._pace.flush()

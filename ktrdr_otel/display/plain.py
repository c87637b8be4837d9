"""Plain lines for a pipe or a file: one per change, at a human pace, never an escape code."""

from typing import TextIO

from ktrdr_otel.display.base import printable, seconds_text
from ktrdr_otel.display.pace import Pace
from ktrdr_otel.operations.models import NewOperation, OperationError, OperationStatus, Progress
from ktrdr_otel.progress.events import Tick, Unit


class PlainLines:
    """Writes `percent  message`; the last of each progress type per symbol and timeframe is always among them."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._pace = Pace(self._write)

    def operation_started(self, operation: NewOperation) -> None:
        """Says its id."""
        self._write(f"operation {operation.operation_id}: {printable(operation.name)}")

    def unit_started(self, unit: Unit, progress: Progress) -> None:
        """Says where the work is."""
        if unit.progress_type is not None:
            self._say(unit, progress)

    def unit_finished(self, unit: Unit, progress: Progress) -> None:
        """Says an epoch's metrics; other ends are seen in the next start."""
        if unit.metrics:
            figures = "  ".join(f"{name} {value:.4g}" for name, value in unit.metrics.items())
            self._pace.line(
                (unit.progress_type, "metrics"), f"{_percent(progress)}  {progress.message}  {figures}"
            )

    def ticked(self, tick: Tick, progress: Progress) -> None:
        """Says how far the loop is."""
        self._pace.line((tick.unit, tick.epoch_index), f"{_percent(progress)}  {printable(progress.message)}")

    def status_changed(
        self, operation_id: str, status: OperationStatus, progress: Progress, error: OperationError | None
    ) -> None:
        """Says how it ended."""
        self._pace.flush()
        self._write(f"{_percent(progress)}  operation {operation_id} {status.value}")

    def close(self) -> None:
        """Nothing waits to be said."""
        self._pace.flush()

    def _say(self, unit: Unit, progress: Progress) -> None:
        remaining = progress.estimated_remaining_seconds
        rest = "" if remaining is None else f"  ({seconds_text(remaining)} left)"
        key = (unit.progress_type, unit.context.get("symbol"), unit.context.get("timeframe"))
        self._pace.line(key, f"{_percent(progress)}  {printable(progress.message)}{rest}")

    def _write(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()


def _percent(progress: Progress) -> str:
    return f"{progress.percentage:5.1f} %"

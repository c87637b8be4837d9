"""Plain lines for a pipe or a file: one per change, at a human pace, never an escape code."""

import time
from collections.abc import Callable
from typing import TextIO

from ktrdr_otel.display.base import held_allowance, printable, seconds_text
from ktrdr_otel.display.outlet import LineOutlet
from ktrdr_otel.display.pace import Pace, Scope
from ktrdr_otel.operations.models import NewOperation, OperationError, OperationStatus, Progress
from ktrdr_otel.progress.events import Tick, Unit

_TICK_SECONDS = 1.0


class PlainLines:
    """Writes `percent  message`, ten lines a second, and of a loop's turns one a second.

    The last line of each progress type per symbol and timeframe is always among them, and a loop's last turn.
    """

    def __init__(self, stream: TextIO, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._outlet = LineOutlet(stream)
        self._pace = Pace(self._outlet.line, monotonic=monotonic)
        self._scope: Scope = ()
        self._monotonic = monotonic
        self._next_tick = float("-inf")
        self._waiting_tick: tuple[Tick, str] | None = None

    def operation_started(self, operation: NewOperation) -> None:
        """Says its id."""
        self._outlet.line(f"operation {printable(operation.operation_id)}: {printable(operation.name)}")

    def unit_started(self, unit: Unit, progress: Progress) -> None:
        """Says where the work is."""
        if unit.progress_type is not None:
            self._say(unit, progress, _allowed(unit) or _left(progress))

    def unit_finished(self, unit: Unit, progress: Progress) -> None:
        """Says an epoch's metrics; other ends are seen in the next start."""
        if unit.metrics:
            self._say(
                unit, progress, "".join(f"  {name} {value:.4g}" for name, value in unit.metrics.items())
            )

    def ticked(self, tick: Tick, progress: Progress) -> None:
        """Says how far the loop is, once a second; of a turn that is not said yet only the last is kept."""
        if self._waiting_tick is not None and self._waiting_tick[0].unit != tick.unit:
            self._tell_waiting_tick()
        self._waiting_tick = (tick, _place(progress))
        if self._monotonic() >= self._next_tick or tick.count == tick.total:
            self._next_tick = self._monotonic() + _TICK_SECONDS
            self._tell_waiting_tick()

    def status_changed(
        self, operation_id: str, status: OperationStatus, progress: Progress, error: OperationError | None
    ) -> None:
        """Says how it ended, and what broke it."""
        self.close()
        why = "" if error is None else f": {error.message}"
        if error is not None and error.type != status.value:  # one that is lost has no other word for it
            why = f": {error.type}{why}"
        self._outlet.line(
            f"{progress.percentage:5.1f} %  operation {printable(operation_id)} {status.value}{printable(why)}"
        )

    def close(self) -> None:
        """Nothing waits to be said."""
        self._tell_waiting_tick()
        self._pace.flush()

    def _say(self, unit: Unit, progress: Progress, rest: str) -> None:
        if self._waiting_tick is not None and _goes_on(self._waiting_tick[0]):
            # The unit is inside of its loop: the turn is older than what is said now, and not the last one.
            self._waiting_tick = None
        self._tell_waiting_tick()
        self._scope = (str(unit.context.get("symbol")), str(unit.context.get("timeframe")))
        self._pace.line(str(unit.progress_type), self._scope, _place(progress) + printable(rest))

    def _tell_waiting_tick(self) -> None:
        if self._waiting_tick is not None:
            (tick, text), self._waiting_tick = self._waiting_tick, None
            self._pace.line(tick.unit, self._scope, text)


def _goes_on(tick: Tick) -> bool:
    """Whether more turns of the loop are announced."""
    return tick.total is not None and tick.count < tick.total


def _place(progress: Progress) -> str:
    return f"{progress.percentage:5.1f} %  {printable(progress.message)}"


def _allowed(unit: Unit) -> str:
    allowed = held_allowance(unit.progress_type, unit.context)
    return "" if allowed is None else f"  ({seconds_text(allowed)} allowed)"


def _left(progress: Progress) -> str:
    remaining = progress.estimated_remaining_seconds
    return "" if remaining is None else f"  ({seconds_text(remaining)} left)"

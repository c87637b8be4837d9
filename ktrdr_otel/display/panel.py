"""The picture of an operation: made from what was heard, whenever somebody wants to draw it."""

import time
from collections import deque

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ktrdr_otel.display.base import printable, seconds_text
from ktrdr_otel.operations.models import NewOperation, OperationError, OperationStatus, Progress
from ktrdr_otel.progress.events import Tick, Unit
from ktrdr_otel.progress.messages import describe, sentence

_LAST_STEPS = 5
_LOSSES = 60
_BLOCKS = "▁▂▃▄▅▆▇█"
_COLOURS = {
    OperationStatus.RUNNING: "cyan",
    OperationStatus.COMPLETED: "green",
    OperationStatus.FAILED: "red",
    OperationStatus.CANCELLED: "yellow",
    OperationStatus.LOST: "red",
}


class OperationPanel:
    """Hears an operation and draws it: phase bars, current step, rate, remaining time, last steps, losses."""

    def __init__(self) -> None:
        self._name = ""
        self._operation_id = ""
        self._status = OperationStatus.RUNNING
        self._progress: Progress | None = None
        self._error: OperationError | None = None
        self._began = time.monotonic()
        self._ended: float | None = None
        self._last: deque[tuple[str, float, bool]] = deque(maxlen=_LAST_STEPS)
        self._losses: deque[float] = deque(maxlen=_LOSSES)
        self._metrics: dict[str, float] = {}
        self._recent: deque[float] = deque(maxlen=200)

    def operation_started(self, operation: NewOperation) -> None:
        """Its name and id head the picture."""
        self._name = printable(operation.name)
        self._operation_id = operation.operation_id

    def unit_started(self, unit: Unit, progress: Progress) -> None:
        """It is the current step."""
        if unit.progress_type is not None:
            self._progress = progress

    def unit_finished(self, unit: Unit, progress: Progress) -> None:
        """It is among the last steps, and counts into the rate."""
        self._progress = progress
        if unit.progress_type is None:
            return
        self._recent.append(time.monotonic())
        what = printable(describe(unit.progress_type, unit.context))
        self._last.append((what, unit.duration_seconds or 0.0, unit.error is None))
        if unit.metrics:
            self._metrics = dict(unit.metrics)
            if (loss := unit.metrics.get("loss")) is not None:
                self._losses.append(loss)

    def ticked(self, tick: Tick, progress: Progress) -> None:
        """The loop's state is the current step."""
        self._progress = progress

    def status_changed(
        self, operation_id: str, status: OperationStatus, progress: Progress, error: OperationError | None
    ) -> None:
        """The picture stands still."""
        self._status, self._progress, self._error = status, progress, error
        self._ended = time.monotonic()

    def draw(self) -> RenderableType:
        """The picture as of now."""
        parts: list[RenderableType] = [self._head()]
        progress = self._progress
        if progress is not None:
            parts.append(self._bars(progress))
            parts.append(self._now(progress))
            if self._metrics:
                parts.append(self._training())
            parts.extend(self._steps())
        if self._error is not None:
            parts.append(Text(printable(f"{self._error.type}: {self._error.message}"), style="red"))
        return Group(*parts)

    def _head(self) -> Text:
        colour = _COLOURS.get(self._status, "cyan")
        elapsed = (self._ended or time.monotonic()) - self._began
        head = Text(no_wrap=True, overflow="ellipsis")
        head.append("● ", style=colour)
        head.append(self._name, style="bold")
        head.append(f"  {self._operation_id}", style="dim")
        head.append(f"  {self._status.value}", style=colour)
        head.append(f"  {seconds_text(elapsed)}")
        return head

    def _bars(self, progress: Progress) -> Table:
        table = Table.grid(padding=(0, 1), expand=True)
        table.add_column(no_wrap=True, min_width=13)
        table.add_column(ratio=1)
        table.add_column(justify="right", no_wrap=True)
        for phase, (finished, planned) in progress.phases.items():
            if planned:
                done = finished == planned
                table.add_row(
                    Text(sentence(phase), style="bold" if phase == progress.phase else ""),
                    ProgressBar(
                        total=planned, completed=finished, complete_style="green" if done else "cyan"
                    ),
                    Text(f"{finished}/{planned}", style="green" if done else ""),
                )
        whole = Text(f"{progress.percentage:.1f} %", style="bold")
        table.add_row(Text("All", style="bold"), ProgressBar(total=100, completed=progress.percentage), whole)
        return table

    def _now(self, progress: Progress) -> Text:
        line = Text(no_wrap=True, overflow="ellipsis")
        line.append(printable(progress.message), style="bold" if self._ended is None else "dim")
        rate = self._rate()
        if rate is not None and self._ended is None:
            line.append(f"  {rate:.0f} steps/s" if rate >= 10 else f"  {rate:.1f} steps/s", style="dim")
        if progress.estimated_remaining_seconds is not None and self._ended is None:
            line.append(f"  {seconds_text(progress.estimated_remaining_seconds)} left", style="magenta")
        return line

    def _rate(self) -> float | None:
        now = time.monotonic()
        recent = [moment for moment in list(self._recent) if now - moment < 5.0]
        return len(recent) / max(now - recent[0], 0.1) if len(recent) > 1 else None

    def _training(self) -> Text:
        line = Text(no_wrap=True, overflow="ellipsis")
        line.append(_sparkline(list(self._losses)), style="yellow")
        for name, value in self._metrics.items():
            line.append(f"  {name.replace('_', ' ')} ", style="dim")
            line.append(f"{value:.4g}")
        return line

    def _steps(self) -> list[Text]:
        lines = []
        for what, seconds, well in list(self._last):
            line = Text(no_wrap=True, overflow="ellipsis")
            line.append("✓ " if well else "✗ ", style="green" if well else "red")
            line.append(f"{seconds_text(seconds):>10}  ", style="dim")
            line.append(what, style="dim")
            lines.append(line)
        return lines


def _sparkline(values: list[float]) -> str:
    """The values as blocks, the largest the highest."""
    if not values:
        return ""
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    return "".join(_BLOCKS[round((value - low) / span * (len(_BLOCKS) - 1))] for value in values)

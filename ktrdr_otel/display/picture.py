"""The picture of an operation: phase bars, the current step, rate and remaining time, losses, the last steps."""

import math
from collections.abc import Iterator, Sequence

from rich.console import Console, ConsoleOptions, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ktrdr_otel.display.base import printable, seconds_text
from ktrdr_otel.display.panel import Heard, Step
from ktrdr_otel.operations.models import OperationStatus, Progress
from ktrdr_otel.progress.messages import sentence

COLOURS = {
    OperationStatus.PENDING: "dim",
    OperationStatus.RUNNING: "cyan",
    OperationStatus.COMPLETED: "green",
    OperationStatus.FAILED: "red",
    OperationStatus.CANCELLED: "yellow",
    OperationStatus.LOST: "red",
}
_BLOCKS = "▁▂▃▄▅▆▇█"
_NARROW = 60  # columns, below which the bars give way to the numbers
_FEWEST_LOSSES, _MOST_LOSSES = 8, 32  # columns of the sparkline
_WORD = 14  # columns of the first column


class Picture:
    """Drawn to fit the console's width, and its height where it has one."""

    def __init__(self, heard: Heard) -> None:
        self._heard = heard

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        heard, progress = self._heard, self._heard.progress
        wide = options.max_width >= _NARROW
        parts: list[RenderableType] = [self._head(options.max_width)]
        if progress is not None:
            parts.append(_bars(_rows(progress), progress, wide))
            parts.append(self._now(progress, wide))
            if heard.metrics:
                parts.append(self._training(options.max_width))
        if heard.error is not None:
            where = f" in {heard.error.step}" if heard.error.step else ""
            text = printable(f"{heard.error.type}{where}: {heard.error.message}")
            parts.append(Text(text, style="red", overflow="fold"))
        yield from parts
        used = len(parts) + (0 if progress is None else len(_rows(progress)))
        room = len(heard.last) + 1
        if console.is_terminal:
            room = min(room, console.size.height - used - 1)
        if heard.last and room > 1:
            yield Text()
            yield from (_step(step) for step in heard.last[-(room - 1) :])

    def _head(self, width: int) -> RenderableType:
        heard = self._heard
        colour = COLOURS[heard.status]
        ending = Text.assemble((heard.status.value, colour), f"  {seconds_text(heard.elapsed_seconds)}")
        name, operation_id = printable(heard.name), printable(heard.operation_id)
        title = Text(no_wrap=True, overflow="ellipsis")
        title.append("● ", style=colour)
        title.append(name, style="bold")
        if len(name) + len(operation_id) + len(ending) + 8 <= width:
            title.append(f"  {operation_id}", style="dim")
        return _beside(title, ending)

    def _now(self, progress: Progress, wide: bool) -> RenderableType:
        if self._heard.status is not OperationStatus.RUNNING:
            return Text("  " + printable(progress.message), style="dim", no_wrap=True, overflow="ellipsis")
        step = Text(no_wrap=True, overflow="ellipsis")
        step.append("▸ ", style="cyan")
        step.append(printable(progress.message), style="bold")
        pace = Text()
        if wide and self._heard.rate is not None:
            pace.append(_rate(*self._heard.rate), style="dim")
        if progress.estimated_remaining_seconds is not None:
            left = f"{seconds_text(progress.estimated_remaining_seconds)} left"
            pace.append(f"  {left}" if pace else left, style="magenta")
        return _beside(step, pace)

    def _training(self, width: int) -> Text:
        figures = Text()
        for name, value in self._heard.metrics.items():
            figures.append(f"  {printable(name).replace('_', ' ')} ", style="dim")
            figures.append(f"{value:.4g}")
        line = Text(no_wrap=True, overflow="ellipsis")
        if width >= _NARROW:
            room = min(max(width - figures.cell_len - 2, _FEWEST_LOSSES), _MOST_LOSSES)
            line.append("  ")
            line.append(sparkline(self._heard.losses[-room:]), style="yellow")
        line.append_text(figures)
        return line


def sparkline(values: Sequence[float]) -> str:
    """The values as blocks, the largest the highest; one that is no number is a blank.

    >>> sparkline([3.0, 2.0, 1.0])
    '█▅▁'
    """
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return ""
    low, span = min(finite), (max(finite) - min(finite)) or 1.0
    top = len(_BLOCKS) - 1
    return "".join(
        _BLOCKS[round((value - low) / span * top)] if math.isfinite(value) else " " for value in values
    )


def _rows(progress: Progress) -> list[tuple[str, int, int]]:
    """(phase, finished, planned) of the phases that have units; one alone is the whole, so it needs no bar."""
    rows = [(phase, *counts) for phase, counts in progress.phases.items() if counts[1]]
    return rows if len(rows) > 1 else []


def _bars(rows: Sequence[tuple[str, int, int]], progress: Progress, wide: bool) -> Table:
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(no_wrap=True, overflow="ellipsis", min_width=_WORD if wide else None)
    if wide:
        table.add_column(ratio=1)
    table.add_column(justify="right", no_wrap=True)
    for phase, finished, planned in rows:
        done = finished >= planned
        colour = "green" if done else "cyan"
        name = Text(f"  {sentence(printable(phase))}", style="bold" if phase == progress.phase else "")
        count = Text(f"{finished}/{planned}", style="green" if done else "")
        bar = ProgressBar(total=planned, completed=finished, complete_style=colour, finished_style=colour)
        table.add_row(name, *([bar] if wide else []), count)
    whole = ProgressBar(
        total=100, completed=progress.percentage, complete_style="magenta", finished_style="green"
    )
    label = Text("  All" if rows else "  Progress", style="bold")
    percent = Text(f"{progress.percentage:.1f} %", style="bold")
    table.add_row(label, *([whole] if wide else []), percent)
    return table


def _step(step: Step) -> Text:
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append("  ")
    line.append("✓ " if step.well else "✗ ", style="green" if step.well else "red")
    line.append(f"{seconds_text(step.seconds):>9}  {printable(step.what)}", style="dim")
    return line


def _beside(left: Text, right: Text) -> Table:
    """The right text whole, the left one shortened to what is left of the line."""
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column(no_wrap=True, justify="right")
    table.add_row(left, right)
    return table


def _rate(per_second: float, counted: str) -> str:
    unit = printable(counted)
    if per_second >= 10:
        return f"{per_second:.0f} {unit}/s"
    if per_second >= 0.5:
        return f"{per_second:.1f} {unit}/s"
    return f"{seconds_text(1 / per_second)}/{unit}"

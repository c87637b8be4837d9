"""The picture of an operation: phase bars, the current step, rate and remaining time, losses, the last steps."""

import math
from collections.abc import Iterator, Sequence

from rich.console import Console, ConsoleOptions
from rich.text import Text

from ktrdr_otel import semconv
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
_WORD = 15  # columns of the first column
_LEAST_ROOM = 8  # columns that a text on the left must have, or the right one is left out


class Picture:
    """Drawn to fit the console's width, and its height where it has one.

    Lines of text alone, without tables, which Rich measures and lays out anew for every frame: frames are drawn
    in the observed process.
    """

    def __init__(self, heard: Heard) -> None:
        self._heard = heard

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        lines = list(self._lines(options.max_width))
        last = self._heard.last
        room = len(last) + 1
        if console.is_terminal:
            room = min(room, console.size.height - len(lines) - 1)
        if last and room > 1:
            lines.append(Text())
            lines.extend(_step(step) for step in last[-(room - 1) :])
        yield from lines

    def _lines(self, width: int) -> Iterator[Text]:
        heard, progress = self._heard, self._heard.progress
        yield self._head(width)
        if progress is not None:
            yield from _bars(progress, width)
            yield self._now(progress, width)
            if heard.metrics:
                yield self._training(width)
        if heard.stands is not None and heard.status is OperationStatus.RUNNING:
            yield Text(printable(heard.stands), style="red", overflow="fold")
        if heard.error is not None:
            where = f" in {heard.error.step}" if heard.error.step else ""
            text = printable(f"{heard.error.type}{where}: {heard.error.message}")
            yield Text(text, style="red", overflow="fold")

    def _head(self, width: int) -> Text:
        heard = self._heard
        colour = COLOURS[heard.status]
        stands = heard.status.value
        if heard.status is OperationStatus.RUNNING and heard.stalled_seconds is not None:
            stands, colour = f"stalled {_whole_seconds(heard.stalled_seconds)}", "red"
        ending = Text.assemble((stands, colour), f"  {seconds_text(heard.elapsed_seconds)}")
        title = Text.assemble(("● ", colour), (printable(heard.name), "bold"))
        operation_id = f"  {printable(heard.operation_id)}"
        if title.cell_len + len(operation_id) + ending.cell_len + 2 <= width:
            title.append(operation_id, style="dim")
        return _beside(title, ending, width)

    def _now(self, progress: Progress, width: int) -> Text:
        if self._heard.status is not OperationStatus.RUNNING:
            return Text(f"  {printable(progress.message)}", style="dim", no_wrap=True, overflow="ellipsis")
        step = Text.assemble(("▸ ", "cyan"), (printable(progress.message), "bold"))
        if progress.context.get("progress_type") == semconv.HOLD:
            # Neither what is left of other work nor its rate says anything of a wait.
            held = self._heard.held
            told = "" if held is None else f"{_whole_seconds(held[0])} of {_whole_seconds(held[1])}"
            return _beside(step, Text(told, style="magenta"), width)
        pace = Text()
        if width >= _NARROW and self._heard.rate is not None:
            pace.append(_rate(*self._heard.rate), style="dim")
        if progress.estimated_remaining_seconds is not None:
            left = f"{seconds_text(progress.estimated_remaining_seconds)} left"
            pace.append(f"  {left}" if pace else left, style="magenta")
        return _beside(step, pace, width)

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


def _bars(progress: Progress, width: int) -> Iterator[Text]:
    """A bar for each phase that has units, and one for the whole; one phase alone is the whole."""
    rows = [(phase, *counts) for phase, counts in progress.phases.items() if counts[1]]
    if len(rows) < 2:
        rows = []
    for phase, finished, planned in rows:
        colour = "green" if finished >= planned else "cyan"
        style = "bold" if phase == progress.phase else ""
        yield _bar(
            sentence(printable(phase)), style, finished / planned, colour, f"{finished}/{planned}", width
        )
    colour = "green" if progress.percentage >= 100 else "magenta"
    share, shown = progress.percentage / 100, f"{progress.percentage:.1f} %"
    yield _bar("All" if rows else "Progress", "bold", share, colour, shown, width)


def _bar(name: str, style: str, share: float, colour: str, shown: str, width: int) -> Text:
    label, count = Text(f"  {name}", style=style), Text(f" {shown:>7}", style="bold")
    if width < _NARROW:
        return _beside(label, count, width)
    label.truncate(_WORD, overflow="ellipsis", pad=True)
    cells = width - _WORD - 1 - count.cell_len
    halves = round(min(max(share, 0.0), 1.0) * cells * 2)
    done = "━" * (halves // 2) + "╸" * (halves % 2)
    # A thin line is what is left, so that the two differ where there are no colours.
    return Text.assemble(label, " ", (done, colour), ("─" * (cells - len(done)), "bright_black"), count)


def _step(step: Step) -> Text:
    line = Text(no_wrap=True, overflow="ellipsis")
    line.append("  ")
    line.append("✓ " if step.well else "✗ ", style="green" if step.well else "red")
    line.append(f"{seconds_text(step.seconds):>9}  {printable(step.what)}", style="dim")
    return line


def _beside(left: Text, right: Text, width: int) -> Text:
    """The right text whole, the left one shortened to what is left of the line."""
    room = width - right.cell_len - 1
    if room < _LEAST_ROOM:
        left.no_wrap, left.overflow = True, "ellipsis"
        return left
    left.truncate(room, overflow="ellipsis", pad=True)
    return Text.assemble(left, " ", right)


def _whole_seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 119.5 else seconds_text(seconds)


def _rate(per_second: float, counted: str) -> str:
    unit = printable(counted)
    if per_second >= 10:
        return f"{per_second:.0f} {unit}/s"
    if per_second >= 0.5:
        return f"{per_second:.1f} {unit}/s"
    return f"{seconds_text(1 / per_second)}/{unit}"

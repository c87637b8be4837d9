"""Tables for people; names from outside are text, whatever they contain."""

import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ktrdr_otel.display.base import printable, seconds_text
from ktrdr_otel.display.picture import COLOURS
from ktrdr_otel.operations.models import Checkpoint, Operation, OperationStatus
from ktrdr_otel.operations.sentence import sentence_of

_UNCUT = 100_000  # columns, where a program reads: it gets every name whole
_NARROW = 110
_LONGEST_ID = 40
_LONGEST_NAME = 24


def operations_table(found: Sequence[Operation]) -> None:
    """One line per operation, cut to the width of the terminal; in a pipe nothing is cut."""
    console = _console()
    roomy = console.width >= _NARROW
    table = _table(console)
    table.add_column("operation", no_wrap=True, max_width=_LONGEST_ID if console.is_terminal else None)
    table.add_column("status", no_wrap=True)
    table.add_column("%", justify="right", no_wrap=True)
    if roomy:
        table.add_column("started (UTC)", no_wrap=True)
    table.add_column("took", no_wrap=True, justify="right")
    if roomy:
        table.add_column("name", no_wrap=True, max_width=_LONGEST_NAME if console.is_terminal else None)
    _add_text_column(table, "at")
    now = datetime.now(UTC)
    for operation in found:
        took = (operation.ended_at or now) - operation.started_at
        started = f"{operation.started_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
        table.add_row(
            Text(printable(operation.operation_id)),
            _state(operation),
            f"{operation.percentage:.1f}",
            *([started] if roomy else []),
            seconds_text(max(took.total_seconds(), 0.0)),
            *([Text(printable(operation.name))] if roomy else []),
            Text(printable(_at(operation, now))),
        )
    console.print(table)


def checkpoints_table(found: Sequence[Checkpoint]) -> None:
    """One line per checkpoint, with its metrics or what broke it."""
    console = _console()
    table = _table(console)
    for name in ("sequence", "status", "took", "symbol", "timeframe"):
        table.add_column(name, no_wrap=True, justify="right" if name in ("sequence", "took") else "left")
    _add_text_column(table, "checkpoint")
    for checkpoint in found:
        ended = checkpoint.ended_at
        took = "" if ended is None else seconds_text((ended - checkpoint.started_at).total_seconds())
        table.add_row(
            str(checkpoint.sequence),
            Text(checkpoint.status.value, style=COLOURS[OperationStatus(checkpoint.status.value)]),
            took,
            Text(printable(checkpoint.symbol or "")),
            Text(printable(checkpoint.timeframe or "")),
            Text(printable(_what(checkpoint))),
        )
    console.print(table)


def _console() -> Console:
    return Console() if sys.stdout.isatty() else Console(width=_UNCUT)


def _table(console: Console) -> Table:
    return Table(box=None, pad_edge=False, header_style="dim", expand=console.is_terminal)


def _add_text_column(table: Table, name: str) -> None:
    table.add_column(name, no_wrap=True, overflow="ellipsis", ratio=1 if table.expand else None)


def _state(operation: Operation) -> Text:
    condition = _condition(operation)
    if condition is not None:
        return Text(condition, style="yellow")
    return Text(operation.status.value, style=COLOURS[operation.status])


def _at(operation: Operation, now: datetime) -> str:
    """Where it is; of one that stands still also since when, and what its process does meanwhile."""
    return operation.message if _condition(operation) is None else sentence_of(operation, now)


def _condition(operation: Operation) -> str | None:
    if operation.status is not OperationStatus.RUNNING:
        return None
    return next((each for each in ("suspended", "stalled", "slow") if getattr(operation, each)), None)


def _what(checkpoint: Checkpoint) -> str:
    parts = [checkpoint.name]
    if checkpoint.item_index is not None:
        parts.append(f"({checkpoint.item_index}/{checkpoint.item_total or '?'})")
    parts.extend(f" {name} {value:.4g}" for name, value in checkpoint.metrics.items())
    if checkpoint.error is not None:
        parts.append(f" {checkpoint.error.type}: {checkpoint.error.message}")
    return " ".join(parts)

"""Tables for people; names from outside are text, whatever they contain."""

from collections.abc import Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ktrdr_otel.display.base import printable, seconds_text
from ktrdr_otel.operations.models import Checkpoint, Operation, OperationStatus

_COLOURS = {
    OperationStatus.RUNNING: "cyan",
    OperationStatus.COMPLETED: "green",
    OperationStatus.FAILED: "red",
    OperationStatus.CANCELLED: "yellow",
    OperationStatus.LOST: "red",
}


def operations_table(found: Sequence[Operation]) -> None:
    """One line per operation."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("operation", no_wrap=True)
    table.add_column("status", no_wrap=True)
    table.add_column("%", justify="right", no_wrap=True)
    table.add_column("started (UTC)", no_wrap=True)
    table.add_column("took", no_wrap=True, justify="right")
    table.add_column("at", no_wrap=True, overflow="ellipsis", ratio=1)
    now = datetime.now(UTC)
    for operation in found:
        took = (operation.ended_at or now) - operation.started_at
        table.add_row(
            Text(operation.operation_id),
            Text(operation.status.value, style=_COLOURS.get(operation.status, "")),
            f"{operation.percentage:.1f}",
            f"{operation.started_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}",
            seconds_text(max(took.total_seconds(), 0.0)),
            Text(printable(operation.message)),
        )
    Console().print(table)


def checkpoints_table(found: Sequence[Checkpoint]) -> None:
    """One line per checkpoint."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("sequence", "status", "took", "symbol", "timeframe"):
        table.add_column(name, no_wrap=True, justify="right" if name in ("sequence", "took") else "left")
    table.add_column("checkpoint", no_wrap=True, overflow="ellipsis", ratio=1)
    for checkpoint in found:
        ended = checkpoint.ended_at
        took = "" if ended is None else seconds_text((ended - checkpoint.started_at).total_seconds())
        table.add_row(
            str(checkpoint.sequence),
            checkpoint.status.value,
            took,
            Text(printable(checkpoint.symbol or "")),
            Text(printable(checkpoint.timeframe or "")),
            Text(printable(_what(checkpoint))),
        )
    Console().print(table)


def _what(checkpoint: Checkpoint) -> str:
    if checkpoint.item_index is None:
        return checkpoint.name
    return f"{checkpoint.name} ({checkpoint.item_index}/{checkpoint.item_total or '?'})"

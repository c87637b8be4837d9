"""`ktrdr-otel trace`: the trace of an operation in the terminal, as OTLP JSON, or where else it can be seen."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Final

import typer

from ktrdr_otel.cli.output import Database, Url, fail, operations_of, print_json, told
from ktrdr_otel.operations.models import Checkpoint, CheckpointStatus
from ktrdr_otel.operations.trace import Node, otlp_json, tree_of

trace = typer.Typer(
    help="The trace of an operation, from the store.", no_args_is_help=True, rich_markup_mode=None
)

OperationId = Annotated[str, typer.Argument(metavar="ID")]

_MOST: Final = 1_000_000
_MARKS: Final = {
    CheckpointStatus.RUNNING: "…",
    CheckpointStatus.COMPLETED: "✓",
    CheckpointStatus.FAILED: "✗",
    CheckpointStatus.CANCELLED: "-",
    CheckpointStatus.LOST: "?",
}


@trace.command(short_help="Show the tree of spans and its slowest path.")
def show(
    operation_id: OperationId,
    database: Database = None,
    url: Url = None,
    widest: Annotated[int, typer.Option("--widest", min=1, help="Children shown per span: the slowest.")] = 8,
) -> None:
    """Show the tree of spans with durations and states; the slowest path is marked with >."""
    with operations_of(database, url) as opened:
        opened.get(operation_id)
        found = opened.checkpoints(operation_id, limit=_MOST)
    now = datetime.now(UTC)
    if not found:
        typer.echo(f"operation {operation_id} has no spans in {opened.describe()}")
    for root in tree_of(found):
        slowest = {id(node) for node in root.slowest_path(now)}
        for line in _lines([root], 0, widest, slowest, now):
            typer.echo(line)


@trace.command(short_help="Print the trace as OTLP JSON.")
def export(operation_id: OperationId, database: Database = None, url: Url = None) -> None:
    """Print the trace as OTLP JSON, which collectors and Jaeger's page take.

    It has what the store keeps of each span: no links, no events of your own. With --url its resource is the
    operation's id alone: a server does not tell the rest.
    """
    with operations_of(database, url) as opened:
        operation = opened.get(operation_id)
        found = opened.checkpoints(operation_id, limit=_MOST)
        form = otlp_json(operation, found, opened.logs(operation_id), opened.trace_export(operation_id))
    print_json(form)


@trace.command("open", short_help="Print the address of the trace.")
def open_trace(operation_id: OperationId, database: Database = None, url: Url = None) -> None:
    """Print the address of the trace, by the template in KTRDR_OTEL_TRACE_URL."""
    from ktrdr_otel.server.settings import load_server_settings

    with told():
        settings = load_server_settings(host="127.0.0.1")
    with operations_of(database, url) as opened:
        address = settings.links(opened.get(operation_id))["trace"]
    if address is None:
        fail("KTRDR_OTEL_TRACE_URL is not set", hint="such as http://localhost:16686/trace/{trace_id}")
    typer.echo(address)


def _lines(nodes: Sequence[Node], depth: int, widest: int, slowest: set[int], now: datetime) -> Iterator[str]:
    from ktrdr_otel.display.base import printable, seconds_text

    kept = sorted(nodes, key=lambda node: node.seconds(now), reverse=True)[:widest]
    shown = {id(node) for node in kept}
    for node in nodes:
        if id(node) not in shown:
            continue
        checkpoint = node.checkpoint
        mark = ">" if id(node) in slowest else " "
        why = "" if checkpoint.error is None else f"  {checkpoint.error.type}: {checkpoint.error.message}"
        text = printable(f"{_name(checkpoint)}{why}")
        took = seconds_text(node.seconds(now))
        yield f"{mark} {took:>11}  {'  ' * depth}{_MARKS[checkpoint.status]} {text}"
        yield from _lines(node.children, depth + 1, widest, slowest, now)
    if hidden := len(nodes) - len(kept):
        rest = sum(node.seconds(now) for node in nodes if id(node) not in shown)
        yield f"  {seconds_text(rest):>11}  {'  ' * depth}  and {hidden} more"


def _name(checkpoint: Checkpoint) -> str:
    if checkpoint.item_index is not None and (checkpoint.item_name or "") not in checkpoint.name:
        return f"{checkpoint.name} {checkpoint.item_name or ''} ({checkpoint.item_index})"
    if checkpoint.item_name is None and checkpoint.item_index is not None:
        return f"{checkpoint.name} ({checkpoint.item_index})"
    return checkpoint.name

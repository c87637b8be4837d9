"""`ktrdr-otel operations`: what runs, what ran, and stopping it."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand
from typer.exceptions import TyperException

from ktrdr_otel.cli.output import AsJson, Database, Url, fail, operations_of, print_json
from ktrdr_otel.operations.models import Operation, OperationStatus

operations = typer.Typer(
    help="What runs, what ran, and stopping it.", no_args_is_help=True, rich_markup_mode=None
)

UNKNOWN: Final = 3  # exit code of `check` where nobody can say how the operation stands

OperationId = Annotated[str, typer.Argument(metavar="ID")]


@operations.command("list")
def list_operations(
    database: Database = None,
    url: Url = None,
    as_json: AsJson = False,
    status: Annotated[
        OperationStatus | None, typer.Option("--status", help="Only those of this status.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=10_000)] = 50,
) -> None:
    """List operations, the newest first."""
    from ktrdr_otel.operations.json_form import operation_json

    with operations_of(database, url) as opened:
        found = opened.list(status=status, limit=limit)
        if as_json:
            print_json([operation_json(operation) for operation in found])
        elif not found:
            typer.echo(f"no operations in {opened.describe()}")
        else:
            from ktrdr_otel.cli.tables import operations_table

            operations_table(found)


@operations.command()
def show(
    operation_id: OperationId, database: Database = None, url: Url = None, as_json: AsJson = False
) -> None:
    """Show one operation: where it is, how it ended, and why."""
    from ktrdr_otel.operations.json_form import operation_json

    with operations_of(database, url) as opened:
        operation = opened.get(operation_id)
        if as_json:
            print_json(operation_json(operation))
            return
        from ktrdr_otel.cli.command import command
        from ktrdr_otel.cli.facts import NEWEST_LOGS, facts, next_command
        from ktrdr_otel.display.base import printable

        samples = opened.samples(operation_id)
        logs = opened.logs(operation_id, newest=NEWEST_LOGS)
        for name, value in facts(operation, samples, logs, datetime.now(UTC)):
            typer.echo(f"{name:<14}{printable(value)}")
        following = command(
            f"operations {next_command(operation, logs)}", operation_id, database=database, url=url
        )
        typer.echo(f"{'next':<14}{printable(following)}")


@operations.command(short_help="List the last records that the program logged.")
def logs(
    operation_id: OperationId, database: Database = None, url: Url = None, as_json: AsJson = False
) -> None:
    """List the last 200 records that the program has logged, with the step of each."""
    from ktrdr_otel.operations.json_form import log_line_json

    with operations_of(database, url) as opened:
        found = opened.logs(operation_id)
    if as_json:
        print_json([log_line_json(line) for line in found])
    elif not found:
        typer.echo(f"operation {operation_id} has logged nothing")
    else:
        from ktrdr_otel.cli.facts import log_text
        from ktrdr_otel.display.base import printable

        for line in found:
            typer.echo(printable(log_text(line)))


@operations.command(short_help="List the checkpoints, as they changed.")
def checkpoints(
    operation_id: OperationId,
    database: Database = None,
    url: Url = None,
    as_json: AsJson = False,
    after: Annotated[int, typer.Option("--after", min=0, help="Only those of a higher sequence.")] = 0,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1_000_000)] = 100_000,
) -> None:
    """List the checkpoints of an operation, in the order in which they changed."""
    from ktrdr_otel.operations.json_form import checkpoint_json

    with operations_of(database, url) as opened:
        found = opened.checkpoints(operation_id, after=after, limit=limit)
        if as_json:
            print_json([checkpoint_json(checkpoint) for checkpoint in found])
        elif not found:
            typer.echo(f"operation {operation_id} has no checkpoints" + (f" after {after}" if after else ""))
        else:
            from ktrdr_otel.cli.tables import checkpoints_table

            checkpoints_table(found)


@operations.command()
def cancel(
    operation_id: OperationId,
    database: Database = None,
    url: Url = None,
    as_json: AsJson = False,
    reason: Annotated[str, typer.Option("--reason")] = "Cancelled from the command line",
) -> None:
    """Ask an operation to stop at its next step."""
    with operations_of(database, url) as opened:
        asked = opened.request_cancel(operation_id, reason)
        if as_json:
            print_json({"operation_id": operation_id, "cancel_requested": True, "reason": asked})
        else:
            typer.echo(f"operation {operation_id} stops at its next step")


class Probe(TyperCommand):
    """A command whose exit code says how an operation stands: wrong arguments are none of these."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        """The arguments that are left."""
        try:
            return super().parse_args(ctx, args)
        except TyperException as error:
            error.exit_code = UNKNOWN
            raise


@operations.command(cls=Probe, short_help="Say how one stands, with an exit code for probes.")
def check(
    operation_id: OperationId, database: Database = None, url: Url = None, as_json: AsJson = False
) -> None:
    """Say how an operation stands: for systemd, Kubernetes and cron.

    Exit code 0 while it moves, is suspended, has completed or was cancelled, 1 when it is stalled, 2 when it has failed
    or is lost; 3 when nobody can say: there is no such operation, the store or server does not answer, wrong arguments.
    """
    from ktrdr_otel.operations.sentence import sentence_of

    with operations_of(database, url, code=UNKNOWN) as opened:
        operation = opened.get(operation_id)
    said = sentence_of(operation, datetime.now(UTC))
    if as_json:
        print_json({"operation_id": operation_id, "status": operation.status.value, "sentence": said})
    else:
        from ktrdr_otel.display.base import printable

        typer.echo(printable(said))
    raise typer.Exit(_code(operation))


def _code(operation: Operation) -> int:
    if operation.status in (OperationStatus.FAILED, OperationStatus.LOST):
        return 2
    return 1 if operation.stalled and not operation.suspended else 0


@operations.command(short_help="Print the stacks of one that runs, now.")
def stack(operation_id: OperationId, database: Database = None, url: Url = None) -> None:
    """Print the stacks of all threads of a running operation now, on this machine or on the server's."""
    from ktrdr_otel.display.base import printable

    with operations_of(database, url) as opened:
        taken = opened.stack(operation_id)
    if not taken.is_there:
        fail(taken.text)
    for line in taken.text.splitlines():
        typer.echo(printable(line))


@operations.command(short_help="Follow one to its end.")
def watch(
    operation_id: Annotated[str | None, typer.Argument(metavar="ID")] = None,
    database: Database = None,
    url: Url = None,
    as_json: AsJson = False,
    plain: Annotated[bool, typer.Option("--plain", help="Plain lines, also on a terminal.")] = False,
) -> None:
    """Follow an operation to its end, as `train` shows it; without ID the newest that runs. Ctrl-C leaves it alone.

    Exit code 0 when it has completed, else 1.
    """
    from ktrdr_otel.cli import watch as watching

    with operations_of(database, url) as opened:
        try:
            if as_json:
                status = watching.watch_as_json(opened, operation_id)
            else:
                status = watching.watch(opened, operation_id, "plain" if plain else "live")
        except KeyboardInterrupt:
            raise typer.Exit(130) from None
    raise typer.Exit(0 if status is OperationStatus.COMPLETED else 1)

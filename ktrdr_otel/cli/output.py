"""What all commands share: errors in one line, JSON, and the store that they read."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, Protocol

import typer

from ktrdr_otel import beside
from ktrdr_otel.context import KEPT_LOGS
from ktrdr_otel.display.base import printable
from ktrdr_otel.display.strict_json import strict_json
from ktrdr_otel.errors import KtrdrOtelError, StoreError
from ktrdr_otel.operations.logs import LogLine
from ktrdr_otel.operations.models import Checkpoint, Operation, OperationStatus
from ktrdr_otel.operations.samples import Sample
from ktrdr_otel.operations.trace_export import TraceExport

if TYPE_CHECKING:
    from ktrdr_otel.operations.service import OperationsService
    from ktrdr_otel.operations.stack import StackTaken

USAGE = 2  # exit code of what a user can mend
CANCELLED = 130  # as a shell says of a program that Ctrl-C has ended

Database = Annotated[str | None, typer.Option("--database", help="SQLAlchemy URL or SQLite file.")]
Url = Annotated[
    str | None, typer.Option("--url", help="A server instead of a store; its token is KTRDR_OTEL_TOKEN.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def say_error(what: str, *, hint: str | None = None) -> None:
    """One line on stderr."""
    typer.echo(f"error: {printable(what)}{f'; {hint}' if hint else ''}", err=True)


def fail(what: str, *, hint: str | None = None, code: int = USAGE) -> NoReturn:
    """The program ends with one line on stderr."""
    say_error(what, hint=hint)
    raise typer.Exit(code)


@contextmanager
def told(code: int = USAGE) -> Iterator[None]:
    """Errors that a user can mend are one line on stderr, and that exit code."""
    try:
        yield
    except KtrdrOtelError as error:
        fail(str(error), code=code)


class Operations(Protocol):
    """Operations to look at: those of a store, or of a server."""

    def list(self, *, status: OperationStatus | None = None, limit: int = 50) -> Sequence[Operation]:
        """Operations, the newest first."""
        ...

    def get(self, operation_id: str) -> Operation:
        """The operation; raises `UnknownOperationError`."""
        ...

    def checkpoints(self, operation_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[Checkpoint]:
        """Checkpoints of a higher sequence than `after`, in order."""
        ...

    def logs(self, operation_id: str, *, newest: int = KEPT_LOGS) -> Sequence[LogLine]:
        """So many of its last log records, in order."""
        ...

    def trace_export(self, operation_id: str) -> TraceExport | None:
        """How its trace is exported; None where it is not, or where that is not told."""
        ...

    def samples(self, operation_id: str) -> Sequence[Sample]:
        """What its process used, in order, the newest as it was."""
        ...

    def stack(self, operation_id: str) -> "StackTaken":
        """All threads of the operation's process, taken now, or why there are none."""
        ...

    def request_cancel(self, operation_id: str, reason: str = "Operation cancelled") -> str:
        """The operation will stop at its next checkpoint, for the reason that was given first, which is returned."""
        ...

    def follow(self, operation_id: str) -> Iterator[Checkpoint | Operation]:
        """Each finished step from the first on, and each new state, to the end."""
        ...

    def describe(self) -> str:
        """Where they are, for people."""
        ...


@contextmanager
def operations_of(database: str | None, url: str | None, *, code: int = USAGE) -> Iterator[Operations]:
    """The operations of that server, else of that store, else of the store that the environment names.

    Where there are none, the program ends with that code.
    """
    if url is None:
        _must_exist(database, code)
        with service(database, code=code) as opened:
            with suppress(StoreError):  # a store that may only be read is looked at all the same
                opened.reap()
                if opened.traces.owed():
                    beside.start("ktrdr_otel.closing", {"database": opened.database_url})
            yield opened
        return
    if database is not None:
        fail("--url and --database exclude each other", code=code)
    try:
        from ktrdr_otel.cli.remote import RemoteOperations
    except ModuleNotFoundError as error:
        hint = "pip install 'ktrdr-otel[server]'"
        fail(f"--url needs {error.name}, which is not installed", hint=hint, code=code)
    if not url.startswith(("http://", "https://")):
        fail(f"--url {url}: a server's URL begins with http:// or https://", code=code)
    remote = RemoteOperations(url, os.environ.get("KTRDR_OTEL_TOKEN") or None)
    try:
        with told(code):
            yield remote
    finally:
        remote.close()


def _must_exist(database: str | None, code: int) -> None:
    """To look at a store that was named and is not there would make one."""
    if database is not None and "://" not in database and not Path(database).expanduser().is_file():
        what = "is a folder" if Path(database).expanduser().is_dir() else "there is no such file"
        fail(f"{database}: {what}", code=code)


@contextmanager
def service(database: str | None, *, code: int = USAGE) -> "Iterator[OperationsService]":
    """The service of that store, else of the one that the environment names."""
    # Heavy: loaded by the command that needs it, so that `--help` answers at once.
    from ktrdr_otel.runtime import open_service
    from ktrdr_otel.settings import load_settings

    with told(code):
        opened = open_service(load_settings(database=database))
        try:
            yield opened
        finally:
            opened.close()


def print_json(form: Any) -> None:
    """The form as JSON, indented for a person on a terminal, on one line for a program."""
    if sys.stdout.isatty():
        typer.echo(strict_json(form, indent=2, encoding=sys.stdout.encoding))
    else:
        typer.echo(strict_json(form))

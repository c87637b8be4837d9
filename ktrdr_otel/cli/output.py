"""What all commands share: errors in one line, JSON, and the store that they read."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from ktrdr_otel.display.base import printable
from ktrdr_otel.display.strict_json import strict_json
from ktrdr_otel.errors import KtrdrOtelError

if TYPE_CHECKING:
    from ktrdr_otel.operations.service import OperationsService

USAGE = 2  # exit code of what a user can mend

Database = Annotated[str | None, typer.Option("--database", help="SQLAlchemy URL or SQLite file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def say_error(what: str, *, hint: str | None = None) -> None:
    """One line on stderr."""
    typer.echo(f"error: {printable(what)}{f'; {hint}' if hint else ''}", err=True)


def fail(what: str, *, hint: str | None = None, code: int = USAGE) -> NoReturn:
    """The program ends with one line on stderr."""
    say_error(what, hint=hint)
    raise typer.Exit(code)


@contextmanager
def told() -> Iterator[None]:
    """Errors that a user can mend are one line on stderr and exit code 2."""
    try:
        yield
    except KtrdrOtelError as error:
        fail(str(error))


@contextmanager
def service(database: str | None) -> "Iterator[OperationsService]":
    """The service of that store, else of the one that the environment names."""
    # Heavy: loaded by the command that needs it, so that `--help` answers at once.
    from ktrdr_otel.settings import load_settings
    from ktrdr_otel.wiring import open_service

    with told():
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

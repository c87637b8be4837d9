"""What all commands share: errors in one line, JSON, and the store that they read."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import typer

from ktrdr_otel.errors import KtrdrOtelError
from ktrdr_otel.operations.service import OperationsService
from ktrdr_otel.settings import load_settings

USAGE = 2  # exit code of what a user can mend


def fail(what: str, *, hint: str | None = None, code: int = USAGE) -> NoReturn:
    """The program ends with one line on stderr."""
    typer.echo(f"error: {what}{f'; {hint}' if hint else ''}", err=True)
    raise typer.Exit(code)


@contextmanager
def told() -> Iterator[None]:
    """Errors that a user can mend are one line on stderr and exit code 2."""
    try:
        yield
    except KtrdrOtelError as error:
        fail(str(error))


@contextmanager
def service(database: str | None) -> Iterator[OperationsService]:
    """The service of that store, else of the one that the environment names."""
    from ktrdr_otel.wiring import open_service

    with told():
        opened = open_service(load_settings(database=database))
        try:
            yield opened
        finally:
            opened.close()


def print_json(form: Any) -> None:
    """The form as JSON, indented for a person on a terminal, on one line for a program."""
    indent = 2 if sys.stdout.isatty() else None
    typer.echo(json.dumps(form, indent=indent, ensure_ascii=False))

"""Commands for people to type next, as they can type them here."""

import shlex
import shutil
import sys
from pathlib import Path
from typing import Final

_PROGRAM: Final = "ktrdr-otel"


def command(words: str, *arguments: str, database: str | None = None, url: str | None = None) -> str:
    """The program as it was called, the words, the store or server if one was given, and the arguments, quoted.

    >>> command("operations show", "nightly 2", database="runs/operations.db")
    "ktrdr-otel operations show --database runs/operations.db 'nightly 2'"
    """
    given = [
        *(["--database", shlex.quote(database)] if database else []),
        *(["--url", shlex.quote(url)] if url else []),
    ]
    # What begins like an option has to come after all options.
    marked = ["--"] if any(argument.startswith("-") for argument in arguments) else []
    return " ".join([_program(), words, *given, *marked, *(shlex.quote(each) for each in arguments)])


def _program() -> str:
    """By its name if a shell finds it so, else by the path under which it was started."""
    called = Path(sys.argv[0])
    if called.name != _PROGRAM or shutil.which(_PROGRAM) is not None:
        return _PROGRAM
    try:
        return shlex.quote(str(called.relative_to(Path.cwd()) if called.is_absolute() else called))
    except (FileNotFoundError, ValueError):
        return shlex.quote(str(called))

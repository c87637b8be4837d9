"""What pydantic finds wrong, as one line with the place in the file and the nearest name."""

import difflib
import reprlib
from collections.abc import Iterable

from pydantic import ValidationError

from pipeline.errors import InputError

# Steps of pydantic's own in a place: which member of a union it tried, that it meant the key.
_NOT_IN_THE_FILE = ("literal[", "list[", "function-", "[key]")


def as_input_error(error: ValidationError, *, prefix: str = "", known: Iterable[str] = ()) -> InputError:
    """The first fault; `prefix` is where the validated part lies, `known` are the names that it may have."""
    fault = error.errors()[0]
    given = fault["input"]
    steps = [_one_line(step) for step in fault["loc"] if not str(step).startswith(_NOT_IN_THE_FILE)]
    where = ".".join(part for part in (prefix, *steps) if part)
    if fault["type"] == "missing":
        near = difflib.get_close_matches(steps[-1], map(str, given), n=1) if isinstance(given, dict) else []
        return InputError("is missing", where=where, hint=f"is it {near[0]}?" if near else None)
    if fault["type"] == "extra_forbidden":
        return InputError(f"unknown parameter {steps[-1]!r}", where=where, hint=nearest(steps[-1], known))
    if fault["type"] == "value_error":
        return InputError(fault["msg"].removeprefix("Value error, "), where=where)
    hint = "YAML reads on, off, yes and no as true and false: put it in quotes"
    message = fault["msg"].partition(" or instance of")[0].replace("dictionary", "mapping")
    return InputError(
        f"{message[:1].lower()}{message[1:]}, not {reprlib.repr(given)}",
        where=where,
        hint=hint if isinstance(given, bool) and fault["type"] == "string_type" else None,
    )


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint: the known name that is most like this one, else all of them."""
    names = list(known)
    near = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(names) or 'none'}"


def _one_line(step: int | str) -> str:
    return str(step) if str(step).isprintable() else ascii(step)

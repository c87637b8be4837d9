"""Which file holds what: `<SYMBOL>_<timeframe>.csv` or `.parquet` in one flat folder."""

import re
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import InputError
from pipeline.timeframes import Timeframe

SUFFIXES = (".csv", ".parquet")
_NAME = re.compile(r"[A-Za-z0-9^][A-Za-z0-9^.=&_-]*")
_LISTED = 8


@dataclass(frozen=True, order=True)
class BarFile:
    """A file of bars and what its name says about it."""

    symbol: str
    timeframe: Timeframe
    path: Path


def check_name(name: str, kind: str) -> str:
    """The name, safe to be part of a file name; raises InputError for one that could leave the folder."""
    if "/" in name:
        raise InputError(
            f"{kind} {name!r} cannot be a file name",
            hint=f"write it without the slash: {name.replace('/', '')}",
        )
    if not _NAME.fullmatch(name) or ".." in name:
        raise InputError(f"{kind} {name!r} cannot be a file name", hint="use letters, digits and . ^ = & _ -")
    return name


def check_folder_exists(folder: Path) -> None:
    """Nothing happens if the folder is one; raises InputError if it is missing or something else."""
    if not folder.exists():
        raise InputError(
            "no such folder", source=folder, hint="`ktrdr-otel data samples DIR` writes bars to begin with"
        )
    if not folder.is_dir():
        raise InputError("not a folder", source=folder)


def bar_files(folder: Path) -> tuple[BarFile, ...]:
    """The files in the folder whose names are those of bars, by symbol, then from short to long timeframe."""
    check_folder_exists(folder)
    found = []
    for path in folder.iterdir():
        symbol, _, timeframe = path.stem.rpartition("_")
        if path.suffix not in SUFFIXES or not symbol:
            continue
        try:
            found.append(BarFile(symbol, Timeframe.parse(timeframe), path))
        except InputError:
            continue
    return tuple(sorted(found))


def holdings(folder: Path) -> str:
    """One phrase for a person: which symbols the folder has, in which timeframes."""
    by_symbol: dict[str, list[str]] = {}
    for file in bar_files(folder):
        names = by_symbol.setdefault(file.symbol, [])
        if file.timeframe.name not in names:
            names.append(file.timeframe.name)
    if not by_symbol:
        return "the folder has no <SYMBOL>_<timeframe>.csv or .parquet at all"
    listed = [f"{symbol} ({', '.join(names)})" for symbol, names in list(by_symbol.items())[:_LISTED]]
    more = f" and {len(by_symbol) - _LISTED} more" if len(by_symbol) > _LISTED else ""
    return f"the folder has {', '.join(listed)}{more}"


def the_one(candidates: list[Path], folder: Path) -> Path | None:
    """The only one of the candidates that exists, None if none does; raises InputError where two do."""
    existing = [path for path in candidates if path.is_file()]
    if len(existing) > 1:
        names = " and ".join(path.name for path in existing)
        raise InputError(f"{names} are both there", source=folder, hint="keep one of them")
    return existing[0] if existing else None

"""A file of timestamped numbers, read and checked row by row.

Rows in messages are data rows, counted from 1; the header is not one.
"""

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.errors import InputError

# A clock time and, after it, a zone: a date alone or a bare time says nothing about where.
_ZONED = r"[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?\s*(?:Z|z|UTC|[+-]\d{2}(?::?\d{2})?)$"
_ZONE_HINT = "write UTC as 2024-01-31T00:00:00Z"
ROW_HINT = "mend the row or leave it out"


def read_table(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """The file's columns as float64 under a strictly rising UTC index named `timestamp`; `(rows, columns)`.

    Every number is finite. Other columns of the file are left out. Raises InputError for a file that cannot
    be read or lacks a column, and for the first row whose timestamp or number is wrong.
    """
    raw = _read(path)
    raw.columns = [str(name).strip().lower() for name in raw.columns]
    _require_columns(path, list(raw.columns), ["timestamp", *columns])
    if raw.empty:
        raise InputError("no rows", source=path)
    index = _index(path, raw["timestamp"])
    frame = pd.DataFrame({name: _numbers(path, raw[name], index) for name in columns}, index=index)
    return frame.astype(np.float64)


def row_name(row: int, index: pd.DatetimeIndex) -> str:
    """How messages name a row: its number and its time."""
    return f"row {row + 1} ({index[row].strftime('%Y-%m-%dT%H:%M:%SZ')})"


def _read(path: Path) -> pd.DataFrame:
    try:
        return _read_parquet(path) if path.suffix == ".parquet" else _read_csv(path)
    except (OSError, ValueError, pd.errors.ParserWarning) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"cannot be read ({reason})", source=path) from error


def _read_parquet(path: Path) -> pd.DataFrame:
    frame = pd.read_parquet(path)
    has_stamps = "timestamp" not in frame.columns and isinstance(frame.index, pd.DatetimeIndex)
    return frame.reset_index(names="timestamp") if has_stamps else frame


def _read_csv(path: Path) -> pd.DataFrame:
    with warnings.catch_warnings():
        # Rows longer than the header would otherwise lose their end, or shift by a column, in silence.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return pd.read_csv(
            path, dtype={"timestamp": str}, index_col=False, encoding="utf-8-sig", low_memory=False
        )


def _require_columns(path: Path, present: list[str], wanted: list[str]) -> None:
    missing = [name for name in wanted if name not in present]
    if missing:
        noun = "column" if len(missing) == 1 else "columns"
        raise InputError(
            f"missing {noun} {', '.join(missing)}", source=path, hint=f"it has {', '.join(present)}"
        )
    twice = [name for name in wanted if present.count(name) > 1]
    if twice:
        raise InputError(f"column {twice[0]} is there twice", source=path)


def _index(path: Path, stamps: "pd.Series[Any]") -> pd.DatetimeIndex:
    index = _parse_stamps(path, stamps)
    steps = np.diff(index.asi8)
    if (steps <= 0).any():
        row = int(np.argmax(steps <= 0)) + 1
        twice = steps[row - 1] == 0 or bool((index.asi8[:row] == index.asi8[row]).any())
        what = "timestamp is there twice" if twice else "timestamp is before that of the row above"
        raise InputError(
            what, source=path, where=row_name(row, index), hint="sort the rows, one per timestamp"
        )
    return index


def _parse_stamps(path: Path, stamps: "pd.Series[Any]") -> pd.DatetimeIndex:
    if isinstance(stamps.dtype, pd.DatetimeTZDtype):
        zoned = np.asarray(stamps.notna())
        parsed = stamps.dt.tz_convert("UTC")
    else:
        text = stamps.astype(str).str.strip()
        zoned = np.asarray(text.str.contains(_ZONED, regex=True), dtype=bool)
        parsed = pd.to_datetime(text, format="ISO8601", utc=True, errors="coerce")
    for wrong, what in ((np.asarray(parsed.isna()), "cannot be read"), (~zoned, "has no time zone")):
        if wrong.any():
            row = int(np.argmax(wrong))
            stamp = stamps.iloc[row]
            line = "no timestamp" if pd.isna(stamp) else f"timestamp {str(stamp)!r} {what}"
            raise InputError(line, source=path, where=f"row {row + 1}", hint=_ZONE_HINT)
    return pd.DatetimeIndex(parsed, name="timestamp").as_unit("ns")


def _numbers(path: Path, column: "pd.Series[Any]", index: pd.DatetimeIndex) -> NDArray[np.float64]:
    name = column.name
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    fine = np.isfinite(numbers)
    if fine.all():
        return numbers
    row = int(np.argmin(fine))
    where = row_name(row, index)
    if column.isna().all():
        hint = "fill it, or do without this file"
        raise InputError(f"column {name} has no value in any row", source=path, hint=hint)
    empty = pd.isna(column.iloc[row])
    what = "has no value" if empty else f"is {str(column.iloc[row])!r}, not a number"
    raise InputError(f"column {name} {what}", source=path, where=where, hint=ROW_HINT)

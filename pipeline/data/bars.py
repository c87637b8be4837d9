"""Bars of one symbol in one timeframe, found and read from a folder.

A file is named `<SYMBOL>_<timeframe>.csv` or `.parquet` and has the columns timestamp (UTC, the bar's open),
open, high, low, close and volume, one row per bar, the oldest first.
"""

from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.data.names import SUFFIXES, check_folder_exists, check_name, holdings, the_one
from pipeline.data.table import ROW_HINT, read_table, row_name
from pipeline.errors import InputError
from pipeline.timeframes import Timeframe

BAR_COLUMNS = ("open", "high", "low", "close", "volume")
_PRICES = ("open", "high", "low", "close")


def find_bars(folder: Path, symbol: str, timeframe: str) -> Path:
    """The file that holds the bars; it is there, but not opened.

    Raises InputError if there is none, if it is there as csv and as parquet, or if the symbol cannot name a
    file.
    """
    check_name(symbol, "symbol")
    name = Timeframe.parse(timeframe).name
    check_folder_exists(folder)
    found = the_one([folder / f"{symbol}_{name}{suffix}" for suffix in SUFFIXES], folder)
    if found is None:
        raise InputError(f"no {name} bars of {symbol}", source=folder, hint=holdings(folder))
    return found


def load_bars(
    folder: Path,
    symbol: str,
    timeframe: str,
    start: date | str | None = None,
    end: date | str | None = None,
    minimum: int = 2,
) -> pd.DataFrame:
    """The bars stamped from start to end, both included: open, high, low, close, volume, float64 `(bars, 5)`.

    The index is UTC, strictly rising, named `timestamp`. A time without zone is taken as UTC, a date as its
    midnight. Every number is finite, prices are above 0, volumes at least 0, no high is below its low. Raises
    InputError for the first fault in the file, or if fewer than `minimum` bars are left.
    """
    path = find_bars(folder, symbol, timeframe)
    bars = read_bars(path)
    first, last = _moment(start, "start"), _moment(end, "end")
    if first is not None and last is not None and first > last:
        raise InputError(f"start {start} is after end {end}")
    chosen = bars.loc[first:last]
    if len(chosen) < minimum:
        count = f"{len(chosen)} {'bar' if len(chosen) == 1 else 'bars'}"
        asked = (
            "" if first is None and last is None else f" from {start or 'the first'} to {end or 'the last'}"
        )
        span = f"the file has {len(bars)}, {bars.index[0]:%Y-%m-%d} to {bars.index[-1]:%Y-%m-%d}"
        raise InputError(f"too few bars: {count}{asked}, at least {minimum} needed", source=path, hint=span)
    return chosen


def read_bars(path: Path) -> pd.DataFrame:
    """All bars of the file, checked as `load_bars` says; `(bars, 5)`."""
    bars = read_table(path, BAR_COLUMNS)
    for name in _PRICES:
        _refuse(path, bars, bars[name].to_numpy() <= 0, f"{name} is not above 0")
    _refuse(path, bars, bars["volume"].to_numpy() < 0, "volume is negative")
    _refuse(path, bars, bars["high"].to_numpy() < bars["low"].to_numpy(), "high is below low")
    return bars


def _refuse(path: Path, bars: pd.DataFrame, wrong: "np.typing.NDArray[np.bool_]", what: str) -> None:
    if wrong.any():
        where = row_name(int(np.argmax(wrong)), pd.DatetimeIndex(bars.index))
        raise InputError(what, source=path, where=where, hint=ROW_HINT)


def _moment(value: date | str | None, name: str) -> pd.Timestamp | None:
    if value is None:
        return None
    try:
        moment = datetime.fromisoformat(value if isinstance(value, str) else value.isoformat())
    except ValueError as error:
        raise InputError(f"{name} {value!r} is not a date", hint="write it as 2024-01-31") from error
    return pd.Timestamp(moment if moment.tzinfo else moment.replace(tzinfo=UTC)).tz_convert("UTC")

"""Series from outside the traded symbol: other symbols' bars, yields, positions.

Two kinds of file: bars of another symbol (`GBPUSD_1h.csv`), known once their bar has closed, and values
(`yield_spread_DGS2_IRLTLT01DEM156N.csv` with timestamp and value), known from their timestamp on. Both are
forward-filled onto the bars of the base timeframe, as ktrdr's `context_data` is, so that indicators with a
`data_source` compute on them like on any other bars.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.data.bars import BAR_COLUMNS, find_bars, read_bars
from pipeline.data.names import check_folder_exists, check_name
from pipeline.data.table import read_table
from pipeline.errors import InputError
from pipeline.timeframes import Timeframe, last_closed


def source_names(entry: Mapping[str, object]) -> tuple[str, ...]:
    """The names that indicators may give as `data_source` because of this entry of `context_data`.

    `ib` gives its symbol; `fred` gives `fred_<id>` of each series and, for two of them, the spread
    `yield_spread_<a>_<b>`; `cftc_cot` gives `cot_<report>_net_pos` and `_net_pct`. Raises InputError for
    another provider or a missing field.
    """
    provider = entry.get("provider")
    if provider == "ib":
        return (_field(entry, "symbol"),)
    if provider == "fred":
        given = entry.get("series")
        series = (
            [str(name) for name in given]
            if isinstance(given, Sequence) and not isinstance(given, str)
            else []
        )
        series = series or [_field(entry, "series")]
        spread = (f"yield_spread_{series[0]}_{series[1]}",) if len(series) > 1 else ()
        return (*(f"fred_{name}" for name in series), *spread)
    if provider == "cftc_cot":
        report = _field(entry, "report")
        return (f"cot_{report}_net_pos", f"cot_{report}_net_pct")
    raise InputError(f"unknown context_data provider {provider!r}", hint="known are ib, fred and cftc_cot")


def context_sources(entries: Iterable[Mapping[str, object]]) -> dict[str, str | None]:
    """Every `data_source` that these entries of `context_data` allow, with the timeframe of its bars.

    None stands for a series of values. Raises InputError as `source_names` does.
    """
    return {
        name: _field(entry, "timeframe") if entry.get("provider") == "ib" else None
        for entry in entries
        for name in source_names(entry)
    }


def find_external(folder: Path, name: str, timeframe: str | None = None) -> Path:
    """The file of the series: bars if a timeframe is given, else `<name>.csv`; it is there, but not opened.

    Raises InputError if there is none.
    """
    if timeframe is not None:
        return find_bars(folder, name, timeframe)
    check_name(name, "data source")
    check_folder_exists(folder)
    path = folder / f"{name}.csv"
    if not path.is_file():
        raise InputError(
            f"no series {name}",
            source=folder,
            hint=f"put it there as {name}.csv with the columns timestamp, value",
        )
    return path


def load_external(
    folder: Path, name: str, base_index: pd.DatetimeIndex, base_timeframe: str, timeframe: str | None = None
) -> pd.DataFrame:
    """The series as bars on the base bars from its first known value on; `(base bars - unknown ones, 5)`.

    With a timeframe: bars of another symbol, each known once closed. Without: values, known by a base bar's
    open; open, high, low and close are the value and the volume is 0. Raises InputError for a missing or
    faulty file, and if nothing is known by the last base bar.
    """
    path = find_external(folder, name, timeframe)
    if timeframe is None:
        bars = _value_bars(path)
        opens = base_index.as_unit("ns").asi8
        position = np.searchsorted(pd.DatetimeIndex(bars.index).asi8, opens, side="right") - 1
    else:
        bars = read_bars(path)
        position = last_closed(
            base_index,
            Timeframe.parse(base_timeframe),
            pd.DatetimeIndex(bars.index),
            Timeframe.parse(timeframe),
        )
    known = position >= 0
    if not known.any():
        raise InputError(
            f"nothing is known of {name} by {base_index[-1]:%Y-%m-%d}",
            source=path,
            hint=f"it begins on {bars.index[0]:%Y-%m-%d}",
        )
    return bars.iloc[position[known]].set_axis(base_index[known].rename("timestamp"))


def _value_bars(path: Path) -> pd.DataFrame:
    values = read_table(path, ["value"])["value"]
    return pd.DataFrame(
        {name: 0.0 if name == "volume" else values for name in BAR_COLUMNS}, index=values.index
    )


def _field(entry: Mapping[str, object], name: str) -> str:
    value = entry.get(name)
    if not isinstance(value, str) or not value:
        raise InputError(f"context_data of provider {entry.get('provider')!r} needs {name}")
    return value

"""Real bars to try it on: AAPL, GOOG, IBM and MSFT, daily and weekly, from the package `bokeh_sampledata`.

Its prices are as they were traded, so that a split halves them; the bars written here are multiplied by
adjusted close / close (splits and dividends), and their volumes divided by it: price times volume stays as it
was.
"""

import importlib.util
import tempfile
from pathlib import Path

import pandas as pd

from pipeline.data.bars import BAR_COLUMNS
from pipeline.errors import InputError

SAMPLE_SYMBOLS = ("AAPL", "GOOG", "IBM", "MSFT")
_FRIDAY = 4


def write_samples(folder: Path) -> tuple[Path, ...]:
    """The folder holds `<SYMBOL>_1d.csv` and `<SYMBOL>_1w.csv` of the sample symbols; returns their paths.

    Every file appears whole or not at all, with the same bytes each time. The folder is made if need be.
    Weeks are stamped at their Monday; one whose beginning or end the data does not show is left out. Raises
    InputError if the package is missing, the folder cannot be written, or a file of that name holds something
    else.
    """
    contents = {f"{symbol}_{name}.csv": _csv(bars) for symbol, name, bars in _sample_bars(_source())}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _refuse_others(folder, contents)
        # All are staged inside the folder first: a full disk then leaves nothing behind.
        with tempfile.TemporaryDirectory(dir=folder, prefix=".samples-") as stage:
            for name, text in contents.items():
                (Path(stage) / name).write_text(text, encoding="utf-8", newline="")
            return tuple((Path(stage) / name).replace(folder / name) for name in contents)
    except OSError as error:
        raise InputError(f"cannot be written ({error.strerror})", source=folder) from error


def resample_weekly(daily: pd.DataFrame) -> pd.DataFrame:
    """Whole weeks made of daily bars, stamped at their Monday; `(weeks, 5)`.

    A first week that does not begin on a Monday and a last one that does not reach its Friday are left out:
    the data does not show all of their days. Weeks without any bar are not there.
    """
    index = pd.DatetimeIndex(daily.index)
    monday = (index - pd.to_timedelta(index.day_of_week, unit="D")).normalize()
    weekly = daily.groupby(monday).agg(
        open=("open", "first"),
        high=("high", "max"),
        low=("low", "min"),
        close=("close", "last"),
        volume=("volume", "sum"),
    )
    begins_late = index[0].weekday() > 0
    ends_early = index[-1].weekday() < _FRIDAY
    whole = weekly.iloc[int(begins_late) : len(weekly) - int(ends_early)]
    return whole.rename_axis("timestamp")


def _source() -> Path:
    spec = importlib.util.find_spec("bokeh_sampledata")
    if spec is None or spec.origin is None:
        raise InputError(
            "the sample bars are in a package that is not installed", hint="pip install 'ktrdr-otel[samples]'"
        )
    return Path(spec.origin).parent / "_data" / "stocks.csv.gz"


def _sample_bars(source: Path) -> list[tuple[str, str, pd.DataFrame]]:
    rows = pd.read_csv(source)
    found = []
    for symbol in SAMPLE_SYMBOLS:
        daily = _adjusted(rows[rows["Ticker"] == symbol])
        found += [(symbol, "1d", daily), (symbol, "1w", resample_weekly(daily))]
    return found


def _adjusted(rows: pd.DataFrame) -> pd.DataFrame:
    factor = rows["Adj Close"] / rows["Close"]
    bars = pd.DataFrame({name: (rows[name.title()] * factor).round(6) for name in BAR_COLUMNS[:4]})
    bars["volume"] = (rows["Volume"] / factor).round()
    bars.index = pd.DatetimeIndex(pd.to_datetime(rows["Date"], utc=True), name="timestamp")
    return bars


def _csv(bars: pd.DataFrame) -> str:
    lines = bars.astype({"volume": "int64"})
    return lines.to_csv(date_format="%Y-%m-%dT%H:%M:%SZ", float_format="%.6f", lineterminator="\n")


def _refuse_others(folder: Path, contents: dict[str, str]) -> None:
    for name, text in contents.items():
        path = folder / name
        if path.exists() and path.read_bytes() != text.encode():
            raise InputError("is already there with other content", source=path, hint="name an empty folder")

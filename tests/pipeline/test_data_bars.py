from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from pipeline.data import BAR_COLUMNS, find_bars, load_bars
from pipeline.errors import InputError

HEADER = "timestamp,open,high,low,close,volume"
ROWS = [
    "2024-01-01T00:00:00Z,1.0,2.0,0.5,1.5,10",
    "2024-01-02T00:00:00Z,1.5,2.5,1.0,2.0,20",
    "2024-01-03T00:00:00Z,2.0,3.0,1.5,2.5,0",
]
SORT_HINT = "sort the rows, one per timestamp"
ZONE_HINT = "write UTC as 2024-01-31T00:00:00Z"

Edit = Callable[[list[str]], list[str]]


def write(folder: Path, lines: list[str], name: str = "AAPL_1d.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def fault(folder: Path, symbol: str = "AAPL", timeframe: str = "1d", **options: Any) -> str:
    with pytest.raises(InputError) as caught:
        load_bars(folder, symbol, timeframe, **options)
    return str(caught.value)


def row(number: int, text: str) -> Edit:
    return lambda lines: [text if position == number else line for position, line in enumerate(lines)]


def test_bars_are_read_as_float64_under_a_utc_index(tmp_path: Path) -> None:
    """Columns come in one order, the index is named timestamp, in UTC, to the nanosecond."""
    write(tmp_path, [HEADER, *ROWS])
    bars = load_bars(tmp_path, "AAPL", "1d")
    assert tuple(bars.columns) == BAR_COLUMNS
    assert set(bars.dtypes) == {np.dtype("float64")}
    assert bars.index.name == "timestamp"
    assert str(bars.index.dtype) == "datetime64[ns, UTC]"
    assert bars.iloc[1].tolist() == [1.5, 2.5, 1.0, 2.0, 20.0]


def test_parquet_gives_the_same_bars_as_csv(tmp_path: Path) -> None:
    """The timestamp may be a column or the index of the parquet file, in any zone."""
    write(tmp_path, [HEADER, *ROWS])
    expected = load_bars(tmp_path, "AAPL", "1d")
    shifted = expected.tz_convert("Europe/Berlin")
    shifted.to_parquet(tmp_path / "INDEX_1d.parquet")
    shifted.reset_index().to_parquet(tmp_path / "COLUMN_1d.parquet")
    pd.testing.assert_frame_equal(load_bars(tmp_path, "INDEX", "1d"), expected)
    pd.testing.assert_frame_equal(load_bars(tmp_path, "COLUMN", "1d"), expected)


@pytest.mark.parametrize(
    "stamp",
    [
        "2024-01-01 00:00:00+00:00",
        "2024-01-01T01:00:00+0100",
        "2023-12-31T19:00:00.000-05",
        "2024-01-01T00:00Z",
    ],
)
def test_any_written_zone_ends_up_as_the_same_moment(tmp_path: Path, stamp: str) -> None:
    """Offsets are applied, not dropped; other columns and capital letters do no harm."""
    write(tmp_path, [f"{HEADER.title()},note", f"{stamp},1,2,0.5,1,0,x", f"{ROWS[1]},y"])
    assert load_bars(tmp_path, "AAPL", "1d").index[0] == pd.Timestamp("2024-01-01T00:00:00Z")


@pytest.mark.parametrize(
    ("start", "end", "count"),
    [
        (None, None, 3),
        ("2024-01-02", None, 2),
        (None, "2024-01-02", 2),
        ("2024-01-01", "2024-01-02T00:00:00Z", 2),
        (pd.Timestamp("2024-01-01T12:00:00"), pd.Timestamp("2024-01-03").date(), 2),
    ],
)
def test_a_range_includes_both_its_ends(tmp_path: Path, start: str, end: str, count: int) -> None:
    """Dates are midnights in UTC; text, dates and times are all understood."""
    write(tmp_path, [HEADER, *ROWS])
    assert len(load_bars(tmp_path, "AAPL", "1d", start, end)) == count


@pytest.mark.parametrize(
    ("edit", "line"),
    [
        (lambda lines: lines[:1], "no rows"),
        (
            lambda lines: lines[:2],
            "too few bars: 1 bar, at least 2 needed; the file has 1, 2024-01-01 to 2024-01-01",
        ),
        (
            lambda lines: [HEADER.replace("volume", "vol"), *lines[1:]],
            "missing column volume; it has timestamp, open, high, low, close, vol",
        ),
        (
            lambda lines: ["time,open,high,close", *[",".join(r.split(",")[:4]) for r in lines[1:]]],
            "missing columns timestamp, low, volume; it has time, open, high, close",
        ),
        (
            lambda lines: [lines[0], lines[2], lines[1], lines[3]],
            f"row 2 (2024-01-01T00:00:00Z): timestamp is before that of the row above; {SORT_HINT}",
        ),
        (
            lambda lines: [*lines, lines[3]],
            f"row 4 (2024-01-03T00:00:00Z): timestamp is there twice; {SORT_HINT}",
        ),
        (
            row(2, "2024-01-02T00:00:00,1,2,0.5,1,0"),
            f"row 2: timestamp '2024-01-02T00:00:00' has no time zone; {ZONE_HINT}",
        ),
        (row(1, "2024-01-01,1,2,0.5,1,0"), f"row 1: timestamp '2024-01-01' has no time zone; {ZONE_HINT}"),
        (row(2, "yesterday,1,2,0.5,1,0"), f"row 2: timestamp 'yesterday' cannot be read; {ZONE_HINT}"),
        (
            row(3, "2024-02-31T00:00:00Z,1,2,0.5,1,0"),
            f"row 3: timestamp '2024-02-31T00:00:00Z' cannot be read; {ZONE_HINT}",
        ),
        (row(2, ",1,2,0.5,1,0"), f"row 2: no timestamp; {ZONE_HINT}"),
        (
            row(2, "2024-01-02T00:00:00Z,1,2,0.5,,0"),
            "row 2 (2024-01-02T00:00:00Z): column close has no value; mend the row or leave it out",
        ),
        (
            row(2, "2024-01-02T00:00:00Z,1,2,0.5,abc,0"),
            "row 2 (2024-01-02T00:00:00Z): column close is 'abc', not a number; mend the row or leave it out",
        ),
        (
            row(2, "2024-01-02T00:00:00Z,1,inf,0.5,1,0"),
            "row 2 (2024-01-02T00:00:00Z): column high is 'inf', not a number; mend the row or leave it out",
        ),
        (
            lambda lines: [lines[0], *[",".join([*r.split(",")[:5], ""]) for r in lines[1:]]],
            "column volume has no value in any row; fill it, or do without this file",
        ),
        (
            row(1, "2024-01-01T00:00:00Z,1,2,-0.5,1,0"),
            "row 1 (2024-01-01T00:00:00Z): low is not above 0; mend the row or leave it out",
        ),
        (
            row(3, "2024-01-03T00:00:00Z,0,2,0.5,1,0"),
            "row 3 (2024-01-03T00:00:00Z): open is not above 0; mend the row or leave it out",
        ),
        (
            row(3, "2024-01-03T00:00:00Z,1,2,0.5,1,-1"),
            "row 3 (2024-01-03T00:00:00Z): volume is negative; mend the row or leave it out",
        ),
        (
            row(2, "2024-01-02T00:00:00Z,1,0.4,0.5,1,0"),
            "row 2 (2024-01-02T00:00:00Z): high is below low; mend the row or leave it out",
        ),
    ],
)
def test_each_fault_in_a_file_is_one_exact_line(tmp_path: Path, edit: Edit, line: str) -> None:
    """The line names the file, the row by number and time, and what is wrong."""
    path = write(tmp_path, edit([HEADER, *ROWS]))
    assert fault(tmp_path) == f"{path}: {line}"


def test_a_timezoneless_parquet_is_refused(tmp_path: Path) -> None:
    """A parquet timestamp type without zone is as ambiguous as text without one."""
    write(tmp_path, [HEADER, *ROWS])
    bars = load_bars(tmp_path, "AAPL", "1d").tz_localize(None)
    bars.to_parquet(tmp_path / "NAIVE_1d.parquet")
    assert fault(tmp_path, "NAIVE") == (
        f"{tmp_path / 'NAIVE_1d.parquet'}: row 1: "
        f"timestamp '2024-01-01 00:00:00' has no time zone; {ZONE_HINT}"
    )


@pytest.mark.parametrize("name", ["AAPL_1d.csv", "AAPL_1d.parquet"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00nonsense\x00", b'a,b\n"open'])
def test_an_unreadable_file_is_one_line(tmp_path: Path, name: str, content: bytes) -> None:
    """Whatever the bytes are, the answer is one line that begins with the file."""
    (tmp_path / name).write_bytes(content)
    line = fault(tmp_path)
    assert line.startswith(f"{tmp_path / name}: ")
    assert "\n" not in line


def test_rows_longer_than_the_header_are_refused_not_shifted(tmp_path: Path) -> None:
    """A seventh number would move every column by one; an empty one at the end does no harm."""
    path = write(tmp_path, [HEADER, *(f"{line},7" for line in ROWS)])
    assert fault(tmp_path).startswith(f"{path}: cannot be read (")
    write(tmp_path, [HEADER, *(f"{line}," for line in ROWS)])
    assert load_bars(tmp_path, "AAPL", "1d")["open"].tolist() == [1.0, 1.5, 2.0]


def test_a_parquet_without_timestamps_lacks_the_column(tmp_path: Path) -> None:
    """A plain row number is not taken for a time."""
    pd.DataFrame({name: [1.0, 2.0] for name in BAR_COLUMNS}).to_parquet(tmp_path / "AAPL_1d.parquet")
    assert "missing column timestamp" in fault(tmp_path)


def test_a_missing_file_is_answered_with_what_the_folder_has(tmp_path: Path) -> None:
    """Symbols and timeframes that are there are listed, other files are not."""
    for name in ("AAPL_1d.csv", "AAPL_1h.parquet", "IBM_1w.csv", "notes.csv", "yields_spread.csv"):
        (tmp_path / name).touch()
    assert fault(tmp_path, "MSFT", "1h") == (
        f"{tmp_path}: no 1h bars of MSFT; the folder has AAPL (1h, 1d), IBM (1w)"
    )


def test_a_crowded_folder_is_listed_in_short(tmp_path: Path) -> None:
    """Eight symbols are named, the others counted."""
    for number in range(11):
        (tmp_path / f"S{number:02}_1d.csv").touch()
    assert fault(tmp_path).endswith("S06 (1d), S07 (1d) and 3 more")


def test_an_empty_or_missing_folder_says_so(tmp_path: Path) -> None:
    """The hint tells how to get bars; a file is not a folder."""
    assert fault(tmp_path) == (
        f"{tmp_path}: no 1d bars of AAPL; the folder has no <SYMBOL>_<timeframe>.csv or .parquet at all"
    )
    missing = tmp_path / "none"
    assert (
        fault(missing)
        == f"{missing}: no such folder; `ktrdr-otel data samples DIR` writes bars to begin with"
    )
    assert fault(write(tmp_path, ROWS)) == f"{tmp_path / 'AAPL_1d.csv'}: not a folder"


def test_csv_and_parquet_of_the_same_bars_are_refused(tmp_path: Path) -> None:
    """Nobody could know which one was trained on."""
    for name in ("AAPL_1d.csv", "AAPL_1d.parquet"):
        (tmp_path / name).touch()
    assert fault(tmp_path) == f"{tmp_path}: AAPL_1d.csv and AAPL_1d.parquet are both there; keep one of them"


@pytest.mark.parametrize(
    "symbol", ["EUR/USD", "../AAPL", "/etc/passwd", "..", ".", "", "A..B", "A\\B", "A B", "A\x00", "A\n"]
)
def test_a_symbol_that_is_no_file_name_is_refused(tmp_path: Path, symbol: str) -> None:
    """No symbol reaches outside the folder; one with a slash is told how its file would be named."""
    line = fault(tmp_path, symbol)
    assert line.startswith(f"symbol {symbol!r} cannot be a file name; ")
    if symbol == "EUR/USD":
        assert line.endswith("write it without the slash: EURUSD")


@pytest.mark.parametrize("symbol", ["BRK.B", "^GSPC", "EURUSD=X", "BTC-USD", "T", "0700.HK"])
def test_usual_symbols_are_accepted(tmp_path: Path, symbol: str) -> None:
    """Dots, carets, equal signs and dashes are parts of real tickers."""
    path = write(tmp_path, [HEADER, *ROWS], f"{symbol}_1d.csv")
    assert find_bars(tmp_path, symbol, "1D") == path


def test_a_range_that_holds_too_little_says_what_there_is(tmp_path: Path) -> None:
    """The line repeats what was asked and shows what the file covers."""
    path = write(tmp_path, [HEADER, *ROWS])
    assert fault(tmp_path, start="2025-01-01", end="2025-02-01") == (
        f"{path}: too few bars: 0 bars from 2025-01-01 to 2025-02-01, at least 2 needed; "
        "the file has 3, 2024-01-01 to 2024-01-03"
    )
    assert fault(tmp_path, minimum=4).startswith(f"{path}: too few bars: 3 bars, at least 4 needed")
    assert fault(tmp_path, start="2024-02-01", end="2024-01-01") == "start 2024-02-01 is after end 2024-01-01"
    assert fault(tmp_path, start="soon") == "start 'soon' is not a date; write it as 2024-01-31"

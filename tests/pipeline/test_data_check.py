from pathlib import Path

import pandas as pd
import pytest

from pipeline.data import check_folder
from pipeline.errors import InputError


def write(path: Path, stamps: pd.DatetimeIndex, low: float = 1.0) -> None:
    bars = pd.DataFrame({"open": 1.5, "high": 2.0, "low": low, "close": 1.5, "volume": 1.0}, index=stamps)
    bars.rename_axis("timestamp").to_csv(path)


def test_each_file_of_bars_gets_a_report_and_others_none(tmp_path: Path) -> None:
    """Reports come by symbol and from short to long timeframe, with rows and outer times."""
    days = pd.date_range("2024-01-01", periods=10, freq="D", tz="UTC")
    hours = pd.date_range("2024-01-01", periods=5, freq="h", tz="UTC")
    write(tmp_path / "B_1d.csv", days)
    write(tmp_path / "A_1d.csv", days)
    write(tmp_path / "A_1h.csv", hours)
    (tmp_path / "notes_today.txt").touch()
    reports = check_folder(tmp_path)
    assert [report.path.name for report in reports] == ["A_1h.csv", "A_1d.csv", "B_1d.csv"]
    assert [(report.rows, report.first, report.last) for report in reports[:2]] == [
        (5, hours[0], hours[-1]),
        (10, days[0], days[-1]),
    ]
    assert all(report.usable and report.gaps == 0 for report in reports)


def test_a_pause_beyond_a_long_weekend_is_a_gap(tmp_path: Path) -> None:
    """Weekends are none, ten days are one; a weekly bar may be three weeks late."""
    weekdays = pd.date_range("2024-01-01", periods=30, freq="B", tz="UTC")
    write(tmp_path / "A_1d.csv", weekdays)
    write(tmp_path / "B_1d.csv", weekdays.delete([2, 3, 4, *range(10, 18)]))
    write(tmp_path / "C_1w.csv", pd.date_range("2024-01-01", periods=6, freq="21D", tz="UTC"))
    assert [report.gaps for report in check_folder(tmp_path)] == [0, 2, 0]


def test_a_faulty_file_is_reported_and_the_others_still_read(tmp_path: Path) -> None:
    """The problem is the line that loading would give, without the file's name."""
    days = pd.date_range("2024-01-01", periods=3, freq="D", tz="UTC")
    write(tmp_path / "BAD_1d.csv", days, low=-1.0)
    write(tmp_path / "GOOD_1d.csv", days)
    (tmp_path / "EMPTY_1d.csv").touch()
    (tmp_path / "GOOD_1d.parquet").touch()
    reports = {report.path.name: report for report in check_folder(tmp_path)}
    assert reports["BAD_1d.csv"].problems == ("row 1 (2024-01-01T00:00:00Z): low is not above 0",)
    assert reports["EMPTY_1d.csv"].problems == ("cannot be read (No columns to parse from file)",)
    assert reports["GOOD_1d.csv"].problems == ("GOOD_1d.parquet holds the same bars; keep one of them",)
    assert not reports["GOOD_1d.parquet"].usable
    assert reports["BAD_1d.csv"].rows == 0
    assert reports["BAD_1d.csv"].first is None


def test_a_folder_without_bars_is_one_line(tmp_path: Path) -> None:
    """Nothing to check is an error with a hint, not an empty success."""
    with pytest.raises(InputError) as caught:
        check_folder(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: no <SYMBOL>_<timeframe>.csv or .parquet in it; "
        "`ktrdr-otel data samples DIR` writes some"
    )

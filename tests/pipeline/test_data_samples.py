import resource
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pipeline.data import check_folder, load_bars, write_samples
from pipeline.data.samples import SAMPLE_SYMBOLS, resample_weekly
from pipeline.errors import InputError


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder with the sample bars, made once."""
    folder = tmp_path_factory.mktemp("samples") / "deep" / "down"
    write_samples(folder)
    return folder


def test_the_samples_are_daily_and_weekly_bars_of_four_symbols(samples: Path) -> None:
    """Eight usable files and nothing else lie in the folder afterwards."""
    expected = {f"{symbol}_{name}.csv" for symbol in SAMPLE_SYMBOLS for name in ("1d", "1w")}
    assert {path.name for path in samples.iterdir()} == expected
    reports = check_folder(samples)
    assert all(report.usable for report in reports)
    assert {report.path.name: report.rows for report in reports} == {
        "AAPL_1d.csv": 3270,
        "AAPL_1w.csv": 678,
        "GOOG_1d.csv": 2148,
        "GOOG_1w.csv": 445,
        "IBM_1d.csv": 3270,
        "IBM_1w.csv": 678,
        "MSFT_1d.csv": 3270,
        "MSFT_1w.csv": 678,
    }


def test_a_split_leaves_no_jump_in_the_sample_prices(samples: Path) -> None:
    """Apple's shares were split in two on 2005-02-28; the adjusted close moves by a day's usual amount."""
    close = load_bars(samples, "AAPL", "1d")["close"]
    around = close.loc["2005-02-25":"2005-02-28"].to_numpy()
    assert len(around) == 2
    assert abs(around[1] / around[0] - 1) < 0.05


def test_the_first_sample_bar_is_the_packages_own_times_its_adjustment(samples: Path) -> None:
    """AAPL, 2000-03-01: 118.56, 132.06, 118.5, 130.31, 9,616,100 traded; adjusted close 4.186662803811."""
    bar = load_bars(samples, "AAPL", "1d").iloc[0]
    factor = 4.186662803811 / 130.31
    expected = [118.56 * factor, 132.06 * factor, 118.5 * factor, 4.186662803811, 9616100 / factor]
    np.testing.assert_allclose(bar.to_numpy(), expected, rtol=1e-6)


def test_weekly_samples_are_the_daily_ones_from_monday_on(samples: Path) -> None:
    """Each week opens with its first day, closes with its last, and is stamped at its Monday."""
    daily, weekly = (load_bars(samples, "IBM", name) for name in ("1d", "1w"))
    assert set(pd.DatetimeIndex(weekly.index).day_of_week) == {0}
    for monday in (weekly.index[0], weekly.index[200], weekly.index[-1]):
        days = daily.loc[monday : monday + pd.Timedelta(days=6)]
        assert weekly.loc[monday].tolist() == [
            days["open"].iloc[0],
            days["high"].max(),
            days["low"].min(),
            days["close"].iloc[-1],
            days["volume"].sum(),
        ]


@pytest.mark.parametrize(
    ("first", "last", "mondays"),
    [
        ("2024-01-01", "2024-01-12", ["2024-01-01", "2024-01-08"]),
        ("2024-01-01", "2024-01-11", ["2024-01-01"]),
        ("2024-01-02", "2024-01-12", ["2024-01-08"]),
        ("2024-01-02", "2024-01-04", []),
    ],
)
def test_a_week_that_the_data_shows_in_part_is_left_out(first: str, last: str, mondays: list[str]) -> None:
    """A week without its Monday at the beginning, or without its Friday at the end, is not made up."""
    index = pd.date_range(first, last, freq="B", tz="UTC", name="timestamp")
    daily = pd.DataFrame(1.0, index=index, columns=["open", "high", "low", "close", "volume"])
    assert [f"{monday:%Y-%m-%d}" for monday in resample_weekly(daily).index] == mondays


def test_the_same_bytes_are_written_each_time(samples: Path, tmp_path: Path) -> None:
    """Writing again, here or elsewhere, changes nothing."""
    again = write_samples(tmp_path)
    assert [path.name for path in again] == [path.name for path in write_samples(samples)]
    for path in again:
        assert path.read_bytes() == (samples / path.name).read_bytes()


def test_files_of_other_content_are_never_overwritten(tmp_path: Path) -> None:
    """Somebody's own bars stay as they are, and no sample is written beside them."""
    own = tmp_path / "IBM_1d.csv"
    own.write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="is already there with other content; name an empty folder"):
        write_samples(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["IBM_1d.csv"]
    assert own.read_text(encoding="utf-8") == "mine"


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    """A file where the folder should be is said plainly."""
    blocked = tmp_path / "file"
    blocked.touch()
    with pytest.raises(InputError) as caught:
        write_samples(blocked / "inside")
    assert str(caught.value) == f"{blocked / 'inside'}: cannot be written (Not a directory)"


def test_a_disk_that_fills_up_leaves_nothing_behind(tmp_path: Path) -> None:
    """The kernel refuses the write halfway: no sample appears, no temporary file stays."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        with pytest.raises(InputError) as caught:
            write_samples(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(caught.value) == f"{tmp_path}: cannot be written (File too large)"
    assert list(tmp_path.iterdir()) == []

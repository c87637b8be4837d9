from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.data import context_sources, find_external, load_external, source_names
from pipeline.errors import InputError

HOURS = pd.date_range("2024-01-02", periods=48, freq="h", tz="UTC", unit="ns")


def write_values(folder: Path, stamps: list[str], name: str = "yield_spread_A_B") -> Path:
    path = folder / f"{name}.csv"
    lines = ["timestamp,value", *(f"{stamp},{number - 1.5}" for number, stamp in enumerate(stamps))]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def write_bars(folder: Path, name: str, index: pd.DatetimeIndex) -> None:
    close = np.arange(1.0, len(index) + 1)
    bars = pd.DataFrame(
        {"open": close, "high": close, "low": close, "close": close, "volume": 1.0}, index=index
    )
    bars.rename_axis("timestamp").to_csv(folder / name)


def test_a_value_is_known_from_its_timestamp_on(tmp_path: Path) -> None:
    """It holds until the next one; base bars before the first are left out; a spread may be negative."""
    write_values(tmp_path, ["2024-01-02T03:00:00Z", "2024-01-02T05:30:00Z"])
    bars = load_external(tmp_path, "yield_spread_A_B", HOURS, "1h")
    assert bars.index[0] == HOURS[3]
    assert bars.index[-1] == HOURS[-1]
    assert bars["close"].iloc[:4].tolist() == [-1.5, -1.5, -1.5, -0.5]
    assert (bars["high"] == bars["close"]).all()
    assert (bars["volume"] == 0).all()


def test_bars_of_another_symbol_are_known_once_they_have_closed(tmp_path: Path) -> None:
    """Of the same timeframe it is the bar of the same hour, of a daily one that of the day before."""
    write_bars(tmp_path, "GBPUSD_1h.csv", HOURS)
    write_bars(tmp_path, "GBPUSD_1d.csv", pd.date_range("2024-01-01", periods=3, freq="D", tz="UTC"))
    hourly = load_external(tmp_path, "GBPUSD", HOURS, "1h", timeframe="1h")
    assert hourly["close"].tolist() == np.arange(1.0, 49).tolist()
    daily = load_external(tmp_path, "GBPUSD", HOURS, "1h", timeframe="1d")
    assert daily.loc[HOURS[0], "close"] == 1.0
    assert daily.loc[HOURS[22], "close"] == 1.0
    assert daily.loc[HOURS[23], "close"] == 2.0


@given(cut=st.integers(min_value=2, max_value=47))
def test_later_values_change_nothing_before_them(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    """What is known on base bars 0..n is the same whether or not the file goes on."""
    folder = tmp_path_factory.mktemp("external")
    stamps = [stamp.isoformat() for stamp in HOURS[1:] + pd.Timedelta(minutes=20)]
    write_values(folder, stamps)
    whole = load_external(folder, "yield_spread_A_B", HOURS, "1h")
    write_values(folder, stamps[: cut - 1])
    prefix = load_external(folder, "yield_spread_A_B", HOURS[: cut + 1], "1h")
    pd.testing.assert_frame_equal(whole.loc[: HOURS[cut]], prefix)


def test_a_missing_series_is_one_clear_line(tmp_path: Path) -> None:
    """The line names the series and the file that would hold it; missing bars are said as elsewhere."""
    with pytest.raises(InputError) as caught:
        find_external(tmp_path, "cot_EUR_net_pct")
    assert str(caught.value) == (
        f"{tmp_path}: no series cot_EUR_net_pct; "
        "put it there as cot_EUR_net_pct.csv with the columns timestamp, value"
    )
    with pytest.raises(InputError, match="no 1h bars of GBPUSD; the folder has"):
        find_external(tmp_path, "GBPUSD", "1h")
    with pytest.raises(InputError, match=r"data source '\.\./x' cannot be a file name"):
        find_external(tmp_path, "../x")


def test_a_series_that_begins_too_late_is_one_clear_line(tmp_path: Path) -> None:
    """Nothing known on any base bar would mean nothing to train on."""
    path = write_values(tmp_path, ["2024-02-01T00:00:00Z"])
    with pytest.raises(InputError) as caught:
        load_external(tmp_path, "yield_spread_A_B", HOURS, "1h")
    assert str(caught.value) == (
        f"{path}: nothing is known of yield_spread_A_B by 2024-01-03; it begins on 2024-02-01"
    )


def test_a_faulty_value_names_its_row(tmp_path: Path) -> None:
    """FRED writes a dot for a holiday: the row is named, not guessed."""
    path = tmp_path / "fred_DGS2.csv"
    path.write_text("timestamp,value\n2024-01-01T00:00:00Z,4.2\n2024-01-02T00:00:00Z,.\n", encoding="utf-8")
    with pytest.raises(InputError) as caught:
        load_external(tmp_path, "fred_DGS2", HOURS, "1h")
    assert (
        str(caught.value)
        == f"{path}: row 2 (2024-01-02T00:00:00Z): column value is '.', not a number; mend the row or leave it out"
    )


@pytest.mark.parametrize(
    ("entry", "names"),
    [
        ({"provider": "ib", "symbol": "GBPUSD", "timeframe": "1h"}, ("GBPUSD",)),
        ({"provider": "fred", "series": "DGS2"}, ("fred_DGS2",)),
        ({"provider": "fred", "series": ["DGS2"]}, ("fred_DGS2",)),
        (
            {"provider": "fred", "series": ["DGS2", "IRLTLT01DEM156N"]},
            ("fred_DGS2", "fred_IRLTLT01DEM156N", "yield_spread_DGS2_IRLTLT01DEM156N"),
        ),
        ({"provider": "cftc_cot", "report": "EUR"}, ("cot_EUR_net_pos", "cot_EUR_net_pct")),
    ],
)
def test_an_entry_of_context_data_names_its_sources_as_ktrdr_does(
    entry: Mapping[str, object], names: tuple[str, ...]
) -> None:
    """Indicators refer to these names with `data_source`."""
    assert source_names(entry) == names


@pytest.mark.parametrize(
    ("entry", "line"),
    [
        (
            {"provider": "bloomberg"},
            "unknown context_data provider 'bloomberg'; known are ib, fred and cftc_cot",
        ),
        ({"provider": "ib"}, "context_data of provider 'ib' needs symbol"),
        ({"provider": "fred", "series": []}, "context_data of provider 'fred' needs series"),
        ({"provider": "cftc_cot", "report": 3}, "context_data of provider 'cftc_cot' needs report"),
    ],
)
def test_an_entry_that_names_nothing_is_one_clear_line(entry: Mapping[str, object], line: str) -> None:
    """An unknown provider or a missing field is said, not skipped."""
    with pytest.raises(InputError) as caught:
        source_names(entry)
    assert str(caught.value) == line


def test_all_sources_of_a_strategy_come_with_the_timeframe_of_their_bars() -> None:
    """Bars have one, values have none; bars without one are said."""
    entries: list[dict[str, object]] = [
        {"provider": "ib", "symbol": "GBPUSD", "timeframe": "1h"},
        {"provider": "fred", "series": "DGS2"},
    ]
    assert context_sources(entries) == {"GBPUSD": "1h", "fred_DGS2": None}
    with pytest.raises(InputError, match="provider 'ib' needs timeframe"):
        context_sources([{"provider": "ib", "symbol": "GBPUSD"}])

from datetime import timedelta

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.timeframes import Timeframe


@pytest.mark.parametrize(
    ("text", "name", "delta"),
    [
        ("1m", "1m", timedelta(minutes=1)),
        ("5m", "5m", timedelta(minutes=5)),
        ("1h", "1h", timedelta(hours=1)),
        ("4H", "4h", timedelta(hours=4)),
        ("1d", "1d", timedelta(days=1)),
        ("1W", "1w", timedelta(weeks=1)),
    ],
)
def test_a_timeframe_is_read_from_its_name(text: str, name: str, delta: timedelta) -> None:
    """Numbers and m, h, d, w give a length; the name is the lower case one that files carry."""
    assert Timeframe.parse(text) == Timeframe(delta=delta, name=name)


@pytest.mark.parametrize(
    "text", ["", "1", "h", "0h", "-1h", "1.5h", "1M", "1y", "1 h", "1h ", "01h", "99999m", "１h"]
)
def test_nonsense_is_refused_with_what_would_be_right(text: str) -> None:
    """Anything else is one line that shows how to write it; a month is not taken for a minute."""
    with pytest.raises(InputError) as caught:
        Timeframe.parse(text)
    assert str(caught.value) == (
        f"unknown timeframe {text!r}; use a number and m, h, d or w, such as 5m, 1h, 4h, 1d or 1w"
    )


def test_a_bar_closes_one_timeframe_after_its_open() -> None:
    """Monday's weekly bar closes on the next Monday, a daily bar at the next midnight."""
    opens = pd.DatetimeIndex(["2024-01-01T00:00:00Z", "2024-01-08T00:00:00Z"])
    assert list(Timeframe.parse("1w").closes(opens)) == list(
        pd.DatetimeIndex(["2024-01-08T00:00:00Z", "2024-01-15T00:00:00Z"])
    )
    assert Timeframe.parse("1d").closes(opens)[0] == pd.Timestamp("2024-01-02T00:00:00Z")


@given(st.lists(st.sampled_from(["1m", "5m", "30m", "1h", "4h", "1d", "1w"]), min_size=1))
def test_timeframes_sort_from_short_to_long(names: list[str]) -> None:
    """Sorting timeframes sorts their lengths, so that the first is the finest."""
    ordered = sorted(Timeframe.parse(name) for name in names)
    deltas = [timeframe.delta for timeframe in ordered]
    assert deltas == sorted(deltas)
    assert sorted(str(timeframe) for timeframe in ordered) == sorted(names)

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.features import Normaliser, align_to_base, build_features
from pipeline.timeframes import Timeframe

NAMES = ("5m", "15m", "1h", "4h", "1d", "1w")


def opens(start: str, periods: int, frequency: str) -> pd.DatetimeIndex:
    return pd.date_range(start, periods=periods, freq=frequency, tz="UTC", unit="ns")


def align(
    base: pd.DatetimeIndex, base_name: str, index: pd.DatetimeIndex, name: str, values: list[float]
) -> list[float]:
    column = np.array(values)[:, None]
    aligned = align_to_base(base, Timeframe.parse(base_name), index, Timeframe.parse(name), column)
    return [float(value) for value in aligned[:, 0]]


def test_a_weekly_value_is_known_from_the_bar_that_closes_with_its_week() -> None:
    """The week of Monday the 1st closes with Sunday the 7th's daily bar; Saturday does not know it yet."""
    days = opens("2024-01-05", 4, "D")
    weeks = opens("2023-12-25", 2, "7D")
    assert align(days, "1d", weeks, "1w", [1.0, 2.0]) == [1.0, 1.0, 2.0, 2.0]


def test_a_higher_bar_is_unknown_before_the_first_has_closed() -> None:
    """NaN, never the bar that is still open."""
    hours = opens("2024-01-01", 6, "h")
    aligned = align(hours, "1h", opens("2024-01-01", 2, "4h"), "4h", [7.0, 8.0])
    assert np.isnan(aligned[:3]).all()
    assert aligned[3:] == [7.0, 7.0, 7.0]


def test_of_a_lower_timeframe_the_last_bar_inside_counts() -> None:
    """The hour from 10:00 carries the five minutes from 10:55, and none of the next hour."""
    hours = opens("2024-01-01T10:00", 2, "h")
    minutes = opens("2024-01-01T10:00", 24, "5min")
    assert align(hours, "1h", minutes, "5m", [float(number) for number in range(24)]) == [11.0, 23.0]


def test_the_same_timeframe_is_carried_over_a_missing_bar() -> None:
    """Bar for bar where both are there, the last one where the other index has a hole."""
    days = opens("2024-01-01", 4, "D")
    assert align(days, "1d", days.delete(2), "1d", [1.0, 2.0, 4.0]) == [1.0, 2.0, 2.0, 4.0]


def test_all_columns_of_a_matrix_are_aligned_row_by_row() -> None:
    """Values of shape (bars, k) come out as (base bars, k)."""
    hours = opens("2024-01-01", 8, "h")
    values = np.arange(6.0).reshape(2, 3)
    aligned = align_to_base(
        hours, Timeframe.parse("1h"), opens("2024-01-01", 2, "4h"), Timeframe.parse("4h"), values
    )
    assert aligned.shape == (8, 3)
    assert aligned[3].tolist() == [0.0, 1.0, 2.0]
    assert aligned[7].tolist() == [3.0, 4.0, 5.0]


@st.composite
def bar_index(draw: st.DrawFn, name: str) -> pd.DatetimeIndex:
    """Bars of a timeframe with holes, from somewhere in the first ten days of 2024 on."""
    delta = pd.Timedelta(Timeframe.parse(name).delta)
    first = pd.Timestamp("2024-01-01T00:00:00Z") + delta * draw(st.integers(0, 10))
    steps = draw(st.lists(st.integers(1, 3), min_size=1, max_size=40))
    return pd.DatetimeIndex([first + delta * int(step) for step in np.cumsum(steps)]).as_unit("ns")


@given(data=st.data(), base_name=st.sampled_from(NAMES), name=st.sampled_from(NAMES))
def test_an_aligned_value_is_the_last_one_closed_by_the_base_bars_close(
    data: st.DataObject, base_name: str, name: str
) -> None:
    """Against a plain loop over all pairs of bars, for any two timeframes and any holes."""
    base, index = data.draw(bar_index(base_name)), data.draw(bar_index(name))
    values = [float(number) for number in range(len(index))]
    base_delta, delta = Timeframe.parse(base_name).delta, Timeframe.parse(name).delta
    expected = []
    for moment in base:
        closed = [
            value for stamp, value in zip(index, values, strict=True) if stamp + delta <= moment + base_delta
        ]
        expected.append(closed[-1] if closed else np.nan)
    np.testing.assert_array_equal(align(base, base_name, index, name, values), expected)


@given(data=st.data(), name=st.sampled_from([name for name in NAMES if name != "1h"]), cut=st.integers(1, 20))
def test_features_of_a_prefix_are_the_prefix_of_the_features(
    data: st.DataObject, name: str, cut: int
) -> None:
    """What stands at base bars 0..n does not depend on any bar that closes after bar n."""
    base, index = data.draw(bar_index("1h")), data.draw(bar_index(name))
    cut = min(cut, len(base))
    rng = np.random.default_rng(len(index))
    columns: dict[tuple[str, str], NDArray[np.floating]] = {
        ("1h", "a"): rng.random(len(base)),
        (name, "b"): rng.random(len(index)),
    }
    indexes = {"1h": base, name: index}
    whole = build_features(base, columns, indexes, list(columns), base_timeframe="1h")
    # A bar that has not closed stands in where none has: a symbol's timeframe always has bars.
    ends = {"1h": cut, name: max(_closed_by(index, name, base[cut - 1]), 1)}
    earlier = build_features(
        base[:cut],
        {key: values[: ends[key[0]]] for key, values in columns.items()},
        {key: values[: ends[key]] for key, values in indexes.items()},
        list(columns),
        base_timeframe="1h",
    )
    np.testing.assert_array_equal(earlier, whole[:cut])


def _closed_by(index: pd.DatetimeIndex, name: str, base_open: pd.Timestamp) -> int:
    return int((Timeframe.parse(name).closes(index) <= base_open + pd.Timedelta(hours=1)).sum())


def test_features_come_in_the_order_asked_for_as_one_float32_block() -> None:
    """Rows are base bars, columns follow `order`, memory is contiguous for the trainer."""
    days, weeks = opens("2024-01-01", 14, "D"), opens("2024-01-01", 2, "7D")
    columns: dict[tuple[str, str], NDArray[np.floating]] = {
        ("1d", "rsi"): np.arange(14.0),
        ("1w", "rsi"): np.array([100.0, 200.0]),
        ("1d", "unused"): np.zeros(14),
    }
    features = build_features(
        days, columns, {"1d": days, "1w": weeks}, [("1w", "rsi"), ("1d", "rsi")], base_timeframe="1d"
    )
    assert features.dtype == np.float32
    assert features.flags.c_contiguous
    assert features[:, 1].tolist() == list(range(14))
    assert np.isnan(features[:6, 0]).all()
    assert features[6:, 0].tolist() == [100.0] * 7 + [200.0]


TRAIN = np.array([[1.0, 10.0, 5.0, 3.0], [2.0, 20.0, 5.0, 1.0], [3.0, 60.0, 5.0, 2.0]])


def test_normalisation_is_ktrdrs_formula_on_the_training_rows() -> None:
    """z-score with the sample deviation (1 here), minmax over the range, a constant becomes 0, none stays."""
    normaliser = Normaliser.fit(TRAIN, ["zscore", "minmax", "zscore", None])
    scaled = normaliser.apply(np.array([[2.0, 20.0, 5.0, 1.0], [4.0, 110.0, 7.0, 9.0]]))
    np.testing.assert_allclose(scaled, [[0.0, 0.2, 0.0, 1.0], [2.0, 2.0, 0.0, 9.0]], rtol=1e-6)
    assert scaled.dtype == np.float32


def test_later_rows_are_scaled_with_the_training_rows_numbers() -> None:
    """Applying changes neither the parameters nor the values handed in."""
    normaliser = Normaliser.fit(TRAIN, ["zscore"] * 4)
    later = TRAIN + 100
    before = later.copy()
    normaliser.apply(later)
    assert normaliser == Normaliser.fit(TRAIN, ["zscore"] * 4)
    np.testing.assert_array_equal(later, before)


def test_memberships_pass_through_bit_by_bit() -> None:
    """A feature that asks for none is not touched by rounding."""
    values = np.random.default_rng(1).random((5, 2)).astype(np.float32)
    assert Normaliser.fit(values, ["none", None]).apply(values).tobytes() == values.tobytes()


def test_a_normaliser_survives_json() -> None:
    """A model snapshot keeps the parameters; read back they scale the same, constants included."""
    normaliser = Normaliser.fit(TRAIN, ["zscore", "minmax", "minmax", "none"])
    again = Normaliser.from_dict(json.loads(json.dumps(normaliser.to_dict(), allow_nan=False)))
    assert again == normaliser


def test_an_unknown_normalisation_is_one_line() -> None:
    """The line lists what is known."""
    with pytest.raises(InputError) as caught:
        Normaliser.fit(TRAIN, ["zscore", "robust", "none", "none"])
    assert str(caught.value) == "unknown normalization 'robust'; known are zscore, minmax, none"


@pytest.mark.parametrize(
    ("values", "kinds"),
    [(TRAIN, ["zscore"]), (TRAIN[:0], ["zscore"] * 4), (np.full((3, 1), np.nan), ["minmax"])],
)
def test_rows_that_nothing_can_be_fitted_on_are_refused(
    values: NDArray[np.float64], kinds: list[str]
) -> None:
    """No rows, NaN, or another number of kinds than features is a mistake of the caller."""
    with pytest.raises(ValueError, match=r"fit"):
        Normaliser.fit(values, kinds)

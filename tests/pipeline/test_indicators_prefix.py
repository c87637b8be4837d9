"""No indicator knows the future, and none fails on bars that a market can have."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.indicators import INDICATORS, IndicatorEngine, find_indicator
from tests.pipeline.market import constant_bars, random_bars

ENGINE = IndicatorEngine()
NAMES = sorted(INDICATORS)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), cut=st.integers(0, 260))
def test_values_do_not_depend_on_later_bars(name: str, seed: int, cut: int) -> None:
    """The values on bars 0..n are the same, bit by bit, whether or not later bars exist."""
    bars = random_bars(260, seed)
    whole = ENGINE.compute(name, {}, bars)
    part = ENGINE.compute(name, {}, bars.iloc[:cut])
    for output, values in whole.items():
        np.testing.assert_array_equal(part[output], values[:cut], err_msg=f"{name}.{output}")


@pytest.mark.parametrize("name", NAMES)
def test_a_change_of_the_future_changes_nothing_before(name: str) -> None:
    """Other later bars, rather than none, make no difference either."""
    bars, other = random_bars(300, 1), random_bars(300, 2)
    mixed = bars.copy()
    mixed.iloc[200:] = other.iloc[200:].to_numpy()
    before, after = ENGINE.compute(name, {}, bars), ENGINE.compute(name, {}, mixed)
    for output, values in before.items():
        np.testing.assert_array_equal(after[output][:200], values[:200], err_msg=f"{name}.{output}")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("count", [0, 1, 2, 5, 60])
def test_few_bars_give_as_many_values(name: str, count: int) -> None:
    """Shapes fit and nothing is infinite, however few bars there are."""
    outputs = ENGINE.compute(name, {}, random_bars(count, 3))
    assert tuple(outputs) == INDICATORS[name].outputs
    for values in outputs.values():
        assert values.shape == (count,)
        assert values.dtype == np.float64
        assert not np.isinf(values).any()


@pytest.mark.parametrize("name", NAMES)
def test_a_price_that_stands_still_gives_no_infinity(name: str) -> None:
    """No range, no volume, no change: every value is a number or unknown."""
    for values in ENGINE.compute(name, {}, constant_bars(120)).values():
        assert not np.isinf(values).any()


@pytest.mark.parametrize("name", NAMES)
def test_the_engine_leaves_the_bars_alone(name: str) -> None:
    """Engines are pure."""
    bars = random_bars(120, 4)
    before = bars.copy(deep=True)
    ENGINE.compute(name, {}, bars)
    assert bars.equals(before)


def test_names_are_found_in_any_case() -> None:
    """ktrdr writes them in several ways."""
    assert find_indicator("RSI").name == "rsi"
    assert find_indicator("Bollinger_Bands").name == "bollingerbands"
    assert find_indicator("SuperTrendIndicator").name == "supertrend"


def test_an_unknown_name_says_the_nearest() -> None:
    """One line, with a hint."""
    with pytest.raises(InputError, match=r"unknown indicator type 'rsj'; did you mean rsi\?"):
        find_indicator("rsj")

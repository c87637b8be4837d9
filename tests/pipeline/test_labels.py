from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.labels import SOURCES, Labels, check_labels, generate_labels, label_classes

CONFIGS: dict[str, dict[str, object]] = {
    "zigzag": {"source": "zigzag", "zigzag_threshold": 0.03},
    "forward_return": {"source": "forward_return", "horizon": 3},
    "triple_barrier": {"source": "triple_barrier", "max_holding_period": 6, "vol_span": 4},
    "triple_barrier_close": {
        "source": "triple_barrier",
        "max_holding_period": 6,
        "vol_span": 4,
        "vol_method": "close",
    },
    "context": {"source": "context", "horizon": 4},
    "regime": {
        "source": "regime",
        "atr_period": 3,
        "vol_lookback": 8,
        "micro_atr_mult": 0.5,
        "macro_atr_mult": 1.5,
    },
}


def bars_of(close: NDArray[np.float64] | list[float], spread: float = 0.01) -> pd.DataFrame:
    price = np.asarray(close, dtype=np.float64)
    index = pd.date_range("2024-01-01", periods=len(price), freq="D", tz="UTC", unit="ns", name="timestamp")
    high, low = price * (1 + spread), price * (1 - spread)
    return pd.DataFrame({"open": price, "high": high, "low": low, "close": price, "volume": 1.0}, index=index)


def walk(seed: int, bars: int, step: float = 0.02) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    scale = step * rng.choice([0.2, 1.0, 4.0], size=bars)
    return 100 * np.exp(np.cumsum(rng.normal(0, scale)))


def shown(labels: Labels) -> list[float | None]:
    return [float(value) if known else None for value, known in zip(labels.values, labels.known, strict=True)]


def until(labels: Labels) -> list[int]:
    return [int(bar) for bar in labels.looks_until]


def test_a_forward_return_is_the_relative_move_to_the_bar_ahead() -> None:
    """(close[t + 2] - close[t]) / close[t]; the last two bars have no such bar."""
    labels = generate_labels(bars_of([100, 110, 121, 99]), {"source": "forward_return", "horizon": 2})
    assert labels.classes is None
    assert shown(labels) == [0.21, pytest.approx(-0.1), None, None]
    assert until(labels) == [2, 3, 3, 3]


def test_context_is_bullish_bearish_or_neutral_by_the_return_ahead() -> None:
    """Returns of +2 %, -2 %, +0.04 % with ktrdr's thresholds of 0.5 %; a threshold itself is neutral."""
    bars = bars_of([100, 102, 99.96, 100])
    labels = generate_labels(bars, {"source": "CONTEXT", "horizon": 1})
    assert labels.classes == ("bullish", "bearish", "neutral")
    assert shown(labels) == [0.0, 1.0, 2.0, None]
    assert until(labels) == [1, 2, 3, 3]
    at_the_threshold = {"source": "context", "horizon": 1, "bullish_threshold": 0.02}
    assert shown(generate_labels(bars, at_the_threshold)) == [2.0, 1.0, 2.0, None]


def test_zigzag_buys_upward_swings_sells_downward_ones_and_holds_at_turns() -> None:
    """Turns of 10 %: up from 100 to 125 at bar 3, down to 90 at bar 6, then up to 104 at bar 8.

    108 at bar 4 is 13.6 % below 125 and decides the turn at bar 3; bar 7's 99 decides the one at bar 6.
    Bar 8 is the last extreme: nobody knows yet whether it is a turn.
    """
    close = [100.0, 104, 112, 125, 108, 110, 90, 99, 104, 103]
    labels = generate_labels(bars_of(close), {"source": "zigzag", "zigzag_threshold": 0.1})
    assert labels.classes == ("buy", "hold", "sell")
    assert shown(labels) == [1.0, 0.0, 0.0, 1.0, 2.0, 2.0, 1.0, 0.0, None, None]
    assert until(labels) == [2, 2, 3, 4, 6, 6, 7, 8, 9, 9]


def test_a_price_that_never_moves_enough_has_no_zigzag_labels() -> None:
    """Without a first move of a threshold no swing has begun."""
    labels = generate_labels(bars_of([100.0, 101, 99, 100]), {"source": "zigzag", "zigzag_threshold": 0.1})
    assert shown(labels) == [None] * 4


def ohlc(rows: list[tuple[float, float, float]]) -> pd.DataFrame:
    """Bars from (high, low, close), one a day."""
    bars = bars_of([close for _, _, close in rows])
    return bars.assign(high=[high for high, _, _ in rows], low=[low for _, low, _ in rows])


BARRIERS: dict[str, object] = {
    "source": "triple_barrier",
    "pt_multiplier": 2.0,
    "sl_multiplier": 1.0,
    "max_holding_period": 2,
    "vol_span": 1,
}


@pytest.mark.parametrize(
    ("following", "label", "looks"),
    [
        ([(104.0, 99.0, 100.0), (100.0, 100.0, 100.0)], 0.0, 1),
        ([(101.0, 98.0, 100.0), (200.0, 100.0, 100.0)], 2.0, 1),
        ([(103.9, 98.1, 100.0), (104.0, 99.0, 100.0)], 0.0, 2),
        ([(104.0, 98.0, 100.0), (100.0, 100.0, 100.0)], 0.0, 1),
        ([(104.0, 98.0, 99.9), (100.0, 100.0, 100.0)], 2.0, 1),
        ([(101.0, 99.0, 100.0), (101.5, 99.0, 101.4)], 1.0, 2),
        ([(101.0, 99.0, 100.0), (101.5, 99.0, 101.5)], 0.0, 2),
        ([(101.0, 99.0, 100.0), (101.5, 98.1, 98.5)], 2.0, 2),
        ([(101.0, 99.0, 100.0), (101.5, 98.1, 98.6)], 1.0, 2),
    ],
    ids=[
        "profit",
        "loss",
        "profit in the last bar",
        "both, close not below",
        "both, close below",
        "expiry in the noise",
        "expiry with a gain",
        "expiry with a loss",
        "expiry with a small loss",
    ],
)
def test_triple_barrier_by_hand(
    following: list[tuple[float, float, float]], label: float, looks: int
) -> None:
    """At 100, range 2 %, span 1: target 104, stop 98, two bars; noise below 2 % x sqrt(2) / 2 = 1.414 %."""
    labels = generate_labels(ohlc([(101.0, 99.0, 100.0), *following]), BARRIERS)
    assert shown(labels) == [label, None, None]
    assert labels.looks_until[0] == looks


def test_a_bar_without_any_volatility_has_no_barriers() -> None:
    """Where high, low and close are one price so far, the label is unknown, not guessed from later bars."""
    flat = [(100.0, 100.0, 100.0)] * 3
    labels = generate_labels(ohlc([*flat, (101.0, 99.0, 100.0), *flat]), {**BARRIERS, "vol_span": 3})
    assert labels.known.tolist() == [False, False, False, True, True, False, False]


def test_ktrdrs_other_names_of_the_barrier_parameters_mean_the_same() -> None:
    """Some strategy files call them profit_target_atr, stop_loss_atr, max_holding_bars and atr_period."""
    bars = bars_of(walk(3, 120))
    other: dict[str, object] = {
        "source": "triple_barrier",
        "profit_target_atr": 1.2,
        "stop_loss_atr": 0.7,
        "max_holding_bars": 9,
        "atr_period": 5,
    }
    usual: dict[str, object] = {
        "source": "triple_barrier",
        "pt_multiplier": 1.2,
        "sl_multiplier": 0.7,
        "max_holding_period": 9,
        "vol_span": 5,
    }
    np.testing.assert_array_equal(generate_labels(bars, other).values, generate_labels(bars, usual).values)
    assert shown(generate_labels(bars, usual)) != shown(generate_labels(bars, {"source": "triple_barrier"}))


def test_weights_are_the_average_uniqueness_of_the_holding_periods() -> None:
    """The book's definition in plain loops: the mean of 1 / concurrent labels while a label is held."""
    bars = bars_of(walk(5, 80))
    labels = generate_labels(bars, {**CONFIGS["triple_barrier"], "compute_weights": True})
    rows = [int(row) for row in np.flatnonzero(labels.known)]
    active = [sum(row <= bar < labels.looks_until[row] for row in rows) for bar in range(len(bars))]
    assert labels.weights is not None
    for row in rows:
        expected = np.mean([1 / active[bar] for bar in range(row, int(labels.looks_until[row]))])
        assert labels.weights[row] == pytest.approx(expected, abs=1e-12)
    assert generate_labels(bars, CONFIGS["triple_barrier"]).weights is None


REGIME: dict[str, object] = {
    "source": "regime",
    "atr_period": 2,
    "macro_atr_mult": 3.0,
    "micro_atr_mult": 1.0,
    "vol_lookback": 50,
}


def zigzag_path(turns: list[float], steps: int = 2) -> NDArray[np.float64]:
    parts = [np.linspace(a, b, steps, endpoint=False) for a, b in pairwise(turns)]
    return np.concatenate([*parts, [turns[-1]]])


def test_a_swing_with_rising_lows_is_a_trend_and_its_mirror_the_other() -> None:
    """Up in steps of +6 and -3 (the micro turns), down the same way: trends; the last swing is not over."""
    rising = [100.0, 106, 103, 109, 106, 112, 109, 115]
    falling = [109.0, 112, 106, 109, 103, 106, 100]
    labels = generate_labels(bars_of(zigzag_path([*rising, *falling, 120]), 0.004), REGIME)
    top = 2 * (len(rising) - 1)
    bottom = top + 2 * len(falling)
    assert set(shown(labels)[:top]) == {0.0}
    assert set(shown(labels)[top:bottom]) == {1.0}
    assert set(shown(labels)[bottom:]) == {None}
    assert (labels.looks_until[:top] > top).all()


def test_a_swing_without_micro_turns_is_a_range() -> None:
    """Fewer than four pivots show no progression, as in ktrdr."""
    labels = generate_labels(bars_of(zigzag_path([100.0, 130, 100, 130], steps=8), 0.004), REGIME)
    assert set(shown(labels)[:16]) == {2.0}


def test_bars_before_a_jump_of_volatility_are_volatile() -> None:
    """Returns of 0.1 % for 40 bars, then of 5 %: bars whose next four returns hold one such are volatile."""
    calm = 100 * np.cumprod(1 + 0.001 * np.array([1, -1] * 20))
    wild = calm[-1] * np.cumprod(1 + 0.05 * np.array([1, -1] * 5))
    config = {**REGIME, "atr_period": 4, "vol_lookback": 20}
    labels = generate_labels(bars_of(np.concatenate((calm, wild)), 0.004), config)
    volatile = [bar for bar, label in enumerate(shown(labels)) if label == 3.0]
    assert volatile[0] == 36
    assert volatile[:5] == [36, 37, 38, 39, 40]
    assert labels.looks_until[36] == 40


@pytest.mark.parametrize("name", CONFIGS)
@given(seed=st.integers(0, 10_000), bars=st.integers(30, 90), data=st.data())
def test_no_bar_after_looks_until_can_change_a_label(
    name: str, seed: int, bars: int, data: st.DataObject
) -> None:
    """Later bars are replaced by others: each label that looked no further is still known, and the same."""
    cut = data.draw(st.integers(1, bars - 1))
    before = walk(seed, bars)
    after = np.concatenate(
        (before[:cut], before[cut - 1] * walk(seed + 1, bars, step=0.05)[: bars - cut] / 100)
    )
    labels, others = (generate_labels(bars_of(close), CONFIGS[name]) for close in (before, after))
    settled = labels.known & (labels.looks_until < cut)
    np.testing.assert_array_equal(others.values[settled], labels.values[settled])
    np.testing.assert_array_equal(others.looks_until[settled], labels.looks_until[settled])


@pytest.mark.parametrize("name", ["zigzag", "forward_return", "context", "regime"])
@given(seed=st.integers(0, 10_000), bars=st.integers(30, 90), data=st.data())
def test_a_label_is_known_as_soon_as_the_last_bar_it_looks_at_is_there(
    name: str, seed: int, bars: int, data: st.DataObject
) -> None:
    """With the data ending at any bar, exactly the labels that looked no further are known, and the same."""
    cut = data.draw(st.integers(2, bars - 1))
    close = walk(seed, bars)
    whole = generate_labels(bars_of(close), CONFIGS[name])
    prefix = generate_labels(bars_of(close[:cut]), CONFIGS[name])
    settled = (whole.known & (whole.looks_until < cut))[:cut]
    np.testing.assert_array_equal(prefix.known, settled)
    np.testing.assert_array_equal(prefix.values[settled], whole.values[:cut][settled])


@pytest.mark.parametrize("name", CONFIGS)
@given(seed=st.integers(0, 10_000), bars=st.integers(2, 60))
def test_labels_have_one_shape_and_are_honest_about_what_is_unknown(name: str, seed: int, bars: int) -> None:
    """One entry per bar, NaN exactly where unknown, classes in range, nothing looks back or past the end."""
    labels = generate_labels(bars_of(walk(seed, bars)), CONFIGS[name])
    assert len(labels.values) == len(labels.known) == len(labels.looks_until) == bars
    np.testing.assert_array_equal(np.isnan(labels.values), ~labels.known)
    assert (labels.looks_until < bars).all()
    assert (labels.looks_until >= np.arange(bars)).all()
    if labels.classes is not None:
        assert set(labels.values[labels.known]) <= set(range(len(labels.classes)))


def plain_zigzag(close: NDArray[np.float64], threshold: float) -> list[int]:
    """The turning points in the plainest way: one bar after the other, the last extreme included."""
    turns, extreme, direction = [0], 0, 0
    for bar in range(1, len(close)):
        move = (close[bar] - close[extreme]) / close[extreme]
        if direction == 0:
            if abs(move) >= threshold:
                direction, extreme = (1 if move > 0 else -1), bar
        elif direction * move > 0:
            extreme = bar
        elif direction * move <= -threshold:
            turns.append(extreme)
            direction, extreme = -direction, bar
    return turns if extreme == turns[-1] else [*turns, extreme]


@given(seed=st.integers(0, 10_000), bars=st.integers(2, 600), threshold=st.sampled_from([0.01, 0.05, 0.2]))
def test_zigzag_agrees_with_a_walk_bar_by_bar(seed: int, bars: int, threshold: float) -> None:
    """Swings longer than any window of the search included."""
    close = walk(seed, bars, step=0.01)
    labels = generate_labels(bars_of(close), {"zigzag_threshold": threshold})
    turns = plain_zigzag(close, threshold)
    expected = np.ones(bars)
    for first, last in pairwise(turns):
        expected[first + 1 : last] = 0 if close[last] > close[first] else 2
    np.testing.assert_array_equal(labels.values[labels.known], expected[labels.known])
    if len(turns) > 1:
        assert labels.known.tolist() == [bar < turns[-1] for bar in range(bars)]


def test_without_a_source_the_labels_are_zigzags_as_in_ktrdr() -> None:
    """`v3_minimal` has no labels section: threshold 0.02 and a lookahead that changes nothing."""
    bars = bars_of(walk(7, 60))
    explicit: dict[str, object] = {"source": "zigzag", "zigzag_threshold": 0.02, "label_lookahead": 33}
    np.testing.assert_array_equal(generate_labels(bars, {}).values, generate_labels(bars, explicit).values)
    assert label_classes({}) == ("buy", "hold", "sell")


def test_class_names_are_known_before_any_bar_is_read() -> None:
    """The plan and the model need them; None means that labels are numbers."""
    assert {source: label_classes({"source": source}) for source in SOURCES} == {
        "zigzag": ("buy", "hold", "sell"),
        "forward_return": None,
        "triple_barrier": ("buy", "hold", "sell"),
        "context": ("bullish", "bearish", "neutral"),
        "regime": ("trending_up", "trending_down", "ranging", "volatile"),
    }


@pytest.mark.parametrize(
    ("config", "where", "what"),
    [
        (
            {"source": "astrology"},
            "source",
            f"unknown label source 'astrology'; known are {', '.join(SOURCES)}",
        ),
        (
            {"source": "forward_return", "horizn": 5},
            "horizn",
            "unknown parameter 'horizn'; did you mean horizon?",
        ),
        (
            {"source": "context", "xyz": 5},
            "xyz",
            "unknown parameter 'xyz'; known are horizon, bullish_threshold, bearish_threshold",
        ),
        (
            {"source": "forward_return", "horizon": 0},
            "horizon",
            "0 does not fit: input should be greater than or equal to 1",
        ),
        (
            {"source": "zigzag", "zigzag_threshold": "big"},
            "zigzag_threshold",
            "'big' does not fit: input should be a valid number, unable to parse string as a number",
        ),
    ],
)
def test_a_wrong_labels_section_is_one_exact_line(
    config: Mapping[str, object], where: str, what: str
) -> None:
    """The check needs no bars, and generating says the same."""
    with pytest.raises(InputError) as checked:
        check_labels(config)
    assert str(checked.value) == f"training.labels.{where}: {what}"
    with pytest.raises(InputError) as generated:
        generate_labels(bars_of([1.0, 2.0]), config)
    assert str(generated.value) == str(checked.value)

"""Classes by the kind of market: trending up, trending down, ranging, or volatile.

Swings at two scales, as in ktrdr: a macro swing is a trend where the micro pivots inside it progress (higher
lows, lower highs), else a range; bars before which the volatility jumps are volatile whatever the swing.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field

from pipeline.labels.base import LabelParams, Labels, finished, parse_params
from pipeline.swings import Swings, find_swings

CLASSES = ("trending_up", "trending_down", "ranging", "volatile")
_UP, _DOWN, _RANGING, _VOLATILE = 0.0, 1.0, 2.0, 3.0
_FEWEST_PIVOTS = 4


class RegimeParams(LabelParams):
    """Thresholds in average true ranges, periods in bars, `progression_tolerance` a share of pivot pairs."""

    macro_atr_mult: float = Field(default=3.0, gt=0)
    micro_atr_mult: float = Field(default=1.0, gt=0)
    atr_period: int = Field(default=14, ge=2)
    vol_lookback: int = Field(default=120, ge=2)
    vol_crisis_threshold: float = Field(default=2.0, gt=0)
    progression_tolerance: float = Field(default=0.5, ge=0, le=1)


def generate(bars: pd.DataFrame, params: Mapping[str, object]) -> Labels:
    """3 where the next `atr_period` bars are volatile, else by the macro swing; unknown until it has ended.

    Departs from ktrdr in one thing: the thresholds at a bar come from the medians of the true range and the
    price up to that bar, not of the whole data; with the latter every label would look at the last bar.
    """
    chosen = parse_params(RegimeParams, params)
    close = bars["close"].to_numpy()
    unit = _threshold_unit(bars, chosen.atr_period)
    macro = find_swings(close, chosen.macro_atr_mult * unit)
    micro = find_swings(close, chosen.micro_atr_mult * unit)
    trend, decided = _trends(close, macro, micro, chosen.progression_tolerance)
    position = np.arange(len(close))
    ahead = np.where(position >= chosen.vol_lookback, position + chosen.atr_period, position)
    volatile = _volatile(close, chosen)
    looks_until = np.where(volatile, ahead, np.maximum(decided, ahead))
    return finished(np.where(volatile, _VOLATILE, trend), looks_until < len(close), looks_until, CLASSES)


def _threshold_unit(bars: pd.DataFrame, period: int) -> NDArray[np.float64]:
    """One average true range over the price, medians of all bars so far; NaN before the first."""
    high, low, close = (bars[name].to_numpy() for name in ("high", "low", "close"))
    before = np.concatenate((close[:1], close[:-1]))
    true_range = np.maximum(high, before) - np.minimum(low, before)
    true_range[:1] = high[:1] - low[:1]
    average = pd.Series(true_range).rolling(period).mean()
    unit = (average.expanding().median() / pd.Series(close).expanding().median()).to_numpy()
    return np.where(unit > 0, unit, np.nan)


def _trends(
    close: NDArray[np.float64], macro: Swings, micro: Swings, tolerance: float
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """The class of each bar by its macro swing, and the bar by which it is decided (`bars`: not yet)."""
    bars = len(close)
    trend, decided = np.full(bars, _RANGING), np.full(bars, bars)
    for first, last, direction in zip(macro.pivots, macro.pivots[1:], macro.directions, strict=False):
        inside = micro.pivots[(micro.pivots >= first) & (micro.pivots <= last)]
        if _progresses(close[inside], int(direction), tolerance):
            trend[first:last] = _UP if direction > 0 else _DOWN
        decided[first:last] = max(macro.next_event[last], micro.next_event[last])
    return trend, decided


def _progresses(prices: NDArray[np.float64], direction: int, tolerance: float) -> bool:
    """Whether the lows rise (up) or the highs fall (down) in a large enough share of the pairs."""
    if len(prices) < _FEWEST_PIVOTS:
        return False
    toward = -direction * prices
    before = np.concatenate(([-np.inf], toward[:-1]))
    after = np.concatenate((toward[1:], [-np.inf]))
    steps = np.diff(toward[(toward > before) & (toward > after)])
    return len(steps) > 0 and float(np.mean(steps < 0)) >= tolerance


def _volatile(close: NDArray[np.float64], chosen: RegimeParams) -> NDArray[np.bool_]:
    """Where the deviation of the next returns is that many times the one of the returns before."""
    found = np.zeros(len(close), dtype=np.bool_)
    returns = np.diff(np.log(close))
    count = len(close) - chosen.atr_period - chosen.vol_lookback
    if count <= 0:
        return found
    past = _deviation(returns, chosen.vol_lookback)[:count]
    ahead = _deviation(returns[chosen.vol_lookback :], chosen.atr_period)[:count]
    found[chosen.vol_lookback : chosen.vol_lookback + count] = (past > 0) & (
        ahead > chosen.vol_crisis_threshold * past
    )
    return found


def _deviation(returns: NDArray[np.float64], window: int) -> NDArray[np.float64]:
    views = np.lib.stride_tricks.sliding_window_view(returns, window)
    return np.asarray(views.std(axis=1, ddof=1), dtype=np.float64)

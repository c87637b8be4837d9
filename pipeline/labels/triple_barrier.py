"""Classes by the barrier that the price meets first: profit target, stop loss or the end of the holding.

Method: M. López de Prado, Advances in Financial Machine Learning (2018), chapter 3; barriers as wide as the
volatility, as ktrdr sets them. Sample weights: the same book, chapter 4 (average uniqueness).
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import AliasChoices, Field

from pipeline.labels.base import LabelParams, Labels, finished, parse_params

CLASSES = ("buy", "hold", "sell")
_BUY, _HOLD, _SELL = 0.0, 1.0, 2.0


class TripleBarrierParams(LabelParams):
    """Barrier distances in volatilities, periods in bars.

    The second names are those of some of ktrdr's own strategy files, whose training ignored them.
    """

    pt_multiplier: float = Field(
        default=2.0, gt=0, validation_alias=AliasChoices("pt_multiplier", "profit_target_atr")
    )
    sl_multiplier: float = Field(
        default=1.5, gt=0, validation_alias=AliasChoices("sl_multiplier", "stop_loss_atr")
    )
    max_holding_period: int = Field(
        default=50, ge=1, validation_alias=AliasChoices("max_holding_period", "max_holding_bars")
    )
    vol_span: int = Field(default=50, ge=1, validation_alias=AliasChoices("vol_span", "atr_period"))
    vol_method: Literal["atr", "close"] = "atr"
    compute_weights: bool = False


def generate(bars: pd.DataFrame, params: Mapping[str, object]) -> Labels:
    """0 if the profit target is met first, 2 if the stop loss is, by the return at the end if neither is.

    Both in one bar: by that bar's close. Neither: 1 if the return stays below half the volatility times the
    root of the holding period, else by its sign. Unknown are the last `max_holding_period` bars and, where
    ktrdr borrows a later volatility, bars before the first one.
    """
    chosen = parse_params(TripleBarrierParams, params)
    high, low, close = (bars[name].to_numpy() for name in ("high", "low", "close"))
    volatility = _volatility(high, low, close, chosen)
    held = _held(high, low, close, volatility, chosen)
    values, looks_until = np.full(len(close), np.nan), np.zeros(len(close), dtype=np.intp)
    known = np.zeros(len(close), dtype=np.bool_)
    if len(held):
        values[: len(held)] = _outcomes(high, low, close, volatility, held, chosen)
        looks_until[: len(held)] = np.arange(len(held)) + held
        known[: len(held)] = volatility[: len(held)] > 0
    weights = _uniqueness(known, looks_until) if chosen.compute_weights else None
    return finished(values, known, looks_until, CLASSES, weights)


def _volatility(
    high: NDArray[np.float64],
    low: NDArray[np.float64],
    close: NDArray[np.float64],
    chosen: TripleBarrierParams,
) -> NDArray[np.float64]:
    if chosen.vol_method == "atr":
        return pd.Series((high - low) / close).ewm(span=chosen.vol_span).mean().to_numpy()
    returns = pd.Series(np.log(close)).diff()
    return returns.ewm(span=chosen.vol_span).std().to_numpy()


def _barriers(
    close: NDArray[np.float64], volatility: NDArray[np.float64], chosen: TripleBarrierParams
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return close * (1 + chosen.pt_multiplier * volatility), close * (1 - chosen.sl_multiplier * volatility)


def _held(
    high: NDArray[np.float64],
    low: NDArray[np.float64],
    close: NDArray[np.float64],
    volatility: NDArray[np.float64],
    chosen: TripleBarrierParams,
) -> NDArray[np.intp]:
    """Bars until the first barrier, the holding period where none is met; `(bars - holding period,)`."""
    period = chosen.max_holding_period
    count = len(close) - period
    if count <= 0:
        return np.zeros(0, dtype=np.intp)
    upper, lower = _barriers(close, volatility, chosen)
    highs = np.lib.stride_tricks.sliding_window_view(high[1:], period)
    lows = np.lib.stride_tricks.sliding_window_view(low[1:], period)
    met = (highs >= upper[:count, None]) | (lows <= lower[:count, None])
    return np.where(met.any(axis=1), met.argmax(axis=1) + 1, period)


def _outcomes(
    high: NDArray[np.float64],
    low: NDArray[np.float64],
    close: NDArray[np.float64],
    volatility: NDArray[np.float64],
    held: NDArray[np.intp],
    chosen: TripleBarrierParams,
) -> NDArray[np.float64]:
    """The class of each bar that has a whole holding period ahead, aligned with `held`."""
    entry, vol = close[: len(held)], volatility[: len(held)]
    upper, lower = (barrier[: len(held)] for barrier in _barriers(close, volatility, chosen))
    end = np.arange(len(held)) + held
    profit, loss = high[end] >= upper, low[end] <= lower
    gain = (close[end] - entry) / entry
    noise = vol * np.sqrt(chosen.max_holding_period) * 0.5
    by_sign = np.where(gain > 0, _BUY, np.where(gain < 0, _SELL, _HOLD))
    expired = np.where(np.abs(gain) < noise, _HOLD, by_sign)
    both = np.where(close[end] >= entry, _BUY, _SELL)
    return np.select([profit & loss, profit, loss], [both, _BUY, _SELL], expired)


def _uniqueness(known: NDArray[np.bool_], looks_until: NDArray[np.intp]) -> NDArray[np.float64]:
    """How much of its holding period each label has to itself, in (0, 1]; 1 where the label is unknown."""
    bars = len(known)
    first = np.flatnonzero(known)
    end = looks_until[first]
    change = np.bincount(first, minlength=bars + 1) - np.bincount(end, minlength=bars + 1)
    active = np.maximum(np.cumsum(change), 1)
    share = np.concatenate(([0.0], np.cumsum(1.0 / active)))
    weights = np.ones(bars)
    weights[first] = (share[end] - share[first]) / (end - first)
    return weights

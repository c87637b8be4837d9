"""Oscillators: how fast, and in which part of its range, the price moves."""

from typing import Annotated

import numpy as np
import pandas as pd
import talib
from pydantic import Field

from pipeline.indicators.base import (
    SINGLE,
    IndicatorType,
    Outputs,
    Params,
    Period,
    PeriodParams,
    SourceParams,
    Values,
    after_warm_up,
    as_types,
    column,
    ratio,
    shifted,
    single,
)

Smoothing = Annotated[int, Field(ge=1, le=500)]


class RocParams(SourceParams):
    """ktrdr's defaults."""

    period: Annotated[int, Field(ge=1, le=5000)] = 10


class CciParams(PeriodParams):
    """ktrdr's defaults."""

    period: Period = 20


class StochasticParams(Params):
    """ktrdr's defaults."""

    k_period: Period = 14
    d_period: Smoothing = 3
    smooth_k: Smoothing = 3


class RviParams(Params):
    """ktrdr's defaults."""

    period: Period = 10
    signal_period: Smoothing = 4


class FisherParams(Params):
    """ktrdr's defaults."""

    period: Period = 10
    smoothing: Smoothing = 3


class AroonParams(PeriodParams):
    """ktrdr's defaults; the oscillator is always an output, so `include_oscillator` changes nothing."""

    include_oscillator: bool = False


def rsi(bars: pd.DataFrame, params: SourceParams) -> Outputs:
    """Relative Strength Index, 0-100, with Wilder's smoothing (Wilder 1978; TA-Lib RSI). A flat price gives 0."""
    return single(talib.RSI(column(bars, params.source), params.period))


def roc(bars: pd.DataFrame, params: RocParams) -> Outputs:
    """Rate of change in percent: `(x[t] / x[t - period] - 1) * 100` (TA-Lib ROC)."""
    return single(talib.ROC(column(bars, params.source), params.period))


def momentum(bars: pd.DataFrame, params: RocParams) -> Outputs:
    """Difference to the value `period` bars ago (TA-Lib MOM)."""
    return single(talib.MOM(column(bars, params.source), params.period))


def cci(bars: pd.DataFrame, params: CciParams) -> Outputs:
    """Commodity Channel Index (Lambert 1980; TA-Lib CCI): deviation from the mean typical price / (0.015 MAD)."""
    return single(talib.CCI(column(bars, "high"), column(bars, "low"), column(bars, "close"), params.period))


def williams_r(bars: pd.DataFrame, params: PeriodParams) -> Outputs:
    """Williams %R, -100 to 0 (TA-Lib WILLR). A range of nothing gives 0, as TA-Lib has it."""
    return single(
        talib.WILLR(column(bars, "high"), column(bars, "low"), column(bars, "close"), params.period)
    )


def stochastic(bars: pd.DataFrame, params: StochasticParams) -> Outputs:
    """Slow stochastic, 0-100 (Lane; TA-Lib STOCH): %K smoothed over `smooth_k`, %D its mean over `d_period`."""
    k, d = talib.STOCH(
        column(bars, "high"),
        column(bars, "low"),
        column(bars, "close"),
        fastk_period=params.k_period,
        slowk_period=params.smooth_k,
        slowd_period=params.d_period,
    )
    return {"k": k, "d": d}


def rvi(bars: pd.DataFrame, params: RviParams) -> Outputs:
    """Relative Vigor Index (Ehlers 2002), with plain means as in ktrdr.

    Close - open over high - low, both weighted 1-2-2-1 over four bars and averaged over `period`; the signal is
    the mean of the index over `signal_period`. A range of nothing gives 0.
    """
    moved = column(bars, "close") - column(bars, "open")
    ranged = column(bars, "high") - column(bars, "low")

    def weighted(values: Values) -> Values:
        return (values + 2 * shifted(values, 1) + 2 * shifted(values, 2) + shifted(values, 3)) / 6

    def mean(values: Values) -> Values:
        return after_warm_up(weighted(values), lambda known: talib.SMA(known, params.period))

    index = ratio(mean(moved), mean(ranged), 0.0)
    signal = after_warm_up(index, lambda known: _mean(known, params.signal_period))
    return {"rvi": index, "signal": signal}


def fisher_transform(bars: pd.DataFrame, params: FisherParams) -> Outputs:
    """Fisher transform (Ehlers 2002) of the median price's place in its range, smoothed by an EMA as in ktrdr.

    The place is clipped to ±0.999; a range of nothing is its middle. The signal is the value of the bar before.
    """
    high, low = column(bars, "high"), column(bars, "low")
    highest, lowest = talib.MAX(high, params.period), talib.MIN(low, params.period)
    place = 2 * ratio((high + low) / 2 - lowest, highest - lowest, 0.5) - 1
    place = np.clip(place, -0.999, 0.999)
    fisher = after_warm_up(np.arctanh(place), lambda known: _ema_from_first(known, params.smoothing))
    return {"fisher": fisher, "signal": shifted(fisher, 1)}


def aroon(bars: pd.DataFrame, params: AroonParams) -> Outputs:
    """Aroon, 0-100 (Chande 1995; TA-Lib AROON): bars since the highest high and the lowest low of `period` + 1."""
    high, low = column(bars, "high"), column(bars, "low")
    down, up = talib.AROON(high, low, params.period)
    return {"up": up, "down": down, "oscillator": up - down}


def _mean(values: Values, period: int) -> Values:
    return values if period == 1 else talib.SMA(values, period)


def _ema_from_first(values: Values, span: int) -> Values:
    """An EMA that begins at the first value, as pandas' `ewm(adjust=False)`."""
    return pd.Series(values).ewm(span=span, adjust=False).mean().to_numpy()


TYPES = as_types(
    IndicatorType("rsi", SourceParams, SINGLE, rsi),
    IndicatorType("roc", RocParams, SINGLE, roc),
    IndicatorType("momentum", RocParams, SINGLE, momentum),
    IndicatorType("cci", CciParams, SINGLE, cci),
    IndicatorType("williamsr", PeriodParams, SINGLE, williams_r),
    IndicatorType("stochastic", StochasticParams, ("k", "d"), stochastic),
    IndicatorType("rvi", RviParams, ("rvi", "signal"), rvi),
    IndicatorType("fishertransform", FisherParams, ("fisher", "signal"), fisher_transform),
    IndicatorType("aroon", AroonParams, ("up", "down", "oscillator"), aroon),
)

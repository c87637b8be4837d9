"""Averages and trends: where the price goes."""

from typing import Annotated, Literal

import numpy as np
import pandas as pd
import talib
from pydantic import AliasChoices, Field, model_validator

from pipeline.indicators.base import (
    SINGLE,
    IndicatorType,
    Outputs,
    Params,
    Period,
    PeriodParams,
    Source,
    SourceParams,
    Values,
    as_types,
    column,
    ratio,
    shifted,
    single,
)
from pipeline.indicators.volatility import average_true_range
from pipeline.swings import find_swings

Acceleration = Annotated[float, Field(gt=0, le=1)]


class AverageParams(SourceParams):
    """ktrdr's defaults."""

    period: Period = 20


class EmaParams(AverageParams):
    """ktrdr's defaults; TA-Lib's EMA has one start, so `adjust` changes nothing."""

    adjust: bool = True


class MacdParams(Params):
    """ktrdr's defaults; some of its files write the shorter names."""

    fast_period: Annotated[Period, Field(validation_alias=AliasChoices("fast_period", "fast"))] = 12
    slow_period: Annotated[Period, Field(validation_alias=AliasChoices("slow_period", "slow"))] = 26
    signal_period: Annotated[
        int, Field(ge=1, le=500, validation_alias=AliasChoices("signal_period", "signal"))
    ] = 9
    source: Source = "close"

    @model_validator(mode="after")
    def _fast_is_faster(self) -> "MacdParams":
        if self.fast_period >= self.slow_period:
            raise ValueError(f"fast_period {self.fast_period} must be below slow_period {self.slow_period}")
        return self


class SarParams(Params):
    """ktrdr's defaults."""

    initial_af: Acceleration = 0.02
    step_af: Acceleration = 0.02
    max_af: Acceleration = 0.20


class SuperTrendParams(PeriodParams):
    """ktrdr's defaults."""

    period: Period = 10
    multiplier: Annotated[float, Field(gt=0, le=100)] = 3.0


class IchimokuParams(Params):
    """ktrdr's defaults."""

    tenkan_period: Period = 9
    kijun_period: Period = 26
    senkou_b_period: Period = 52
    displacement: Annotated[int, Field(ge=1, le=500)] = 26


class DistanceParams(SourceParams):
    """ktrdr's defaults."""

    period: Period = 20
    ma_type: Literal["SMA", "EMA"] = "SMA"


class ZigZagParams(Params):
    """ktrdr's defaults."""

    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.05
    source: Source = "close"


def sma(bars: pd.DataFrame, params: AverageParams) -> Outputs:
    """Simple moving average (TA-Lib SMA)."""
    return single(talib.SMA(column(bars, params.source), params.period))


def ema(bars: pd.DataFrame, params: EmaParams) -> Outputs:
    """Exponential moving average, alpha = 2 / (period + 1), begun with a simple one (TA-Lib EMA)."""
    return single(talib.EMA(column(bars, params.source), params.period))


def wma(bars: pd.DataFrame, params: AverageParams) -> Outputs:
    """Linearly weighted moving average, the newest bar heaviest (TA-Lib WMA)."""
    return single(talib.WMA(column(bars, params.source), params.period))


def macd(bars: pd.DataFrame, params: MacdParams) -> Outputs:
    """Difference of two EMAs, its EMA, and the difference of both (Appel 1979; TA-Lib MACD)."""
    line, signal, histogram = talib.MACD(
        column(bars, params.source), params.fast_period, params.slow_period, params.signal_period
    )
    return {"line": line, "signal": signal, "histogram": histogram}


def adx(bars: pd.DataFrame, params: PeriodParams) -> Outputs:
    """Average Directional Index and its two indicators, 0-100 (Wilder 1978; TA-Lib ADX, PLUS_DI, MINUS_DI)."""
    prices = column(bars, "high"), column(bars, "low"), column(bars, "close")
    return {
        "adx": talib.ADX(*prices, params.period),
        "plus_di": talib.PLUS_DI(*prices, params.period),
        "minus_di": talib.MINUS_DI(*prices, params.period),
    }


def parabolic_sar(bars: pd.DataFrame, params: SarParams) -> Outputs:
    """Parabolic Stop and Reverse (Wilder 1978; TA-Lib SAREXT, begun in the direction of the first move)."""
    values = talib.SAREXT(
        column(bars, "high"),
        column(bars, "low"),
        accelerationinitlong=params.initial_af,
        accelerationlong=params.step_af,
        accelerationmaxlong=params.max_af,
        accelerationinitshort=params.initial_af,
        accelerationshort=params.step_af,
        accelerationmaxshort=params.max_af,
    )
    return single(np.abs(values))  # SAREXT gives the stops of a falling trend as negative numbers


def supertrend(bars: pd.DataFrame, params: SuperTrendParams) -> Outputs:
    """SuperTrend (Seban): the band that the trend runs along, and the trend's direction, 1 or -1.

    Bands are the median price ± `multiplier` average true ranges; a band only tightens until the close has
    crossed it. The trend begins upwards, as in ktrdr.
    """
    close = column(bars, "close")
    middle = (column(bars, "high") + column(bars, "low")) / 2
    reach = params.multiplier * average_true_range(bars, params.period)
    upper = -_ratchet(-(middle + reach), -close)
    lower = _ratchet(middle - reach, close)
    direction = _direction(close >= upper, close <= lower)
    direction[np.isnan(reach)] = np.nan
    return {"trend": np.where(direction > 0, lower, upper), "direction": direction}


def ichimoku(bars: pd.DataFrame, params: IchimokuParams) -> Outputs:
    """Ichimoku Kinko Hyo (Hosoda 1969), each line at the bar at which it is known.

    The spans are drawn `displacement` bars ahead, so at a bar they are those computed that many bars ago.
    Chikou is drawn back: at a bar it would be a later close. As a feature it is the close of
    `displacement` bars ago, so that nothing looks ahead.
    """
    high, low, close = column(bars, "high"), column(bars, "low"), column(bars, "close")

    def middle(period: int) -> Values:
        values: Values = (talib.MAX(high, period) + talib.MIN(low, period)) / 2
        return values

    tenkan, kijun = middle(params.tenkan_period), middle(params.kijun_period)
    return {
        "tenkan": tenkan,
        "kijun": kijun,
        "senkou_a": shifted((tenkan + kijun) / 2, params.displacement),
        "senkou_b": shifted(middle(params.senkou_b_period), params.displacement),
        "chikou": shifted(close, params.displacement),
    }


def distance_from_ma(bars: pd.DataFrame, params: DistanceParams) -> Outputs:
    """How far the price is from its moving average, in percent of the average; 0 where that is nothing."""
    prices = column(bars, params.source)
    average = talib.SMA if params.ma_type == "SMA" else talib.EMA
    mean = average(prices, params.period)
    return single(100 * ratio(prices - mean, mean, 0.0))


def zigzag(bars: pd.DataFrame, params: ZigZagParams) -> Outputs:
    """The last turning point that is confirmed, NaN before the first.

    A turning point is known only when the price has moved `threshold` (a fraction) against it; from that bar on
    it is the value, until the next one is confirmed. Drawn in a chart it stands at its own, earlier bar.
    """
    prices = column(bars, params.source)
    values = np.full(len(prices), np.nan)
    if len(prices) < 2 or (prices <= 0).any():
        return single(values)
    swings = find_swings(prices, np.full(len(prices), params.threshold))
    confirmed_at = swings.confirmed_at
    if not len(confirmed_at):
        return single(values)
    latest = np.searchsorted(confirmed_at, np.arange(len(prices)), side="right") - 1
    known = latest >= 0
    values[known] = prices[swings.pivots[: len(confirmed_at)][latest[known]]]
    return single(values)


def _ratchet(band: Values, close: Values) -> Values:
    """The band, held at its highest until the close of the bar before has fallen below it.

    Steps from one release to the next, not from bar to bar.
    """
    held = np.full_like(band, np.nan)
    known = np.flatnonzero(~np.isnan(band))
    start = int(known[0]) if len(known) else len(band)
    window = 64
    while start < len(band):
        part = np.maximum.accumulate(band[start : start + window])
        released = np.flatnonzero(close[start : start + len(part)] < part)
        stop = int(released[0]) + 1 if len(released) else len(part)
        held[start : start + stop] = part[:stop]
        if not len(released) and start + stop < len(band):
            # The window ended, the band did not: the next one goes on from where this was held.
            band = band.copy()
            band[start + stop] = max(band[start + stop], held[start + stop - 1])
        start += stop
        window = 64 if len(released) else window * 4
    return held


def _direction(
    crosses_up: "np.typing.NDArray[np.bool_]", crosses_down: "np.typing.NDArray[np.bool_]"
) -> Values:
    """1 from a crossing upwards on, -1 from one downwards on, 1 before the first."""
    crossing = np.where(crosses_up, 1.0, np.where(crosses_down, -1.0, 0.0))
    last = np.maximum.accumulate(np.where(crossing != 0, np.arange(len(crossing)), -1))
    return np.where(last >= 0, crossing[np.maximum(last, 0)], 1.0)


TYPES = as_types(
    IndicatorType("sma", AverageParams, SINGLE, sma),
    IndicatorType("ema", EmaParams, SINGLE, ema),
    IndicatorType("wma", AverageParams, SINGLE, wma),
    IndicatorType("macd", MacdParams, ("line", "signal", "histogram"), macd),
    IndicatorType("adx", PeriodParams, ("adx", "plus_di", "minus_di"), adx),
    IndicatorType("parabolicsar", SarParams, SINGLE, parabolic_sar),
    IndicatorType("supertrend", SuperTrendParams, ("trend", "direction"), supertrend),
    IndicatorType(
        "ichimoku", IchimokuParams, ("tenkan", "kijun", "senkou_a", "senkou_b", "chikou"), ichimoku
    ),
    IndicatorType("distancefromma", DistanceParams, SINGLE, distance_from_ma),
    IndicatorType("zigzag", ZigZagParams, SINGLE, zigzag),
)

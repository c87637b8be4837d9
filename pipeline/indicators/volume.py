"""Volume: how much was traded while the price moved."""

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
    Values,
    as_types,
    column,
    ratio,
    shifted,
    single,
)


class VolumePeriodParams(PeriodParams):
    """ktrdr's defaults."""

    period: Period = 20


class VwapParams(Params):
    """ktrdr's defaults; period 0 averages from the first bar on."""

    period: Annotated[int, Field(ge=0, le=5000)] = 20
    use_typical_price: bool = True


class CmfParams(PeriodParams):
    """ktrdr's defaults."""

    period: Period = 21


class AdLineParams(Params):
    """ktrdr's defaults; smoothing is of ktrdr's charts and changes no output here."""

    use_sma_smoothing: bool = False
    smoothing_period: Period = 21


def obv(bars: pd.DataFrame, params: Params) -> Outputs:
    """On-Balance Volume (Granville 1963): volume added on rises and subtracted on falls, from 0 at the first bar."""
    rises = np.sign(np.diff(column(bars, "close"), prepend=np.nan))
    flows = np.where(np.isnan(rises), 0.0, rises) * column(bars, "volume")
    return single(np.cumsum(flows))


def vwap(bars: pd.DataFrame, params: VwapParams) -> Outputs:
    """Volume-weighted mean price of the last `period` bars; NaN where nothing was traded in them."""
    close, volume = column(bars, "close"), column(bars, "volume")
    price = (column(bars, "high") + column(bars, "low") + close) / 3 if params.use_typical_price else close
    if params.period == 0:
        return single(ratio(np.cumsum(price * volume), np.cumsum(volume), np.nan))
    return single(ratio(_sum(price * volume, params.period), _sum(volume, params.period), np.nan))


def mfi(bars: pd.DataFrame, params: PeriodParams) -> Outputs:
    """Money Flow Index, 0-100 (Quong and Soudack 1989; TA-Lib MFI). No flow gives 0."""
    return single(
        talib.MFI(
            column(bars, "high"),
            column(bars, "low"),
            column(bars, "close"),
            column(bars, "volume"),
            params.period,
        )
    )


def cmf(bars: pd.DataFrame, params: CmfParams) -> Outputs:
    """Chaikin Money Flow, -1 to 1: money flow volume over volume of the last `period` bars, and ktrdr's by-products.

    `momentum` is the change over 5 bars, `signal` an EMA over 9, `above_zero` and `below_zero` are 0 or 1.
    """
    multiplier = _flow_multiplier(bars)
    flow = multiplier * column(bars, "volume")
    values = ratio(_sum(flow, params.period), _sum(column(bars, "volume"), params.period), 0.0)
    signal = pd.Series(values).ewm(span=9, adjust=False).mean().to_numpy()
    unknown = np.isnan(values)
    return {
        "cmf": values,
        "mf_multiplier": multiplier,
        "mf_volume": flow,
        "momentum": values - shifted(values, 5),
        "signal": signal,
        "histogram": values - signal,
        "above_zero": np.where(unknown, np.nan, values > 0),
        "below_zero": np.where(unknown, np.nan, values < 0),
    }


def ad_line(bars: pd.DataFrame, params: AdLineParams) -> Outputs:
    """Accumulation/Distribution Line (Chaikin): the sum of money flow volume since the first bar, and by-products.

    `roc_10` is its change over 10 bars in percent, `momentum_21` over 21 bars, `relative_strength` its distance
    in percent from its mean over 50 bars (20 at least, as ktrdr).
    """
    multiplier = _flow_multiplier(bars)
    flow = multiplier * column(bars, "volume")
    line = np.cumsum(flow)
    mean = pd.Series(line).rolling(50, min_periods=20).mean().to_numpy()
    before = shifted(line, 10)
    return {
        "line": line,
        "mf_multiplier": multiplier,
        "mf_volume": flow,
        "roc_10": 100 * ratio(line - before, before, 0.0),
        "momentum_21": line - shifted(line, 21),
        "relative_strength": 100 * ratio(line - mean, mean, 0.0),
    }


def volume_ratio(bars: pd.DataFrame, params: VolumePeriodParams) -> Outputs:
    """Volume over its mean of the last `period` bars; 1 where nothing was traded."""
    volume = column(bars, "volume")
    return single(ratio(volume, talib.SMA(volume, params.period), 1.0))


def _flow_multiplier(bars: pd.DataFrame) -> Values:
    """Where in the bar's range the close lies, -1 to 1; 0 in a bar without a range."""
    high, low, close = column(bars, "high"), column(bars, "low"), column(bars, "close")
    return ratio((close - low) - (high - close), high - low, 0.0)


def _sum(values: Values, period: int) -> Values:
    """Rolling sum, each window added by itself: a running one would keep the rounding of volumes long gone."""
    if len(values) < period:
        return np.full_like(values, np.nan)
    sums: Values = np.full_like(values, np.nan)
    sums[period - 1 :] = np.lib.stride_tricks.sliding_window_view(values, period).sum(axis=1)
    return sums


TYPES = as_types(
    IndicatorType("obv", Params, SINGLE, obv),
    IndicatorType("vwap", VwapParams, SINGLE, vwap),
    IndicatorType("mfi", PeriodParams, SINGLE, mfi),
    IndicatorType(
        "cmf",
        CmfParams,
        ("cmf", "mf_multiplier", "mf_volume", "momentum", "signal", "histogram", "above_zero", "below_zero"),
        cmf,
    ),
    IndicatorType(
        "adline",
        AdLineParams,
        ("line", "mf_multiplier", "mf_volume", "roc_10", "momentum_21", "relative_strength"),
        ad_line,
    ),
    IndicatorType("volumeratio", VolumePeriodParams, SINGLE, volume_ratio),
)

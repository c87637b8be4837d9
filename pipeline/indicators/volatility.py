"""Ranges and bands: how far the price moves around its middle."""

from typing import Annotated

import numpy as np
import pandas as pd
import talib
from pydantic import Field, model_validator

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
    single,
)

Multiplier = Annotated[float, Field(gt=0, le=100)]


class BandParams(SourceParams):
    """ktrdr's defaults."""

    period: Period = 20
    multiplier: Multiplier = 2.0


class KeltnerParams(Params):
    """ktrdr's defaults."""

    period: Period = 20
    atr_period: Period = 10
    multiplier: Multiplier = 2.0


class DonchianParams(PeriodParams):
    """ktrdr's defaults; the middle is always an output, so `include_middle` changes nothing."""

    period: Period = 20
    include_middle: bool = True


class SqueezeParams(Params):
    """ktrdr's defaults; `period` sets both periods at once."""

    bb_period: Period = 20
    bb_multiplier: Multiplier = 2.0
    kc_period: Period = 20
    kc_multiplier: Multiplier = 2.0
    source: Source = "close"

    @model_validator(mode="before")
    @classmethod
    def _spread_period(cls, given: object) -> object:
        if not isinstance(given, dict) or "period" not in given:
            return given
        rest = {name: value for name, value in given.items() if name != "period"}
        return {"bb_period": given["period"], "kc_period": given["period"], **rest}


def atr(bars: pd.DataFrame, params: PeriodParams) -> Outputs:
    """Average True Range with Wilder's smoothing (Wilder 1978; TA-Lib ATR); ktrdr averages plainly."""
    return single(average_true_range(bars, params.period))


def bollinger_bands(bars: pd.DataFrame, params: BandParams) -> Outputs:
    """Mean ± `multiplier` standard deviations of the population (Bollinger 2001; TA-Lib BBANDS)."""
    upper, middle, lower = talib.BBANDS(
        column(bars, params.source), params.period, nbdevup=params.multiplier, nbdevdn=params.multiplier
    )
    return {"upper": upper, "middle": middle, "lower": lower}


def bollinger_band_width(bars: pd.DataFrame, params: BandParams) -> Outputs:
    """The width of the Bollinger bands over their middle; 0 where the middle is nothing."""
    bands = bollinger_bands(bars, params)
    return single(ratio(bands["upper"] - bands["lower"], bands["middle"], 0.0))


def keltner_channels(bars: pd.DataFrame, params: KeltnerParams) -> Outputs:
    """EMA of the close ± `multiplier` average true ranges (Raschke's form; TA-Lib EMA and ATR)."""
    middle = talib.EMA(column(bars, "close"), params.period)
    reach = params.multiplier * average_true_range(bars, params.atr_period)
    return {"upper": middle + reach, "middle": middle, "lower": middle - reach}


def donchian_channels(bars: pd.DataFrame, params: DonchianParams) -> Outputs:
    """Highest high and lowest low of the last `period` bars, this one among them, and their middle."""
    upper, lower = (
        talib.MAX(column(bars, "high"), params.period),
        talib.MIN(column(bars, "low"), params.period),
    )
    return {"upper": upper, "middle": (upper + lower) / 2, "lower": lower}


def squeeze_intensity(bars: pd.DataFrame, params: SqueezeParams) -> Outputs:
    """How far the Bollinger bands lie inside the Keltner channels, as a share of the channels' range; 0 outside."""
    bands = bollinger_bands(
        bars, BandParams(period=params.bb_period, multiplier=params.bb_multiplier, source=params.source)
    )
    channels = keltner_channels(bars, KeltnerParams(period=params.kc_period, multiplier=params.kc_multiplier))
    span = channels["upper"] - channels["lower"]
    above = ratio(channels["upper"] - bands["upper"], span, 0.0)
    below = ratio(bands["lower"] - channels["lower"], span, 0.0)
    return single(np.maximum(0.0, np.minimum(above, below)))


def average_true_range(bars: pd.DataFrame, period: int) -> Values:
    """Wilder's average of the true range, NaN for the first `period` bars."""
    values: Values = talib.ATR(column(bars, "high"), column(bars, "low"), column(bars, "close"), period)
    return values


TYPES = as_types(
    IndicatorType("atr", PeriodParams, SINGLE, atr),
    IndicatorType("bollingerbands", BandParams, ("upper", "middle", "lower"), bollinger_bands),
    IndicatorType("bollingerbandwidth", BandParams, SINGLE, bollinger_band_width),
    IndicatorType("keltnerchannels", KeltnerParams, ("upper", "middle", "lower"), keltner_channels),
    IndicatorType("donchianchannels", DonchianParams, ("upper", "middle", "lower"), donchian_channels),
    IndicatorType("squeezeintensity", SqueezeParams, SINGLE, squeeze_intensity),
)

"""Indicators: pure functions of bars, by the names that strategy files use."""

from pipeline.indicators.base import IndicatorType, Params
from pipeline.indicators.engine import INDICATORS, IndicatorEngine, find_indicator

__all__ = ["INDICATORS", "IndicatorEngine", "IndicatorType", "Params", "find_indicator"]

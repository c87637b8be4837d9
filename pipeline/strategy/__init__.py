"""Strategy files: ktrdr's v3 grammar, read whole and checked before anything runs."""

from pipeline.strategy.load import load_strategy
from pipeline.strategy.strategy import FeatureSpec, FuzzySetSpec, IndicatorSpec, Strategy

__all__ = ["FeatureSpec", "FuzzySetSpec", "IndicatorSpec", "Strategy", "load_strategy"]

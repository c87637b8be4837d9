"""A strategy that has been checked: every name in it names something."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pipeline.fuzzy.membership import Membership
from pipeline.indicators import Params
from pipeline.labels import label_classes


@dataclass(frozen=True)
class IndicatorSpec:
    """An indicator with its parameters; `data_source` names a series from outside."""

    id: str
    type: str
    params: Params
    outputs: tuple[str, ...]
    data_source: str | None = None


@dataclass(frozen=True)
class FuzzySetSpec:
    """The terms of one output of an indicator, in the order of the file."""

    id: str
    indicator: str
    output: str
    memberships: tuple[tuple[str, Membership], ...]


@dataclass(frozen=True)
class FeatureSpec:
    """One number that the network reads; `source` is a fuzzy set or an indicator, `part` its term or output."""

    name: str
    timeframe: str
    kind: Literal["fuzzy", "raw"]
    source: str
    part: str
    normalization: str | None = None


@dataclass(frozen=True)
class Strategy:
    """What a strategy file says. `ignored` are paths of keys that nothing reads."""

    path: Path
    name: str
    version: str
    description: str
    symbols: tuple[str, ...]
    timeframes: tuple[str, ...]
    base_timeframe: str
    start_date: str | None
    end_date: str | None
    history_required: int
    indicators: Mapping[str, IndicatorSpec]
    fuzzy_sets: Mapping[str, FuzzySetSpec]
    feature_specs: tuple[FeatureSpec, ...]
    context_data: tuple[Mapping[str, Any], ...]
    model_type: Literal["mlp", "lstm"]
    architecture: Mapping[str, Any]
    training: Mapping[str, Any]  # of the model section and the training section, the latter wins
    labels: Mapping[str, Any]
    loss: Literal["cross_entropy", "focal", "huber"]
    split: tuple[float, float, float]  # train, validation, test
    decisions: Mapping[str, Any]
    ignored: tuple[str, ...]
    raw: Mapping[str, Any]

    def features(self) -> tuple[FeatureSpec, ...]:
        """The network's inputs in order: by input, by timeframe, by term."""
        return self.feature_specs

    def shares(self) -> tuple[float, float, float]:
        """Shares of the rows for train, validation and test."""
        return self.split

    def indicators_for(self, timeframe: str) -> tuple[IndicatorSpec, ...]:
        """The indicators that some feature needs on the timeframe, in the order of the file."""
        needed = {
            self.fuzzy_sets[spec.source].indicator if spec.kind == "fuzzy" else spec.source
            for spec in self.feature_specs
            if spec.timeframe == timeframe
        }
        return tuple(spec for spec in self.indicators.values() if spec.id in needed)

    def fuzzy_sets_for(self, timeframe: str) -> tuple[FuzzySetSpec, ...]:
        """The fuzzy sets that some feature needs on the timeframe, in the order of the file."""
        needed = {
            spec.source for spec in self.feature_specs if spec.timeframe == timeframe and spec.kind == "fuzzy"
        }
        return tuple(spec for spec in self.fuzzy_sets.values() if spec.id in needed)

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Names of the classes that the labels have; None where the labels are numbers."""
        return label_classes(self.labels)

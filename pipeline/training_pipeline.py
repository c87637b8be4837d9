"""The story of a training: ten steps in order, each a checkpoint that opens before the work begins.

Engines, features, labels and the model know nothing of it: whatever is reported is reported here.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ktrdr_otel import checkpoint, observe, track
from ktrdr_otel.callback import ProgressCallback, fed
from ktrdr_otel.context import current_operation
from ktrdr_otel.progress.plan import Plan
from pipeline.data import context_sources, load_bars, load_external
from pipeline.dataset import Dataset, Split, SymbolSamples, combine, make_samples, split
from pipeline.features import Normaliser, build_features
from pipeline.fuzzy import FuzzyEngine
from pipeline.indicators import IndicatorEngine
from pipeline.labels import generate_labels
from pipeline.strategy import FeatureSpec, IndicatorSpec, Strategy

T = TypeVar("T")
Values = NDArray[np.float64]
Columns = dict[tuple[str, str], Values]  # (timeframe, column) -> (bars,)


@dataclass(frozen=True)
class TrainingOutcome:
    """What a training came to."""

    metrics: Mapping[str, Any]  # of the test split
    history: tuple[Mapping[str, float], ...]  # of each epoch
    epochs: int
    stopped_early: bool
    dropped: Mapping[str, int]  # rows that were not used, by reason
    rows: Mapping[str, int]  # of train, validation and test
    features: int
    snapshot: Path | None


@dataclass
class _Symbol:
    """A symbol on its way: its bars and columns per timeframe."""

    name: str
    index: int
    total: int
    bars: dict[str, pd.DataFrame] = field(default_factory=dict)
    columns: Columns = field(default_factory=dict)


class TrainingPipeline:
    """Trains one strategy on bars of a folder.

    `epochs` overrides the strategy's own number; `on_early_stop` hears that the remaining ones will not come.
    """

    def __init__(
        self,
        strategy: Strategy,
        data: Path,
        *,
        epochs: int | None = None,
        seed: int = 0,
        on_early_stop: Callable[[], None] | None = None,
    ) -> None:
        self._strategy = strategy
        self._data = data
        self._epochs = epochs
        self._seed = seed
        self._on_early_stop = on_early_stop or (lambda: None)
        self._indicators = IndicatorEngine()
        self._fuzzy = FuzzyEngine()
        self._sources = context_sources(strategy.context_data)

    def train_strategy(
        self,
        *,
        progress_callback: ProgressCallback | None = None,
        snapshot_folder: Path | None = None,
        operation_id: str | None = None,
        trace_id: str | None = None,
    ) -> TrainingOutcome:
        """The strategy is trained, evaluated and, if a folder is given, kept there as a model snapshot.

        `progress_callback(epoch, total_epochs, metrics)` is ktrdr's; it hears what the operation's other listeners
        hear. Without an operation around it the training is one of its own.

        Raises `InputError` for bars that cannot be used, `TrainingError` where too little is left to train on, and
        `CancellationError` at the first checkpoint after somebody asked to stop.
        """
        operation = current_operation()
        if operation is None:
            # Somebody calls it as a library: the run is an operation all the same.
            with observe(
                f"train {self._strategy.name}", operation_type="training", plan=self.plan()
            ) as observation:
                return self.train_strategy(
                    progress_callback=progress_callback,
                    snapshot_folder=snapshot_folder,
                    operation_id=observation.operation_id,
                    trace_id=observation.trace_id,
                )
        with fed(operation, progress_callback) if progress_callback is not None else nullcontext():
            return self._train(snapshot_folder, operation_id, trace_id)

    def plan(self) -> Plan:
        """How many units the training has."""
        from pipeline.train import TrainingSettings

        epochs = TrainingSettings.from_mapping(self._strategy.training, epochs=self._epochs).epochs
        steps, indicators, fuzzy_sets = planned_units(self._strategy)
        return Plan.training(steps=steps, indicators=indicators, fuzzy_sets=fuzzy_sets, epochs=epochs)

    def _train(
        self, snapshot_folder: Path | None, operation_id: str | None, trace_id: str | None
    ) -> TrainingOutcome:
        strategy = self._strategy
        samples = self.prepare_features()
        with checkpoint("preparation", step="combining_data", total_symbols=len(samples)):
            dataset = combine(samples)
        with checkpoint("preparation", step="splitting_data", total_samples=len(dataset)):
            parts, normaliser = self._split(dataset)
        # Loaded when it is needed: torch takes seconds.
        from pipeline.trainer import Trainer

        with checkpoint("preparation", step="creating_model", input_dim=len(dataset.feature_names)):
            trainer = Trainer(strategy, parts, epochs=self._epochs, seed=self._seed)
        with checkpoint("training"):
            result = trainer.train(_epoch_scope, _tracked)
            if result.stopped_early:
                self._on_early_stop()
        with checkpoint("evaluation"):
            metrics = trainer.evaluate()
        kept = None
        if snapshot_folder is not None:
            kept = trainer.save(
                snapshot_folder, normaliser, metrics, operation_id=operation_id, trace_id=trace_id
            )
        return TrainingOutcome(
            metrics=metrics,
            history=tuple(result.history),
            epochs=len(result.history),
            stopped_early=result.stopped_early,
            dropped={**dataset.dropped, **parts.dropped},
            rows={"train": len(parts.train), "validation": len(parts.validation), "test": len(parts.test)},
            features=len(dataset.feature_names),
            snapshot=kept,
        )

    def prepare_features(self) -> list[SymbolSamples]:
        """The labelled rows of every symbol, from bars to features."""
        strategy = self._strategy
        total = len(strategy.symbols)
        return [
            self._prepare_symbol(_Symbol(name, index, total))
            for index, name in enumerate(strategy.symbols, 1)
        ]

    def _prepare_symbol(self, symbol: _Symbol) -> SymbolSamples:
        with checkpoint("symbol", symbol=symbol.name, symbol_index=symbol.index, total_symbols=symbol.total):
            for timeframe in self._timeframes():
                with checkpoint("timeframe", timeframe=timeframe):
                    self._load(symbol, timeframe)
                    self.calculate_indicators(symbol, timeframe)
                    self.generate_fuzzy_memberships(symbol, timeframe)
            with checkpoint("preprocessing", step="creating_features"):
                index, features, names = self._features(symbol)
            with checkpoint("preprocessing", step="generating_labels"):
                bars = symbol.bars[self._strategy.base_timeframe]
                labels = generate_labels(bars, self._strategy.labels)
                return make_samples(symbol.name, index, features, names, pd.DatetimeIndex(bars.index), labels)

    def calculate_indicators(self, symbol: _Symbol, timeframe: str) -> None:
        """Every indicator that the strategy uses on the timeframe is among the symbol's columns."""
        specs = self._strategy.indicators_for(timeframe)
        for index, spec in enumerate(specs, 1):
            with checkpoint(
                "indicator_computation",
                indicator_name=spec.id,
                indicator_index=index,
                total_indicators=len(specs),
            ):
                bars = symbol.bars[timeframe]
                if spec.data_source is None:
                    outputs = self._indicators.compute(spec.type, spec.params, bars)
                else:
                    outputs = self._of_source(spec, bars)
                for name, values in outputs.items():
                    symbol.columns[timeframe, f"{spec.id}.{name}"] = values

    def generate_fuzzy_memberships(self, symbol: _Symbol, timeframe: str) -> None:
        """Every fuzzy set that the strategy uses on the timeframe has its memberships among the columns."""
        sets = self._strategy.fuzzy_sets_for(timeframe)
        for index, fuzzy_set in enumerate(sets, 1):
            with checkpoint(
                "fuzzy_generation",
                fuzzy_set_name=fuzzy_set.id,
                fuzzy_index=index,
                total_fuzzy_sets=len(sets),
            ):
                values = symbol.columns[timeframe, f"{fuzzy_set.indicator}.{fuzzy_set.output}"]
                memberships = self._fuzzy.fuzzify(fuzzy_set.memberships, values)
                for column, (name, _) in enumerate(fuzzy_set.memberships):
                    symbol.columns[timeframe, f"{fuzzy_set.id}:{name}"] = memberships[:, column]

    def _timeframes(self) -> Iterable[str]:
        """The base timeframe first: series from outside are known on its bars."""
        base = self._strategy.base_timeframe
        return (base, *(each for each in self._strategy.timeframes if each != base))

    def _load(self, symbol: _Symbol, timeframe: str) -> None:
        with checkpoint("preprocessing", step="loading_data"):
            symbol.bars[timeframe] = load_bars(
                self._data, symbol.name, timeframe, self._strategy.start_date, self._strategy.end_date
            )

    def _of_source(self, spec: IndicatorSpec, bars: pd.DataFrame) -> dict[str, Values]:
        index = pd.DatetimeIndex(bars.index)
        source = load_external(
            self._data,
            str(spec.data_source),
            index,
            self._strategy.base_timeframe,
            self._sources.get(str(spec.data_source)),
        )
        outputs = self._indicators.compute(spec.type, spec.params, source)
        aligned = pd.DataFrame(outputs, index=source.index).reindex(index)
        return {name: aligned[name].to_numpy(dtype=np.float64) for name in outputs}

    def _features(self, symbol: _Symbol) -> tuple[pd.DatetimeIndex, NDArray[np.float32], list[str]]:
        specs = self._strategy.features()
        indexes = {timeframe: pd.DatetimeIndex(bars.index) for timeframe, bars in symbol.bars.items()}
        index = indexes[self._strategy.base_timeframe]
        order = [(spec.timeframe, column_of(spec)) for spec in specs]
        features = build_features(
            index, symbol.columns, indexes, order, base_timeframe=self._strategy.base_timeframe
        )
        return index, features, [spec.name for spec in specs]

    def _split(self, dataset: Dataset) -> tuple[Split, Normaliser]:
        shares = self._strategy.shares()
        parts = split(dataset, train=shares[0], validation=shares[1], test=shares[2])
        normaliser = Normaliser.fit(
            parts.train.features, [spec.normalization for spec in self._strategy.features()]
        )
        return (
            Split(
                train=parts.train.with_features(normaliser.apply(parts.train.features)),
                validation=parts.validation.with_features(normaliser.apply(parts.validation.features)),
                test=parts.test.with_features(normaliser.apply(parts.test.features)),
                validation_from=parts.validation_from,
                test_from=parts.test_from,
                dropped=parts.dropped,
            ),
            normaliser,
        )


def column_of(spec: FeatureSpec) -> str:
    """The name under which a feature's values lie among the columns of its timeframe."""
    return f"{spec.source}:{spec.part}" if spec.kind == "fuzzy" else f"{spec.source}.{spec.part}"


def planned_units(strategy: Strategy) -> tuple[int, int, int]:
    """How many loads, features and labels, how many indicators, how many fuzzy sets the strategy takes."""
    symbols = len(strategy.symbols)
    steps = symbols * (len(strategy.timeframes) + 2)
    indicators = symbols * sum(len(strategy.indicators_for(each)) for each in strategy.timeframes)
    fuzzy_sets = symbols * sum(len(strategy.fuzzy_sets_for(each)) for each in strategy.timeframes)
    return steps, indicators, fuzzy_sets


@contextmanager
def _epoch_scope(epoch: int, epochs: int) -> Iterator[Callable[[Mapping[str, float]], None]]:
    with checkpoint("epoch", index=epoch + 1, total=epochs) as unit:
        yield unit.record


def _tracked(batches: Iterable[T], total: int) -> Iterable[T]:
    return track(batches, "batch", total=total)

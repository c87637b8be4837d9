"""A model and the samples of its strategy: made, trained, judged and kept. It knows nothing of progress."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from pipeline.dataset import Dataset, Split, sequence_index
from pipeline.device import choose_device, threads_for
from pipeline.errors import TrainingError
from pipeline.evaluate import evaluate
from pipeline.features import Normaliser
from pipeline.losses import build_loss
from pipeline.model import build_model, sequence_length
from pipeline.snapshot import save_snapshot
from pipeline.strategy import Strategy
from pipeline.train import (
    Batches,
    EpochScope,
    Samples,
    TrainingResult,
    TrainingSettings,
    seed_everything,
    train,
)


class Trainer:
    """The network of one strategy on one split; `epochs` overrides the strategy's own number."""

    def __init__(self, strategy: Strategy, parts: Split, *, epochs: int | None, seed: int) -> None:
        seed_everything(seed)
        self._strategy = strategy
        self._seed = seed
        self._classes = parts.train.classes
        self._features = parts.train.feature_names
        self._outputs = 1 if self._classes is None else len(self._classes)
        self._settings = TrainingSettings.from_mapping(strategy.training, epochs=epochs, seed=seed)
        self._loss = build_loss(strategy.loss, strategy.training)
        self._device = choose_device()
        self._model = build_model(
            strategy.model_type, len(self._features), self._outputs, strategy.architecture
        )
        length = sequence_length(strategy.model_type, strategy.architecture)
        self._rows_at_once = self._settings.batch_size * (length or 1)
        self._train = _samples(parts.train, length, "train")
        self._validation = _samples(parts.validation, length, "validation")
        self._test = _samples(parts.test, length, "test")

    def train(self, epoch_scope: EpochScope, batches: Batches) -> TrainingResult:
        """The network has learned; see `pipeline.train.train`."""
        with threads_for(self._model, self._rows_at_once):
            return train(
                self._model,
                self._train,
                self._validation,
                self._settings,
                loss=self._loss,
                device=self._device,
                epoch_scope=epoch_scope,
                batches=batches,
            )

    def evaluate(self) -> dict[str, Any]:
        """The network's figures on the test split."""
        return evaluate(self._model, self._test, loss=self._loss, classes=self._classes, device=self._device)

    def save(
        self,
        folder: Path,
        normaliser: Normaliser,
        metrics: Mapping[str, Any],
        *,
        operation_id: str | None,
        trace_id: str | None,
    ) -> Path:
        """The network is kept in the folder."""
        strategy = self._strategy
        return save_snapshot(
            folder,
            self._model,
            strategy=strategy.raw,
            model_type=strategy.model_type,
            architecture=strategy.architecture,
            output_dim=self._outputs,
            feature_names=self._features,
            classes=self._classes,
            normaliser=normaliser,
            metrics=metrics,
            seed=self._seed,
            operation_id=operation_id,
            trace_id=trace_id,
        )


def _samples(rows: Dataset, length: int | None, part: str) -> Samples:
    features = torch.from_numpy(rows.features)
    targets = torch.from_numpy(rows.labels)
    weights = torch.from_numpy(rows.weights)
    if length is None:
        return Samples(features, targets, weights)
    windows = torch.from_numpy(sequence_index(rows, length))
    if not len(windows):
        raise TrainingError(f"no window of {length} bars among the {len(rows)} rows for {part}")
    last = windows[:, -1]
    return Samples(features, targets[last], weights[last], windows)

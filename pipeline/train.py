"""The training loop. It knows nothing of observing: it is handed what wraps its epochs and its batches."""

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import nn

from pipeline.errors import InputError, TrainingError
from pipeline.losses import Loss, weighted_mean

Record = Callable[[Mapping[str, float]], None]
# (epoch, epochs), counted from 0 -> a block; what it gives takes the epoch's metrics.
EpochScope = Callable[[int, int], AbstractContextManager[Record]]
# (batches, how many) -> the same batches
Batches = Callable[[Iterable[torch.Tensor], int], Iterable[torch.Tensor]]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class EarlyStopping(_Part):
    """Stop when the validation loss has not improved by `min_delta` for `patience` epochs."""

    enabled: bool = True
    patience: Annotated[int, Field(ge=1)] = 15
    min_delta: Annotated[float, Field(ge=0)] = 0.0
    monitor: Literal["val_loss"] = "val_loss"


class Schedule(_Part):
    """How the learning rate changes over the epochs."""

    type: Literal["step", "reduce_on_plateau", "cosine", "exponential"] = "reduce_on_plateau"
    step_size: Annotated[int, Field(ge=1)] = 30
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.5
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.5
    patience: Annotated[int, Field(ge=0)] = 5
    min_lr: Annotated[float, Field(ge=0)] = 0.0


class TrainingSettings(BaseModel):
    """How to train; the strategy's names."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    epochs: Annotated[int, Field(ge=1, le=1_000_000)] = 50
    batch_size: Annotated[int, Field(ge=1)] = 64
    learning_rate: Annotated[float, Field(gt=0)] = 0.001
    optimizer: Literal["adam", "adamw", "sgd", "rmsprop"] = "adam"
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    gradient_clip: Annotated[float, Field(gt=0)] | None = None
    early_stopping: EarlyStopping | None = None
    lr_scheduler: Schedule | None = None
    seed: int = 0

    @classmethod
    def from_mapping(cls, training: Mapping[str, Any], *, epochs: int | None = None, seed: int = 0) -> Self:
        """The settings that a strategy's training section holds; raises `InputError` for what cannot be used."""
        given = {name: value for name, value in training.items() if name in cls.model_fields}
        if given.get("lr_scheduler") is True:  # ktrdr: the scheduler with its defaults
            given["lr_scheduler"] = {}
        given["lr_scheduler"] = given.get("lr_scheduler") if given.get("lr_scheduler") is not False else None
        given["seed"] = seed
        if epochs is not None:
            given["epochs"] = epochs
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            fault = error.errors()[0]
            where = ".".join(["training", *(str(step) for step in fault["loc"])])
            raise InputError(f"{fault['msg'].lower()}, not {fault['input']!r}", where=where) from error


@dataclass(frozen=True)
class Samples:
    """Rows to learn from or to judge by.

    `features` is float32 `(rows, features)`; `targets` int64 classes or float32 numbers `(samples,)`; `weights`
    float32 `(samples,)`. `windows`, int64 `(samples, bars)`, are row numbers for networks that read several bars;
    without them each row is a sample.
    """

    features: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor
    windows: torch.Tensor | None = None

    def __len__(self) -> int:
        return len(self.targets)

    def to(self, device: torch.device) -> "Samples":
        """The same samples on that device."""
        windows = None if self.windows is None else self.windows.to(device)
        return Samples(self.features.to(device), self.targets.to(device), self.weights.to(device), windows)

    def inputs(self, chosen: torch.Tensor) -> torch.Tensor:
        """What the network reads for these samples: `(chosen, features)` or `(chosen, bars, features)`."""
        return self.features[chosen] if self.windows is None else self.features[self.windows[chosen]]


@dataclass
class TrainingResult:
    """What a training came to; the model holds the weights of `best_epoch` (counted from 0)."""

    history: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = 0
    stopped_early: bool = False


def seed_everything(seed: int) -> None:
    """New layers begin with weights that the seed decides."""
    torch.manual_seed(seed)


def train(
    model: nn.Module,
    training: Samples,
    validation: Samples,
    settings: TrainingSettings,
    *,
    loss: Loss,
    device: torch.device,
    epoch_scope: EpochScope,
    batches: Batches,
) -> TrainingResult:
    """The model has learned from `training`; it holds the weights of the epoch with the least validation loss.

    Whatever `epoch_scope` or `batches` raises goes through untouched. Raises `TrainingError` where the loss is
    not a number. On a CPU the same seed gives the same weights, bit by bit.
    """
    model.to(device)
    training, validation = training.to(device), validation.to(device)
    optimiser = _optimiser(model, settings)
    schedule = _schedule(optimiser, settings)
    order = torch.Generator().manual_seed(settings.seed)
    result = TrainingResult()
    best = math.inf
    weights = copy.deepcopy(model.state_dict())
    for epoch in range(settings.epochs):
        with epoch_scope(epoch, settings.epochs) as record:
            metrics = _learn(model, training, settings, optimiser, loss, order, batches, epoch)
            judged = judge(model, validation, loss, settings.batch_size)
            metrics.update({f"val_{name}": value for name, value in judged.items()})
            metrics["learning_rate"] = float(optimiser.param_groups[0]["lr"])
            record(metrics)
        result.history.append(metrics)
        if metrics["val_loss"] < best - _min_delta(settings):
            best, result.best_epoch = metrics["val_loss"], epoch
            weights = copy.deepcopy(model.state_dict())
        _step(schedule, metrics["val_loss"])
        if _has_waited_enough(settings, epoch - result.best_epoch):
            result.stopped_early = epoch + 1 < settings.epochs
            break
    model.load_state_dict(weights)
    return result


def judge(model: nn.Module, samples: Samples, loss: Loss, batch_size: int) -> dict[str, float]:
    """Loss, and accuracy where the targets are classes, over all samples; nothing is learned."""
    model.eval()
    total = right = weight = 0.0
    is_classes = not samples.targets.is_floating_point()
    with torch.no_grad():
        rows = torch.arange(len(samples), device=samples.targets.device)
        for chosen in torch.split(rows, max(batch_size, 1024)):
            outputs = model(samples.inputs(chosen))
            targets, weights = samples.targets[chosen], samples.weights[chosen]
            total += float((loss(outputs, targets) * weights).sum())
            weight += float(weights.sum())
            if is_classes:
                right += float((outputs.argmax(dim=1) == targets).sum())
    judged = {"loss": total / max(weight, 1e-12)}
    if is_classes:
        judged["accuracy"] = right / max(len(samples), 1)
    return judged


def _learn(
    model: nn.Module,
    samples: Samples,
    settings: TrainingSettings,
    optimiser: torch.optim.Optimizer,
    loss: Loss,
    order: torch.Generator,
    batches: Batches,
    epoch: int,
) -> dict[str, float]:
    model.train()
    shuffled = torch.randperm(len(samples), generator=order).to(samples.targets.device)
    parts = torch.split(shuffled, settings.batch_size)
    is_classes = not samples.targets.is_floating_point()
    total = right = 0.0
    for number, chosen in enumerate(batches(parts, len(parts)), 1):
        outputs = model(samples.inputs(chosen))
        targets = samples.targets[chosen]
        value = weighted_mean(loss(outputs, targets), samples.weights[chosen])
        if not torch.isfinite(value):
            raise TrainingError(
                f"the loss is {float(value.detach())} in epoch {epoch + 1}, batch {number}; lower learning_rate"
            )
        optimiser.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call] # torch ships it without annotations
        if settings.gradient_clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), settings.gradient_clip)
        optimiser.step()
        total += float(value.detach()) * len(chosen)
        if is_classes:
            right += float((outputs.argmax(dim=1) == targets).sum())
    metrics = {"loss": total / len(samples)}
    if is_classes:
        metrics["accuracy"] = right / len(samples)
    return metrics


def _optimiser(model: nn.Module, settings: TrainingSettings) -> torch.optim.Optimizer:
    kinds: dict[str, Callable[..., torch.optim.Optimizer]] = {
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
        "sgd": torch.optim.SGD,
        "rmsprop": torch.optim.RMSprop,
    }
    make = kinds[settings.optimizer]
    return make(model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)


def _schedule(
    optimiser: torch.optim.Optimizer, settings: TrainingSettings
) -> torch.optim.lr_scheduler.LRScheduler | None:
    chosen = settings.lr_scheduler
    if chosen is None:
        return None
    if chosen.type == "step":
        return torch.optim.lr_scheduler.StepLR(optimiser, chosen.step_size, chosen.gamma)
    if chosen.type == "exponential":
        return torch.optim.lr_scheduler.ExponentialLR(optimiser, chosen.gamma)
    if chosen.type == "cosine":
        return torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, settings.epochs, chosen.min_lr)
    return torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimiser, factor=chosen.factor, patience=chosen.patience, min_lr=chosen.min_lr
    )


def _step(schedule: torch.optim.lr_scheduler.LRScheduler | None, val_loss: float) -> None:
    if isinstance(schedule, torch.optim.lr_scheduler.ReduceLROnPlateau):
        schedule.step(val_loss)
    elif schedule is not None:
        schedule.step()


def _min_delta(settings: TrainingSettings) -> float:
    stopping = settings.early_stopping
    return stopping.min_delta if stopping is not None and stopping.enabled else 0.0


def _has_waited_enough(settings: TrainingSettings, epochs_without: int) -> bool:
    stopping = settings.early_stopping
    return stopping is not None and stopping.enabled and epochs_without >= stopping.patience

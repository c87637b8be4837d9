"""Losses: what the training makes small. Each gives one number per row, before weights."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.nn import functional

from pipeline.errors import InputError

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]  # (rows, outputs), (rows,) -> (rows,)


def cross_entropy(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Negative log-likelihood of the class; logits `(rows, classes)`, class indices `(rows,)`, to `(rows,)`."""
    return functional.cross_entropy(outputs, targets, reduction="none")


def focal(outputs: torch.Tensor, targets: torch.Tensor, gamma: float = 2.0) -> torch.Tensor:
    """Focal loss, `(1 - p)^gamma * -log p` of the class (Lin et al. 2017, equation 4); gamma 0 is cross entropy."""
    negative_log = functional.cross_entropy(outputs, targets, reduction="none")
    return (1 - torch.exp(-negative_log)) ** gamma * negative_log


def huber(outputs: torch.Tensor, targets: torch.Tensor, delta: float = 1.0) -> torch.Tensor:
    """Huber loss (Huber 1964): square within `delta`, straight beyond; `(rows, 1)` and `(rows,)` to `(rows,)`."""
    return functional.huber_loss(outputs.squeeze(-1), targets, reduction="none", delta=delta)


def build_loss(name: str, training: Mapping[str, Any]) -> Loss:
    """The loss of that name with the strategy's `focal_gamma` or `huber_delta`; raises `InputError`."""
    if name == "cross_entropy":
        return cross_entropy
    if name == "focal":
        gamma = _number(training, "focal_gamma", 2.0, least=0.0)
        return lambda outputs, targets: focal(outputs, targets, gamma)
    if name == "huber":
        delta = _number(training, "huber_delta", 1.0, least=1e-12)
        return lambda outputs, targets: huber(outputs, targets, delta)
    raise InputError(
        f"unknown loss {name!r}", where="training.loss", hint="known are cross_entropy, focal, huber"
    )


def weighted_mean(losses: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """The mean over rows, each with its weight; `(rows,)` and `(rows,)` to a scalar."""
    return (losses * weights).sum() / weights.sum().clamp_min(1e-12)


def _number(training: Mapping[str, Any], name: str, default: float, *, least: float) -> float:
    value = training.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or value < least:
        raise InputError(f"must be a number of at least {least:g}, not {value!r}", where=f"training.{name}")
    return float(value)

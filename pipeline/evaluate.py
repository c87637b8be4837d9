"""How good a model is on rows that it has never seen."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from pipeline.losses import Loss
from pipeline.train import Samples, judge


def evaluate(
    model: nn.Module, samples: Samples, *, loss: Loss, classes: Sequence[str] | None, device: torch.device
) -> dict[str, Any]:
    """The model's figures on the samples.

    For classes: `loss accuracy confusion` (rows are true classes) and per class `precision recall f1 support`. For
    numbers: `loss mae rmse r2 directional_accuracy` (share of rows whose sign is right).
    """
    samples = samples.to(device)
    model.to(device)
    figures: dict[str, Any] = dict(judge(model, samples, loss, 1024))
    outputs = predict(model, samples)
    if classes is None:
        figures.update(_of_numbers(outputs.squeeze(-1), samples.targets))
    else:
        figures.update(_of_classes(outputs.argmax(dim=1), samples.targets, classes))
    return figures


def predict(model: nn.Module, samples: Samples) -> torch.Tensor:
    """The network's outputs for all samples, `(samples, outputs)`."""
    model.eval()
    with torch.no_grad():
        rows = torch.arange(len(samples), device=samples.features.device)
        return torch.cat([model(samples.inputs(chosen)) for chosen in torch.split(rows, 1024)])


def _of_classes(predicted: torch.Tensor, targets: torch.Tensor, classes: Sequence[str]) -> dict[str, Any]:
    count = len(classes)
    confusion = torch.bincount(targets * count + predicted, minlength=count * count).reshape(count, count)
    per_class = {}
    for index, name in enumerate(classes):
        hits = float(confusion[index, index])
        support, given = float(confusion[index].sum()), float(confusion[:, index].sum())
        precision, recall = _share(hits, given), _share(hits, support)
        per_class[name] = {
            "precision": precision,
            "recall": recall,
            "f1": _share(2 * precision * recall, precision + recall),
            "support": int(support),
        }
    return {"classes": per_class, "confusion": confusion.tolist()}


def _of_numbers(predicted: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
    errors = predicted - targets
    spread = float(((targets - targets.mean()) ** 2).sum())
    return {
        "mae": float(errors.abs().mean()),
        "rmse": float((errors**2).mean().sqrt()),
        "r2": 1 - float((errors**2).sum()) / spread if spread else 0.0,
        "directional_accuracy": float((predicted.sign() == targets.sign()).float().mean()),
    }


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0

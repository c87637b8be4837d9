"""Model snapshots: weights in safetensors beside a JSON that says all that is needed to predict with them."""

import json
import platform
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from pipeline.errors import InputError
from pipeline.evaluate import predict
from pipeline.features import Normaliser
from pipeline.model import build_model, sequence_length
from pipeline.train import Samples

FORMAT = 1
_WEIGHTS = "model.safetensors"
_FACTS = "snapshot.json"


@dataclass(frozen=True)
class Snapshot:
    """A model that can predict, and what is known of it (`facts`, as in the JSON)."""

    model: nn.Module
    facts: Mapping[str, Any]

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The features in the order in which `predict` takes them."""
        return tuple(self.facts["feature_names"])

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The classes in the order in which `predict` gives them; None for numbers."""
        return None if self.facts["classes"] is None else tuple(self.facts["classes"])

    def predict(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities `(samples, classes)`, or numbers `(samples,)`.

        `features` `(rows, features)` are not normalised: the snapshot does that as it was fitted. Networks that read
        several bars give a sample for each row that has enough rows before it.
        """
        scaled = torch.from_numpy(Normaliser.from_dict(self.facts["normaliser"]).apply(features))
        length = sequence_length(self.facts["model_type"], self.facts["architecture"])
        windows = None
        if length is not None:
            windows = torch.arange(length).unsqueeze(0) + torch.arange(len(scaled) - length + 1).unsqueeze(1)
        count = len(scaled) if windows is None else len(windows)
        samples = Samples(scaled, torch.zeros(count), torch.ones(count), windows)
        outputs = predict(self.model, samples)
        if self.classes is None:
            return np.asarray(outputs.squeeze(-1).numpy(), dtype=np.float32)
        return np.asarray(outputs.softmax(dim=1).numpy(), dtype=np.float32)


def save_snapshot(
    folder: Path,
    model: nn.Module,
    *,
    strategy: Mapping[str, Any],
    model_type: str,
    architecture: Mapping[str, Any],
    output_dim: int,
    feature_names: Sequence[str],
    classes: Sequence[str] | None,
    normaliser: Normaliser,
    metrics: Mapping[str, Any],
    seed: int,
    operation_id: str | None,
    trace_id: str | None,
) -> Path:
    """The snapshot is in the folder, whole; one that was there before is replaced in one step."""
    facts = {
        "format": FORMAT,
        "model_type": model_type,
        "architecture": dict(architecture),
        "output_dim": output_dim,
        "feature_names": list(feature_names),
        "classes": None if classes is None else list(classes),
        "normaliser": normaliser.to_dict(),
        "metrics": metrics,
        "seed": seed,
        "operation_id": operation_id,
        "trace_id": trace_id,
        "strategy": strategy,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as made:
        fresh = Path(made) / folder.name
        fresh.mkdir()
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
        save_file(weights, fresh / _WEIGHTS)
        # Python's Infinity: a constant feature's scale is infinite.
        (fresh / _FACTS).write_text(json.dumps(facts, indent=2, default=str) + "\n", encoding="utf-8")
        if folder.exists():
            shutil.move(folder, Path(made) / "before")
        fresh.rename(folder)
    return folder


def is_snapshot(folder: Path) -> bool:
    """Whether the folder looks like a model snapshot, which another one may replace."""
    return (folder / _FACTS).is_file() and (folder / _WEIGHTS).is_file()


def load_snapshot(folder: Path) -> Snapshot:
    """The snapshot of the folder, on the CPU; raises `InputError` if it is not one, or is damaged."""
    try:
        facts = json.loads((folder / _FACTS).read_text(encoding="utf-8"))
        if not isinstance(facts, dict) or facts.get("format") != FORMAT:
            raise InputError("not a model snapshot of a known format", source=folder / _FACTS)
        model = build_model(
            facts["model_type"], len(facts["feature_names"]), int(facts["output_dim"]), facts["architecture"]
        )
        model.load_state_dict(load_file(folder / _WEIGHTS))
        Normaliser.from_dict(facts["normaliser"])
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"cannot be read: {getattr(error, 'strerror', None) or error}", source=folder
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, SafetensorError) as error:
        what = " ".join(str(error).split())[:200]
        raise InputError(f"the snapshot is damaged: {type(error).__name__} {what}", source=folder) from error
    return Snapshot(model.eval(), facts)

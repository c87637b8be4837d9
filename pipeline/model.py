"""The networks: features in, one number per class (or one number) out."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import nn

from pipeline.errors import InputError

_ACTIVATIONS: Mapping[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
}
Size = Annotated[int, Field(ge=1, le=65536)]
Dropout = Annotated[float, Field(ge=0, lt=1)]


class _Architecture(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    dropout: Dropout = 0.2
    # The network gives logits; what turns them into probabilities is applied when it predicts.
    output_activation: Literal["softmax", "linear", "none"] | None = None


A = TypeVar("A", bound=_Architecture)


class MlpArchitecture(_Architecture):
    """Layers of an MLP."""

    hidden_layers: Annotated[list[Size], Field(min_length=1)] = [64, 32]
    activation: Literal["relu", "leaky_relu", "elu", "gelu", "tanh", "sigmoid"] = "relu"


class LstmArchitecture(_Architecture):
    """Layers of an LSTM, and how many bars it reads at once."""

    hidden_size: Size = 64
    num_layers: Annotated[int, Field(ge=1, le=16)] = 2
    sequence_length: Annotated[int, Field(ge=1, le=10_000)] = 20
    bidirectional: bool = False


class Mlp(nn.Module):
    """Hidden layers with activation and dropout; `(rows, features)` to logits `(rows, outputs)`."""

    def __init__(self, input_dim: int, output_dim: int, shape: MlpArchitecture) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = input_dim
        for size in shape.hidden_layers:
            layers += [nn.Linear(width, size), _ACTIVATIONS[shape.activation](), nn.Dropout(shape.dropout)]
            width = size
        layers.append(nn.Linear(width, output_dim))
        self.layers = nn.Sequential(*layers)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logits `(rows, outputs)`."""
        logits: torch.Tensor = self.layers(features)
        return logits


class Lstm(nn.Module):
    """An LSTM whose last state is read out; `(rows, bars, features)` to logits `(rows, outputs)`."""

    def __init__(self, input_dim: int, output_dim: int, shape: LstmArchitecture) -> None:
        super().__init__()
        self.lstm = nn.LSTM(
            input_dim,
            shape.hidden_size,
            shape.num_layers,
            batch_first=True,
            dropout=shape.dropout if shape.num_layers > 1 else 0.0,
            bidirectional=shape.bidirectional,
        )
        self.dropout = nn.Dropout(shape.dropout)
        self.output = nn.Linear(shape.hidden_size * (2 if shape.bidirectional else 1), output_dim)

    def forward(self, windows: torch.Tensor) -> torch.Tensor:
        """Logits `(rows, outputs)`."""
        states, _ = self.lstm(windows)
        logits: torch.Tensor = self.output(self.dropout(states[:, -1]))
        return logits


def build_model(kind: str, input_dim: int, output_dim: int, architecture: Mapping[str, Any]) -> nn.Module:
    """The network of that kind; raises `InputError` for an architecture that cannot be built."""
    if kind == "mlp":
        return Mlp(input_dim, output_dim, _read(MlpArchitecture, architecture))
    if kind == "lstm":
        return Lstm(input_dim, output_dim, _read(LstmArchitecture, architecture))
    raise InputError(f"unknown model type {kind!r}", where="model.type", hint="known are mlp, lstm")


def check_architecture(kind: str, architecture: Mapping[str, Any]) -> None:
    """Nothing happens if the architecture fits; else raises as `build_model` would."""
    _read(MlpArchitecture if kind == "mlp" else LstmArchitecture, architecture)


def sequence_length(kind: str, architecture: Mapping[str, Any]) -> int | None:
    """How many bars a row holds; None where the network reads single rows."""
    return _read(LstmArchitecture, architecture).sequence_length if kind == "lstm" else None


def _read(shape: type[A], architecture: Mapping[str, Any]) -> A:
    try:
        return shape.model_validate(dict(architecture))
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(["model", "architecture", *(str(step) for step in fault["loc"])])
        if fault["type"] == "extra_forbidden":
            known = ", ".join(shape.model_fields)
            raise InputError("unknown parameter", where=where, hint=f"known are {known}") from error
        raise InputError(f"{fault['msg'].lower()}, not {fault['input']!r}", where=where) from error

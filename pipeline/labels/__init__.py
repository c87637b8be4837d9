"""Training labels, one file per source; they look ahead, and say how far."""

from collections.abc import Mapping

import pandas as pd

from pipeline.errors import InputError
from pipeline.labels import context, forward_return, regime, triple_barrier, zigzag
from pipeline.labels.base import WHERE, Labels, LabelSource, parse_params

_SOURCES = {
    "zigzag": LabelSource(zigzag.generate, zigzag.ZigzagParams, zigzag.CLASSES),
    "forward_return": LabelSource(forward_return.generate, forward_return.ForwardReturnParams, None),
    "triple_barrier": LabelSource(
        triple_barrier.generate, triple_barrier.TripleBarrierParams, triple_barrier.CLASSES
    ),
    "context": LabelSource(context.generate, context.ContextParams, context.CLASSES),
    "regime": LabelSource(regime.generate, regime.RegimeParams, regime.CLASSES),
}
SOURCES = tuple(_SOURCES)
DEFAULT_SOURCE = "zigzag"

__all__ = ["DEFAULT_SOURCE", "SOURCES", "Labels", "check_labels", "generate_labels", "label_classes"]


def generate_labels(bars: pd.DataFrame, config: Mapping[str, object]) -> Labels:
    """The labels that a strategy's `training.labels` asks for, `(bars,)`; without a `source`, zigzag.

    Raises InputError for an unknown source or parameter.
    """
    return _SOURCES[_source(config)].generate(bars, config)


def check_labels(config: Mapping[str, object]) -> None:
    """Nothing happens if the source and its parameters are valid; else raises as `generate_labels` would."""
    parse_params(_SOURCES[_source(config)].params, config)


def label_classes(config: Mapping[str, object]) -> tuple[str, ...] | None:
    """The class names in the order of their indices; None for a source whose labels are numbers."""
    return _SOURCES[_source(config)].classes


def _source(config: Mapping[str, object]) -> str:
    source = str(config.get("source", DEFAULT_SOURCE)).lower()
    if source not in _SOURCES:
        raise InputError(
            f"unknown label source {source!r}",
            where=f"{WHERE}.source",
            hint=f"known are {', '.join(SOURCES)}",
        )
    return source

"""What every label source gives back, and how its parameters are checked."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import InputError

WHERE = "training.labels"


@dataclass(frozen=True)
class Labels:
    """One label per bar, and how far into the future it looked; arrays are `(bars,)`.

    `values` are class indices or, where `classes` is None, returns as fractions; NaN where not `known`.
    `looks_until` is the index of the last bar that the label depends on: no later bar can change it. For
    unknown labels it is the last bar. `weights`, where a source makes them, are in (0, 1].
    """

    values: NDArray[np.float64]
    known: NDArray[np.bool_]
    looks_until: NDArray[np.intp]
    classes: tuple[str, ...] | None
    weights: NDArray[np.float64] | None = None


class LabelParams(BaseModel):
    """Parameters of a label source: frozen, nothing unknown, nothing infinite."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


@dataclass(frozen=True)
class LabelSource:
    """A way to make labels: the function, its parameters, its class names (None: the labels are numbers)."""

    generate: Callable[[pd.DataFrame, Mapping[str, object]], Labels]
    params: type[LabelParams]
    classes: tuple[str, ...] | None


Params = TypeVar("Params", bound=LabelParams)


def parse_params(model: type[Params], params: Mapping[str, object]) -> Params:
    """The parameters, checked and completed with defaults; `source` among them is left aside.

    Raises InputError for the first one that is unknown (with the nearest name) or out of range.
    """
    try:
        return model.model_validate({name: value for name, value in params.items() if name != "source"})
    except ValidationError as error:
        fault = error.errors()[0]
        name = str(fault["loc"][0]) if fault["loc"] else ""
        where = f"{WHERE}.{name}" if name else WHERE
        if fault["type"] == "extra_forbidden":
            known = list(model.model_fields)
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(known)}"
            raise InputError(f"unknown parameter {name!r}", where=where, hint=hint) from error
        what = f"{fault['input']!r} does not fit: {fault['msg'].lower()}"
        raise InputError(what, where=where) from error


def finished(
    values: NDArray[np.float64],
    known: NDArray[np.bool_],
    looks_until: NDArray[np.intp],
    classes: tuple[str, ...] | None,
    weights: NDArray[np.float64] | None = None,
) -> Labels:
    """The labels with the unknown ones blanked: value NaN, looking at the last bar."""
    last = len(values) - 1
    return Labels(
        np.where(known, values, np.nan), known, np.where(known, looks_until, last), classes, weights
    )


def forward_returns(close: NDArray[np.float64], horizon: int) -> Labels:
    """Returns over the next `horizon` bars, `(close[t + horizon] - close[t]) / close[t]`, as fractions."""
    bars = len(close)
    position = np.arange(bars)
    known = position + horizon < bars
    ahead = np.minimum(position + horizon, bars - 1)
    return finished((close[ahead] - close) / close, known, ahead, None)

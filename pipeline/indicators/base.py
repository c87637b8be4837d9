"""What every indicator is: a name, parameters that check themselves, outputs, and a pure function of bars."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

Values = NDArray[np.float64]
Outputs = dict[str, Values]
Source = Literal["open", "high", "low", "close", "volume"]
Period = Annotated[int, Field(ge=2, le=5000)]
SINGLE = ("value",)


class Params(BaseModel):
    """Parameters of an indicator: frozen, and nothing that it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class PeriodParams(Params):
    """A number of bars."""

    period: Period = 14


class SourceParams(PeriodParams):
    """A number of bars of one column."""

    source: Source = "close"


@dataclass(frozen=True)
class IndicatorType:
    """An indicator that strategies may name. `compute` gives each output as float64 `(bars,)`."""

    name: str
    params: type[Params]
    outputs: tuple[str, ...]
    compute: Callable[[pd.DataFrame, Any], Outputs]

    @property
    def has_named_outputs(self) -> bool:
        """Whether a strategy picks an output by name, as in `macd_12_26.signal`."""
        return self.outputs != SINGLE


def column(bars: pd.DataFrame, name: str) -> Values:
    """The column as TA-Lib wants it: contiguous float64 `(bars,)`."""
    return np.ascontiguousarray(bars[name].to_numpy(dtype=np.float64))


def ratio(numerator: Values, denominator: Values, otherwise: float) -> Values:
    """The quotient; `otherwise` where the denominator is (almost) nothing, NaN where either is unknown."""
    tiny = np.abs(denominator) < 1e-12
    quotient: Values = np.divide(numerator, denominator, out=np.full_like(numerator, otherwise), where=~tiny)
    return np.where(np.isnan(numerator) | np.isnan(denominator), np.nan, quotient)


def shifted(values: Values, bars: int) -> Values:
    """The values `bars` later, NaN before; what was known then."""
    moved = np.full_like(values, np.nan)
    if bars < len(values):
        moved[bars:] = values[: len(values) - bars]
    return moved


def after_warm_up(values: Values, compute: Callable[[Values], Values]) -> Values:
    """`compute` on the values from the first known one on; TA-Lib would carry a leading NaN to the end."""
    known = np.flatnonzero(~np.isnan(values))
    result = np.full_like(values, np.nan)
    if len(known):
        result[known[0] :] = compute(np.ascontiguousarray(values[known[0] :]))
    return result


def single(values: Values) -> Outputs:
    """The one output of an indicator that has no names for them."""
    return {SINGLE[0]: values}


def as_types(*types: IndicatorType) -> Mapping[str, IndicatorType]:
    """The types by name."""
    return {each.name: each for each in types}

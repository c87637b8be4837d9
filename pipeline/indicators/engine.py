"""The engine: an indicator's type, its parameters and bars in, its outputs out. It knows nothing of progress."""

import difflib
from collections.abc import Mapping

import numpy as np
import pandas as pd

from pipeline.errors import InputError
from pipeline.indicators import momentum, trend, volatility, volume
from pipeline.indicators.base import IndicatorType, Outputs, Params

INDICATORS: Mapping[str, IndicatorType] = {
    **momentum.TYPES,
    **volatility.TYPES,
    **trend.TYPES,
    **volume.TYPES,
}


def find_indicator(type_name: str) -> IndicatorType:
    """The indicator type of that name, in any case, with or without underscores and the word `indicator`.

    Raises `InputError` with the nearest name.

    >>> find_indicator("Bollinger_Bands").name
    'bollingerbands'
    """
    plain = type_name.lower().replace("_", "").removesuffix("indicator")
    found = INDICATORS.get(_ALIASES.get(plain, plain))
    if found is None:
        near = difflib.get_close_matches(plain, INDICATORS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(sorted(INDICATORS))}"
        raise InputError(f"unknown indicator type {type_name!r}", hint=hint)
    return found


# ktrdr also knows its classes' own names.
_ALIASES = {
    "simplemovingaverage": "sma",
    "exponentialmovingaverage": "ema",
    "weightedmovingaverage": "wma",
    "bbwidth": "bollingerbandwidth",
    "williams": "williamsr",
}


class IndicatorEngine:
    """Computes indicators; pure: the same bars give the same numbers, and nothing else happens."""

    def compute(self, type_name: str, params: Mapping[str, object] | Params, bars: pd.DataFrame) -> Outputs:
        """The indicator's outputs by name, each float64 `(bars,)`, NaN while not known, never infinite.

        `bars` are as `load_bars` gives them. An output at a bar uses that bar and earlier ones only. Raises
        `InputError` for an unknown type and `pydantic.ValidationError` for parameters that do not fit.
        """
        found = find_indicator(type_name)
        given = params if isinstance(params, Params) else found.params.model_validate(dict(params))
        if bars.empty:
            return {name: np.empty(0) for name in found.outputs}
        return found.compute(bars, given)

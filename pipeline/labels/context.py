"""Classes by the sign of the return over the next bars: bullish, bearish or neutral."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from pydantic import Field

from pipeline.labels.base import LabelParams, Labels, finished, forward_returns, parse_params

CLASSES = ("bullish", "bearish", "neutral")


class ContextParams(LabelParams):
    """`horizon` in bars; thresholds as fractions of the price."""

    horizon: int = Field(default=5, ge=1)
    bullish_threshold: float = 0.005
    bearish_threshold: float = -0.005


def generate(bars: pd.DataFrame, params: Mapping[str, object]) -> Labels:
    """0 above the bullish threshold, 1 below the bearish one, else 2; unknown for the last `horizon` bars.

    Where both hold (thresholds that cross) bearish wins, as in ktrdr.
    """
    chosen = parse_params(ContextParams, params)
    ahead = forward_returns(bars["close"].to_numpy(), chosen.horizon)
    classes = np.select(
        [ahead.values < chosen.bearish_threshold, ahead.values > chosen.bullish_threshold], [1.0, 0.0], 2.0
    )
    return finished(classes, ahead.known, ahead.looks_until, CLASSES)

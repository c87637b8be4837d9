"""Regression labels: the return over the next bars."""

from collections.abc import Mapping

import pandas as pd
from pydantic import Field

from pipeline.labels.base import LabelParams, Labels, forward_returns, parse_params


class ForwardReturnParams(LabelParams):
    """`horizon`: how many bars ahead."""

    horizon: int = Field(default=20, ge=1)


def generate(bars: pd.DataFrame, params: Mapping[str, object]) -> Labels:
    """`(close[t + horizon] - close[t]) / close[t]` for each bar t, unknown for the last `horizon` bars."""
    chosen = parse_params(ForwardReturnParams, params)
    return forward_returns(bars["close"].to_numpy(), chosen.horizon)

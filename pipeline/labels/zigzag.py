"""Classes by the swing that a bar lies in: buy on the way up, sell on the way down, hold at the turns."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from pydantic import Field

from pipeline.labels.base import LabelParams, Labels, finished, parse_params
from pipeline.swings import find_swings

CLASSES = ("buy", "hold", "sell")


class ZigzagParams(LabelParams):
    """`zigzag_threshold`: the move that makes a turn, as a fraction of the price.

    `label_lookahead` is read because strategy files name it; ktrdr's swing labels do not use it either: a
    swing ends where the price turns, not after a number of bars.
    """

    zigzag_threshold: float = Field(default=0.02, gt=0, lt=1)
    label_lookahead: int = Field(default=10, ge=1)


def generate(bars: pd.DataFrame, params: Mapping[str, object]) -> Labels:
    """0 inside an upward swing, 2 inside a downward one, 1 at its ends.

    Departs from ktrdr at the end of the data: bars from the last extreme on are unknown instead of hold,
    because whether that extreme is a turn is not decided yet.
    """
    chosen = parse_params(ZigzagParams, params)
    close = bars["close"].to_numpy()
    swings = find_swings(close, np.full(len(close), chosen.zigzag_threshold))
    known = swings.next_event < len(close)
    values = np.ones(len(close))
    if len(swings.directions):
        position = np.arange(len(close))
        values = np.where(swings.directions[swings.swing_of(position)] > 0, 0.0, 2.0)
        values[swings.pivots] = 1.0
    return finished(values, known, swings.next_event, CLASSES)

"""How long a bar lasts, and when it closes.

Bars are stamped at their open, in UTC, as ktrdr keeps them: a daily bar at midnight of its day, a weekly one
at midnight of its Monday. What a bar says is known one timeframe later, when it has closed, and not before.
"""

import re
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.errors import InputError

_UNITS = {
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
}
_PATTERN = re.compile(r"([1-9][0-9]{0,3})([mhdwHDW])")
_HINT = "use a number and m, h, d or w, such as 5m, 1h, 4h, 1d or 1w"


@dataclass(frozen=True, order=True)
class Timeframe:
    """The length of a bar; sorts from short to long.

    >>> Timeframe.parse("4h")
    Timeframe(delta=datetime.timedelta(seconds=14400), name='4h')
    """

    delta: timedelta
    name: str

    @classmethod
    def parse(cls, text: str) -> "Timeframe":
        """The timeframe that the text names; hours, days and weeks in either case.

        Raises InputError for anything else. `1M` is refused: in ktrdr an `m` is a minute, elsewhere `M` is a
        month.
        """
        match = _PATTERN.fullmatch(text)
        if match is None:
            raise InputError(f"unknown timeframe {text!r}", hint=_HINT)
        count, unit = match.groups()
        return cls(delta=int(count) * _UNITS[unit.lower()], name=text.lower())

    def closes(self, opens: pd.DatetimeIndex) -> pd.DatetimeIndex:
        """When the bars that open at these times close, to the nanosecond; `(bars,)`."""
        return opens.as_unit("ns") + pd.Timedelta(self.delta)

    def __str__(self) -> str:
        return self.name


def last_closed(
    base_index: pd.DatetimeIndex, base_timeframe: Timeframe, index: pd.DatetimeIndex, timeframe: Timeframe
) -> NDArray[np.intp]:
    """For each base bar the position of the last bar closed by its close, -1 if none is; `(base bars,)`."""
    closes = timeframe.closes(index).asi8
    return np.searchsorted(closes, base_timeframe.closes(base_index).asi8, side="right") - 1

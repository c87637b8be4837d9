"""What a folder of bars holds and what is wrong with it, file by file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from pipeline.data.bars import read_bars
from pipeline.data.names import BarFile, bar_files
from pipeline.errors import InputError
from pipeline.timeframes import Timeframe

# Markets close for nights, weekends and holidays: only a longer silence is called a gap.
_USUAL_PAUSE = pd.Timedelta(days=4)
_USUAL_BARS = 3


@dataclass(frozen=True)
class FileReport:
    """One file of bars: what it holds, or why it cannot be used.

    `first` and `last` are the opens of the outer bars in UTC. `gaps` counts pauses between bars that are
    longer than three bars and longer than a long weekend. `problems` are lines for a person; none means
    usable.
    """

    path: Path
    rows: int
    first: pd.Timestamp | None
    last: pd.Timestamp | None
    gaps: int
    problems: tuple[str, ...]

    @property
    def usable(self) -> bool:
        """Whether the bars can be trained on."""
        return not self.problems


def check_folder(folder: Path) -> list[FileReport]:
    """A report for each file whose name is that of bars, by symbol and then timeframe; reads all of them.

    Raises InputError only for the folder itself: missing, not a folder, or without any bars.
    """
    files = bar_files(folder)
    if not files:
        raise InputError(
            "no <SYMBOL>_<timeframe>.csv or .parquet in it",
            source=folder,
            hint="`ktrdr-otel data samples DIR` writes some",
        )
    return [_report(file, files) for file in files]


def _report(file: BarFile, files: tuple[BarFile, ...]) -> FileReport:
    problems = [
        f"{other.path.name} holds the same bars; keep one of them"
        for other in files
        if (other.symbol, other.timeframe.name) == (file.symbol, file.timeframe.name)
        and other.path != file.path
    ]
    try:
        bars = read_bars(file.path)
    except InputError as error:
        line = f"{error.where}: {error.what}" if error.where else error.what
        return FileReport(file.path, 0, None, None, 0, (*problems, line))
    index = pd.DatetimeIndex(bars.index)
    return FileReport(
        file.path, len(bars), index[0], index[-1], _gaps(index, file.timeframe), tuple(problems)
    )


def _gaps(index: pd.DatetimeIndex, timeframe: Timeframe) -> int:
    usual = max(_USUAL_PAUSE, _USUAL_BARS * pd.Timedelta(timeframe.delta))
    return int(np.count_nonzero(np.diff(index.as_unit("ns").asi8) > usual.as_unit("ns").value))

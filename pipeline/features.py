"""A symbol's feature matrix: columns of several timeframes on the bars of the base timeframe.

What a bar says is known when it has closed. A base bar therefore carries, of every timeframe, the last bar
that had closed by its own close: of a higher timeframe never the one still open, of a lower one the last
inside it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.errors import InputError
from pipeline.timeframes import Timeframe, last_closed

NORMALISATIONS = ("zscore", "minmax", "none")


def align_to_base(
    base_index: pd.DatetimeIndex,
    base_timeframe: Timeframe,
    index: pd.DatetimeIndex,
    timeframe: Timeframe,
    values: NDArray[np.floating],
) -> NDArray[np.floating]:
    """The values `(bars, k)` as known at each base bar's close, NaN before the first; `(base bars, k)`."""
    position = last_closed(base_index, base_timeframe, index, timeframe)
    aligned = np.take(values, position, axis=0, mode="clip")
    aligned[position < 0] = np.nan
    return aligned


def build_features(
    base_index: pd.DatetimeIndex,
    columns: Mapping[tuple[str, str], NDArray[np.floating]],
    indexes: Mapping[str, pd.DatetimeIndex],
    order: Sequence[tuple[str, str]],
    *,
    base_timeframe: str,
) -> NDArray[np.float32]:
    """The columns named in `order`, each as known at the base bar's close; float32 `(base bars, features)`.

    `columns` maps (timeframe, column name) to the values on the bars of that timeframe, whose opens `indexes`
    holds. NaN stands where nothing was known yet.
    """
    base = Timeframe.parse(base_timeframe)
    positions = {
        name: last_closed(base_index, base, indexes[name], Timeframe.parse(name))
        for name in dict.fromkeys(timeframe for timeframe, _ in order)
    }
    unknown = {name: position < 0 for name, position in positions.items()}
    by_column = np.empty((len(order), len(base_index)), dtype=np.float32)
    for row, key in zip(by_column, order, strict=True):
        row[:] = np.take(columns[key], positions[key[0]], mode="clip")
        row[unknown[key[0]]] = np.nan
    return np.ascontiguousarray(by_column.T)


@dataclass(frozen=True)
class Normaliser:
    """How each feature is scaled, with the numbers found on the training split; it never looks at other rows.

    A feature becomes `(value - offset) / scale`, as in ktrdr; `none` keeps it. One that was constant on the
    training rows has scale 0 and becomes 0 on all rows.
    """

    kinds: tuple[str, ...]
    offsets: tuple[float, ...]
    scales: tuple[float, ...]

    @classmethod
    def fit(cls, values: NDArray[np.floating], kinds: Sequence[str | None]) -> "Normaliser":
        """The scaling of these training rows `(rows, features)`, one kind per feature; None means `none`.

        `zscore` takes mean and sample standard deviation (n - 1), `minmax` the smallest and the largest
        value. Raises InputError for another kind and ValueError for values that are not finite or kinds that
        do not fit.
        """
        names = tuple(kind or "none" for kind in kinds)
        if values.ndim != 2 or values.shape[1] != len(names):
            raise ValueError(f"{len(names)} kinds do not fit values of shape {values.shape}")
        fitted = [_fit_one(values[:, column], kind) for column, kind in enumerate(names)]
        return cls(names, tuple(offset for offset, _ in fitted), tuple(scale for _, scale in fitted))

    def apply(self, values: NDArray[np.floating]) -> NDArray[np.float32]:
        """The rows scaled; `(rows, features)`, float32. Fuzzy memberships (`none`) come out bit by bit."""
        scaled = np.array(values, dtype=np.float32)
        for column, kind in enumerate(self.kinds):
            if kind != "none":
                scaled[:, column] = self._scaled(values[:, column], column)
        return scaled

    def _scaled(self, values: NDArray[np.floating], column: int) -> NDArray[np.float64]:
        if self.scales[column] == 0:
            return np.zeros(len(values))
        return (values.astype(np.float64) - self.offsets[column]) / self.scales[column]

    def to_dict(self) -> dict[str, list[str] | list[float]]:
        """The parameters as JSON can hold them; `from_dict` reads them back."""
        return {name: list(value) for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Sequence[str] | Sequence[float]]) -> "Normaliser":
        """The normaliser that `to_dict` described."""
        kinds = tuple(str(kind) for kind in stored["kinds"])
        return cls(kinds, tuple(map(float, stored["offsets"])), tuple(map(float, stored["scales"])))


def _fit_one(column: NDArray[np.floating], kind: str) -> tuple[float, float]:
    if kind == "none":
        return 0.0, 1.0
    wide = column.astype(np.float64)
    if not wide.size or not np.isfinite(wide).all():
        raise ValueError("a normalisation is fitted on rows of finite values")
    low, high = float(wide.min()), float(wide.max())
    if low == high:
        return low, 0.0
    if kind == "minmax":
        return low, high - low
    if kind == "zscore":
        return float(wide.mean()), float(wide.std(ddof=1))
    raise InputError(f"unknown normalization {kind!r}", hint=f"known are {', '.join(NORMALISATIONS)}")

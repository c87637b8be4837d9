"""Rows to train on: features and labels of each symbol by timestamp, combined, and cut in time.

Everything that is left out on the way is counted: `warm_up` (no feature yet), `missing_feature` (a gap later
on), `unknown_label`, and at the cuts `purged_train` and `purged_validation`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipeline.errors import TrainingError
from pipeline.labels.base import Labels


@dataclass(frozen=True)
class SymbolSamples:
    """The usable rows of one symbol, the oldest first.

    `timestamps` are the opens of the rows' bars, `label_until` of the last bar that each label looks at,
    `bars` the rows' positions among the symbol's bars. `features` is float32 `(rows, features)`; `labels` is
    int64 class indices, or float32 numbers where `classes` is None; `weights` is float32, 1 where the source
    makes none.
    """

    symbol: str
    timestamps: pd.DatetimeIndex
    features: NDArray[np.float32]
    labels: NDArray[np.int64] | NDArray[np.float32]
    label_until: pd.DatetimeIndex
    weights: NDArray[np.float32]
    bars: NDArray[np.intp]
    feature_names: tuple[str, ...]
    classes: tuple[str, ...] | None
    dropped: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.timestamps)


@dataclass(frozen=True)
class Dataset:
    """Rows of several symbols, one symbol after the other, each the oldest first; arrays as in SymbolSamples.

    `symbol_codes` are positions in `symbols`, `(rows,)`.
    """

    symbols: tuple[str, ...]
    symbol_codes: NDArray[np.intp]
    timestamps: pd.DatetimeIndex
    features: NDArray[np.float32]
    labels: NDArray[np.int64] | NDArray[np.float32]
    label_until: pd.DatetimeIndex
    weights: NDArray[np.float32]
    bars: NDArray[np.intp]
    feature_names: tuple[str, ...]
    classes: tuple[str, ...] | None
    dropped: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.timestamps)

    def rows(self, chosen: NDArray[np.bool_]) -> "Dataset":
        """Only the rows where `chosen` `(rows,)` is true."""
        return replace(
            self,
            symbol_codes=self.symbol_codes[chosen],
            timestamps=self.timestamps[chosen],
            features=self.features[chosen],
            labels=self.labels[chosen],
            label_until=self.label_until[chosen],
            weights=self.weights[chosen],
            bars=self.bars[chosen],
        )

    def with_features(self, features: NDArray[np.float32]) -> "Dataset":
        """The same rows with other values for the features, such as normalised ones; `(rows, features)`."""
        if features.shape != self.features.shape:
            raise ValueError(f"features of shape {features.shape} do not fit rows of {self.features.shape}")
        return replace(self, features=features)


@dataclass(frozen=True)
class Split:
    """Rows to train on, to stop by and to judge by, in this order of time, and how many fell at the cuts.

    Every row before `validation_from` is for training, every row from `test_from` on for the test, in all
    symbols.
    """

    train: Dataset
    validation: Dataset
    test: Dataset
    validation_from: pd.Timestamp
    test_from: pd.Timestamp
    dropped: Mapping[str, int]


def make_samples(
    symbol: str,
    base_index: pd.DatetimeIndex,
    features: NDArray[np.float32],
    feature_names: Sequence[str],
    label_index: pd.DatetimeIndex,
    labels: Labels,
) -> SymbolSamples:
    """The rows for which every feature and the label are known, matched by timestamp.

    `features` is `(base bars, features)` on `base_index`, the labels lie on `label_index`. Raises ValueError
    for shapes that do not fit.
    """
    if features.shape != (len(base_index), len(feature_names)) or len(labels.values) != len(label_index):
        raise ValueError(f"{symbol}: features {features.shape} and labels do not fit their indexes and names")
    complete = np.isfinite(features).all(axis=1)
    warm = np.cumsum(complete) > 0
    at = label_index.get_indexer(base_index)
    labelled = (at >= 0) & labels.known[at]
    chosen = complete & labelled
    rows = at[chosen]
    weights = np.ones(len(label_index)) if labels.weights is None else labels.weights
    return SymbolSamples(
        symbol=symbol,
        timestamps=base_index[chosen],
        features=features[chosen],
        labels=_as_targets(labels.values[rows], labels.classes),
        label_until=label_index[labels.looks_until[rows]],
        weights=weights[rows].astype(np.float32),
        bars=np.flatnonzero(chosen),
        feature_names=tuple(feature_names),
        classes=labels.classes,
        dropped={
            "warm_up": int(np.count_nonzero(~warm)),
            "missing_feature": int(np.count_nonzero(warm & ~complete)),
            "unknown_label": int(np.count_nonzero(complete & ~labelled)),
        },
    )


def _as_targets(
    values: NDArray[np.float64], classes: tuple[str, ...] | None
) -> NDArray[np.int64] | NDArray[np.float32]:
    return values.astype(np.float32) if classes is None else values.astype(np.int64)


def combine(samples: Sequence[SymbolSamples]) -> Dataset:
    """All rows of all symbols, symbol after symbol in the order given; what they dropped is added up.

    Raises TrainingError if there are none, if a symbol comes twice, or if features or classes differ.
    """
    if not samples:
        raise TrainingError("no symbol to train on")
    first = samples[0]
    symbols = tuple(one.symbol for one in samples)
    for one in samples[1:]:
        if one.feature_names != first.feature_names:
            raise TrainingError(
                f"{one.symbol} has other features than {first.symbol}: {_first_difference(first, one)}"
            )
        if one.classes != first.classes:
            raise TrainingError(f"{one.symbol} has other classes than {first.symbol}")
    if len(set(symbols)) < len(symbols):
        raise TrainingError(f"a symbol comes twice: {', '.join(symbols)}")
    return Dataset(
        symbols=symbols,
        symbol_codes=np.repeat(np.arange(len(samples)), [len(one) for one in samples]),
        timestamps=_joined([one.timestamps for one in samples]),
        features=np.concatenate([one.features for one in samples]),
        labels=np.concatenate([one.labels for one in samples]),
        label_until=_joined([one.label_until for one in samples]),
        weights=np.concatenate([one.weights for one in samples]),
        bars=np.concatenate([one.bars for one in samples]),
        feature_names=first.feature_names,
        classes=first.classes,
        dropped=_added([one.dropped for one in samples]),
    )


def split(dataset: Dataset, *, train: float, validation: float, test: float) -> Split:
    """The rows in three parts, cut at two moments that hold for all symbols.

    The shares, which sum to 1, are of the rows in order of time; rows of one moment stay together. A row
    whose label looks at a bar on the other side of a cut belongs to no part. Raises TrainingError, with what
    was dropped, if a part with a share above 0 has no row left.
    """
    shares = (train, validation, test)
    if min(shares) < 0 or train <= 0 or abs(sum(shares) - 1) > 1e-9:
        raise TrainingError(
            f"train {train}, validation {validation} and test {test} are not shares that sum to 1"
        )
    if not len(dataset):
        raise TrainingError(f"no row to train on; {_described(dataset.dropped)}")
    in_time = dataset.timestamps.sort_values()
    first_cut, second_cut = (_cut(in_time, share) for share in (train, train + validation))
    until_first, until_second = dataset.label_until < first_cut, dataset.label_until < second_cut
    before_first, before_second = dataset.timestamps < first_cut, dataset.timestamps < second_cut
    parts = {
        "train": dataset.rows(before_first & until_first),
        "validation": dataset.rows(~before_first & before_second & until_second),
        "test": dataset.rows(~before_second),
    }
    dropped = {
        "purged_train": int(np.count_nonzero(before_first & ~until_first)),
        "purged_validation": int(np.count_nonzero(~before_first & before_second & ~until_second)),
    }
    for (name, part), share in zip(parts.items(), shares, strict=True):
        if share > 0 and not len(part):
            everything = _described({**dataset.dropped, **dropped})
            raise TrainingError(f"no row for {name} among {len(dataset)}; {everything}")
    return Split(**parts, validation_from=first_cut, test_from=second_cut, dropped=dropped)


def sequence_index(dataset: Dataset, length: int) -> NDArray[np.intp]:
    """Windows of `length` rows of one symbol whose bars follow each other without gap; `(windows, length)`.

    Entries are row numbers of this dataset, so windows of a part of a split never reach into another part.
    Ordered by their last row, whose label is the window's.
    """
    if length < 1:
        raise ValueError(f"a window of {length} rows")
    rows = len(dataset)
    if rows < length:
        return np.empty((0, length), dtype=np.intp)
    last = np.arange(length - 1, rows)
    first = last - (length - 1)
    same_symbol = dataset.symbol_codes[first] == dataset.symbol_codes[last]
    unbroken = dataset.bars[last] - dataset.bars[first] == length - 1
    windows: NDArray[np.intp] = first[same_symbol & unbroken][:, None] + np.arange(length)
    return windows


def _cut(in_time: pd.DatetimeIndex, share: float) -> pd.Timestamp:
    position = round(share * len(in_time))
    # Past the last row: a share that leaves nothing for later parts cuts after everything.
    return in_time[position] if position < len(in_time) else in_time[-1] + pd.Timedelta(1, "ns")


def _joined(indexes: Sequence[pd.DatetimeIndex]) -> pd.DatetimeIndex:
    stamps = np.concatenate([index.as_unit("ns").asi8 for index in indexes])
    return pd.DatetimeIndex(pd.to_datetime(stamps, unit="ns", utc=True), name="timestamp")


def _added(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    names = dict.fromkeys(name for one in counts for name in one)
    return {name: sum(one.get(name, 0) for one in counts) for name in names}


def _first_difference(one: SymbolSamples, other: SymbolSamples) -> str:
    for position, (left, right) in enumerate(zip(one.feature_names, other.feature_names, strict=False)):
        if left != right:
            return f"number {position + 1} is {right}, not {left}"
    return f"{len(other.feature_names)} of them, not {len(one.feature_names)}"


def _described(dropped: Mapping[str, int]) -> str:
    listed = [f"{name} {count}" for name, count in dropped.items() if count]
    return f"dropped: {', '.join(listed)}" if listed else "nothing was dropped"

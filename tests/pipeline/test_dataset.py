from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, reject
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.dataset import Dataset, SymbolSamples, combine, make_samples, sequence_index, split
from pipeline.errors import TrainingError
from pipeline.labels import Labels, generate_labels

SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}


def days(count: int, start: str = "2024-01-01") -> pd.DatetimeIndex:
    return pd.date_range(start, periods=count, freq="D", tz="UTC", unit="ns")


def labels_looking(ahead: NDArray[np.intp], known: NDArray[np.bool_] | None = None) -> Labels:
    bars = len(ahead)
    known = np.ones(bars, dtype=np.bool_) if known is None else known
    values = np.where(known, np.arange(bars) % 3, np.nan)
    return Labels(values, known, np.minimum(np.arange(bars) + ahead, bars - 1), ("a", "b", "c"))


def samples(symbol: str, index: pd.DatetimeIndex, ahead: int | NDArray[np.intp] = 0) -> SymbolSamples:
    features = np.arange(2.0 * len(index), dtype=np.float32).reshape(-1, 2)
    looking = labels_looking(np.broadcast_to(np.asarray(ahead, dtype=np.intp), len(index)))
    return make_samples(symbol, index, features, ("f", "g"), index, looking)


def test_rows_are_matched_by_timestamp_and_what_is_unusable_is_counted() -> None:
    """Two warm-up bars, one hole, one unknown label, one bar that has no label at all."""
    index = days(8)
    features = np.arange(16.0, dtype=np.float32).reshape(8, 2)
    features[0] = features[1, 1] = features[4, 0] = np.nan
    label_index = index.delete(6)
    known = np.array([True, True, True, True, True, False, True])
    labels = labels_looking(np.full(7, 2), known)
    rows = make_samples("A", index, features, ("f", "g"), label_index, labels)
    assert rows.dropped == {"warm_up": 2, "missing_feature": 1, "unknown_label": 2}
    assert list(rows.timestamps) == [index[2], index[3], index[7]]
    assert rows.features.tolist() == [[4.0, 5.0], [6.0, 7.0], [14.0, 15.0]]
    assert rows.labels.tolist() == [2, 0, 0]
    assert list(rows.label_until) == [index[4], index[5], index[7]]
    assert rows.bars.tolist() == [2, 3, 7]
    assert rows.weights.tolist() == [1.0, 1.0, 1.0]


def test_every_bar_is_a_row_or_counted() -> None:
    """Real labels on real shapes: rows and what was dropped add up to the bars."""
    index = days(60)
    price = 100 + np.cumsum(np.random.default_rng(2).normal(0, 1, 60))
    bars = pd.DataFrame({"open": price, "high": price + 1, "low": price - 1, "close": price}, index=index)
    features = np.full((60, 1), 0.5, dtype=np.float32)
    features[:9] = np.nan
    for config in ({"source": "zigzag"}, {"source": "forward_return"}, {"source": "context"}):
        rows = make_samples("A", index, features, ("f",), index, generate_labels(bars, config))
        assert len(rows) + sum(rows.dropped.values()) == 60
        assert rows.dropped["warm_up"] == 9


def test_classes_are_whole_numbers_and_returns_are_not() -> None:
    """int64 for losses over classes, float32 for a regression; weights come along."""
    index = days(3)
    features = np.ones((3, 1), dtype=np.float32)
    classes = labels_looking(np.zeros(3, dtype=np.intp))
    assert make_samples("A", index, features, ("f",), index, classes).labels.dtype == np.int64
    numbers = replace(classes, classes=None, weights=np.array([0.25, 0.5, 1.0]))
    rows = make_samples("A", index, features, ("f",), index, numbers)
    assert rows.labels.dtype == np.float32
    assert rows.weights.tolist() == [0.25, 0.5, 1.0]


def test_shapes_that_do_not_fit_are_refused() -> None:
    """Features, names, labels and their indexes must agree; a mistake of the caller."""
    index = days(3)
    features = np.ones((3, 2), dtype=np.float32)
    labels = labels_looking(np.zeros(3, dtype=np.intp))
    for arguments in (
        (features[:2], ("f", "g"), index),
        (features, ("f",), index),
        (features, ("f", "g"), index[:2]),
    ):
        rows, names, label_index = arguments
        with pytest.raises(ValueError, match="do not fit"):
            make_samples("A", index, rows, names, label_index, labels)


def test_symbols_are_combined_one_after_the_other() -> None:
    """Codes point into the symbols; what was dropped is added up per reason."""
    first, second = samples("B", days(3)), samples("A", days(2, "2023-01-01"))
    first = replace(first, dropped={"warm_up": 2, "unknown_label": 1})
    second = replace(second, dropped={"warm_up": 3, "unknown_label": 0})
    dataset = combine([first, second])
    assert dataset.symbols == ("B", "A")
    assert dataset.symbol_codes.tolist() == [0, 0, 0, 1, 1]
    assert list(dataset.timestamps) == [*days(3), *days(2, "2023-01-01")]
    assert dataset.features.dtype == np.float32
    assert dataset.dropped == {"warm_up": 5, "unknown_label": 1}
    assert len(dataset) == 5


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"feature_names": ("g", "f")}, "B has other features than A: number 1 is g, not f"),
        ({"feature_names": ("f", "g", "h")}, "B has other features than A: 3 of them, not 2"),
        ({"classes": None}, "B has other classes than A"),
        ({"symbol": "A"}, "a symbol comes twice: A, A"),
    ],
)
def test_symbols_that_do_not_fit_together_are_one_clear_line(change: dict[str, object], line: str) -> None:
    """The first difference in the order of features is named: the model would mix the columns up."""
    other = samples("B", days(3))
    fields = {**vars(other), **change}
    with pytest.raises(TrainingError) as caught:
        combine([samples("A", days(3)), SymbolSamples(**fields)])
    assert str(caught.value) == line


def test_nothing_to_combine_is_an_error() -> None:
    """An empty list of symbols has no features to speak of."""
    with pytest.raises(TrainingError, match="no symbol to train on"):
        combine([])


def test_one_moment_cuts_all_symbols_and_labels_across_it_are_purged() -> None:
    """Ten days of two symbols, labels two days ahead, cut at 60 % and 80 %: days 7 and 9.

    Of train the rows of days 5 and 6 look into validation, of validation those of days 7 and 8 into the test.
    """
    dataset = combine([samples("A", days(10), 2), samples("B", days(10), 2)])
    parts = split(dataset, **SHARES | {"validation": 0.3, "test": 0.1})
    assert parts.validation_from == days(10)[6]
    assert parts.test_from == days(10)[9]
    assert set(parts.train.timestamps) == set(days(4))
    assert list(parts.validation.timestamps) == [days(10)[6], days(10)[6]]
    assert set(parts.test.timestamps) == {days(10)[9]}
    assert parts.dropped == {"purged_train": 4, "purged_validation": 4}
    assert parts.train.symbol_codes.tolist() == [0] * 4 + [1] * 4


@st.composite
def datasets(draw: st.DrawFn) -> Dataset:
    """Up to three symbols with different histories, holes and reaches of their labels."""
    made = []
    for symbol in "ABC"[: draw(st.integers(1, 3))]:
        start = pd.Timestamp("2024-01-01T00:00:00Z") + pd.Timedelta(days=draw(st.integers(0, 20)))
        steps = draw(st.lists(st.integers(1, 3), min_size=8, max_size=40))
        index = pd.DatetimeIndex([start + pd.Timedelta(days=int(day)) for day in np.cumsum(steps)]).as_unit(
            "ns"
        )
        ahead = draw(st.lists(st.integers(0, 4), min_size=len(steps), max_size=len(steps)))
        made.append(samples(symbol, index, np.array(ahead, dtype=np.intp)))
    return combine(made)


@given(dataset=datasets(), train=st.floats(0.2, 0.7), rest=st.floats(0.2, 0.8))
def test_no_row_and_no_label_crosses_a_cut(dataset: Dataset, train: float, rest: float) -> None:
    """Train, labels included, lies before validation, and that before the test; no row is lost."""
    validation = (1 - train) * rest
    try:
        parts = split(dataset, train=train, validation=validation, test=1 - train - validation)
    except TrainingError:
        reject()
    assert (parts.train.label_until < parts.validation_from).all()
    assert (parts.validation.timestamps >= parts.validation_from).all()
    assert (parts.validation.label_until < parts.test_from).all()
    assert (parts.test.timestamps >= parts.test_from).all()
    kept = len(parts.train) + len(parts.validation) + len(parts.test)
    assert kept + sum(parts.dropped.values()) == len(dataset)
    purged = (dataset.timestamps < parts.validation_from) & (dataset.label_until >= parts.validation_from)
    assert parts.dropped["purged_train"] == purged.sum()


def test_a_share_of_nothing_is_an_empty_part() -> None:
    """A strategy with `validation_split` alone has no test; training on everything is allowed."""
    dataset = combine([samples("A", days(10), 1)])
    parts = split(dataset, train=0.8, validation=0.2, test=0.0)
    assert (len(parts.train), len(parts.validation), len(parts.test)) == (7, 2, 0)
    parts = split(dataset, train=1.0, validation=0.0, test=0.0)
    assert (len(parts.train), len(parts.validation), len(parts.test)) == (10, 0, 0)
    assert parts.dropped == {"purged_train": 0, "purged_validation": 0}


@pytest.mark.parametrize("shares", [(0.7, 0.2, 0.2), (0.0, 0.5, 0.5), (1.2, -0.1, -0.1), (0.5, 0.2, 0.2)])
def test_shares_that_do_not_sum_to_one_are_refused(shares: tuple[float, float, float]) -> None:
    """The line repeats the three numbers."""
    train, validation, test = shares
    with pytest.raises(TrainingError) as caught:
        split(combine([samples("A", days(10))]), train=train, validation=validation, test=test)
    assert str(caught.value) == (
        f"train {train}, validation {validation} and test {test} are not shares that sum to 1"
    )


def test_an_empty_part_says_what_was_dropped() -> None:
    """Labels that look nine days ahead leave nothing of ten days for training."""
    short = replace(samples("A", days(10), 9), dropped={"warm_up": 30, "unknown_label": 0})
    with pytest.raises(TrainingError) as caught:
        split(combine([short]), **SHARES)
    assert str(caught.value) == (
        "no row for train among 10; dropped: warm_up 30, purged_train 6, purged_validation 2"
    )
    with pytest.raises(TrainingError) as caught:
        split(combine([short]).rows(np.zeros(10, dtype=np.bool_)), **SHARES)
    assert str(caught.value) == "no row to train on; dropped: warm_up 30"


def test_windows_are_consecutive_bars_of_one_symbol() -> None:
    """Four and three bars in windows of three; the hole in B leaves none there."""
    whole = combine([samples("A", days(4)), samples("B", days(4))])
    dataset = whole.rows(np.arange(8) != 6)
    assert sequence_index(dataset, 3).tolist() == [[0, 1, 2], [1, 2, 3]]
    assert sequence_index(dataset, 1)[:, 0].tolist() == list(range(7))
    assert sequence_index(dataset, 5).shape == (0, 5)
    assert sequence_index(dataset, 50).shape == (0, 50)
    with pytest.raises(ValueError, match="a window of 0 rows"):
        sequence_index(dataset, 0)


@given(dataset=datasets(), length=st.integers(1, 6))
def test_no_window_crosses_a_symbol_a_gap_or_a_cut(dataset: Dataset, length: int) -> None:
    """Every window of each part lies in that part; every row with enough bars before it in there ends one."""
    try:
        parts = split(dataset, **SHARES)
    except TrainingError:
        reject()
    for part in (parts.train, parts.validation, parts.test):
        windows = sequence_index(part, length)
        assert windows.shape[1] == length
        for window in windows:
            assert len(set(part.symbol_codes[window])) == 1
            assert np.diff(part.bars[window]).tolist() == [1] * (length - 1)
        places = list(zip(part.symbol_codes.tolist(), part.bars.tolist(), strict=True))
        there = set(places)
        ends = [
            row
            for row, (code, bar) in enumerate(places)
            if all((code, bar - back) in there for back in range(length))
        ]
        assert windows[:, -1].tolist() == ends


def test_other_values_for_the_features_leave_the_rows_alone() -> None:
    """Normalised features take the place of the raw ones; another shape is a mistake of the caller."""
    dataset = combine([samples("A", days(3))])
    scaled = dataset.with_features(dataset.features / np.float32(2))
    assert scaled.features[2].tolist() == [2.0, 2.5]
    assert scaled.timestamps is dataset.timestamps
    with pytest.raises(ValueError, match="do not fit rows"):
        dataset.with_features(dataset.features[:, :1])

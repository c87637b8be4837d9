"""Bars made for tests: a seeded random walk with gaps of every kind that a market has."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray


def random_bars(
    count: int, seed: int = 0, *, start: str = "2001-01-01", frequency: str = "D"
) -> pd.DataFrame:
    """Bars `(count, 5)`; some have no range, some no volume, some repeat the bar before."""
    source = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(source.normal(0, 0.02, count)))
    opened = np.concatenate([[100.0], close[:-1]])[:count]
    high = np.maximum(opened, close) * (1 + np.abs(source.normal(0, 0.01, count)))
    low = np.minimum(opened, close) * (1 - np.abs(source.normal(0, 0.01, count)))
    volume = np.where(source.random(count) < 0.05, 0.0, source.integers(1_000, 100_000, count))
    flat = source.random(count) < 0.03
    for values in (opened, high, low):
        values[flat] = close[flat]
    index = pd.date_range(start, periods=count, freq=frequency, tz="UTC", name="timestamp")
    columns = {"open": opened, "high": high, "low": low, "close": close, "volume": volume.astype(np.float64)}
    return pd.DataFrame(columns, index=index)


def constant_bars(count: int, price: float = 50.0, volume: float = 0.0) -> pd.DataFrame:
    """Bars of a price that does not move, in which nothing is traded."""
    index = pd.date_range("2001-01-01", periods=count, freq="D", tz="UTC", name="timestamp")
    columns = {name: np.full(count, price) for name in ("open", "high", "low", "close")}
    return pd.DataFrame({**columns, "volume": np.full(count, volume)}, index=index)


def rolling(
    values: NDArray[np.float64], period: int, compute: Callable[[NDArray[np.float64]], Any]
) -> NDArray[np.float64]:
    """`compute` on each window of `period` values, slowly and plainly; NaN before the first."""
    result = np.full(len(values), np.nan)
    for last in range(period - 1, len(values)):
        result[last] = compute(values[last - period + 1 : last + 1])
    return result

"""How long does preparing the features of three symbols on two timeframes with 40 indicators take?

About 5,000 daily bars a symbol, made by a seeded random walk, and their weeks; 40 fuzzy sets of three terms on both
timeframes; observed, with a store. One run loads, computes, fuzzifies, aligns and labels everything.
"""

import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from ktrdr_otel import observe
from pipeline.data.samples import resample_weekly
from pipeline.strategy import load_strategy
from pipeline.training_pipeline import TrainingPipeline
from tests.benchmarks.harness import Spread, report

SYMBOLS = ("ONE", "TWO", "THREE")
BARS = 5_031
RUNS = 9
STRATEGY = Path(__file__).parents[2] / "pipeline" / "strategies" / "momentum_daily_weekly.yaml"


def random_walk(seed: int) -> pd.DataFrame:
    """Daily bars `(BARS, 5)` of a price that walks at random."""
    source = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(source.normal(0, 0.015, BARS)))
    opened = np.concatenate([[100.0], close[:-1]])
    high = np.maximum(opened, close) * (1 + np.abs(source.normal(0, 0.005, BARS)))
    low = np.minimum(opened, close) * (1 - np.abs(source.normal(0, 0.005, BARS)))
    volume = source.integers(100_000, 1_000_000, BARS).astype(np.float64)
    index = pd.bdate_range("2000-01-03", periods=BARS, tz="UTC", name="timestamp")
    columns = {"open": opened, "high": high, "low": low, "close": close, "volume": volume}
    return pd.DataFrame(columns, index=index)


def write_bars(folder: Path) -> None:
    """The folder has daily and weekly bars of every symbol."""
    for seed, symbol in enumerate(SYMBOLS):
        daily = random_walk(seed)
        daily.to_parquet(folder / f"{symbol}_1d.parquet")
        resample_weekly(daily).to_parquet(folder / f"{symbol}_1w.parquet")


def main() -> None:
    """The figures are printed."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        write_bars(folder)
        strategy = load_strategy(STRATEGY, symbols=SYMBOLS)

        def once() -> float:
            began = time.perf_counter()
            TrainingPipeline(strategy, folder).prepare_features()
            return time.perf_counter() - began

        with observe("bench", display="off", database=str(folder / "operations.db")):
            once()
            figures = [once() for _ in range(RUNS)]
    report("prepare_features", {"seconds": statistics.median(figures), "seconds_spread": Spread.of(figures)})


if __name__ == "__main__":
    main()

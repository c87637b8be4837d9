"""Trainings of the sample strategy, slow enough to be watched."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from pipeline.data import write_samples
from tests.browser.serving import environment

STRATEGY = Path(__file__).parents[2] / "pipeline" / "strategies" / "momentum_daily_weekly.yaml"

# The command line, with a pause in each indicator and epoch, a loader that may fail at a symbol, and a file without
# which it does not leave the first symbol.
_SLOW = """
import os, sys, time
from contextlib import contextmanager
import pipeline.training_pipeline as training
pause, failing, gate = float(sys.argv.pop(1)), sys.argv.pop(1), sys.argv.pop(1)
computed = 0
loads, computes, scope = training.load_bars, training.IndicatorEngine.compute, training._epoch_scope
def load(folder, symbol, *rest):
    if symbol == failing:
        raise ConnectionError(f"Failed to load {symbol}: Connection timeout")
    return loads(folder, symbol, *rest)
def compute(*arguments):
    global computed
    computed += 1
    time.sleep(pause)
    while gate and computed > 50 and not os.path.exists(gate):
        time.sleep(0.02)
    return computes(*arguments)
@contextmanager
def slow(*arguments):
    with scope(*arguments) as record:
        time.sleep(pause * 8)
        yield record
training.load_bars, training.IndicatorEngine.compute, training._epoch_scope = load, compute, slow
from ktrdr_otel.__main__ import main
main()
"""


def start_training(
    database: Path,
    folder: Path,
    operation_id: str,
    *,
    pause: float = 0.005,
    failing: str = "",
    gate: Path | None = None,
    symbols: str = "AAPL,MSFT",
    epochs: int = 8,
    reporting: Mapping[str, str] | None = None,
) -> "subprocess.Popen[bytes]":
    """A training that runs, in its first symbol until there is a `gate`; `reporting` is also in its environment."""
    bars = folder / "bars"
    if not bars.exists():
        write_samples(bars)
    arguments = ["train", str(STRATEGY), "--data", str(bars), "--output", str(folder / "runs"), "--seed", "7"]
    chosen = ["--symbols", symbols, "--epochs", str(epochs), "--operation-id", operation_id]
    return subprocess.Popen(
        [sys.executable, "-c", _SLOW, str(pause), failing, str(gate or ""), *arguments, *chosen],
        env={**environment(database), **(reporting or {})},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )

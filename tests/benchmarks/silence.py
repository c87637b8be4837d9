"""How long does a training say nothing, beside its longest step?

The sample strategy on two symbols, in a process of its own, followed by its JSON lines. The aim: between two lines
never more than the longest single step and 100 ms.
"""

import json
import os
import subprocess
import sys
import tempfile
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from pipeline.data import write_samples
from tests.benchmarks.harness import Spread, report

STRATEGY = Path(__file__).parents[2] / "pipeline" / "strategies" / "momentum_daily_weekly.yaml"
RUNS = 7


def train(folder: Path, bars: Path) -> tuple[float, float]:
    """Seconds of the longest silence and of the longest step of one run."""
    arguments = [sys.executable, "-m", "ktrdr_otel", "train", str(STRATEGY), "--json", "--data", str(bars)]
    places = ["--output", str(folder / "runs"), "--database", str(folder / "operations.db")]
    # OpenMP threads that wait by spinning would be measured too.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*arguments, *places, "--symbols", "AAPL,MSFT", "--epochs", "2"],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    times = [datetime.fromisoformat(line["timestamp"]) for line in lines]
    silence = max((later - earlier).total_seconds() for earlier, later in pairwise(times))
    return silence, max(line["duration_seconds"] for line in lines if line["event"] == "finished")


def main() -> None:
    """The figures are printed."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        bars = folder / "bars"
        bars.mkdir()
        write_samples(bars)
        runs = [train(folder, bars) for _ in range(RUNS)]
    report(
        "silence",
        {
            "longest_silence_seconds": Spread.of([silence for silence, _ in runs]),
            "longest_step_seconds": Spread.of([step for _, step in runs]),
            "silence_beyond_the_step_seconds": Spread.of([silence - step for silence, step in runs]),
        },
    )


if __name__ == "__main__":
    main()

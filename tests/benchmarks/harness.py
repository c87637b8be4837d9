"""What the benchmarks share: interleaved pairs, a spread beside each figure, one JSON object."""

import argparse
import json
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of a figure over the runs of one process."""

    median: float
    lower_quartile: float
    upper_quartile: float
    runs: int

    @classmethod
    def of(cls, figures: Sequence[float]) -> "Spread":
        """The spread of at least two figures."""
        lower, median, upper = statistics.quantiles(figures, n=4, method="inclusive")
        return cls(median, lower, upper, len(figures))


T = TypeVar("T")


def interleaved(pairs: int, first: Callable[[], T], second: Callable[[], T]) -> list[tuple[T, T]]:
    """The figures of both, taken in turn; who begins alternates, so that a drift hits both alike."""
    figures = []
    for pair in range(pairs):
        if pair % 2:
            late = second()
            figures.append((first(), late))
        else:
            early = first()
            figures.append((early, second()))
    return figures


def report(name: str, figures: dict[str, Any]) -> None:
    """One JSON object with `--json`, else a line per figure."""
    parser = argparse.ArgumentParser(prog=f"python -m tests.benchmarks.{name}")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    arguments = parser.parse_args()
    stated = {key: asdict(value) if isinstance(value, Spread) else value for key, value in figures.items()}
    whole = {"benchmark": name, **stated, **_circumstances()}
    if arguments.json:
        print(json.dumps(whole))
        return
    for key, value in whole.items():
        print(f"{key:<24} {value}")


def _circumstances() -> dict[str, str]:
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    ).stdout.strip()
    return {
        "commit": commit or "unknown",
        "machine": platform.machine(),
        "python": sys.version.split()[0],
        "date": datetime.now(UTC).date().isoformat(),
    }

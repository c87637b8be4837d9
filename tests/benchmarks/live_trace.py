"""What does a run pay for having its open spans shown?

The same work, exported over OTLP/HTTP to a receiver in a process of its own, with each mode on and off, in turn. CPU
time is the observed process's, its exporter thread included. `run`: steps of several lengths in nested containers, as a
preprocessing has them. `loop`: nothing but steps, in an endless loop.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.benchmarks.harness import Spread, report

ROUNDS = 8
MODES = ("off", "snapshot", "markers")

RECEIVER = """
import time
from tests.integration.otlp_receivers import HttpReceiver
receiver = HttpReceiver()
print(receiver.url, flush=True)
while True:
    time.sleep(60)
"""
JOB = """
import sys
from ktrdr_otel import checkpoint, observe
with observe("bench", database=sys.argv[1], display="off"):
    for symbol in range(1, 4):
        with checkpoint("symbol", symbol=f"S{symbol}", symbol_index=symbol, total_symbols=3):
            for index in range(1, 201):
                with checkpoint("load", item=f"w{index}", index=index, total=200):
                    sum(range(9_000_000 if index % 40 == 0 else 900_000))
"""
LOOP = """
import sys
from ktrdr_otel import checkpoint, observe
with observe("bench", database=sys.argv[1], display="off"):
    for index in range(1, 60_001):
        with checkpoint("load", item="x", index=index, total=60_000):
            pass
"""


@contextmanager
def receiver() -> Iterator[str]:
    """The URL of a receiver in a process of its own."""
    process = subprocess.Popen([sys.executable, "-c", RECEIVER], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()


def work(program: str, folder: Path, url: str, mode: str) -> tuple[float, float]:
    """CPU and wall seconds of one run."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", program, str(folder / "operations.db")],
        check=True,
        env={
            **os.environ,
            "KTRDR_OTEL_LIVE": mode,
            "KTRDR_OTEL_WATCHER": "off",
            "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        },
    )
    after, took = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - began
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, took


def rounds(program: str, folder: Path, url: str) -> dict[str, list[tuple[float, float]]]:
    """The figures of each mode; who begins changes, so that a drift hits all alike."""
    figures: dict[str, list[tuple[float, float]]] = {mode: [] for mode in MODES}
    for turn in range(ROUNDS):
        for place in range(len(MODES)):
            mode = MODES[(turn + place) % len(MODES)]
            figures[mode].append(work(program, folder, url, mode))
    return figures


def ratios(name: str, figures: dict[str, list[tuple[float, float]]]) -> dict[str, Any]:
    """Each mode against off, pair by pair."""
    told: dict[str, Any] = {f"{name}_cpu_seconds": Spread.of([cpu for cpu, _ in figures["off"]])}
    for mode in MODES[1:]:
        pairs = list(zip(figures[mode], figures["off"], strict=True))
        cpu = [on[0] / off[0] for on, off in pairs]
        told[f"{name}_{mode}_cpu_ratio"] = statistics.median(cpu)
        told[f"{name}_{mode}_cpu_ratio_spread"] = Spread.of(cpu)
        told[f"{name}_{mode}_wall_ratio_spread"] = Spread.of([on[1] / off[1] for on, off in pairs])
    return told


def main() -> None:
    """The figures are printed."""
    with tempfile.TemporaryDirectory() as made, receiver() as url:
        folder = Path(made)
        work(JOB, folder, url, "off")
        run = ratios("run", rounds(JOB, folder, url))
        loop = ratios("loop", rounds(LOOP, folder, url))
    report("live_trace", {**run, **loop})


if __name__ == "__main__":
    main()

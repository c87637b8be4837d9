"""What does a run pay for having its open spans shown?

The same work, exported over OTLP/HTTP to a receiver in a process of its own, with each mode on and off, in turn. What
is paid is added up from its parts, for a whole run's CPU time differs by more from one run to the next than it amounts
to: the exporter thread's CPU time as the kernel counts it, and what a start costs more, times the starts. `run`: steps
of several lengths in nested containers, as a preprocessing has them. `loop`: nothing but steps, in an endless loop. The
ratios of whole runs stand beside it.
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
from typing import Any, NamedTuple

from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ktrdr_otel.exporters.live import LiveMode
from ktrdr_otel.exporters.queue import ExportQueue
from tests.benchmarks.harness import Spread, report

ROUNDS = 6
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
import sys, threading
from pathlib import Path
from ktrdr_otel import checkpoint, observe
with observe("bench", database=sys.argv[1], display="off"):
    for symbol in range(1, 4):
        with checkpoint("symbol", symbol=f"S{symbol}", symbol_index=symbol, total_symbols=3):
            for index in range(1, 201):
                with checkpoint("load", item=f"w{index}", index=index, total=200):
                    sum(range(9_000_000 if index % 40 == 0 else 900_000))
    thread = next(each for each in threading.enumerate() if each.name == "ktrdr-otel-export")
    print(Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text().split()[0])
"""
LOOP = """
import sys, threading
from pathlib import Path
from ktrdr_otel import checkpoint, observe
with observe("bench", database=sys.argv[1], display="off"):
    for index in range(1, 60_001):
        with checkpoint("load", item="x", index=index, total=60_000):
            pass
    thread = next(each for each in threading.enumerate() if each.name == "ktrdr-otel-export")
    print(Path(f"/proc/self/task/{thread.native_id}/schedstat").read_text().split()[0])
"""


class Run(NamedTuple):
    """Seconds of one run."""

    cpu: float
    wall: float
    export: float  # CPU of the exporter thread


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


def work(program: str, folder: Path, url: str, mode: str) -> Run:
    """One run."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder / "operations.db")],
        check=True,
        stdout=subprocess.PIPE,
        env={
            **os.environ,
            "KTRDR_OTEL_LIVE": mode,
            "KTRDR_OTEL_WATCHER": "off",
            "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        },
    )
    after, took = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - began
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(cpu, took, int(done.stdout) / 1e9)


def start_seconds(mode: LiveMode) -> float:
    """What the queue takes to hear of a start and of an end, in the thread of the span."""
    queue = ExportQueue([InMemorySpanExporter()], live=mode, interval_seconds=60)
    provider = TracerProvider(shutdown_on_exit=False)
    spans = [provider.get_tracer("bench").start_span(str(number)) for number in range(4_000)]
    began = time.perf_counter()
    for span in spans:
        queue.started(span)  # type: ignore[arg-type] # the SDK's, as it is sampled
        queue.ended(span)  # type: ignore[arg-type]
    took = (time.perf_counter() - began) / len(spans)
    queue.shutdown(0)
    return took


def rounds(program: str, folder: Path, url: str) -> dict[str, list[Run]]:
    """The figures of each mode; who begins changes, so that a drift hits all alike."""
    figures: dict[str, list[Run]] = {mode: [] for mode in MODES}
    for turn in range(ROUNDS):
        for place in range(len(MODES)):
            mode = MODES[(turn + place) % len(MODES)]
            figures[mode].append(work(program, folder, url, mode))
    return figures


def ratios(name: str, figures: dict[str, list[Run]], spans: int) -> dict[str, Any]:
    """Each mode against off, pair by pair."""
    told: dict[str, Any] = {f"{name}_cpu_seconds": Spread.of([run.cpu for run in figures["off"]])}
    for mode in MODES[1:]:
        pairs = list(zip(figures[mode], figures["off"], strict=True))
        starts = [
            spans * (start_seconds(LiveMode(mode)) - start_seconds(LiveMode.OFF)) for _ in range(len(pairs))
        ]
        paid = [
            (on.export - off.export + more) / off.cpu for (on, off), more in zip(pairs, starts, strict=True)
        ]
        told[f"{name}_{mode}_paid_ratio"] = statistics.median(paid)
        told[f"{name}_{mode}_paid_ratio_spread"] = Spread.of(paid)
        told[f"{name}_{mode}_cpu_ratio_spread"] = Spread.of([on.cpu / off.cpu for on, off in pairs])
        told[f"{name}_{mode}_wall_ratio_spread"] = Spread.of([on.wall / off.wall for on, off in pairs])
    return told


def main() -> None:
    """The figures are printed."""
    with tempfile.TemporaryDirectory() as made, receiver() as url:
        folder = Path(made)
        work(JOB, folder, url, "off")
        run = ratios("run", rounds(JOB, folder, url), spans=604)
        loop = ratios("loop", rounds(LOOP, folder, url), spans=60_001)
    report("live_trace", {**run, **loop})


if __name__ == "__main__":
    main()

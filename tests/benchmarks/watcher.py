"""What does a watched process pay for its watcher, and what does the watcher take?

The same work, observed, with and without a watcher, in processes of their own, in turn. CPU time is the observed
process's; the watcher's own memory and CPU share are read from the kernel while it watches.
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from tests.benchmarks.harness import Spread, interleaved, report

PAIRS = 8
JOB = """
import sys
from ktrdr_otel import checkpoint, observe
with observe("bench", database=sys.argv[1], display="off"):
    for index in range(1, 601):
        with checkpoint("load", item="x", index=index, total=600):
            sum(range(600_000))
"""


def work(folder: Path, watcher: str) -> tuple[float, float]:
    """CPU and wall seconds of one run."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", JOB, str(folder / "operations.db")],
        check=True,
        env={**os.environ, "KTRDR_OTEL_WATCHER": watcher},
    )
    after, took = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - began
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, took


def watchers() -> list[tuple[int, float]]:
    """Bytes and CPU seconds of every watcher that runs now."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"ktrdr_otel.watcher.process" not in (process / "cmdline").read_bytes():
                continue
            stat = (process / "stat").read_bytes()
            pages = int((process / "statm").read_bytes().split()[1])
        except OSError:
            continue
        fields = stat[stat.rindex(b")") + 2 :].split()
        ticks = int(fields[11]) + int(fields[12])
        found.append((pages * os.sysconf("SC_PAGE_SIZE"), ticks / os.sysconf("SC_CLK_TCK")))
    return found


def main() -> None:
    """The figures are printed."""
    seen: list[tuple[int, float]] = []
    done = threading.Event()

    def look() -> None:
        while not done.wait(0.5):
            seen.extend(watchers())

    looking = threading.Thread(target=look)
    looking.start()
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        work(folder, "off")
        runs = interleaved(PAIRS, lambda: work(folder, "off"), lambda: work(folder, "auto"))
    done.set()
    looking.join()
    report(
        "watcher",
        {
            "cpu_ratio": statistics.median(auto[0] / off[0] for off, auto in runs),
            "cpu_ratio_spread": Spread.of([auto[0] / off[0] for off, auto in runs]),
            "wall_ratio_spread": Spread.of([auto[1] / off[1] for off, auto in runs]),
            "cpu_seconds": Spread.of([off[0] for off, _ in runs]),
            "watcher_bytes": max((memory for memory, _ in seen), default=0),
            "watcher_cpu_seconds": Spread.of([seconds for _, seconds in seen]) if len(seen) > 1 else None,
        },
    )


if __name__ == "__main__":
    main()

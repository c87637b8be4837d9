"""What does a watched process pay for its watcher, and what does the watcher take?

The same work, observed, with and without a watcher, in processes of their own, in turn. CPU time is the observed
process's own. Where other processes share the cores that comparison is too coarse for a thousandth: so what is paid
is also added up (`paid_ratio`): the CPU time of the thread that keeps the watcher, and what is written for it. The
watcher's own memory and CPU time are read from the kernel while it watches.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import NamedTuple

from tests.benchmarks.harness import Spread, interleaved, report

PAIRS = 8
STEPS = 1200
JOB = """
import json, sys, threading, time
from ktrdr_otel import checkpoint, observe
from ktrdr_otel.pulse import Pulse

steps, began = int(sys.argv[2]), time.monotonic()
with observe("bench", database=sys.argv[1], display="off"):
    for index in range(1, steps + 1):
        with checkpoint("load", item="x", index=index, total=steps):
            sum(range(600_000))
    cpu, lasted = time.process_time(), time.monotonic() - began
    keeper = [thread for thread in threading.enumerate() if thread.name == "ktrdr-otel watch"]
    kept = sum(time.clock_gettime(time.pthread_getcpuclockid(thread.ident)) for thread in keeper)
pulse = Pulse.create()
attributes = {"ktrdr.progress.type": "load", "ktrdr.item.name": "x", "ktrdr.item.index": 1, "ktrdr.item.total": 9}
began = time.thread_time()
for _ in range(50_000):
    pulse.begin_step(attributes)
    pulse.end_step()
    pulse.tick()
    pulse.tick()
written = (time.thread_time() - began) / 50_000 * steps
place = {"message": "Load x (600/1200)", "allowance_seconds": 300.0, "slow_after_seconds": None, "hold_seconds": 0.0}
began = time.thread_time()
for _ in range(5_000):
    pulse.place(place)
written += (time.thread_time() - began) / 5_000 * 20 * lasted  # twenty times a second, by the reader of the inbox
print(json.dumps({"cpu": cpu, "kept": kept, "written": written}))
"""


class Run(NamedTuple):
    """Seconds of one run: CPU, wall, and of the CPU what its watcher cost."""

    cpu: float
    wall: float
    paid: float


def work(folder: Path, watcher: str) -> Run:
    """One run."""
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", JOB, str(folder / "operations.db"), str(STEPS)],
        check=True,
        stdout=subprocess.PIPE,
        env={**os.environ, "KTRDR_OTEL_WATCHER": watcher},
    )
    took = time.perf_counter() - began
    told = json.loads(done.stdout)
    return Run(told["cpu"], took, told["kept"] + told["written"])


def watchers() -> list[tuple[int, float]]:
    """Bytes and CPU seconds of every watcher that runs now."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            if b"-S" not in words or not any(b"ktrdr_otel.watcher.process" in word for word in words):
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
            "paid_ratio": Spread.of([auto.paid / auto.cpu for _, auto in runs]),
            "paid_seconds": Spread.of([auto.paid for _, auto in runs]),
            "cpu_ratio": statistics.median(auto.cpu / off.cpu for off, auto in runs),
            "cpu_ratio_spread": Spread.of([auto.cpu / off.cpu for off, auto in runs]),
            "wall_ratio_spread": Spread.of([auto.wall / off.wall for off, auto in runs]),
            "cpu_seconds": Spread.of([off.cpu for off, _ in runs]),
            "watcher_bytes": max((memory for memory, _ in seen), default=0),
            "watcher_cpu_seconds": Spread.of([seconds for _, seconds in seen]) if len(seen) > 1 else None,
        },
    )


if __name__ == "__main__":
    main()

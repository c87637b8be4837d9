"""What does a scrape of a hundred active operations take, and does it slow a running checkpoint?

The scrape is over HTTP, of `ktrdr-otel serve`; each operation has all that one can have: phases, an allowance, metrics
of an epoch, and what its process uses. Checkpoints run in this process, in pairs: while that server
is scraped ten times a second, and while nobody asks; CPU time of this process per checkpoint.
"""

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tests.benchmarks.harness import Spread, interleaved, report

if TYPE_CHECKING:
    from ktrdr_otel.observation import Observation

ACTIVE = 100
SCRAPES = 500
PAIRS = 15
CHECKPOINTS = 10_000


def begin_operations(database: str) -> None:
    """A hundred operations run in the store, by the word of this process."""
    from ktrdr_otel.operations.models import NewOperation, Progress
    from ktrdr_otel.operations.ports import Batch
    from ktrdr_otel.operations.worker import this_worker
    from ktrdr_otel.runtime import open_service
    from ktrdr_otel.settings import load_settings

    service = open_service(load_settings(database=database))
    for number in range(ACTIVE):
        service.adopt(
            NewOperation(
                operation_id=f"active-{number}",
                operation_type="training",
                name="train",
                started_at=datetime.now(UTC),
                trace_id=f"{number + 1:032x}",
                span_id=f"{number + 1:016x}",
                worker=this_worker(),
                lease_seconds=3600,
            )
        )
    now = datetime.now(UTC)
    state = Progress(
        phase="epoch",
        percentage=50.0,
        message="Epoch 40/80",
        context={"progress_type": "epoch", "epoch_index": 40, "total_epochs": 80},
        last_progress_at=now,
        items_completed=363,
        items_planned=404,
        estimated_remaining_seconds=60.0,
        phases={
            "preprocessing": (320, 320),
            "preparation": (3, 3),
            "training": (40, 80),
            "evaluation": (0, 1),
        },
        moved_monotonic_ns=time.monotonic_ns(),
        allowance_seconds=3600.0,
    )
    service.write(Batch(progress={f"active-{number}": state for number in range(ACTIVE)}))
    service.close()


def go_on(database: str) -> None:
    """Each of them has finished an epoch, and its watcher has looked at what its process uses."""
    from ktrdr_otel.operations.ports import Batch
    from ktrdr_otel.operations.worker import this_worker
    from ktrdr_otel.progress.events import Unit
    from ktrdr_otel.runtime import open_service
    from ktrdr_otel.settings import load_settings
    from ktrdr_otel.watcher.record import Record

    service = open_service(load_settings(database=database))
    began = time.time_ns()
    context = {"epoch_index": 40, "total_epochs": 80}
    metrics = {"loss": 0.5, "accuracy": 0.6, "val_loss": 0.7, "val_accuracy": 0.5, "learning_rate": 0.001}
    epochs = [
        Unit(
            f"active-{number}",
            number + 1,
            number + 1000,
            number + 1,
            "epoch",
            "epoch",
            context,
            began,
            0,
            began + 10**9,
            metrics,
        )
        for number in range(ACTIVE)
    ]
    service.write(Batch(finished=epochs))
    mine = this_worker()
    told = {"pid": mine.pid, "started_ticks": mine.pid_started_ticks, "boot_id": mine.boot_id}
    watcher = Record({**service.watching(), **told, "site_packages": []})
    # What is older than half a minute is not exposed, and watchers that write it anew are no part of the question.
    at_ns = began + 3600 * 10**9
    for number in range(ACTIVE):
        watcher.sample(f"active-{number}", at_ns=at_ns, cpu_share=0.75, rss_bytes=2**30, limit_bytes=2**33)
    watcher.close()
    service.close()


def scrape(url: str) -> str:
    """What is exposed."""
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def until_exposed(url: str, *names: str) -> None:
    """Each of the operations has a series of each of those names."""
    deadline = time.monotonic() + 20
    while True:
        lines = scrape(url).splitlines()
        counts = {name: sum(line.startswith(f"{name}{{") for line in lines) for name in names}
        if min(counts.values()) >= ACTIVE:
            return
        assert time.monotonic() < deadline, f"the server does not see the operations: {counts}"
        time.sleep(0.05)


def scrape_seconds(url: str) -> float:
    """How long one scrape takes whoever asks."""
    began = time.perf_counter()
    scrape(url)
    return time.perf_counter() - began


def checkpoint_seconds(operation: "Observation") -> float:
    """CPU time of this process per checkpoint, until all of them are stored."""
    from ktrdr_otel import checkpoint

    began = time.process_time()
    for index in range(CHECKPOINTS):
        with checkpoint("load", item="bars", index=index, total=CHECKPOINTS):
            pass
    operation.flush()
    return (time.process_time() - began) / CHECKPOINTS


def scraped_checkpoint_seconds(operation: "Observation", url: str) -> float:
    """The same, while the other process is scraped."""
    asking = subprocess.Popen([sys.executable, "-m", "tests.benchmarks.scrape", "--ask", url])
    try:
        time.sleep(0.3)  # its interpreter has started
        return checkpoint_seconds(operation)
    finally:
        asking.kill()
        asking.wait()


def ask(url: str) -> None:
    """Ten scrapes a second: far more than a Prometheus asks for."""
    while True:
        scrape(url)
        time.sleep(0.1)


def main() -> None:
    """The figures are printed."""
    from ktrdr_otel import observe

    with tempfile.TemporaryDirectory() as folder:
        database = str(Path(folder) / "operations.db")
        begin_operations(database)
        arguments = [sys.executable, "-m", "ktrdr_otel", "serve", "--port", "0", "--database", database]
        with subprocess.Popen(
            arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        ) as server:
            assert server.stdout is not None
            url = server.stdout.readline().split()[-1]
            until_exposed(url, "ktrdr_operation_progress_ratio")
            go_on(database)
            until_exposed(
                url,
                "ktrdr_operation_phase_items_completed",
                "ktrdr_operation_stall_allowance_seconds",
                "ktrdr_training_val_accuracy_ratio",
                "ktrdr_operation_memory_limit_bytes",
            )
            series = sum(not line.startswith("#") for line in scrape(url).splitlines())
            took = [scrape_seconds(url) for _ in range(SCRAPES)]
            os.environ["KTRDR_OTEL_WATCHER"] = "off"
            with observe("measured", display="off", database=str(Path(folder) / "measured.db")) as operation:
                checkpoint_seconds(operation)
                pairs = interleaved(
                    PAIRS,
                    lambda: scraped_checkpoint_seconds(operation, url),
                    lambda: checkpoint_seconds(operation),
                )
            server.terminate()
    report(
        "scrape",
        {
            "active_operations": ACTIVE,
            "series": series,
            "scrape_seconds": Spread.of(took),
            "scrape_p99_seconds": statistics.quantiles(took, n=100, method="inclusive")[98],
            "scrape_longest_seconds": max(took),
            "checkpoint_seconds_scraped": Spread.of([scraped for scraped, _ in pairs]),
            "checkpoint_seconds_alone": Spread.of([alone for _, alone in pairs]),
            "ratio": Spread.of([scraped / alone for scraped, alone in pairs]),
        },
    )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--ask"]:
        with contextlib.suppress(OSError):
            ask(sys.argv[2])
    else:
        main()

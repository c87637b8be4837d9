"""What a watcher says and stores, of real processes."""

import errno
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ktrdr_otel import semconv
from ktrdr_otel.operations.models import NewOperation, OperationStatus, Progress
from ktrdr_otel.operations.ports import Batch, OperationStore
from ktrdr_otel.operations.sentence import sentence_of
from ktrdr_otel.operations.worker import started_ticks, this_worker
from ktrdr_otel.pulse import Pulse
from ktrdr_otel.settings import Settings
from ktrdr_otel.storage import open_store
from ktrdr_otel.watcher.process import Watcher


@dataclass
class Watched:
    """A process that waits, its record, and its watcher, which does not look yet."""

    process: "subprocess.Popen[bytes]"
    database: Path
    store: OperationStore
    pulse: Pulse
    watcher: Watcher

    def rename_table(self, old: str, new: str) -> None:
        """The store is at fault, or works again."""
        connection = sqlite3.connect(self.database)
        connection.execute(f"ALTER TABLE {old} RENAME TO {new}")
        connection.close()


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """Its operation runs, and its trace is to be closed by an interpreter that is gone."""
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE)
    ticks = started_ticks(process.pid)
    assert ticks is not None
    worker = replace(this_worker(), pid=process.pid, pid_started_ticks=ticks)
    store = open_store(Settings(database=str(tmp_path / "operations.db")))
    new = NewOperation(
        operation_id="one",
        operation_type="training",
        name="train",
        started_at=datetime.now(UTC),
        trace_id=None,
        span_id=None,
        worker=worker,
        lease_seconds=15,
    )
    store.create(new, wall_ns=1, monotonic_ns=1)
    pulse = Pulse.create()
    pulse.count(1)
    watcher = Watcher(
        {
            **store.watching(),
            "pid": worker.pid,
            "started_ticks": worker.pid_started_ticks,
            "boot_id": worker.boot_id,
            "pulse": pulse.path,
            "heartbeat_seconds": 0.2,
            "unknown_seconds": 300.0,
            "allowances": [],
            "py_spy": None,
            "site_packages": [],
            "closing": {"python": str(tmp_path / "gone"), "environment": {}, "told": {}},
        }
    )
    yield Watched(process, tmp_path / "operations.db", store, pulse, watcher)
    process.kill()
    process.communicate()
    pulse.close()
    store.close()


def test_a_death_is_stored_where_the_trace_cannot_be_closed(
    watched: Watched, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody listens to a watcher whose process is dead: it says nothing."""
    watched.process.kill()
    watched.watcher.run()
    assert watched.store.get("one").operation.status is OperationStatus.LOST
    assert capsys.readouterr().err == ""


def test_a_death_of_which_the_kernel_tells_nothing_is_stored(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on every Linux before 6.15."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOTTY, os.strerror(errno.ENOTTY))

    monkeypatch.setattr("ktrdr_otel.watcher.kernel.fcntl.ioctl", refuse)
    watched.process.kill()
    watched.process.wait()
    watched.watcher.run()
    lost = watched.store.get("one").operation
    assert lost.status is OperationStatus.LOST
    assert lost.lost_reason == f"process {watched.process.pid} is gone, signal unknown"


def test_a_step_that_the_process_could_not_store_is_stored_for_it(watched: Watched) -> None:
    """It is suspended, or lost, in the step in which it was, not in the last one that it has told of."""
    watched.pulse.begin_step(
        {
            semconv.PROGRESS_TYPE: "load",
            semconv.ITEM_NAME: "MSFT",
            semconv.ITEM_INDEX: 3,
            semconv.ITEM_TOTAL: 10,
        }
    )
    looking = threading.Thread(target=watched.watcher.run)
    looking.start()
    watched.process.send_signal(signal.SIGSTOP)
    deadline = time.monotonic() + 10
    while not watched.store.get("one").operation.suspended:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    stopped = watched.store.get("one").operation
    assert stopped.message == "Load MSFT (3/10)"
    assert stopped.context == {"item": "MSFT", "index": 3, "total": 10}
    assert sentence_of(stopped, datetime.now(UTC)).startswith("suspended in Load MSFT (3/10): ")
    watched.pulse.begin_step({semconv.PROGRESS_TYPE: "load", semconv.ITEM_NAME: "AAPL"})
    watched.process.kill()
    looking.join()
    assert watched.store.get("one").operation.message == "Load AAPL"


def test_a_fault_is_said_once_and_so_is_its_end(watched: Watched, capsys: pytest.CaptureFixture[str]) -> None:
    """However often the watcher looks meanwhile; then it does its work."""
    looking = threading.Thread(target=watched.watcher.run)
    watched.rename_table("operations", "elsewhere")
    looking.start()
    _until(lambda: watched.watcher._failed_looks > 1)
    watched.rename_table("elsewhere", "operations")
    _until(lambda: watched.watcher._failed_looks == 0)
    watched.process.kill()
    looking.join()
    assert watched.store.get("one").operation.status is OperationStatus.LOST
    met, over = capsys.readouterr().err.splitlines()
    assert (
        met == "it cannot look, and tries again: no such table: operations; further faults are only counted"
    )
    assert over.startswith("it looks again, after ")
    assert int(over.split()[4]) > 1


def test_a_stop_while_nobody_can_write_is_no_silence(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when it is stopped in the middle of its own transaction: record and pulse know of the time all the same."""
    monkeypatch.setattr("ktrdr_otel.watcher.record._BUSY_SECONDS", 0.7)
    looking = threading.Thread(target=watched.watcher.run)
    looking.start()
    _until(lambda: watched.store.latest_samples(["one"]) != {})
    began_ns = time.monotonic_ns()
    moved = Progress(
        phase=None,
        percentage=0.0,
        message="Load",
        context={},
        last_progress_at=None,
        items_completed=0,
        items_planned=None,
        estimated_remaining_seconds=None,
        moved_monotonic_ns=began_ns,
        allowance_seconds=300.0,
    )
    watched.store.write(Batch(progress={"one": moved}))
    other = sqlite3.connect(watched.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    watched.process.send_signal(signal.SIGSTOP)
    os.waitpid(watched.process.pid, os.WUNTRACED)
    stopped_ns = time.monotonic_ns()
    time.sleep(2)
    watched.process.send_signal(signal.SIGCONT)
    stood_ns = time.monotonic_ns() - stopped_ns
    other.close()

    def shifted_ns() -> int:
        movement = watched.store.get("one").movement
        assert movement is not None
        return movement.monotonic_ns - began_ns

    _until(lambda: shifted_ns() > 0 and not watched.store.get("one").operation.suspended)
    # It looks four times a second, or as often as the store lets it.
    assert shifted_ns() > stood_ns - 0.3e9
    assert watched.pulse.stopped_ns > stood_ns - 0.3e9
    watched.process.kill()
    looking.join(30)


def _until(wanted: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not wanted():
        assert time.monotonic() < deadline
        time.sleep(0.02)

"""A server is as large as it was ten thousand operations ago."""

import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx

from ktrdr_otel.operations.models import Ending, NewOperation, OperationStatus, Progress
from ktrdr_otel.operations.ports import Batch
from ktrdr_otel.operations.worker import this_worker
from ktrdr_otel.progress.events import Unit
from ktrdr_otel.runtime import open_service
from ktrdr_otel.settings import load_settings
from tests.memory import resident_bytes

FIRST, LAST = (
    5_000,
    15_000,
)  # by the first all that is bounded is full: steps kept for streams, SQLite's cache
AT_ONCE = 100
# What the allocator keeps of its pages differs, most on a busy machine; a kilobyte per operation would be more.
MAY_GROW_BYTES = 8 * 1024 * 1024


@contextmanager
def served(database: Path) -> Iterator[tuple[int, str]]:
    """`ktrdr-otel serve` on that store: its process id and its address."""
    command = [sys.executable, "-m", "ktrdr_otel", "serve", "--port", "0", "--database", str(database)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.pid, process.stdout.readline().split()[-1]
        finally:
            process.terminate()


def begin_one(database: Path) -> None:
    """The store has one operation, that has ended: the others are made in its likeness."""
    service = open_service(load_settings(database=str(database)))
    now = datetime.now(UTC)
    service.adopt(
        NewOperation(
            operation_id="run-0",
            operation_type="type 0",
            name="train",
            started_at=now,
            trace_id="ab" * 16,
            span_id="cd" * 8,
            worker=this_worker(),
            lease_seconds=15,
        )
    )
    over = Progress(
        phase="training",
        percentage=100.0,
        message="Training complete",
        context={},
        last_progress_at=now,
        items_completed=1,
        items_planned=1,
        estimated_remaining_seconds=None,
    )
    step = Unit("run-0", 1, 2, None, "load", "word 0", {"item": "item 0"}, 10**18, 0, 10**18 + 10**6)
    ending = Ending(status=OperationStatus.COMPLETED, ended_at=now, progress=over)
    service.write(Batch(finished=[step], endings={"run-0": ending}))
    service.close()


def finish(database: Path, first: int, last: int) -> None:
    """Operations with these numbers have ended, of a type of their own each, with a step of a kind of its own."""
    connection = sqlite3.connect(database, timeout=30)
    connection.row_factory = sqlite3.Row
    operation = dict(connection.execute("SELECT * FROM operations WHERE key = 1").fetchone())
    step = dict(connection.execute("SELECT * FROM checkpoints").fetchone())
    for begin in range(first, last, AT_ONCE):
        numbers = range(begin, min(begin + AT_ONCE, last))
        with connection:
            for number in numbers:
                changed = {
                    "key": number + 1,
                    "operation_id": f"run-{number}",
                    "operation_type": f"type {number}",
                }
                insert(connection, "operations", operation | changed)
                of_it = {
                    "sequence": number + 1,
                    "operation_key": number + 1,
                    "progress_type": f"word {number}",
                }
                insert(connection, "checkpoints", step | of_it)
        time.sleep(0.02)  # a server is told of each hundred, not of all at once
    connection.close()


def insert(connection: sqlite3.Connection, table: str, row: dict[str, object]) -> None:
    """The row is in the table."""
    values = ", ".join(f":{column}" for column in row)
    connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({values})", row)


def counted(url: str) -> tuple[float, int]:
    """How many operations the server has seen end, and how many series it exposes."""
    lines = [line for line in httpx.get(f"{url}/metrics").text.splitlines() if not line.startswith("#")]
    ends = sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("ktrdr_operations_total"))
    return ends, len(lines)


def follows(url: str) -> None:
    """The server has looked at the store once: what ends from now on it sees end."""
    deadline = time.monotonic() + 60
    while 'ktrdr_operation_id="' not in httpx.get(f"{url}/metrics").text:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def settled(url: str, ends: float) -> int:
    """The series, once the server has seen so many end."""
    deadline = time.monotonic() + 60
    while (seen := counted(url)[0]) != ends:
        assert time.monotonic() < deadline, f"{seen} of {ends}"
        time.sleep(0.05)
    return counted(url)[1]


def test_ten_thousand_finished_operations_leave_a_server_as_it_was(tmp_path: Path) -> None:
    """Its series, and its memory as the kernel counts it: no type, item, operation or step is kept for ever."""
    database = tmp_path / "operations.db"
    begin_one(database)
    with served(database) as (pid, url):
        follows(url)
        finish(database, 1, FIRST)
        series = settled(url, FIRST - 1)
        memory = resident_bytes(pid)
        finish(database, FIRST, LAST)
        assert settled(url, LAST - 1) == series
        grown = resident_bytes(pid) - memory
    assert grown < MAY_GROW_BYTES, f"{grown / 1024:.0f} KiB more"

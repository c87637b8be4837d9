"""A job that gets stuck, in a process of its own, and its record."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from ktrdr_otel.operations.models import Operation
from ktrdr_otel.operations.sentence import sentence_of
from ktrdr_otel.operations.service import OperationsService
from ktrdr_otel.runtime import open_service
from ktrdr_otel.settings import load_settings

SHORT = {
    "KTRDR_OTEL_STALL_FLOOR_SECONDS": "2",
    "KTRDR_OTEL_STALL_UNKNOWN_SECONDS": "2",
    "KTRDR_OTEL_LEASE_SECONDS": "2",
}


ALLOWED_SECONDS = 2


STUCK_SECONDS = 7


JOB = """
import ctypes, hashlib, os, subprocess, sys, threading, time
from ktrdr_otel import checkpoint, hold, observe

STUCK = float(sys.argv[3])

def gil():
    ctypes.PyDLL(None).sleep(int(STUCK))

def busy():
    ends = time.monotonic() + STUCK
    while time.monotonic() < ends:
        pass

def silent_pipe():
    reading, writing = os.pipe()
    threading.Timer(STUCK, os.close, (writing,)).start()
    os.read(reading, 1)

def in_a_worker(work, deep):
    def dive():
        with checkpoint("indicator_computation", symbol="AAPL", symbol_index=1, total_symbols=2, timeframe="1h",
                        indicator_name="RSI", indicator_index=15, total_indicators=40):
            work(deep)
    thread = threading.Thread(target=dive, name="worker")
    thread.start()
    thread.join()

def worker_waits(deep=30):
    def deep_sleep(deep):
        deep_sleep(deep - 1) if deep else ctypes.CDLL(None).sleep(int(STUCK))
    in_a_worker(deep_sleep, deep)

def worker_counts(deep=30):
    ends = time.monotonic() + STUCK
    def deep_hash(deep):
        if deep:
            deep_hash(deep - 1)
        while time.monotonic() < ends:
            hashlib.pbkdf2_hmac("sha256", b"", b"", 200_000)
    in_a_worker(deep_hash, deep)

def two_locks():
    lock = threading.Lock()
    def holder():
        with lock:
            time.sleep(STUCK)
    thread = threading.Thread(target=holder, name="holder")
    thread.start()
    time.sleep(0.1)
    with lock:
        pass
    thread.join()

def slowly():
    for index in range(3):
        with checkpoint("slow", item="one", index=index + 1, total=3):
            time.sleep(0.5 * float(os.environ["KTRDR_OTEL_STALL_UNKNOWN_SECONDS"]))

def held():
    with hold("a broker", allowance_seconds=60):
        time.sleep(STUCK)

def nothing():
    time.sleep(60)

with observe("job", operation_id="job", database=sys.argv[1], display="off") as operation:
    for index in range(1, 6):
        with checkpoint("load", item=f"w{index}", index=index, total=7):
            time.sleep(0.5)
    while operation._watch is not None and operation._watch.pid is None:  # it is about to start
        with checkpoint("load", item="w5"):
            time.sleep(0.05)
    with checkpoint("indicator_computation", symbol="AAPL", symbol_index=1, total_symbols=2, timeframe="1h",
                    indicator_name="RSI", indicator_index=15, total_indicators=40):
        operation.flush()  # a write that is under way when the interpreter's lock is taken keeps SQLite locked
        print("there", flush=True)
        before, began_at = time.monotonic(), time.time()
        globals()[sys.argv[2]]()
        print(time.monotonic() - before, began_at, time.time(), flush=True)
    while not os.path.exists(os.environ.get("GATE", "/")):
        with checkpoint("load", item="gate"):
            time.sleep(0.05)
    for index in (6, 7):
        with checkpoint("load", item=f"w{index}", index=index, total=7):
            time.sleep(0.4)
"""


# Writes all the time, and says of each step when it had ended. An interrupt kills it, as it does who catches none.
BUSY_WRITER = """
import signal, sys, time
from ktrdr_otel import checkpoint, observe

signal.signal(signal.SIGINT, signal.SIG_DFL)
with observe("job", operation_id="job", database=sys.argv[1], display="off"), open(sys.argv[2], "w") as said:
    for index in range(1, 100_000):
        with checkpoint("load", item="bars", index=index, total=100_000):
            time.sleep(0.02)
        print(index, time.time(), file=said, flush=True)
"""


class Job:
    """A running job, and its record."""

    def __init__(self, process: "subprocess.Popen[str]", service: OperationsService) -> None:
        self.process = process
        self.service = service

    def operation(self) -> Operation:
        """As anyone sees it now."""
        return self.service.get("job")

    def until(self, wanted: Callable[[Operation], bool], timeout_seconds: float = 20) -> Operation:
        """The first state that is wanted; what it saw on the way is told when there is none."""
        deadline = time.monotonic() + timeout_seconds
        seen: list[str] = []
        while time.monotonic() < deadline:
            operation = self.operation()
            if wanted(operation):
                return operation
            said = sentence_of(operation, datetime.now(UTC))
            if not seen or seen[-1] != said:
                seen.append(said)
            time.sleep(0.05)
        raise AssertionError(seen)

    def watcher(self, timeout_seconds: float = 30) -> int:
        """The pid of its watcher."""
        deadline = time.monotonic() + timeout_seconds
        while time.monotonic() < deadline:
            if (pid := self.find_watcher()) is not None:
                return pid
            time.sleep(0.05)
        raise AssertionError("it has no watcher")

    def find_watcher(self) -> int | None:
        """The pid of its watcher; None while it has none."""
        for path in Path("/proc").glob("[0-9]*"):
            try:
                words = (path / "cmdline").read_bytes().split(b"\0")
                opened = {str(each.readlink()) for each in (path / "fd").iterdir()}
            except OSError:
                continue
            is_one = b"-S" in words and any("ktrdr-otel" in each for each in opened)
            if is_one and _watched_by(int(path.name)) == self.process.pid:
                return int(path.name)
        return None


def _watched_by(pid: int) -> int | None:
    for info in Path(f"/proc/{pid}/fdinfo").iterdir():
        try:
            for line in info.read_text().splitlines():
                if line.startswith("Pid:"):
                    return int(line.split()[1])
        except OSError:
            continue
    return None


@contextmanager
def job(
    folder: Path,
    kind: str,
    *,
    program: str = JOB,
    database: str | None = None,
    stuck: float = STUCK_SECONDS,
    **more: str,
) -> Iterator[Job]:
    """A job that gets stuck so, from its start to its end, in a process group of its own."""
    place = database or str(folder / "operations.db")
    open_service(load_settings(database=place)).close()
    with (folder / "stderr").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", program, place, kind, str(stuck)],
            start_new_session=True,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, **SHORT, **more},
        )
    service = open_service(load_settings(database=place, lease_seconds=2))
    try:
        assert process.stdout is not None
        yield Job(process, service)
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()
        service.close()


def there(running: Job) -> None:
    """It is in the step where it gets stuck."""
    assert running.process.stdout is not None
    assert running.process.stdout.readline() == "there\n"


def is_gone(pid: int) -> None:
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, f"process {pid} is left over"
        time.sleep(0.02)

"""Slow, stalled, suspended or dead, told apart on real processes that really hang, freeze and die."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ktrdr_otel.operations.models import Operation, OperationStatus
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
    turns, began = 100_000, time.monotonic()
    hashlib.pbkdf2_hmac("sha256", b"", b"", turns)
    turns = int(turns * STUCK / (time.monotonic() - began))
    def deep_hash(deep):
        deep_hash(deep - 1) if deep else hashlib.pbkdf2_hmac("sha256", b"", b"", turns)
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
            time.sleep(0.9 * float(os.environ["KTRDR_OTEL_STALL_UNKNOWN_SECONDS"]))

def held():
    with hold("a broker", allowance_seconds=60):
        time.sleep(STUCK)

def nothing():
    time.sleep(60)

with observe("job", operation_id="job", database=sys.argv[1], display="off") as operation:
    for index in range(1, 6):
        with checkpoint("load", item=f"w{index}", index=index, total=7):
            time.sleep(0.5)
    with checkpoint("indicator_computation", symbol="AAPL", symbol_index=1, total_symbols=2, timeframe="1h",
                    indicator_name="RSI", indicator_index=15, total_indicators=40):
        operation.flush()  # a write that is under way when the interpreter's lock is taken keeps SQLite locked
        print("there", flush=True)
        before, began_at = time.monotonic(), time.time()
        globals()[sys.argv[2]]()
        print(time.monotonic() - before, began_at, time.time(), flush=True)
    for index in (6, 7):
        with checkpoint("load", item=f"w{index}", index=index, total=7):
            time.sleep(0.4)
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
            for path in Path("/proc").glob("[0-9]*"):
                try:
                    words = (path / "cmdline").read_bytes().split(b"\0")
                    opened = {str(each.readlink()) for each in (path / "fd").iterdir()}
                except OSError:
                    continue
                if b"-S" in words and any("ktrdr-otel" in each for each in opened):
                    watched = _watched_by(int(path.name))
                    if watched == self.process.pid:
                        return int(path.name)
            time.sleep(0.05)
        raise AssertionError("it has no watcher")


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
    folder: Path, kind: str, *, database: str | None = None, stuck: float = STUCK_SECONDS, **more: str
) -> Iterator[Job]:
    """A job that gets stuck so, from its start to its end."""
    place = database or str(folder / "operations.db")
    open_service(load_settings(database=place)).close()
    with (folder / "stderr").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", JOB, place, kind, str(stuck)],
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


@pytest.mark.parametrize(
    ("kind", "activity", "function"),
    [
        ("gil", "waiting", "gil"),
        ("busy", ("one core busy", "one core wanted"), "busy"),
        ("silent_pipe", "waiting", "silent_pipe"),
        ("two_locks", "waiting", "two_locks"),
        ("worker_waits", "waiting", "deep_sleep"),
        ("worker_counts", ("one core busy", "one core wanted"), "deep_hash"),
    ],
)
def test_a_stall_is_told_with_what_the_process_does(
    tmp_path: Path, kind: str, activity: str | tuple[str, ...], function: str
) -> None:
    """Never lost, whoever holds the interpreter's lock; stalled soon after its allowance; completed afterwards."""
    with job(tmp_path, kind) as running:
        there(running)
        operation = running.until(lambda each: each.stalled and each.stall is not None)
        sentence = sentence_of(operation, datetime.now(UTC))
        assert "in Computing RSI (15/40) [1h] AAPL: " in sentence
        assert operation.stall is not None
        assert operation.stall.activity.startswith(activity), sentence
        assert f"{function}, " in sentence
        assert f"{function} (" in operation.stall.stack
        if kind == "two_locks":
            assert '"holder"' in operation.stall.stack
            assert "    two_locks.<locals>.holder (" in operation.stall.stack
        resumed = running.until(lambda each: not each.stalled)
        assert resumed.status is not OperationStatus.LOST
        took, began_at, ended_at = map(float, running.process.stdout.readline().split())  # type: ignore[union-attr] # a pipe
        if kind != "worker_counts":  # how long a calculation takes is the machine's affair
            assert took >= STUCK_SECONDS - 0.1, "no wait of the program's is cut short"
        assert running.process.wait(20) == 0
        ended = running.operation()
        assert ended.status is OperationStatus.COMPLETED
        stall = ended.stall
        assert stall is not None
        assert stall.noticed_at is not None
        assert stall.until is not None
        # By the times in the record: how often this test looks does not count.
        assert stall.since.timestamp() - began_at < 2, "since its last step began, or a look or two later"
        assert stall.noticed_at.timestamp() - began_at < ALLOWED_SECONDS + 2
        assert abs(stall.until.timestamp() - ended_at) < 2


def test_a_stall_is_told_on_postgresql_too(tmp_path: Path, postgresql_url: str) -> None:
    """The watcher speaks to both stores, without SQLAlchemy."""
    with job(tmp_path, "gil", database=postgresql_url) as running:
        there(running)
        operation = running.until(lambda each: each.stalled and each.stall is not None)
        assert "    gil (" in operation.stall.stack  # type: ignore[union-attr] # until it is there
        running.process.kill()
        lost = running.until(lambda each: each.status is OperationStatus.LOST)
        assert str(lost.lost_reason).startswith(f"process {running.process.pid} ")


@pytest.mark.parametrize("kind", ["slowly", "held"])
def test_what_moves_or_said_so_is_silent(tmp_path: Path, kind: str) -> None:
    """A slow run inside its allowances, and a declared hold, are never stalled."""
    # A tenth of the allowance has to be more than what a busy machine delays.
    longer = dict.fromkeys(("KTRDR_OTEL_STALL_FLOOR_SECONDS", "KTRDR_OTEL_STALL_UNKNOWN_SECONDS"), "4")
    with job(tmp_path, kind, stuck=6, **longer) as running:
        there(running)
        while running.process.poll() is None:
            operation = running.operation()
            assert not operation.stalled
            assert operation.stall is None
            time.sleep(0.05)
        assert running.operation().status is OperationStatus.COMPLETED


def test_the_time_for_which_it_was_stopped_is_no_stall_in_its_log(tmp_path: Path) -> None:
    """Stopped for twice its allowance in the middle of a step: when it goes on nobody says that it stood still."""
    with job(tmp_path, "slowly") as running:
        there(running)
        running.watcher()
        os.kill(running.process.pid, signal.SIGSTOP)
        running.until(lambda each: each.suspended)
        time.sleep(4)
        os.kill(running.process.pid, signal.SIGCONT)
        running.until(lambda each: each.status is OperationStatus.COMPLETED)
    assert (tmp_path / "stderr").read_text() == ""


def test_a_stopped_process_is_suspended_and_goes_on(tmp_path: Path) -> None:
    """Several leases long: never lost, never stalled; its clocks stood still."""
    with job(tmp_path, "nothing") as running:
        there(running)
        running.watcher()
        os.kill(running.process.pid, signal.SIGSTOP)
        operation = running.until(lambda each: each.suspended)
        assert "stopped by a signal" in sentence_of(operation, datetime.now(UTC))
        deadline = time.monotonic() + 6
        while time.monotonic() < deadline:
            operation = running.operation()
            assert operation.status is OperationStatus.RUNNING
            assert operation.suspended
            assert not operation.stalled
            time.sleep(0.1)
        os.kill(running.process.pid, signal.SIGCONT)
        running.until(lambda each: not each.suspended)


KILLS = int(os.environ.get("KTRDR_OTEL_TEST_KILLS", "20"))


@pytest.mark.timeout(60 + KILLS * 20)
def test_a_killed_process_is_lost_within_a_second(tmp_path: Path) -> None:
    """At random moments after the watcher's start; what was flushed is there, and no process is left over."""
    chance = random.Random(7)
    together = 4
    last_seen = []
    for start in range(0, KILLS, together):
        with ExitStack() as stack:
            folders = [tmp_path / str(number) for number in range(start, min(start + together, KILLS))]
            for folder in folders:
                folder.mkdir()
            jobs = [stack.enter_context(job(folder, "nothing")) for folder in folders]
            for running, folder in zip(jobs, folders, strict=True):
                watcher = running.watcher()
                time.sleep(chance.uniform(0, 0.4))
                killed_at, killed_monotonic = time.time(), time.monotonic()
                running.process.kill()
                lost = running.until(lambda each: each.status is OperationStatus.LOST, 10)
                assert lost.lost_reason is not None
                _is_gone(watcher)
                with sqlite3.connect(folder / "operations.db") as connection:
                    [(stored, ended_ns)] = connection.execute("SELECT status, ended_ns FROM operations")
                    [(seen_ns,)] = connection.execute("SELECT max(at_ns) FROM samples")
                    opened = connection.execute(
                        "SELECT count(*) FROM checkpoints WHERE ended_ns IS NULL"
                    ).fetchone()
                    states = {row[0] for row in connection.execute("SELECT DISTINCT status FROM checkpoints")}
                connection.close()
                assert stored == "lost", "stored, not only judged"
                # The record has the moment at which the death was seen; that it was stored soon is for
                # this test to see, with what a busy machine takes.
                assert ended_ns / 1e9 - killed_at < 1
                assert time.monotonic() - killed_monotonic < 1 + 4
                last_seen.append(None if seen_ns is None else seen_ns / 1e9 - killed_at)
                assert opened == (0,)
                assert states <= {"completed", "lost"}
    # Who is killed before the watcher's first look leaves nothing; of all others the last moments are known.
    seen = [each for each in last_seen if each is not None]
    assert seen
    assert all(-2 < each < 1 for each in seen), seen


def _is_gone(pid: int) -> None:
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < deadline, f"process {pid} is left over"
        time.sleep(0.02)


def test_with_its_watcher_killed_along_the_lease_tells(tmp_path: Path) -> None:
    """As in a container whose first process dies; whoever reads the store says so."""
    with job(tmp_path, "nothing") as running:
        there(running)
        watcher = running.watcher()
        os.kill(watcher, signal.SIGKILL)
        running.process.kill()
        running.process.wait()
        running.until(lambda each: each.status is OperationStatus.LOST, 2 + 2 + 5)
        assert running.service.reap() == ["job"]
        assert running.service.reap() == []


def test_a_killed_watcher_is_replaced(tmp_path: Path) -> None:
    """And the new one sees the stall."""
    with job(tmp_path, "busy") as running:
        first = running.watcher()
        os.kill(first, signal.SIGKILL)
        _is_gone(first)
        there(running)
        operation = running.until(lambda each: each.stalled and each.stall is not None)
        assert "busy" in operation.stall.stack  # type: ignore[union-attr] # until it is there
        assert running.watcher() != first


def test_the_watcher_knows_no_secret_and_holds_nothing(tmp_path: Path) -> None:
    """No secret on its command line or in its environment, no descriptor of its parent's, a session of its own."""
    with job(tmp_path, "nothing", MY_SECRET="hush", stuck=1) as running:
        watcher = running.watcher()
        words = Path(f"/proc/{watcher}/cmdline").read_bytes() + Path(f"/proc/{watcher}/environ").read_bytes()
        assert b"hush" not in words
        assert str(tmp_path).encode() not in words
        assert os.getsid(watcher) != os.getsid(running.process.pid)
        opened = {str(each.readlink()) for each in Path(f"/proc/{watcher}/fd").iterdir()}
        outside = {str(Path(f"/proc/{running.process.pid}/fd/{number}").readlink()) for number in (0, 1, 2)}
        assert not opened & (outside - {"/dev/null"})
        running.process.kill()
        _is_gone(watcher)


UNHARMED = {
    "os.wait": """
pid = os.fork()
if pid == 0:
    time.sleep(1); os._exit(7)
met = []
while True:
    try: met.append(os.wait())
    except ChildProcessError: break
assert [each[0] for each in met if each[0] == pid] == [pid], met
assert not [each for each in met if each[0] != pid], met
""",
    "fork": """
pid = os.fork()
if pid == 0:
    time.sleep(3)
    import threading
    os._exit(0 if not any("ktrdr-otel watch" in each.name for each in threading.enumerate()) else 3)
assert os.waitpid(pid, 0)[1] == 0
""",
    "faulthandler": """
import faulthandler
out = open(sys.argv[2], "w")
faulthandler.dump_traceback_later(1.0, file=out)
time.sleep(2)
out.close()
assert "most recent call first" in open(sys.argv[2]).read()
""",
    "pool": """
import multiprocessing
for method in ("fork", "spawn", "forkserver"):
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(abs, [-1, -2, -3]) == [1, 2, 3]
""",
}
HOST = """
import os, sys, time, warnings
warnings.simplefilter("ignore")
from ktrdr_otel import checkpoint, observe
def main():
    with observe("host", operation_id="host", database=sys.argv[1], display="off"):
        time.sleep(2.6)
        with checkpoint("work", item="x"):
            exec(sys.argv[3], globals())
if __name__ == "__main__":
    main()
    sys.exit(5)
"""


@pytest.mark.parametrize("what", sorted(UNHARMED))
def test_an_application_of_its_own_is_unharmed(tmp_path: Path, what: str) -> None:
    """One that waits for its children, forks, has its own faulthandler timer, or uses process pools."""
    program = tmp_path / "host.py"
    program.write_text(HOST)
    database, file = str(tmp_path / "o.db"), str(tmp_path / "out.txt")
    done = subprocess.run(
        [sys.executable, str(program), database, file, UNHARMED[what]],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, **SHORT},
    )
    assert done.returncode == 5, done.stderr
    service = open_service(load_settings(database=database))
    assert service.get("host").status is OperationStatus.COMPLETED
    service.close()


def test_check_is_an_exit_code(tmp_path: Path) -> None:
    """0 while it moves, 1 when it is stalled, 2 when it is lost; one sentence."""

    def listed() -> str:
        database = str(tmp_path / "operations.db")
        arguments = [sys.executable, "-m", "ktrdr_otel", "operations", "list", "--database", database]
        return subprocess.run(arguments, capture_output=True, text=True, check=True).stdout

    def check() -> tuple[int, str]:
        done = subprocess.run(
            [
                sys.executable,
                "-m",
                "ktrdr_otel",
                "operations",
                "check",
                "job",
                "--database",
                str(tmp_path / "operations.db"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    with job(tmp_path, "busy", stuck=30, KTRDR_OTEL_STALL_UNKNOWN_SECONDS="8") as running:
        there(running)
        code, said = check()
        assert (code, said.count("\n")) == (0, 1)
        running.until(lambda each: each.stalled and each.stall is not None)
        code, said = check()
        assert code == 1
        assert "one core " in said
        assert " in Computing RSI (15/40) [1h] AAPL: one core " in listed(), "the list says it too"
        taken = running.service.stack("job")
        assert taken.is_there
        assert "busy (" in taken.text
        running.process.kill()
        running.until(lambda each: each.status is OperationStatus.LOST)
        code, said = check()
        assert code == 2
        assert said.startswith("lost in Processing AAPL (1/2) [1h] - Computing RSI (15/40)")


MANY = """
import sys, time
from pathlib import Path
from ktrdr_otel import checkpoint, observe

def watchers():
    found = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if b"ktrdr_otel.watcher.process" in (process / "cmdline").read_bytes():
                found += any(f"Pid:\\t{__import__('os').getpid()}\\n" in each.read_text()
                             for each in (process / "fdinfo").iterdir())
        except OSError:
            pass
    return found

for number in range(4):
    with observe("one of many", database=sys.argv[1 + number % 2], display="off"):
        with checkpoint("load", item="x"):
            time.sleep(2.6)
        print(watchers(), flush=True)
    time.sleep(0.1)
"""


def test_operations_in_a_row_share_a_watcher(tmp_path: Path) -> None:
    """One per store; none is said to be gone that went because there was nothing left to watch."""
    databases = [str(tmp_path / "a.db"), str(tmp_path / "b.db")]
    done = subprocess.run(
        [sys.executable, "-c", MANY, *databases],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={**os.environ, **SHORT, "KTRDR_OTEL_STALL_UNKNOWN_SECONDS": "60"},
    )
    assert [int(count) <= 2 for count in done.stdout.split()] == [True] * 4, done.stdout
    assert int(done.stdout.split()[0]) == 1
    assert "the watcher is gone" not in done.stderr


def test_a_step_inside_a_hold_may_take_what_the_hold_may(tmp_path: Path) -> None:
    """Its own allowance does not count there."""
    program = JOB.replace(
        'with hold("a broker", allowance_seconds=60):\n        time.sleep(STUCK)',
        'with hold("a broker", allowance_seconds=60), checkpoint("inside", item="x"):\n        time.sleep(STUCK)',
    )
    assert program != JOB
    subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "o.db"), "held", "5"],
        check=True,
        capture_output=True,
        timeout=60,
        env={**os.environ, **SHORT},
    )
    service = open_service(load_settings(database=str(tmp_path / "o.db")))
    assert service.get("job").stall is None
    service.close()


def test_a_stall_during_a_busy_store_is_told_when_it_can_be(tmp_path: Path) -> None:
    """The store is locked by somebody else for as long as the allowance lasts, and longer."""
    with job(tmp_path, "busy", stuck=25) as running:
        there(running)
        with sqlite3.connect(tmp_path / "operations.db", isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            time.sleep(9)
            other.execute("ROLLBACK")
        other.close()
        operation = running.until(lambda each: each.stalled and each.stall is not None)
        assert "busy (" in operation.stall.stack  # type: ignore[union-attr] # until it is there


@pytest.mark.parametrize("seconds", [0.0, 0.4, 1.2])
def test_a_process_killed_before_its_watcher_starts_is_lost_by_its_lease(
    tmp_path: Path, seconds: float
) -> None:
    """As the first process of a container, of which nobody outside sees a pid, it is told by its lease alone."""
    database = str(tmp_path / "operations.db")
    service = open_service(load_settings(database=database, lease_seconds=2))
    program = (
        "import sys, time\n"
        "from ktrdr_otel import checkpoint, observe\n"
        "with observe('job', operation_id='job', database=sys.argv[1], display='off') as operation:\n"
        "    with checkpoint('load', item='x'):\n"
        "        operation.flush()\n"
        "        print('there', flush=True)\n"
        "        time.sleep(60)\n"
    )
    container = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"]
    process = subprocess.Popen(
        [*container, sys.executable, "-c", program, database],
        stdout=subprocess.PIPE,
        env={**os.environ, **SHORT},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"there\n"
    time.sleep(seconds)
    killed_at = time.time()
    process.kill()
    process.wait()
    process.stdout.close()
    Job(process, service).until(lambda each: each.status is OperationStatus.LOST, 2 + 2)  # type: ignore[arg-type] # bytes
    assert service.reap() == ["job"]
    lost = service.get("job")
    assert lost.lost_reason is not None
    assert "its lease is 2 s" in lost.lost_reason
    assert lost.ended_at is not None
    assert lost.ended_at.timestamp() < killed_at + 0.5, "it ended when it was heard of last"
    service.close()


def test_two_servers_declare_a_dead_worker_lost_once(tmp_path: Path) -> None:
    """Real ones on one store, and workers without a watcher: one of them reaps, and what was open is lost once."""
    database = tmp_path / "operations.db"
    names = [f"job-{number}" for number in range(3)]
    open_service(load_settings(database=str(database))).close()
    program = JOB.replace('operation_id="job"', "operation_id=sys.argv[4]")
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(database), "nothing", "60", name],
            stdout=subprocess.PIPE,
            env={
                **os.environ,
                **SHORT,
                "KTRDR_OTEL_WATCHER": "off",
                "KTRDR_OTEL_STALL_UNKNOWN_SECONDS": "99",
            },
        )
        for name in names
    ]
    servers = [
        subprocess.Popen(
            [sys.executable, "-m", "ktrdr_otel", "serve", "--port", "0", "--database", str(database)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for each in servers:
        assert each.stdout is not None
        assert "http://127.0.0.1:" in each.stdout.readline()
    for worker in workers:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"there\n"
    for worker in workers:
        worker.kill()
        worker.wait()
        worker.stdout.close()  # type: ignore[union-attr] # a pipe
    _until_stored_lost(database, len(names))
    logs = []
    for each in servers:
        each.send_signal(signal.SIGTERM)
        logs.append(each.communicate(timeout=30)[1])
    for name in names:
        assert sum(log.count(f"operation {name} is lost") for log in logs) == 1, logs
    with sqlite3.connect(database) as connection:
        doubled = connection.execute(
            "SELECT span_id, count(*) FROM checkpoints GROUP BY operation_key, span_id HAVING count(*) > 1"
        ).fetchall()
    connection.close()
    assert doubled == []


def _until_stored_lost(database: Path, count: int) -> None:
    deadline = time.monotonic() + 20
    with sqlite3.connect(database) as connection:
        while connection.execute("SELECT count(*) FROM operations WHERE status = 'lost'").fetchone() != (
            count,
        ):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    connection.close()


SAME = """
import ctypes, faulthandler, hashlib, os, random, signal, subprocess, sys, threading, time
from ktrdr_otel import checkpoint, observe

heard = []
signal.signal(signal.SIGALRM, lambda *_: heard.append("alarm"))
signal.signal(signal.SIGUSR1, lambda *_: heard.append("user"))
handlers = [str(signal.getsignal(each)).split(" at ")[0] for each in sorted(signal.valid_signals())]
libc = ctypes.CDLL(None)
with observe("same", database=sys.argv[1], display="off"):
    time.sleep(2.5)
    with checkpoint("work", item="x"):
        print("whole", libc.sleep(4))  # what is left of the seconds: it would be more than 0 if a signal had come
        print("held", ctypes.PyDLL(None).sleep(4))
        signal.raise_signal(signal.SIGALRM)
        signal.raise_signal(signal.SIGUSR1)
        random.seed(7)
        print("results", hashlib.sha256(repr([random.random() for _ in range(9)]).encode()).hexdigest())
        print("child", subprocess.run(["/bin/sh", "-c", "exit 3"]).returncode)
        print("threads", sorted(t.name for t in threading.enumerate() if not t.name.startswith("ktrdr-otel")))
        reading, writing = os.pipe()
        threading.Timer(1.0, os.write, (writing, b"!")).start()
        print("read", os.read(reading, 1))
print("heard", heard)
print("handlers", handlers == [str(signal.getsignal(e)).split(" at ")[0] for e in sorted(signal.valid_signals())])
print("mask", signal.pthread_sigmask(signal.SIG_BLOCK, []), faulthandler.is_enabled())
sys.exit(9)
"""


def test_the_program_is_the_same_with_and_without_a_watcher(tmp_path: Path) -> None:
    """Its waits are not cut short, its signals, children, results and exit code are its own; it stalled meanwhile."""

    def said(watcher: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-c", SAME, str(tmp_path / f"{watcher}.db")],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, **SHORT, "KTRDR_OTEL_WATCHER": watcher},
        )
        return done.returncode, done.stdout

    without, observed = said("off"), said("auto")
    assert observed == without
    assert "whole 0\nheld 0\n" in observed[1]
    assert observed[0] == 9
    service = open_service(load_settings(database=str(tmp_path / "auto.db")))
    [operation] = service.list()
    service.close()
    assert operation.stall is not None
    assert "Thread" in operation.stall.stack

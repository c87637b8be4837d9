"""Who died, of what and when, on real processes that are really killed."""

import os
import random
import signal
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from ktrdr_otel.operations.models import OperationStatus
from ktrdr_otel.runtime import open_service
from ktrdr_otel.settings import load_settings
from tests.acceptance.jobs import BUSY_WRITER, JOB, SHORT, Job, is_gone, job, there
from tests.unit.watcher.test_kernel import told_by_the_kernel

LEASE_SECONDS = 2
BUSY_SECONDS = 4  # what a machine that others use too may add to a bound
KILLS = int(os.environ.get("KTRDR_OTEL_TEST_KILLS", "20"))


@dataclass(frozen=True)
class Death:
    """What is known of a job after its process has been killed at that moment."""

    killed_at: float
    was_watched: bool
    stored_after_seconds: float | None  # that it is lost, by its watcher; None: by nobody
    reason: str
    states: frozenset[str]
    finished_at: Mapping[int, float]  # by its own word
    completed: Sequence[int]  # by its record

    @property
    def forgotten_seconds(self) -> float:
        """How long before its death the first step ended that is missing."""
        missing = [at for index, at in self.finished_at.items() if index not in self.completed]
        return max((self.killed_at - at for at in missing), default=0.0)


@pytest.mark.timeout(60 + KILLS * 20)
def test_a_killed_process_is_lost_within_a_second(tmp_path: Path) -> None:
    """At random moments while it writes, before and after its watcher's start; no step is missing but its last."""
    chance = random.Random(7)
    together = 5
    deaths: list[Death] = []
    for start in range(0, KILLS, together):
        with ExitStack() as stack:
            jobs = []
            for number in range(start, min(start + together, KILLS)):
                folder = tmp_path / str(number)
                folder.mkdir()
                running = stack.enter_context(job(folder, str(folder / "steps"), program=BUSY_WRITER))
                jobs.append((running, folder))
            for _, folder in jobs:
                _until(partial(_has_begun, folder), "it begins")
            began = time.monotonic()
            # Its watcher starts two seconds after it, so that there is one in every other case.
            for moment, (running, folder) in zip(
                sorted(chance.uniform(0, 4) for _ in jobs), jobs, strict=True
            ):
                time.sleep(max(began + moment - time.monotonic(), 0))
                deaths.append(_death(running, folder))
    watched = [each for each in deaths if each.was_watched]
    after = [each.stored_after_seconds for each in deaths if each.stored_after_seconds is not None]
    forgotten = [each.forgotten_seconds for each in deaths]
    print(
        f"\n{len(deaths)} kills, {len(watched)} of them watched; stored as lost after "
        f"{statistics.median(after):.2f} s (median), {max(after):.2f} s (most); steps missing of the last "
        f"{statistics.median(forgotten):.2f} s (median), {max(forgotten):.2f} s (most)"
    )
    assert watched
    assert len(watched) < len(deaths)
    for each in deaths:
        assert each.states <= {"completed", "lost"}
        assert list(each.completed) == list(range(1, len(each.completed) + 1)), (
            "none is missing between others"
        )
        # A quarter of a second lies between two flushes, and a second between death and record on a quiet machine;
        # the rest is what a busy one takes.
        assert each.forgotten_seconds < 0.25 + BUSY_SECONDS
        if each.was_watched:
            assert each.stored_after_seconds is not None
            assert each.stored_after_seconds < 1 + BUSY_SECONDS
            assert each.reason.endswith("was killed by SIGKILL" if told_by_the_kernel() else "signal unknown")


def _death(running: Job, folder: Path) -> Death:
    """It is killed now; its watcher, if there is one, is gone soon."""
    watcher = running.find_watcher()
    with closing(sqlite3.connect(folder / "operations.db")) as connection:
        # It has looked once: from then on nobody else has to tell the death.
        was_watched = connection.execute("SELECT 1 FROM samples").fetchone() is not None
        killed_at, killed_monotonic = time.time(), time.monotonic()
        running.process.kill()
        running.process.wait()
        deadline = time.monotonic() + (10 if was_watched else 1)
        stored_after = None
        while stored_after is None and time.monotonic() < deadline:
            if connection.execute("SELECT status FROM operations").fetchone() == ("lost",):
                stored_after = time.monotonic() - killed_monotonic
            time.sleep(0.005)
        if watcher is not None:
            is_gone(watcher)  # what it has to say it has said by then
            stored = connection.execute("SELECT status FROM operations").fetchone() == ("lost",)
            assert stored or not was_watched
        else:
            stored = False
        # What nobody has stored anybody sees, who looks.
        lost = running.until(lambda each: each.status is OperationStatus.LOST, LEASE_SECONDS + 2)
        assert lost.lost_reason is not None
        assert running.service.reap() == ([] if stored else ["job"])
        states = {status for [status] in connection.execute("SELECT DISTINCT status FROM checkpoints")}
        completed = connection.execute(
            "SELECT item_index FROM checkpoints WHERE status = 'completed' ORDER BY item_index"
        ).fetchall()
    return Death(
        killed_at,
        was_watched,
        stored_after,
        lost.lost_reason,
        frozenset(states),
        _steps_of(folder),
        [index for [index] in completed],
    )


def _steps_of(folder: Path) -> dict[int, float]:
    """The steps that the job itself calls finished, and when."""
    try:
        lines = (folder / "steps").read_text().splitlines(keepends=True)
    except FileNotFoundError:
        return {}
    told = [line.split() for line in lines if line.endswith("\n")]
    return {int(index): float(at) for index, at in told}


def _has_begun(folder: Path) -> bool:
    return _steps_of(folder) != {}


def _until(wanted: Callable[[], bool], what: str, timeout_seconds: float = 30) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not wanted():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_a_watcher_survives_what_its_process_group_gets(tmp_path: Path, sent: signal.Signals) -> None:
    """A Ctrl-C, and a kill of the whole group: it tells of what the process died, then it goes."""
    with job(tmp_path, str(tmp_path / "steps"), program=BUSY_WRITER) as running:
        watcher = running.watcher()
        _until(lambda: _is_sampled(tmp_path / "operations.db"), "it looks")
        os.killpg(running.process.pid, sent)
        running.process.wait(10)
        with closing(sqlite3.connect(tmp_path / "operations.db")) as connection:
            _until(
                lambda: connection.execute("SELECT status FROM operations").fetchone() == ("lost",),
                "it tells",
            )
            [(reason,)] = connection.execute("SELECT lost_reason FROM operations")
        expected = f"was killed by {sent.name}" if told_by_the_kernel() else "is gone, signal unknown"
        assert reason == f"process {running.process.pid} {expected}"
        is_gone(watcher)


def _is_sampled(database: Path) -> bool:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute("SELECT 1 FROM samples").fetchone() is not None


def test_with_its_watcher_killed_along_whoever_reads_the_store_tells(tmp_path: Path) -> None:
    """On the same machine before its lease has run out, as its process is seen to be gone; once."""
    with job(tmp_path, "nothing") as running:
        there(running)
        watcher = running.watcher()
        os.kill(watcher, signal.SIGKILL)
        killed_at = time.monotonic()
        running.process.kill()
        running.process.wait()
        running.until(lambda each: each.status is OperationStatus.LOST, LEASE_SECONDS + 2)
        print(f"\nseen as lost after {time.monotonic() - killed_at:.2f} s")
        assert running.service.reap() == ["job"]
        assert running.service.reap() == []


@pytest.mark.parametrize("watched", [False, True])
@pytest.mark.parametrize("seconds", [0.0, 0.7])
def test_the_first_process_of_a_container_is_lost_by_its_lease(
    tmp_path: Path, seconds: float, watched: bool
) -> None:
    """It takes its watcher with it, and nobody outside sees a pid: before its watcher's start and after it."""
    database = tmp_path / "operations.db"
    service = open_service(load_settings(database=str(database), lease_seconds=LEASE_SECONDS))
    container = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"]
    process = subprocess.Popen(
        [*container, sys.executable, "-c", BUSY_WRITER, str(database), str(tmp_path / "steps")],
        env={**os.environ, **SHORT},
        text=True,
    )
    _until(partial(_has_begun, tmp_path), "it begins")
    if watched:
        _until(lambda: _is_sampled(database), "its watcher looks")
    time.sleep(seconds)
    assert watched or not _is_sampled(database)
    killed_at = time.time()
    process.kill()
    process.wait()
    lost = Job(process, service).until(lambda each: each.status is OperationStatus.LOST, LEASE_SECONDS + 2)
    print(f"\nlost after {time.time() - killed_at:.2f} s, with a lease of {LEASE_SECONDS} s")
    assert service.reap() == ["job"]
    assert lost.lost_reason is not None
    assert f"its lease is {LEASE_SECONDS} s" in lost.lost_reason
    assert lost.ended_at is not None
    # By the record: its last heartbeat, after which the lease has run out, is no older than two are apart.
    assert killed_at - 2 < lost.ended_at.timestamp() < killed_at + 0.5
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

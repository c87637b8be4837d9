"""A process that is stopped in the middle of a transaction on a SQLite file, and all others who use that file."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ktrdr_otel.errors import StoreUnavailableError
from ktrdr_otel.operations.models import NewOperation, OperationStatus, Worker
from ktrdr_otel.operations.ports import Batch
from ktrdr_otel.operations.sentence import sentence_of
from ktrdr_otel.operations.service import OperationsService
from ktrdr_otel.operations.worker import started_ticks, this_worker
from ktrdr_otel.runtime import open_service
from ktrdr_otel.settings import load_settings
from ktrdr_otel.storage import engine
from ktrdr_otel.storage.write_lock import frozen_writer
from tests.integration.server.conftest import progress

_FREEZES = """
import os, signal, sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
print(flush=True)
sys.stdin.readline()
connection.execute("BEGIN IMMEDIATE")
os.kill(os.getpid(), signal.SIGSTOP)
connection.execute("COMMIT")
"""


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OperationsService]:
    """On an empty file, for which nobody waits long."""
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_SECONDS", 0.05)
    opened = open_service(load_settings(database=str(tmp_path / "operations.db")))
    yield opened
    opened.close()


@pytest.fixture
def freezing(service: OperationsService) -> Iterator["subprocess.Popen[str]"]:
    """A process that will stop in a transaction on that file once it hears a line."""
    service.list()  # the file is there
    path = service.database_url.removeprefix("sqlite:///")
    process = subprocess.Popen(
        [sys.executable, "-c", _FREEZES, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    process.stdout.readline()
    yield process
    process.kill()
    process.communicate()


def silent(service: OperationsService, name: str, worker: Worker, *, lease_seconds: float = 5.0) -> None:
    """An operation of that process runs, and has not moved for ten seconds where five are allowed."""
    service.adopt(
        NewOperation(
            operation_id=name,
            operation_type="training",
            name=name,
            started_at=datetime.now(UTC),
            trace_id="ab" * 16,
            span_id="cd" * 8,
            worker=worker,
            lease_seconds=lease_seconds,
        )
    )
    moved = replace(progress(3), moved_monotonic_ns=time.monotonic_ns() - 10 * 10**9, allowance_seconds=5.0)
    service.write(Batch(progress={name: moved}))


def test_who_cannot_write_is_called_neither_stalled_nor_lost(
    service: OperationsService, freezing: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    """Whoever holds the lock is suspended and named; all is as before once everybody could say that it moves."""
    me = this_worker()
    silent(service, "mine", me)
    silent(
        service, "frozen", replace(me, pid=freezing.pid, pid_started_ticks=started_ticks(freezing.pid) or 0)
    )
    silent(service, "contained", replace(me, pid_namespace="another"), lease_seconds=0.05)
    assert [service.get(name).stalled for name in ("mine", "frozen")] == [True, True], (
        "nobody is in the way yet"
    )
    time.sleep(0.05)
    assert service.get("contained").status is OperationStatus.LOST

    assert freezing.stdin is not None
    freezing.stdin.write("\n")
    freezing.stdin.flush()
    os.waitpid(freezing.pid, os.WUNTRACED)
    mine, frozen = service.get("mine"), service.get("frozen")
    assert (mine.stalled, mine.suspended) == (False, False)
    assert (frozen.stalled, frozen.suspended) == (False, True)
    assert sentence_of(frozen, datetime.now(UTC)).startswith("suspended in ")
    assert service.get("contained").status is OperationStatus.RUNNING
    linked = tmp_path / "linked.db"
    linked.symlink_to(tmp_path / "operations.db")
    assert frozen_writer(str(linked)) == freezing.pid
    why = f"database is locked, process {freezing.pid} holds it and was stopped by a signal$"
    with pytest.raises(StoreUnavailableError, match=why):
        service.write(Batch(progress={"mine": progress(4)}))

    freezing.send_signal(signal.SIGCONT)
    assert freezing.wait(10) == 0
    assert not service.get("mine").stalled, "it is about to say that it has moved"
    service.write(Batch(progress={"mine": progress(4)}))
    assert not service.get("frozen").suspended


def test_who_only_writes_is_in_nobodys_way(
    service: OperationsService, freezing: "subprocess.Popen[str]"
) -> None:
    """A transaction of a process that runs excuses no silence."""
    silent(service, "mine", this_worker())
    other = sqlite3.connect(service.database_url.removeprefix("sqlite:///"), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    assert service.get("mine").stalled
    freezing.send_signal(signal.SIGSTOP)
    os.waitpid(freezing.pid, os.WUNTRACED)
    assert service.get("mine").stalled, "who is stopped holds nothing"
    other.close()

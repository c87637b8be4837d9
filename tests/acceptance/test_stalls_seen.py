"""Stalled, suspended or moving, told apart on real processes that really hang and freeze."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ktrdr_otel.operations.models import OperationStatus
from ktrdr_otel.operations.sentence import sentence_of
from ktrdr_otel.runtime import open_service
from ktrdr_otel.settings import load_settings
from tests.acceptance.jobs import ALLOWED_SECONDS, JOB, SHORT, STUCK_SECONDS, job, there


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
    # Half of the allowance has to be more than what a busy machine delays.
    longer = dict.fromkeys(("KTRDR_OTEL_STALL_FLOOR_SECONDS", "KTRDR_OTEL_STALL_UNKNOWN_SECONDS"), "4")
    with job(tmp_path, kind, stuck=6, **longer) as running:
        there(running)
        while running.process.poll() is None:
            operation = running.operation()
            assert not operation.stalled
            assert operation.stall is None
            time.sleep(0.05)
        assert running.operation().status is OperationStatus.COMPLETED


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
    with job(tmp_path, "busy", stuck=300) as running:
        there(running)
        with sqlite3.connect(tmp_path / "operations.db", isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            time.sleep(9)
            other.execute("ROLLBACK")
        other.close()
        operation = running.until(lambda each: each.stalled and each.stall is not None)
        assert "busy (" in operation.stall.stack  # type: ignore[union-attr] # until it is there


def test_the_time_for_which_it_was_stopped_is_no_stall_in_its_log(tmp_path: Path) -> None:
    """Stopped for twice its allowance in the middle of a step: when it goes on nobody says that it stood still."""
    longer = dict.fromkeys(("KTRDR_OTEL_STALL_FLOOR_SECONDS", "KTRDR_OTEL_STALL_UNKNOWN_SECONDS"), "4")
    with job(tmp_path, "slowly", stuck=0, **longer) as running:
        there(running)
        os.kill(running.process.pid, signal.SIGSTOP)
        running.until(lambda each: each.suspended)
        time.sleep(8)
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

    with job(tmp_path, "busy", stuck=300, KTRDR_OTEL_STALL_UNKNOWN_SECONDS="12") as running:
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

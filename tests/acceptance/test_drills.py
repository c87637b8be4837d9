"""Each drill does what it says: exit code, words and record of the real command; several at once, for they sleep."""

import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ktrdr_otel.operations.models import Operation, OperationStatus
from ktrdr_otel.operations.sentence import sentence_of
from ktrdr_otel.operations.service import OperationsService
from ktrdr_otel.runtime import open_service
from ktrdr_otel.settings import load_settings
from tests.integration.command_line import interpreter_without_py_spy
from tests.integration.terminal import run_in_terminal
from tests.unit.watcher.test_kernel import told_by_the_kernel

RSI = "Processing AAPL (1/1) [1h] - Computing RSI (20/40)"
SECONDS = 8  # of which three are allowed


class Drills:
    """Drills that run at once on one store, each under the name of its kind."""

    def __init__(self, folder: Path) -> None:
        self.database = str(folder / "operations.db")
        self.service: OperationsService = open_service(load_settings(database=self.database))
        self._folder = folder
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._seen: dict[str, list[Operation]] = {}

    def start(
        self,
        kind: str,
        *,
        name: str | None = None,
        python: str = sys.executable,
        seconds: int = SECONDS,
        **environment: str,
    ) -> None:
        """One more runs, in an environment that says nothing else of ours and has no py-spy on its path."""
        name = name or kind
        options = ["--seconds", str(seconds), "--operation-id", name, "--database", self.database]
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("KTRDR_", "OTEL_"))}
        with (
            (self._folder / f"{name}.out").open("wb") as out,
            (self._folder / f"{name}.err").open("wb") as err,
        ):
            self._processes[name] = subprocess.Popen(
                [python, "-m", "ktrdr_otel", "drill", kind, *options],
                stdout=out,
                stderr=err,
                env=kept | {"PATH": "/usr/bin:/bin"} | environment,
            )
        # Of what one has died its watcher hears as soon as it is waited for.
        threading.Thread(target=self._processes[name].wait, daemon=True).start()
        self._seen[name] = []

    def run(self, timeout_seconds: float = 100) -> None:
        """All of them have ended; every state of each was looked at."""
        deadline = time.monotonic() + timeout_seconds
        while any(process.poll() is None for process in self._processes.values()):
            assert time.monotonic() < deadline, self._seen
            for operation in self.service.list():
                self._seen.setdefault(operation.operation_id, []).append(operation)
            time.sleep(0.1)

    def code(self, name: str) -> int:
        """How its command ended."""
        return self._processes[name].returncode

    def said(self, name: str, stream: str) -> str:
        """What it printed there."""
        return (self._folder / f"{name}.{stream}").read_text()

    def seen(self, name: str) -> list[Operation]:
        """How it stood, from look to look."""
        return self._seen[name]

    def record(self, name: str) -> Operation:
        """As it is now."""
        return self.service.get(name)

    def close(self) -> None:
        """Nothing of them is left."""
        for process in self._processes.values():
            process.kill()
            process.wait()
        self.service.close()


@pytest.fixture
def drills(tmp_path: Path) -> Iterator[Drills]:
    """None yet, on an empty store."""
    with ExitStack() as stack:
        started = Drills(tmp_path)
        stack.callback(started.close)
        yield started


def check(database: str, name: str) -> tuple[int, str]:
    """What `operations check` says of it, and its exit code."""
    done = subprocess.run(
        [sys.executable, "-m", "ktrdr_otel", "operations", "check", name, "--database", database],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def completed(drills: Drills, name: str) -> None:
    """It ended well, said what to look at and what it has done, and its record says the same."""
    assert drills.code(name) == 0, drills.said(name, "err")
    out = drills.said(name, "out")
    assert f"  ktrdr-otel operations check --database {drills.database} {name}\n" in out
    assert out.endswith(f"show --database {drills.database} {name}\n")
    assert drills.record(name).status is OperationStatus.COMPLETED


def never_stalled(drills: Drills, name: str) -> None:
    """It ended well, having made all that it announced, and nobody has ever called it stalled."""
    completed(drills, name)
    assert [each for each in drills.seen(name) if each.stalled] == []
    record = drills.record(name)
    assert record.stall is None
    assert record.items_completed == record.items_planned


@pytest.mark.timeout(180)
def test_drills_that_stand_still_are_stalled_where_they_are(drills: Drills, tmp_path: Path) -> None:
    """Busy, with the interpreter's lock, waiting; without py-spy too, while the lock is free; then they complete."""
    functions: Mapping[str, str | None] = {
        "stall": "stall_busy",
        "gil": "hold_the_gil",
        "wait": "wait_for_nobody",
        "wait-alone": "wait_for_nobody",
        "gil-alone": None,
    }
    without = interpreter_without_py_spy(tmp_path)
    for name in functions:
        kind, _, alone = name.partition("-")
        drills.start(kind, name=name, python=without if alone else sys.executable)
    drills.run()
    for name, function in functions.items():
        completed(drills, name)
        stalled = [each for each in drills.seen(name) if each.stalled and each.stall is not None]
        assert stalled, name
        now = datetime.now(UTC)
        # It is known where it is, also where it cannot say so itself.
        assert stalled[0].message == RSI
        assert " s in Computing RSI (20/40) [1h] AAPL: " in sentence_of(stalled[0], now)
        assert not any(each.status is OperationStatus.LOST or each.slow for each in drills.seen(name))
        stall = drills.record(name).stall
        assert stall is not None
        assert stall.until is not None
        if function is None:
            assert ", no stack: py-spy is not installed (extra stacks), and none came" in stall.activity
            assert stall.stack.startswith("no stack: ")
            continue
        assert f"in {function}, " in stall.activity
        assert "ktrdr_otel/cli/drill.py:" in stall.activity
        assert f"    {function} (" in stall.stack
        if function == "stall_busy":
            assert stall.activity.startswith("one core "), stall.activity
        else:
            assert stall.activity.startswith("waiting ("), stall.activity
    assert '"ktrdr-otel progress"' in drills.record("wait-alone").stall.stack  # type: ignore[union-attr] # as above


@pytest.mark.timeout(180)
def test_a_drill_that_is_slow_is_never_stalled(drills: Drills) -> None:
    """Slow items are slow, and will be the next time; no other step is."""
    drills.start("slow")
    drills.run()
    assert check(drills.database, "slow") == (0, "completed\n")
    never_stalled(drills, "slow")
    slow = [each for each in drills.seen("slow") if each.slow]
    assert slow
    assert {each.message.partition(" (")[0] for each in slow} == {"Slow item"}, "and no other step"
    # The drills have taught nothing; what the run before the slow one took is known.
    assert list(drills.service.durations()) == [("slow_item", None, None)]
    slow_after_seconds = drills.service.allowances().of(("slow_item", None, None)).slow_after_seconds
    assert slow_after_seconds is not None
    assert slow_after_seconds < 4


@pytest.mark.timeout(180)
def test_a_drill_that_is_frozen_is_suspended(drills: Drills) -> None:
    """In its step, and not stalled: neither the record nor the log says so."""
    allowed = dict.fromkeys(("KTRDR_OTEL_STALL_FLOOR_SECONDS", "KTRDR_OTEL_STALL_UNKNOWN_SECONDS"), "6")
    drills.start("freeze", seconds=12, **allowed)
    drills.run()
    never_stalled(drills, "freeze")
    suspended = [each for each in drills.seen("freeze") if each.suspended]
    assert suspended
    for each in suspended:
        assert sentence_of(each, datetime.now(UTC)).startswith(f"suspended in {RSI}: ")
    assert "stood still" not in drills.said("freeze", "err")
    assert "stalled" not in drills.said("freeze", "err")


def test_a_drill_that_is_killed_leaves_a_usable_terminal(tmp_path: Path) -> None:
    """The display has hidden the cursor, and cannot show it again."""
    arguments = ["drill", "kill", "--database", str(tmp_path / "operations.db")]
    code, written = run_in_terminal(["-m", "ktrdr_otel", *arguments])
    assert code == -9
    hidden, shown = written.rfind("\x1b[?25l"), written.rfind("\x1b[?25h")
    assert 0 < hidden < shown


@pytest.mark.timeout(180)
def test_drills_that_end_badly_say_how(drills: Drills) -> None:
    """Killed: lost, and of what; failed: the step and the error in two lines, no traceback but in the record."""
    drills.start("kill")
    drills.start("fail")
    drills.run()

    assert drills.code("kill") == -9
    with closing(sqlite3.connect(drills.database)) as connection:
        deadline = time.monotonic() + 10
        while connection.execute("SELECT 1 FROM operations WHERE status = 'lost'").fetchone() is None:
            assert time.monotonic() < deadline, "its watcher says so"
            time.sleep(0.02)
    lost = drills.record("kill")
    assert lost.lost_reason is not None
    assert lost.lost_reason.endswith("was killed by SIGKILL" if told_by_the_kernel() else "signal unknown")
    assert check(drills.database, "kill") == (2, f"lost in {RSI}: {lost.lost_reason}\n")

    assert drills.code("fail") == 1
    assert (
        drills.said("fail", "err")
        == f"the bars of AAPL have a gap\n{RSI}\nERROR: the drill was told to fail here\n"
    )
    failed = drills.record("fail")
    assert failed.error is not None
    assert failed.error.traceback is not None
    assert "in fail\n" in failed.error.traceback
    assert check(drills.database, "fail") == (
        2,
        f"failed in {RSI}: ValueError: the drill was told to fail here\n",
    )

"""The follower hands on what is new, whatever becomes of the traces of the dead."""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from queue import SimpleQueue

import pytest

from ktrdr_otel import beside
from ktrdr_otel.errors import StoreUnavailableError
from ktrdr_otel.operations.models import Checkpoint, NewOperation, Operation, OperationStatus
from ktrdr_otel.operations.ports import Batch
from ktrdr_otel.operations.service import OperationsService
from ktrdr_otel.operations.worker import this_worker
from ktrdr_otel.runtime import open_service
from ktrdr_otel.server import closing
from ktrdr_otel.server.follower import Follower
from ktrdr_otel.settings import load_settings
from ktrdr_otel.storage import open_store
from tests.integration.server.conftest import begin, finish, progress, unit


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OperationsService]:
    """A store on which it is asked at every look whether a trace is owed."""
    monkeypatch.setattr(closing, "_LOOK_SECONDS", 0.0)
    opened = open_service(load_settings(database=str(tmp_path / "operations.db")))
    yield opened
    opened.close()


@contextmanager
def following(service: OperationsService) -> Iterator["SimpleQueue[Checkpoint]"]:
    """The steps that are handed on, from the first look on."""
    looked = threading.Event()
    told: SimpleQueue[Checkpoint] = SimpleQueue()

    def deliver(operations: Sequence[Operation], steps: Sequence[Checkpoint], sequence: int) -> None:
        for step in steps:
            told.put(step)
        looked.set()

    follower = Follower(service, deliver, recall=lambda ended: None)
    follower.start()
    try:
        assert looked.wait(30)
        yield told
    finally:
        follower.stop()


def test_no_step_is_lost_where_nobody_can_say_what_is_owed(
    service: OperationsService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store fails at that question, each time."""

    def owed() -> Sequence[str]:
        raise StoreUnavailableError("the store", "busy")

    monkeypatch.setattr(service.traces, "owed", owed)
    begin(service, "one")
    with following(service) as told:
        service.write(Batch(finished=[unit("one", number) for number in (1, 2)]))
        assert [told.get(timeout=30).item_index for _ in range(2)] == [1, 2]


def test_the_start_of_the_closing_program_holds_nobody_up(
    service: OperationsService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its interpreter takes as long as it takes."""
    started, go_on = threading.Event(), threading.Event()

    def start(module: str, config: object) -> bool:
        started.set()
        return go_on.wait(60)

    monkeypatch.setattr(beside, "start", start)
    monkeypatch.setattr(service.traces, "owed", lambda: ["one"])
    begin(service, "one")
    try:
        with following(service) as told:
            assert started.wait(30)
            service.write(Batch(finished=[unit("one", 1)]))
            assert told.get(timeout=30).item_index == 1
    finally:
        go_on.set()


class Heard:
    """What a follower has told: operations as they come, and what it recalled."""

    def __init__(self, service: OperationsService) -> None:
        self.news: SimpleQueue[tuple[str, str]] = SimpleQueue()
        self.recalled: SimpleQueue[list[tuple[str, str]]] = SimpleQueue()
        self.follower = Follower(service, self._deliver, recall=self._recall)

    def _deliver(self, operations: Sequence[Operation], steps: Sequence[Checkpoint], sequence: int) -> None:
        for each in operations:
            self.news.put((each.operation_id, each.status.value))

    def _recall(self, operations: Sequence[Operation]) -> None:
        self.recalled.put([(each.operation_id, each.status.value) for each in operations])

    def until(self, operation_id: str, status: str) -> list[tuple[str, str]]:
        """What was told until the operation had that status."""
        told: list[tuple[str, str]] = []
        while not told or told[-1] != (operation_id, status):
            told.append(self.news.get(timeout=30))
        return told


@pytest.fixture
def heard(service: OperationsService) -> Iterator[Heard]:
    """A follower that has not begun; a test begins it."""
    made = Heard(service)
    yield made
    made.follower.stop()


def lose(service: OperationsService, operation_id: str) -> None:
    """A watcher has declared the operation lost, just now."""
    stored = service._store.get(operation_id)
    assert service._store.mark_lost(
        operation_id,
        reason="killed",
        ended_ns=stored.heartbeat.wall_ns,
        heartbeat_ns=stored.heartbeat.wall_ns,
    )


def test_what_ended_before_it_began_is_recalled_once_and_is_no_news(
    service: OperationsService, heard: Heard
) -> None:
    """A server that starts again: those of the last quarter of an hour, however they ended."""
    for name in ("long ago", "lost", "over", "runs"):
        begin(service, name)
    finish(service, "long ago", ended_at=datetime.now(UTC) - timedelta(minutes=16))
    lose(service, "lost")
    finish(service, "over")
    heard.follower.start()
    assert heard.recalled.get(timeout=30) == [("lost", "lost"), ("over", "completed")]
    finish(service, "runs")
    assert {name for name, _ in heard.until("runs", "completed")} == {"runs"}
    assert heard.recalled.empty()


def test_a_store_that_fails_at_first_is_asked_again_what_ended_before(
    service: OperationsService, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ends meanwhile is news, and told before."""
    begin(service, "over")
    begin(service, "runs")
    finish(service, "over")
    ask, asked = service.ended_lately, threading.Event()

    def fails_once(**keywords: int) -> Sequence[Operation]:
        if not asked.is_set():
            asked.set()
            finish(service, "runs")
            raise StoreUnavailableError("the store", "busy")
        return ask(**keywords)

    monkeypatch.setattr(service, "ended_lately", fails_once)
    heard.follower.start()
    assert ("over", "completed") in heard.recalled.get(timeout=30)
    assert ("over", "completed") not in heard.until("runs", "completed")


@pytest.mark.parametrize("is_recalled", [True, False])
def test_who_was_taken_for_dead_and_has_completed_is_news(
    service: OperationsService, heard: Heard, is_recalled: bool
) -> None:
    """Nobody saw it run in between; whether it was lost before the follower began, or while it looked."""
    begin(service, "one")
    if is_recalled:
        lose(service, "one")
    heard.follower.start()
    assert heard.recalled.get(timeout=30) == [("one", "lost")] * is_recalled
    if not is_recalled:
        heard.until("one", "running")
        lose(service, "one")
        heard.until("one", "lost")
    finish(service, "one")
    assert heard.until("one", "completed")[-1] == ("one", "completed")
    begin(service, "two")
    assert ("one", "completed") not in heard.until("two", "running")


def test_a_loss_is_told_as_it_is_stored_and_nobody_waits_for_that(
    service: OperationsService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While it cannot be stored others are heard of; then its watcher was first, who knew of what it died."""
    told: SimpleQueue[Operation] = SimpleQueue()

    def deliver(operations: Sequence[Operation], steps: Sequence[Checkpoint], sequence: int) -> None:
        for each in operations:
            told.put(each)

    def busy() -> Sequence[str]:
        raise StoreUnavailableError("the store", "database is locked")

    process = subprocess.Popen([sys.executable, "-c", ""])
    gone = replace(this_worker(), pid=process.pid, pid_started_ticks=1)
    process.wait()
    monkeypatch.setattr(service, "reap", busy)
    begin(service, "one")
    new = NewOperation(
        operation_id="gone",
        operation_type="training",
        name="gone",
        started_at=datetime.now(UTC),
        trace_id=None,
        span_id=None,
        worker=gone,
        lease_seconds=0.05,
    )
    service.adopt(new)
    store = open_store(load_settings(database=service.database_url))
    beaten_ns = store.get("gone").heartbeat.wall_ns
    while service.get("gone").status is not OperationStatus.LOST:
        time.sleep(0.01)  # three heartbeats have to be missing
    follower = Follower(service, deliver, recall=lambda ended: None)
    follower.start()
    try:
        for number in range(1, 4):
            service.write(Batch(progress={"one": progress(number)}))
            while (seen := told.get(timeout=30)).items_completed < number:
                assert (seen.operation_id, seen.status) != ("gone", OperationStatus.LOST)
        assert store.mark_lost("gone", reason="killed by SIGKILL", ended_ns=beaten_ns, heartbeat_ns=beaten_ns)
        monkeypatch.undo()
        while (seen := told.get(timeout=30)).operation_id != "gone":
            pass
        assert (seen.status, seen.lost_reason) == (OperationStatus.LOST, "killed by SIGKILL")
    finally:
        follower.stop()
        store.close()

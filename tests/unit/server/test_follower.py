"""The follower hands on what is new, whatever becomes of the traces of the dead."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

import pytest

from ktrdr_otel import beside
from ktrdr_otel.errors import StoreUnavailableError
from ktrdr_otel.operations.models import Checkpoint, Operation
from ktrdr_otel.operations.ports import Batch
from ktrdr_otel.operations.service import OperationsService
from ktrdr_otel.runtime import open_service
from ktrdr_otel.server import closing
from ktrdr_otel.server.follower import Follower
from ktrdr_otel.settings import load_settings
from tests.integration.server.conftest import begin, unit


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

    follower = Follower(service, deliver)
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

    def traces_owed() -> Sequence[str]:
        raise StoreUnavailableError("the store", "busy")

    monkeypatch.setattr(service, "traces_owed", traces_owed)
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
    monkeypatch.setattr(service, "traces_owed", lambda: ["one"])
    begin(service, "one")
    try:
        with following(service) as told:
            assert started.wait(30)
            service.write(Batch(finished=[unit("one", 1)]))
            assert told.get(timeout=30).item_index == 1
    finally:
        go_on.set()

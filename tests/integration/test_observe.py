"""`observe` in a program of its own: records, endings, threads, forks, and no harm done."""

import asyncio
import gc
import logging
import os
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ktrdr_otel import (
    CancellationError,
    CancellationToken,
    OperationExistsError,
    checkpoint,
    hold,
    observe,
    track,
)
from ktrdr_otel.bridge.log_capture import LogCapture
from ktrdr_otel.errors import SettingsError
from ktrdr_otel.observation import Observation
from ktrdr_otel.operations.models import CheckpointStatus, OperationStatus
from ktrdr_otel.operations.owed_traces import OwedTraces
from ktrdr_otel.operations.service import OperationsService
from ktrdr_otel.runtime import open_service
from ktrdr_otel.settings import load_settings
from ktrdr_otel.storage import engine
from ktrdr_otel.watcher.starter import Watch


@pytest.fixture
def database(tmp_path: Path) -> str:
    """A store of its own."""
    return str(tmp_path / "operations.db")


@pytest.fixture
def service(database: str) -> Iterator[OperationsService]:
    """Someone else who reads the store."""
    opened = open_service(load_settings(database=database))
    yield opened
    opened.close()


@pytest.fixture
def others() -> set[threading.Thread]:
    """Threads that were there before the test."""
    return set(threading.enumerate())


def until_no_thread(others: set[threading.Thread], *names: str) -> None:
    """None of those threads is left, but for others'."""
    deadline = time.monotonic() + 10
    while left := [each.name for each in set(threading.enumerate()) - others if each.name in names]:
        assert time.monotonic() < deadline, left
        time.sleep(0.01)


def raising_after(step: Callable[..., None], message: str) -> Callable[..., None]:
    """The step, which fails when it is done: what the process counts stays right for other tests."""

    def fail(*arguments: object) -> None:
        step(*arguments)
        raise RuntimeError(message)

    return fail


def test_status_is_true_the_moment_it_is_asked_for(database: str) -> None:
    """All that has happened before the call is in it; no waiting."""
    with observe("load", display="off", database=database) as operation:
        assert operation.status()["percentage"] == 0.0
        for index in range(1, 5):
            with checkpoint("load", item=f"file-{index}", index=index, total=4):
                assert operation.status()["message"] == f"Load file-{index} ({index}/4)"
            status = operation.status()
            assert status["items_completed"] == index
            assert status["percentage"] == pytest.approx(min(25.0 * index, 99.9))
        assert status["items_planned"] == 4
        assert status["status"] == "running"


def test_a_stall_is_a_line_of_the_programs_log_while_it_lasts(
    database: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, with the step; another one when it is over."""
    monkeypatch.setenv("KTRDR_OTEL_STALL_UNKNOWN_SECONDS", "0.3")
    with observe("load", operation_id="one", display="off", database=database) as operation:
        with checkpoint("load", item="MSFT", index=1, total=2):
            deadline = time.monotonic() + 20
            while not caplog.messages:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            time.sleep(0.2)  # time in which it could be said again
        operation.status()
    stalled, resumed = caplog.messages
    assert stalled.startswith("operation one is stalled: it has not moved for 0.")
    assert stalled.endswith("in Load MSFT (1/2)")
    assert resumed.startswith("operation one stood still for ")


def test_an_inner_loop_does_not_move_the_outer_one(database: str) -> None:
    """The outermost counted units make the ratio."""
    with observe("load", display="off", database=database) as operation:
        with checkpoint("file", index=1, total=10):
            for index in range(1, 4):
                with checkpoint("part", index=index, total=3):
                    pass
            assert operation.status()["percentage"] == 0.0
        assert operation.status()["percentage"] == pytest.approx(10.0)


def test_a_tracked_loop_counts_its_turns(database: str) -> None:
    """Without a span per turn."""
    with observe("load", display="off", database=database) as operation:
        for turn in track(range(8), "file"):
            if turn == 4:
                assert operation.status()["percentage"] == pytest.approx(50.0)
        assert operation.status()["items_completed"] == 8


def test_a_tracked_loop_alone_is_an_operation(
    database: str, service: OperationsService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`track` needs nothing around it."""
    monkeypatch.setenv("KTRDR_OTEL_DATABASE", database)
    assert [turn * 2 for turn in track([1, 2, 3], "square")] == [2, 4, 6]
    [operation] = service.list()
    assert (operation.name, operation.status, operation.items_completed) == (
        "square",
        OperationStatus.COMPLETED,
        3,
    )


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ValueError("boom"), OperationStatus.FAILED),
        (KeyboardInterrupt(), OperationStatus.CANCELLED),
        (CancellationError("enough"), OperationStatus.CANCELLED),
        (asyncio.CancelledError(), OperationStatus.CANCELLED),
        (SystemExit(0), OperationStatus.COMPLETED),
        (SystemExit(3), OperationStatus.FAILED),
    ],
)
def test_it_ends_as_it_was_left(
    database: str, service: OperationsService, error: BaseException, status: OperationStatus
) -> None:
    """The exception goes on to the caller; the record says how it was."""
    with (
        pytest.raises(type(error)),
        observe("job", operation_id="job", display="off", database=database),
        checkpoint("load", item="MSFT", index=3, total=10),
    ):
        raise error
    operation = service.get("job")
    assert operation.status is status
    if isinstance(error, ValueError):
        assert operation.error is not None
        assert (operation.error.type, operation.error.message) == ("ValueError", "boom")
        assert operation.error.step == "Load MSFT (3/10)"


def test_the_record_follows_while_it_runs(database: str, service: OperationsService) -> None:
    """Another reader sees open and ended steps."""
    with observe("job", operation_id="job", display="off", database=database) as operation:
        with checkpoint("load", item="a", index=1, total=2):
            pass
        with checkpoint("load", item="b", index=2, total=2):
            operation.flush()
            rows = {row.item_name: row for row in service.checkpoints("job") if row.progress_type == "load"}
            assert rows["a"].status is CheckpointStatus.COMPLETED
            assert rows["b"].status is CheckpointStatus.RUNNING
            assert service.get("job").message == "Load b (2/2)"
        before = {row.span_id: row.sequence for row in service.checkpoints("job")}
        operation.flush()
        after = {row.span_id: row.sequence for row in service.checkpoints("job")}
        assert after[rows["b"].span_id] > before[rows["b"].span_id]
    assert service.get("job").percentage == 100.0


def test_an_operation_id_is_taken_once(database: str) -> None:
    """And the refused one leaves nothing behind that the next would trip over."""
    with observe("job", operation_id="job", display="off", database=database):
        pass
    with (
        pytest.raises(OperationExistsError, match="operation job exists already"),
        observe("job", operation_id="job", display="off", database=database),
    ):
        raise AssertionError("the block ran")
    with checkpoint("load") as unit:
        assert unit.operation is None


@pytest.mark.parametrize("operation_id", ["two\nlines", "half a \ud800", "x" * 201])
def test_an_operation_id_that_cannot_be_shown_is_refused(database: str, operation_id: str) -> None:
    """In one line, before anything runs."""
    with (
        pytest.raises(SettingsError, match="give it 1 to 200 printable characters"),
        observe("job", operation_id=operation_id, display="off", database=database),
    ):
        raise AssertionError("the block ran")


def test_a_name_that_no_store_takes_is_stored_all_the_same(database: str, service: OperationsService) -> None:
    """What cannot be encoded is replaced; an id that is made from such a type can be shown."""
    with observe("ha\ud800lf", operation_type="n\x00ul\n", display="off", database=database):
        pass
    stored = service.list()[0]
    assert (stored.name, stored.operation_type) == ("ha?lf", "n\N{REPLACEMENT CHARACTER}ul\n")
    assert stored.operation_id.startswith("nul-")


def test_a_store_that_cannot_be_opened_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said in the log, and progress goes on."""
    with (
        observe("job", display="off", database=str(tmp_path)) as operation,
        checkpoint("load", index=1, total=1),
    ):
        assert operation.status()["message"] == "Load (1/1)"
    assert "leaves no record" in caplog.text


def test_a_store_that_fails_as_it_begins_stops_nothing(
    database: str,
    service: OperationsService,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Somebody holds its lock: the run is observed, without a record, and the next one has one again."""
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_SECONDS", 0.05)
    with observe("job", operation_id="opened", display="off", database=database):
        pass
    other = sqlite3.connect(database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with observe("job", operation_id="job", display="off", database=database) as operation:
        with checkpoint("load", index=1, total=1):
            pass
        assert operation.status()["items_completed"] == 1
    other.execute("ROLLBACK")
    other.close()
    assert "database is locked; this run is observed, but leaves no record" in caplog.text
    with observe("job", operation_id="next", display="off", database=database):
        pass
    assert {each.operation_id for each in service.list()} == {"opened", "next"}


def test_a_store_that_does_not_tell_what_it_learned_stops_nothing(
    database: str, service: OperationsService, caplog: pytest.LogCaptureFixture
) -> None:
    """Estimates and allowances are those of a first run, and the record is kept."""
    other = sqlite3.connect(database)
    other.execute("ALTER TABLE durations RENAME TO durations_elsewhere")
    with observe("job", operation_id="job", display="off", database=database):
        other.execute("ALTER TABLE durations_elsewhere RENAME TO durations")
    other.close()
    assert "what earlier runs took is not known" in caplog.text
    assert service.get("job").status is OperationStatus.COMPLETED


def test_what_cannot_be_begun_after_all_leaves_nothing_that_runs(
    others: set[threading.Thread], database: str, service: OperationsService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No record says that it runs, no thread is left, and no checkpoint joins it."""

    monkeypatch.setattr(Watch, "begin", raising_after(Watch.begin, "can't start new thread"))
    factory = logging.getLogRecordFactory()
    with (
        pytest.raises(RuntimeError, match="can't start"),
        observe("job", operation_id="job", display="off", database=database),
    ):
        raise AssertionError("the block ran")
    operation = service.get("job")
    assert operation.status is OperationStatus.FAILED
    assert operation.error is not None
    assert operation.error.message == "can't start new thread"
    with checkpoint("load") as unit:
        assert unit.operation is None
    assert not trace.get_current_span().get_span_context().is_valid
    assert logging.getLogRecordFactory() is factory
    until_no_thread(others, "ktrdr-otel progress", "ktrdr-otel store")


def test_an_end_is_told_to_the_last_whatever_fails_on_the_way(
    others: set[threading.Thread],
    database: str,
    service: OperationsService,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each part of it by itself: the record, the span and the threads do not depend on one another."""

    for part, step in ((Observation, "_describe"), (LogCapture, "end"), (Watch, "end")):
        monkeypatch.setattr(part, step, raising_after(getattr(part, step), "broken"))
    exporter = InMemorySpanExporter()
    with observe("job", operation_id="job", display="off", database=database, exporters=[exporter]):
        pass
    assert service.get("job").status is OperationStatus.COMPLETED
    assert [each.name for each in exporter.get_finished_spans()] == ["operation"]
    until_no_thread(others, "ktrdr-otel progress")
    assert caplog.text.count("RuntimeError: broken") == 3


def test_an_index_that_is_no_number_costs_one_line(database: str, caplog: pytest.LogCaptureFixture) -> None:
    """Asking goes on being answered, and the thread that reads progress goes on reading."""
    seen = threading.Event()

    class Seeing:
        def __getattr__(self, name: str) -> object:
            return lambda *facts: seen.set() if name == "unit_finished" else None

    with observe("job", display="off", database=database, listeners=[Seeing()]) as operation:  # type: ignore[list-item] # a listener of any call
        with checkpoint("preprocessing", symbol="A", symbol_index="2", total_symbols=5):  # type: ignore[arg-type] # the fault under test
            assert operation.status()["status"] == "running"
        seen.clear()
        with checkpoint("load", item="b", index=1, total=1):
            pass
        assert seen.wait(10), "nobody reads the inbox"
        assert operation.status()["message"] == "Load b (1/1)"
    assert caplog.text.count("an update of progress is lost") == 1


def test_a_store_that_hangs_at_the_last_spans_keeps_nobody(
    others: set[threading.Thread],
    database: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """That the trace is incomplete is stored beside the program, which waits for no longer than it said."""
    hanging, released = threading.Event(), threading.Event()

    def hang(*_: object) -> None:
        hanging.set()
        released.wait(30)

    monkeypatch.setattr(OwedTraces, "leave", hang)
    monkeypatch.setenv("KTRDR_OTEL_SHUTDOWN_TIMEOUT_SECONDS", "0.2")
    nobody = "http://127.0.0.1:9"  # a receiver that others could reach later: it is they who are told
    with observe("job", operation_id="job", display="off", database=database, otlp_endpoint=nobody):
        pass
    assert hanging.is_set()
    assert "whether the trace of operation job is complete is not stored yet" in caplog.text
    released.set()
    until_no_thread(others, "ktrdr-otel last trace")


def test_a_token_stops_it_at_the_next_turn(database: str) -> None:
    """Loops hear it too."""
    token = CancellationToken()
    turns = []

    def job() -> None:
        with observe("job", display="off", database=database, cancellation_token=token):
            for turn in track(range(100), "file"):
                turns.append(turn)
                if turn == 3:
                    token.cancel("enough")

    with pytest.raises(CancellationError, match="enough"):
        job()
    assert turns == [0, 1, 2, 3]


def test_threads_report_into_the_same_operation(database: str) -> None:
    """Order and parallelism do not matter."""
    with observe("job", display="off", database=database) as operation:

        def work(first: int) -> None:
            for index in range(first, first + 50):
                with checkpoint("load", item=str(index), index=index + 1, total=200):
                    pass

        threads = [threading.Thread(target=work, args=(first,)) for first in (0, 50, 100, 150)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert operation.status()["items_completed"] == 200


def test_generator_collected_inside_a_drain(database: str) -> None:
    """A checkpoint that the garbage collector ends inside our own critical section deadlocks nothing."""

    class Collecting:
        def __init__(self) -> None:
            self.held: list[Iterator[None]] = []

        def operation_started(self, operation: object) -> None: ...

        def unit_started(self, unit: object, progress: object) -> None:
            self.held.clear()
            gc.collect()

        def unit_finished(self, unit: object, progress: object) -> None: ...

        def ticked(self, tick: object, progress: object) -> None: ...

        def status_changed(self, *facts: object) -> None: ...

    def held() -> Iterator[None]:
        with checkpoint("held"):
            yield

    listener = Collecting()
    with observe("job", display="off", database=database, listeners=[listener]) as operation:
        generator = held()
        next(generator)
        listener.held.append(generator)
        del generator
        with checkpoint("load", index=1, total=1):
            operation.status()
        assert operation.status()["items_completed"] == 1


def test_a_listener_that_raises_harms_nobody(database: str, caplog: pytest.LogCaptureFixture) -> None:
    """Its faults are counted and said once."""

    class Broken:
        def __getattr__(self, name: str) -> object:
            def fail(*_: object) -> None:
                raise RuntimeError("broken display")

            return fail

    with observe("job", display="off", database=database, listeners=[Broken()]) as operation:  # type: ignore[list-item] # the fault under test
        for index in range(1, 4):
            with checkpoint("load", index=index, total=3):
                pass
        assert operation.status()["items_completed"] == 3
    assert caplog.text.count("further faults are only counted") == 1


def test_observing_leaves_the_programs_randomness_alone(database: str) -> None:
    """A seeded program gives the same numbers, observed or not."""
    random.seed(7)
    plain = [random.random() for _ in range(5)]
    random.seed(7)
    with observe("job", display="off", database=database):
        observed = []
        for index in range(1, 6):
            with checkpoint("load", index=index, total=5):
                observed.append(random.random())
    assert observed == plain


def test_a_hold_is_shown_and_not_counted(database: str) -> None:
    """It says what is waited for."""
    with (
        observe("job", display="off", database=database) as operation,
        hold("the broker", allowance_seconds=60),
    ):
        assert operation.status()["message"] == "the broker"
    assert operation.report().finished_units == 0


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_worker_ends_nothing_of_its_parents(database: str, service: OperationsService) -> None:
    """The child may observe on its own; the parent's operation is the parent's."""
    with observe("job", operation_id="job", display="off", database=database):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                with (
                    observe("child", operation_id="child", display="off", database=database),
                    checkpoint("x"),
                ):
                    pass
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        with checkpoint("load", index=1, total=1):
            pass
        assert service.get("job").status is OperationStatus.RUNNING
    assert {each.operation_id: each.status for each in service.list()} == {
        "job": OperationStatus.COMPLETED,
        "child": OperationStatus.COMPLETED,
    }

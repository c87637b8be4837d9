"""What fails inside the plugin, or in what it is given, never reaches the observed program."""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from ktrdr_otel import (
    checkpoint,
    observe,
)
from ktrdr_otel.bridge.log_capture import LogCapture
from ktrdr_otel.observation import Observation
from ktrdr_otel.operations.models import OperationStatus
from ktrdr_otel.operations.owed_traces import OwedTraces
from ktrdr_otel.operations.service import OperationsService
from ktrdr_otel.storage import engine
from ktrdr_otel.watcher.starter import Watch


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

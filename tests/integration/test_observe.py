"""`observe` in a program of its own: records, endings, threads, forks, and no harm done."""

import asyncio
import gc
import os
import random
import re
import threading
import time
from collections.abc import Iterator

import pytest

from ktrdr_otel import (
    CancellationError,
    CancellationToken,
    OperationExistsError,
    checkpoint,
    hold,
    observe,
    track,
)
from ktrdr_otel.errors import SettingsError
from ktrdr_otel.operations.models import CheckpointStatus, OperationStatus
from ktrdr_otel.operations.service import OperationsService


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
    monkeypatch.setenv("KTRDR_OTEL_STALL_UNKNOWN_SECONDS", "2")
    with observe("load", operation_id="one", display="off", database=database) as operation:
        with checkpoint("load", item="MSFT", index=1, total=2):
            deadline = time.monotonic() + 20
            while not caplog.messages:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            time.sleep(0.2)  # time in which it could be said again
        operation.status()
    stalled, resumed = caplog.messages
    assert re.match(
        r"operation one is stalled: it has not moved for \d+\.\d s in Load MSFT \(1/2\)$", stalled
    )
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


def test_the_record_follows_while_it_runs(
    database: str, service: OperationsService, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another reader sees open and ended steps."""
    monkeypatch.setenv("KTRDR_OTEL_FLUSH_INTERVAL_SECONDS", "60")  # nothing is stored by itself in between
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

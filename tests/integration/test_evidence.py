"""The traceback that ended a run, and what else is kept of it, with no harm to the program."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ktrdr_otel import checkpoint, observe
from ktrdr_otel.operations.models import OperationStatus
from ktrdr_otel.operations.service import OperationsService


def test_the_store_is_its_owners_alone_to_read(database: str, service: OperationsService) -> None:
    """The file, and those that SQLite keeps beside it."""
    with observe("load", operation_id="one", display="off", database=database):
        modes = {
            path.name: path.stat().st_mode & 0o777 for path in Path(database).parent.glob("operations.db*")
        }
    assert modes
    assert set(modes.values()) == {0o600}


def test_a_failure_keeps_its_traceback_and_what_others_did(database: str, service: OperationsService) -> None:
    """With every cause, bounded; the program's other threads, and none of ours."""
    waiting = threading.Event()

    def prefetch() -> None:
        waiting.wait()

    def compute() -> None:
        try:
            raise ConnectionError("reset")
        except ConnectionError as error:
            raise ValueError("x" * 100_000) from error

    thread = threading.Thread(target=prefetch, name="prefetcher")
    thread.start()
    with (
        pytest.raises(ValueError, match="xxx"),
        observe("f", operation_id="f", database=database, display="off"),
    ):
        compute()
    waiting.set()
    thread.join()
    error = service.get("f").error
    assert error is not None
    told = error.traceback
    assert told is not None
    assert told.startswith("Traceback (most recent call last):")
    assert "ConnectionError: reset" in told
    assert "in compute" in told
    assert "characters left out" in told
    assert 'Thread "prefetcher" (most recent call last):' in told
    assert "in prefetch" in told
    assert "ktrdr-otel" not in told
    assert len(told) < 25_000


class PayloadError(Exception):
    """A program's own, whose attributes are those of what it carries: to format it asks it for some."""

    def __init__(self, **payload: object) -> None:
        super().__init__("a bad answer")
        self.payload = payload

    def __getattr__(self, name: str) -> object:
        return self.payload[name]


def type_of_what_leaves(job: Callable[[], None]) -> type[Exception] | None:
    """Without a look at the exception itself, which would ask it for its notes: so would `pytest.raises`."""
    try:
        job()
    except Exception as error:
        return type(error)
    return None


def test_an_exception_that_cannot_be_formatted_is_kept_all_the_same(
    database: str, service: OperationsService, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller gets it, the run has failed by it, and what is known of it is where it was raised."""

    def job() -> None:
        with (
            observe("job", operation_id="one", display="off", database=database),
            checkpoint("load", item="MSFT", index=1, total=1),
        ):
            raise PayloadError(code=500)

    assert type_of_what_leaves(job) is PayloadError
    operation = service.get("one")
    assert operation.status is OperationStatus.FAILED
    assert operation.error is not None
    assert operation.error.step == "Load MSFT (1/1)"
    assert operation.error.traceback is not None
    assert "raise PayloadError(code=500)" in operation.error.traceback
    assert "PayloadError: a bad answer" in operation.error.traceback
    assert not caplog.records


def test_a_fault_at_the_end_of_such_a_run_is_said_without_it(
    database: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The program's exception is in the chain of ours: a log that formats it would put another in its place."""

    def broken(*_: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(OperationsService, "end", broken)

    def job() -> None:
        with observe("job", display="off", database=database):
            raise PayloadError(code=500)

    assert type_of_what_leaves(job) is PayloadError
    [said] = [record for record in caplog.records if record.name == "ktrdr_otel.observation"]
    assert said.getMessage().startswith(
        "the end of the operation could not be reported: RuntimeError: broken\n"
    )
    assert "in broken" in said.getMessage()
    assert said.exc_info is None


def test_a_listener_that_fails_at_such_an_end_keeps_no_run_open(
    database: str, service: OperationsService
) -> None:
    """A display whose terminal is gone, say: the record has its end all the same."""

    class Gone:
        def __getattr__(self, name: str) -> object:
            def hear(*_: object) -> None:
                if name == "status_changed":
                    raise BrokenPipeError

            return hear

    def job() -> None:
        with observe("job", operation_id="one", display="off", database=database, listeners=[Gone()]):  # type: ignore[list-item] # a listener of any call
            raise PayloadError(code=500)

    assert type_of_what_leaves(job) is PayloadError
    assert service.get("one").status is OperationStatus.FAILED

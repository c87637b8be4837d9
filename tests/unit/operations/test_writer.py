"""The writer keeps the state whatever becomes of the rest."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ktrdr_otel.clock import SystemClock
from ktrdr_otel.errors import StoreUnavailableError
from ktrdr_otel.operations.durations import DRILL
from ktrdr_otel.operations.logs import Logged, LogInbox
from ktrdr_otel.operations.models import Ending, NewOperation, OperationStatus, Progress
from ktrdr_otel.operations.ports import Batch
from ktrdr_otel.operations.service import OperationsService
from ktrdr_otel.operations.step_row import row_of_unit
from ktrdr_otel.operations.worker import this_worker
from ktrdr_otel.progress.events import Unit
from ktrdr_otel.settings import Settings
from ktrdr_otel.storage import SqlOperationStore, open_store
from ktrdr_otel.storage.engine import Database

NOW = datetime(2026, 1, 2, tzinfo=UTC)
NEW = NewOperation(
    operation_id="one",
    operation_type="training",
    name="train",
    started_at=NOW,
    trace_id=None,
    span_id=None,
    worker=this_worker(),
    lease_seconds=15,
)
PROGRESS = Progress(
    phase=None,
    percentage=100.0,
    message="",
    context={},
    last_progress_at=None,
    items_completed=1,
    items_planned=1,
    estimated_remaining_seconds=None,
)
COMPLETED = Ending(status=OperationStatus.COMPLETED, ended_at=NOW, progress=PROGRESS)
UNSTORABLE = Unit("one", 1, 2, None, "epoch", "epoch", {}, 1, 1, 2, {"loss": object()})  # type: ignore[dict-item] # that is the fault


@pytest.fixture
def logs() -> LogInbox:
    """What the program has logged."""
    return LogInbox()


@pytest.fixture
def service(tmp_path: Path, logs: LogInbox) -> Iterator[OperationsService]:
    """A service on a store of its own, in which an operation has begun."""
    settings = Settings(database=str(tmp_path / "operations.db"))
    opened = OperationsService(open_store(settings), settings, SystemClock())
    opened.begin(NEW, lambda reason: None, logs=logs)
    yield opened
    opened.close()


def logged(at_ns: int) -> Logged:
    """A record of that time."""
    return Logged("one", at_ns, "WARNING", "bars", "a gap", None, None, {})


def test_a_refused_checkpoint_is_counted_and_the_end_is_stored(
    service: OperationsService, logs: LogInbox
) -> None:
    """A row that the store can never take would else be tried for ever, and the end with it; logs are kept."""
    logs.append(logged(1))
    service.record(UNSTORABLE)
    assert service.end("one", COMPLETED)
    assert service.get("one").status is OperationStatus.COMPLETED
    assert service.health().dropped_checkpoints == 1
    assert [line.message for line in service.logs("one")] == ["a gap"]


def test_refusals_are_said_once_and_then_counted(
    service: OperationsService, logs: LogInbox, caplog: pytest.LogCaptureFixture
) -> None:
    """Of checkpoints and of log records, each."""
    for _ in range(3):
        service.record(UNSTORABLE)
        logs.append(logged(2**70))
        assert service.flush()
    assert [message.split(",")[0] for message in caplog.messages] == [
        "1 checkpoints are not stored",
        "1 log records are not stored",
    ]
    health = service.health()
    assert (health.dropped_checkpoints, health.dropped_logs, health.failures) == (3, 3, 0)


def test_what_a_run_taught_keeps_no_end_from_being_stored(service: OperationsService) -> None:
    """Two steps of a clock gone wild: each duration fits into the store, their sum does not."""
    for span_id in (1, 2):
        service.record(Unit("one", 1, span_id, None, "load", "load", {}, 0, 1, 2**63 - 1))
        assert service.flush()
    assert service.end("one", COMPLETED)
    assert service.get("one").status is OperationStatus.COMPLETED
    assert len(service.checkpoints("one")) == 2


class Slow(SqlOperationStore):
    """A store whose writes hang until they are let go, and then fail if there is a fault."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self.is_writing = threading.Event()
        self.go_on = threading.Event()
        self.fault: StoreUnavailableError | None = None

    def write(self, batch: Batch) -> None:
        """Not before it is let go."""
        self.is_writing.set()
        assert self.go_on.wait(60)
        if self.fault is not None:
            fault, self.fault = self.fault, None
            raise fault
        super().write(batch)


@pytest.mark.parametrize("fault", [None, StoreUnavailableError("the store", "away after all")])
def test_a_store_that_hangs_holds_up_no_begin_and_no_end(
    tmp_path: Path, fault: StoreUnavailableError | None
) -> None:
    """Both return while a write hangs; the end is stored when it can be, also if that write then fails."""
    settings = Settings(database=str(tmp_path / "operations.db"), shutdown_timeout_seconds=0.05)
    open_store(settings).close()
    store = Slow(Database(settings.database_url))
    store.fault = fault
    service = OperationsService(store, settings, SystemClock())
    came_back = threading.Event()

    def run() -> None:
        service.begin(NEW, lambda reason: None)
        service.record(Unit("one", 1, 2, None, "load", "load", {}, 1, 1, 2))
        assert store.is_writing.wait(60)
        service.begin(replace(NEW, operation_id="two"), lambda reason: None)
        assert not service.end("one", COMPLETED)
        came_back.set()

    program = threading.Thread(target=run, daemon=True)
    program.start()
    try:
        assert came_back.wait(30)
    finally:
        store.go_on.set()
        program.join()
    while not service.flush():
        pass
    assert service.get("one").status is OperationStatus.COMPLETED
    assert len(service.checkpoints("one")) == 1
    assert service.get("two").status is OperationStatus.RUNNING
    service.close()


def test_steps_that_nobody_listens_to_wait_too(tmp_path: Path) -> None:
    """Those of a run with a plan come as rows; they wait until they are stored, also while the store is away."""
    settings = Settings(database=str(tmp_path / "operations.db"))
    open_store(settings).close()
    store = Slow(Database(settings.database_url))
    store.go_on.set()
    service = OperationsService(store, settings, SystemClock())
    service.adopt(NEW)
    unit = Unit("one", 1, 2, None, "load", "load", {}, 1, 1, 2)
    service.record_rows([row_of_unit(unit)] * 3)
    assert service.waiting() == 3
    store.fault = StoreUnavailableError("the store", "away")
    assert not service.flush()
    assert service.waiting() == 3
    assert service.flush()
    assert service.waiting() == 0
    service.close()


def test_what_goes_wrong_on_purpose_teaches_nothing(service: OperationsService) -> None:
    """A drill that stood still for as long as it was told would else allow real steps as long."""
    service.begin(replace(NEW, operation_id="drill", operation_type=DRILL), lambda reason: None)
    for operation_id, span_id, item in (("one", 1, "SMA"), ("drill", 2, "RSI")):
        context = {"indicator_name": item, "timeframe": "1h"}
        unit = Unit(
            operation_id, 1, span_id, None, "computing_indicator", "indicator_computation", context, 1, 1
        )
        service.record(unit._replace(ended_ns=10**9))
        service.end(operation_id, COMPLETED)
    assert list(service.durations()) == [("indicator_computation", "SMA", "1h")]

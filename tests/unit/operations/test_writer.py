"""The writer keeps the state whatever becomes of the checkpoints."""

from datetime import UTC, datetime
from pathlib import Path

from ktrdr_otel.clock import SystemClock
from ktrdr_otel.operations.models import Ending, NewOperation, OperationStatus, Progress
from ktrdr_otel.operations.service import OperationsService
from ktrdr_otel.operations.worker import this_worker
from ktrdr_otel.progress.events import Unit
from ktrdr_otel.settings import Settings
from ktrdr_otel.storage import open_store

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def test_a_refused_checkpoint_is_counted_and_the_end_is_stored(tmp_path: Path) -> None:
    """A row that the store can never take would else be tried for ever, and the end with it."""
    settings = Settings(database=str(tmp_path / "operations.db"))
    service = OperationsService(open_store(settings), settings, SystemClock())
    new = NewOperation(
        operation_id="one",
        operation_type="training",
        name="train",
        started_at=NOW,
        trace_id=None,
        span_id=None,
        worker=this_worker(),
        lease_seconds=15,
    )
    service.begin(new, lambda reason: None)
    unstorable = {"loss": object()}
    service.record(Unit("one", 1, 2, None, "epoch", "epoch", {}, 1, 1, 2, unstorable))  # type: ignore[arg-type] # that is the fault
    progress = Progress(
        phase=None,
        percentage=100.0,
        message="",
        context={},
        last_progress_at=None,
        items_completed=1,
        items_planned=1,
        estimated_remaining_seconds=None,
    )
    ending = Ending(status=OperationStatus.COMPLETED, ended_at=NOW, progress=progress)
    assert service.end("one", ending)
    assert service.get("one").status is OperationStatus.COMPLETED
    assert service.health().dropped_checkpoints == 1
    service.close()

"""What the tests of stores put into them."""

from datetime import UTC, datetime
from typing import Any

from ktrdr_otel import semconv
from ktrdr_otel.operations.logs import Logged
from ktrdr_otel.operations.models import (
    NewOperation,
    Progress,
)
from ktrdr_otel.operations.worker import this_worker
from ktrdr_otel.progress.events import Unit, UnitError
from ktrdr_otel.storage import SqlOperationStore

NOW = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)


def new(operation_id: str) -> NewOperation:
    """An operation that begins."""
    return NewOperation(
        operation_id=operation_id,
        operation_type="training",
        name="train",
        started_at=NOW,
        trace_id="ab" * 16,
        span_id="cd" * 8,
        worker=this_worker(),
        lease_seconds=15,
    )


def unit(span_id: int, *, ended: bool = True, error: UnitError | None = None) -> Unit:
    """A unit of operation `one`, 2 s long."""
    context = {
        "symbol": "AAPL",
        "timeframe": "1h",
        "indicator_name": "rsi",
        "indicator_index": 3,
        "total_indicators": 40,
    }
    return Unit(
        "one",
        7,
        span_id,
        1,
        "computing_indicator rsi",
        "indicator_computation",
        context,
        10**18,
        0,
        10**18 + 2 * 10**9 if ended else None,
        {"loss": 0.5},
        error,
    )


def progress(percentage: float = 12.5) -> Progress:
    """Somewhere on the way."""
    return Progress(
        phase="preprocessing",
        percentage=percentage,
        message="Processing AAPL",
        context={"symbol": "AAPL", "strange": object},
        last_progress_at=NOW,
        items_completed=3,
        items_planned=40,
        estimated_remaining_seconds=1.5,
    )


def logged(number: int, operation_id: str = "one") -> Logged:
    """The record of that number, logged while an indicator was computed."""
    place = {
        semconv.PROGRESS_TYPE: semconv.INDICATOR_COMPUTATION,
        semconv.SYMBOL_NAME: "AAPL",
        semconv.SYMBOL_INDEX: 1,
        semconv.SYMBOL_TOTAL: 5,
        semconv.ITEM_NAME: "RSI",
        semconv.ITEM_INDEX: 15,
        semconv.ITEM_TOTAL: 40,
    }
    where = ("/job.py", 12, "load")
    return Logged(operation_id, 10**18 + number, "WARNING", "bars", f"record {number}", 7, 9, place, *where)


def watching_me(store: SqlOperationStore) -> dict[str, Any]:
    """What a watcher of this process is told of its store."""
    mine = this_worker()
    return {
        **store.watching(),
        "pid": mine.pid,
        "started_ticks": mine.pid_started_ticks,
        "boot_id": mine.boot_id,
        "site_packages": [],
    }

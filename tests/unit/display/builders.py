"""Operations, units and progress to show, and a clock that moves by hand."""

from collections.abc import Mapping
from datetime import UTC, datetime

from ktrdr_otel import semconv
from ktrdr_otel.operations.models import NewOperation, Progress, Worker
from ktrdr_otel.progress.events import Tick, Unit, UnitError

BEGAN_NS = 1_795_000_000_000_000_000
BEGAN = datetime.fromtimestamp(BEGAN_NS // 1_000_000_000, UTC)


class HandClock:
    """Both clocks stand still until somebody moves them."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def advance(self, seconds: float) -> None:
        """It is so many seconds later."""
        self.seconds += seconds

    def monotonic(self) -> float:
        """Seconds since some point."""
        return self.seconds

    def monotonic_ns(self) -> int:
        """Nanoseconds since some point."""
        return round(self.seconds * 1e9)

    def wall_ns(self) -> int:
        """Nanoseconds since the epoch."""
        return BEGAN_NS + round((self.seconds - 1000.0) * 1e9)


def an_operation(name: str = "train momentum", operation_id: str = "training-1") -> NewOperation:
    """A running operation."""
    return NewOperation(
        operation_id=operation_id,
        operation_type="training",
        name=name,
        started_at=BEGAN,
        trace_id="ab" * 16,
        span_id="cd" * 8,
        worker=Worker(host="h", boot_id="", pid=1, pid_started_ticks=0, pid_namespace=""),
        lease_seconds=15.0,
        planned_units=4,
    )


def progress(message: str = "Loading", percentage: float = 10.0, **given: object) -> Progress:
    """A state with that message."""
    facts: dict[str, object] = {
        "phase": "preprocessing",
        "context": {"symbol": "AAPL"},
        "last_progress_at": None,
        "items_completed": 1,
        "items_planned": 4,
        "estimated_remaining_seconds": None,
    }
    return Progress(message=message, percentage=percentage, **(facts | given))  # type: ignore[arg-type] # by name


def indicator(name: str = "RSI", symbol: str = "AAPL", timeframe: str = "1h", **ended: object) -> Unit:
    """A unit of indicator computation, open unless `ended` says more."""
    context = {
        "symbol": symbol,
        "symbol_index": 1,
        "total_symbols": 2,
        "timeframe": timeframe,
        "indicator_name": name,
        "indicator_index": 3,
        "total_indicators": 8,
    }
    return _unit(semconv.INDICATOR_COMPUTATION, context, ended)


def epoch(index: int, **ended: object) -> Unit:
    """An epoch of five, open unless `ended` says more."""
    return _unit(semconv.EPOCH, {"epoch_index": index, "total_epochs": 5}, ended)


def hold(seconds: float = 60.0) -> Unit:
    """A wait for the broker that may take so long."""
    return _unit(semconv.HOLD, {"item": "the broker", "allowance_seconds": seconds}, {})


def container(symbol: str = "AAPL") -> Unit:
    """A span that holds units and counts nothing."""
    return _unit(None, {"symbol": symbol}, {})


def finished(unit: Unit, seconds: float = 0.5, **rest: object) -> Unit:
    """The same unit, ended."""
    return unit._replace(ended_ns=unit.started_ns + round(seconds * 1e9), **rest)  # type: ignore[arg-type] # by name


def failed(unit: Unit) -> Unit:
    """The same unit, ended by an exception."""
    return finished(unit, error=UnitError("ValueError", "no volume"))


def tick(count: int, total: int | None = 50, unit: str = "batch") -> Tick:
    """A loop at that turn."""
    return Tick("training-1", unit, count, total, None, None, 0)


def _unit(progress_type: str | None, context: Mapping[str, object], ended: Mapping[str, object]) -> Unit:
    unit = Unit("training-1", 1, 2, None, "name", progress_type, context, BEGAN_NS, 0)
    return unit._replace(**ended)  # type: ignore[arg-type] # by name

"""What a live operation says of its own silence, on a clock that stands still between two looks."""

from collections.abc import Callable, Iterator

import pytest

from ktrdr_otel.bridge.live import LiveOperation
from ktrdr_otel.clock import utc_from_ns
from ktrdr_otel.operations.allowances import Allowances
from ktrdr_otel.operations.models import NewOperation
from ktrdr_otel.operations.service import OperationsService
from ktrdr_otel.operations.worker import this_worker
from ktrdr_otel.progress.events import Unit
from ktrdr_otel.settings import Settings
from ktrdr_otel.storage import open_store
from tests.unit.conftest import Bench
from tests.unit.exporters.conftest import FakeClock

ALLOWED_SECONDS = 2.0
LOOK_SECONDS = 0.05

Begin = Callable[[], LiveOperation]


@pytest.fixture
def clock() -> FakeClock:
    """Time that passes when a test says so."""
    return FakeClock()


@pytest.fixture
def begin(bench: Bench, clock: FakeClock) -> Iterator[Begin]:
    """The bench's operation begins."""
    settings = Settings(database="sqlite:///:memory:")
    service = OperationsService(open_store(settings), settings, clock)

    def begun() -> LiveOperation:
        new = NewOperation(
            operation_id=bench.active.operation_id,
            operation_type="training",
            name="train",
            started_at=utc_from_ns(clock.wall_ns()),
            trace_id=None,
            span_id=None,
            worker=this_worker(),
            lease_seconds=15,
        )
        service.adopt(new)
        return LiveOperation(
            new,
            active=bench.active,
            plan=None,
            service=service,
            listeners=(),
            clock=clock,
            allowances=Allowances(
                {}, factor=5.0, floor_seconds=ALLOWED_SECONDS, unknown_seconds=ALLOWED_SECONDS
            ),
        )

    yield begun
    service.close()


def unit(number: int, clock: FakeClock) -> Unit:
    """A file begins to be loaded now."""
    context = {"item": f"file-{number}", "index": number, "total": 9}
    return Unit("op-1", 1, number, None, "load", "load", context, clock.wall_ns(), clock.monotonic_ns())


def look(live: LiveOperation, clock: FakeClock, seconds: float) -> None:
    """The operation is looked at again and again for so long, and nothing moves."""
    for _ in range(round(seconds / LOOK_SECONDS)):
        clock.advance(LOOK_SECONDS)
        live.settle()


def test_a_gap_between_two_looks_is_no_silence(
    begin: Begin, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Its thread could not run: the process was stopped, and what was seen on both sides is within the allowance."""
    live = begin()
    live.started(unit(1, clock))
    live.settle()
    look(live, clock, 1.0)
    clock.advance(4.0)
    look(live, clock, 0.9)
    assert caplog.messages == []
    look(live, clock, 0.2)
    assert caplog.messages == ["operation op-1 is stalled: it has not moved for 2.0 s in Load file-1 (1/9)"]


def test_silence_counts_from_the_first_look_at_a_movement(
    begin: Begin, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """What went before is not known to be silence: the process was stopped as soon as it had moved."""
    live = begin()
    live.started(unit(1, clock))
    live.settle()
    clock.advance(LOOK_SECONDS)
    live.started(unit(2, clock))
    clock.advance(0.9)
    look(live, clock, 1.9)
    assert caplog.messages == []
    look(live, clock, 0.3)
    assert len(caplog.messages) == 1

"""What a live operation says of its own silence, on a clock that stands still between two looks."""

from collections.abc import Callable, Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan

from ktrdr_otel import checkpoint, semconv
from ktrdr_otel.bridge.live import LiveOperation
from ktrdr_otel.checkpoint import Checkpoint
from ktrdr_otel.clock import utc_from_ns
from ktrdr_otel.operations.allowances import Allowances
from ktrdr_otel.operations.models import NewOperation, OperationStatus
from ktrdr_otel.operations.service import OperationsService
from ktrdr_otel.operations.worker import this_worker
from ktrdr_otel.progress.events import Unit, UnitError
from ktrdr_otel.progress.plan import Plan
from ktrdr_otel.settings import Settings
from ktrdr_otel.storage import open_store
from tests.unit.conftest import Bench
from tests.unit.exporters.conftest import FakeClock

ALLOWED_SECONDS = 2.0
LOOK_SECONDS = 0.05

Begin = Callable[..., LiveOperation]


@pytest.fixture
def clock() -> FakeClock:
    """Time that passes when a test says so."""
    return FakeClock()


@pytest.fixture
def begin(bench: Bench, clock: FakeClock) -> Iterator[Begin]:
    """The bench's operation begins, with a plan or without."""
    settings = Settings(database="sqlite:///:memory:")
    service = OperationsService(open_store(settings), settings, clock)

    def begun(plan: Plan | None = None) -> LiveOperation:
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
            plan=plan,
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


def passed(number: int, clock: FakeClock, began: float, ended: float) -> Checkpoint:
    """A file that was loaded between those seconds from now."""
    with checkpoint("load", item=f"file-{number}", index=number, total=9) as loaded:
        pass
    loaded.began_monotonic_ns = clock.monotonic_ns() + int(began * 1e9)
    loaded.ended_monotonic_ns = clock.monotonic_ns() + int(ended * 1e9)
    return loaded


def test_a_stall_behind_another_step_is_told(
    begin: Begin, bench: Bench, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A short step, then one that let nobody look: both are told together, and the trace says that it stood still."""
    live = begin(Plan({"load": 9}))
    live.settle()
    live.passed([passed(1, clock, 0.0, 0.1), passed(2, clock, 0.1, 3.1), passed(3, clock, 3.1, 3.2)])
    assert caplog.messages == ["operation op-1 stood still for 3.0 s in Load file-2 (2/9)"]
    root = bench.root.span
    assert isinstance(root, ReadableSpan)
    assert [event.name for event in root.events] == [semconv.STALLED_EVENT, semconv.RESUMED_EVENT]


def test_a_long_step_in_which_others_end_is_no_stall(
    begin: Begin, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Inside it, or in another thread beside it."""
    live = begin(Plan({"load": 9}))
    live.settle()
    live.passed([passed(1, clock, 0.1, 1.6), passed(2, clock, 0.0, 3.4)])
    assert caplog.messages == []


def test_a_stall_of_a_step_that_nobody_saw_begin_is_told(
    begin: Begin, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """It failed, so that its start and its end are told one by one, in the same turn."""
    live = begin(Plan({"load": 9}))
    live.settle()
    begun = unit(1, clock)
    live.started(begun)
    live.take_open(1)
    clock.advance(3.0)
    error = UnitError("ValueError", "no such file")
    live.finished(
        begun._replace(ended_ns=clock.wall_ns(), seen_monotonic_ns=clock.monotonic_ns(), error=error)
    )
    assert caplog.messages == ["operation op-1 stood still for 3.0 s in Load file-1 (1/9)"]


@pytest.mark.parametrize(
    "word",
    [
        semconv.PREPROCESSING,
        semconv.INDICATOR_COMPUTATION,
        semconv.FUZZY_GENERATION,
        semconv.PREPARATION,
        semconv.EPOCH,
        semconv.EVALUATION,
        semconv.HOLD,
        "a word of yours",
    ],
)
def test_the_context_says_what_type_of_step_is_under_way(begin: Begin, clock: FakeClock, word: str) -> None:
    """Whatever its other keys are: a hold and any word have none of their own; nothing is under way at the end."""
    live = begin()
    assert "progress_type" not in live.progress().context
    live.started(unit(1, clock)._replace(progress_type=word))
    assert live.progress().context["progress_type"] == word
    live.settle()
    assert live.status()["context"]["progress_type"] == word
    assert "progress_type" not in live.finish(OperationStatus.COMPLETED, None).context

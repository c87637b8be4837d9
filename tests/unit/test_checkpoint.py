"""Checkpoints: spans that nest rightly whatever runs them, and a word to the inbox for each start and end."""

import asyncio
import gc
import os
import threading
from collections.abc import Iterator

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import StatusCode

from ktrdr_otel import context, semconv
from ktrdr_otel.checkpoint import checkpoint, hold
from ktrdr_otel.errors import CancellationError
from tests.unit.conftest import Bench, make_bench


def parent_of(bench: Bench, name: str) -> str | None:
    """The name of the span under which that span stands."""
    spans = bench.exporter.get_finished_spans()
    span = next(span for span in spans if span.name == name)
    if span.parent is None:
        return None
    if span.parent.span_id == bench.root.identity().span_id:
        return "operation"
    return next(one.name for one in spans if one.context.span_id == span.parent.span_id)


def test_carries_the_seeds_keys_as_attributes(bench: Bench) -> None:
    """Every context key of the seed is one attribute, and the operation's id is on the span."""
    with checkpoint(
        "indicator_computation",
        symbol="AAPL",
        symbol_index=2,
        total_symbols=5,
        timeframe="1h",
        indicator_name="RSI",
        indicator_index=15,
        total_indicators=40,
    ):
        pass
    assert dict(bench.spans()["computing_indicator RSI"].attributes or {}) == {
        semconv.OPERATION_ID: "op-1",
        semconv.PROGRESS_TYPE: "indicator_computation",
        semconv.STEP: "computing_indicator",
        semconv.SYMBOL_NAME: "AAPL",
        semconv.SYMBOL_INDEX: 2,
        semconv.SYMBOL_TOTAL: 5,
        semconv.TIMEFRAME: "1h",
        semconv.ITEM_NAME: "RSI",
        semconv.ITEM_INDEX: 15,
        semconv.ITEM_TOTAL: 40,
    }


def test_symbol_and_timeframe_are_handed_down(bench: Bench) -> None:
    """Everything below a symbol and a timeframe names them, without being told again."""
    with (
        checkpoint("symbol", symbol="AAPL", symbol_index=2, total_symbols=5),
        checkpoint("timeframe", timeframe="1h"),
        checkpoint("preprocessing", step="loading_data"),
    ):
        pass
    attributes = dict(bench.spans()["loading_data"].attributes or {})
    assert attributes[semconv.SYMBOL_NAME] == "AAPL"
    assert attributes[semconv.SYMBOL_INDEX] == 2
    assert attributes[semconv.TIMEFRAME] == "1h"
    assert parent_of(bench, "loading_data") == "timeframe 1h"
    assert parent_of(bench, "timeframe 1h") == "symbol AAPL"
    assert parent_of(bench, "symbol AAPL") == "operation"


def test_names_that_nothing_bounds_are_attributes_only(bench: Bench) -> None:
    """A stranger's item is not in the span's name."""
    with checkpoint("load", item="MSFT", index=3, total=10):
        pass
    span = bench.spans()["load"]
    assert (span.attributes or {})[semconv.ITEM_NAME] == "MSFT"


def test_start_and_end_reach_the_inbox_in_order(bench: Bench) -> None:
    """One entry for each start and each end."""
    with checkpoint("outer"), checkpoint("inner"):
        pass
    assert bench.happenings() == [
        ("STARTED", "outer"),
        ("STARTED", "inner"),
        ("ENDED", "inner"),
        ("ENDED", "outer"),
    ]


def test_an_unsampled_checkpoint_is_told_all_the_same() -> None:
    """Where no processor is called, the checkpoint feeds the inbox itself, with ids of its own."""
    for bench in make_bench(TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)):
        with checkpoint("outer") as outer, checkpoint("inner") as inner:
            pass
        assert [what for what, _ in bench.happenings()] == [
            "STARTED",
            "STARTED",
            "ENDED",
            "ENDED",
        ]
        assert bench.exporter.get_finished_spans() == ()
        assert inner.identity().span_id != outer.identity().span_id
        assert inner.identity().trace_id == outer.identity().trace_id == bench.root.identity().trace_id


def test_a_failure_is_on_the_span(bench: Bench) -> None:
    """The status is ERROR, with `error.type` and the exception as an event."""
    with pytest.raises(ValueError, match="boom"), checkpoint("load"):
        raise ValueError("boom")
    span = bench.spans()["load"]
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == "boom"
    assert (span.attributes or {})[semconv.ERROR_TYPE] == "ValueError"
    assert [event.name for event in span.events] == ["exception"]


class SulkyError(Exception):
    """One that cannot be asked what it says."""

    def __str__(self) -> str:
        raise RuntimeError("no comment")


def test_an_exception_that_says_nothing_goes_on_as_it_is(bench: Bench) -> None:
    """The program gets its own exception, and the span its type."""
    with pytest.raises(SulkyError), checkpoint("load", item="AAPL"):
        raise SulkyError
    span = bench.spans()["load"]
    assert (span.attributes or {})[semconv.ERROR_TYPE] == f"{__name__}.SulkyError"
    assert span.status.description == "its message cannot be read: RuntimeError"


@pytest.mark.parametrize(
    "error", [GeneratorExit(), asyncio.CancelledError(), CancellationError(), KeyboardInterrupt()]
)
def test_leaving_early_is_no_failure(bench: Bench, error: BaseException) -> None:
    """What was told to stop ends without an error, and is marked as cancelled."""
    with pytest.raises(type(error)), checkpoint("load"):
        raise error
    span = bench.spans()["load"]
    assert span.status.status_code is StatusCode.UNSET
    assert (span.attributes or {})[semconv.SPAN_STATE] == semconv.STATE_CANCELLED


def test_cancellation_is_heard_before_the_span_opens(bench: Bench) -> None:
    """A cancelled operation opens no further span."""
    bench.active.token.cancel("enough")
    with pytest.raises(CancellationError, match="enough"), checkpoint("load"):
        raise AssertionError("the block ran")
    assert bench.happenings() == []


def test_an_unknown_keyword_names_the_nearest() -> None:
    """A misspelt keyword is one clear TypeError."""
    with pytest.raises(TypeError, match="did you mean 'timeframe'"):
        checkpoint("load", timefrme="1h")  # type: ignore[call-arg] # the mistake under test


def test_without_an_operation_it_is_a_plain_span() -> None:
    """Nothing is counted, nothing fails."""
    with checkpoint("load", item="MSFT") as unit:
        assert unit.operation is None
    assert not trace.get_current_span().is_recording()


def test_a_thread_joins_the_only_operation(bench: Bench) -> None:
    """A thread inherits no context, so its checkpoint stands below the root."""

    def work() -> None:
        with checkpoint("load"):
            pass

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert parent_of(bench, "load") == "operation"


async def test_tasks_nest_in_their_own_context(bench: Bench) -> None:
    """Two tasks under one checkpoint do not see each other's."""
    both_open = asyncio.Barrier(2)

    async def work(name: str) -> None:
        with checkpoint("load", item=name):
            await both_open.wait()
            with checkpoint(f"inner-{name}"):
                await both_open.wait()

    with checkpoint("outer"):
        await asyncio.gather(work("a"), work("b"))
    spans = {span.context.span_id: span for span in bench.exporter.get_finished_spans()}
    for name in "ab":
        inner = bench.spans()[f"inner-{name}"]
        assert inner.parent is not None
        assert (spans[inner.parent.span_id].attributes or {})[semconv.ITEM_NAME] == name
        assert parent_of(bench, "load") == "outer"


def test_interleaved_generators_leave_the_nearest_open_one_current(bench: Bench) -> None:
    """Whoever leaves first, no closed checkpoint is ever current again."""

    def work(name: str) -> Iterator[None]:
        with checkpoint(name):
            yield

    with checkpoint("outer") as outer:
        first, second = work("first"), work("second")
        next(first)
        next(second)
        assert list(first) == []
        with checkpoint("between"):
            pass
        assert list(second) == []
        assert context.current_checkpoint.get() is outer
        assert trace.get_current_span() is outer.span
        with checkpoint("after"):
            pass
    assert parent_of(bench, "between") == "second"
    assert parent_of(bench, "after") == "outer"


def test_a_generator_collected_in_another_thread_touches_nothing_there(bench: Bench) -> None:
    """Its checkpoint ends, but that thread's current span stays."""

    def work() -> Iterator[None]:
        with checkpoint("held"):
            yield

    held = [work()]
    next(held[0])

    def collect() -> None:
        with checkpoint("own") as own:
            held.clear()
            gc.collect()
            assert context.current_checkpoint.get() is own

    thread = threading.Thread(target=collect)
    thread.start()
    thread.join()
    assert set(bench.spans()) == {"held", "own"}


def test_as_a_decorator_each_call_is_a_span_of_its_own(bench: Bench) -> None:
    """Also when the function calls itself."""

    @checkpoint("descend")
    def descend(depth: int) -> int:
        return depth if depth == 0 else descend(depth - 1)

    assert descend(2) == 0
    assert [span.name for span in bench.exporter.get_finished_spans()] == ["descend"] * 3


async def test_as_a_decorator_it_covers_the_whole_coroutine(bench: Bench) -> None:
    """The span ends when the coroutine does."""

    @checkpoint("fetch")
    async def fetch() -> str:
        await asyncio.sleep(0)
        with checkpoint("inner"):
            return "done"

    assert await fetch() == "done"
    assert parent_of(bench, "inner") == "fetch"


def test_the_metrics_of_an_epoch_are_on_its_span(bench: Bench) -> None:
    """They are set before the end, so that whoever reads the ended span has them."""
    with checkpoint("epoch", index=1, total=3) as epoch:
        epoch.record({"loss": 0.5, "val_accuracy": 0.75})
        with pytest.raises(ValueError, match="no metric 'sharpe'"):
            epoch.record({"sharpe": 1.0})
    attributes = bench.spans()["epoch"].attributes or {}
    assert attributes[semconv.TRAINING_LOSS] == 0.5
    assert attributes[semconv.TRAINING_VAL_ACCURACY] == 0.75


def test_a_hold_says_how_long_it_may_take(bench: Bench) -> None:
    """Its allowance is on the span; nonsense is refused."""
    with hold("waiting for the broker", allowance_seconds=600):
        pass
    assert (bench.spans()["hold"].attributes or {})[semconv.HOLD_ALLOWANCE] == 600.0
    with pytest.raises(ValueError, match="positive"):
        hold("nothing", allowance_seconds=0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform has no fork")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_ends_nothing_of_its_parents(bench: Bench) -> None:
    """Leaving the block in the child tells nobody; its own checkpoints are plain spans."""
    with checkpoint("outer") as outer:
        child = os.fork()
        if child == 0:
            outer.__exit__(None, None, None)
            with checkpoint("inner") as inner:
                clean = inner.operation is None and inner.parent is None
            os._exit(0 if clean and not bench.spans() else 1)
        _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert set(bench.spans()) == {"outer"}

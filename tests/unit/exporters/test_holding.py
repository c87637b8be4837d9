"""No marker leaves before the store of its operation can know the span: nobody could close it after a death."""

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import Span

from ktrdr_otel import semconv
from ktrdr_otel.exporters.live import KNOWN_AFTER_NS, LiveMode
from ktrdr_otel.exporters.queue import _Mark
from tests.unit.exporters.stepped import StoredProgram
from tests.unit.exporters.storages import state_of

RUN = {semconv.OPERATION_ID: "run"}


def received(program: StoredProgram) -> list[tuple[str, str | None]]:
    """Name and state of each record, in the order of arrival."""
    return [(record.name, state_of(record)) for record in program.storage.received]


def symbol_of_a_run(program: StoredProgram) -> Span:
    """Open, in an operation that has been marked."""
    operation = program.begin("operation", None, **RUN)
    program.end(program.begin("prepare", operation, **RUN))
    program.turn(1)
    assert received(program) == [("operation", "started"), ("prepare", None)]
    program.storage.received.clear()
    return program.begin("symbol", operation, **RUN)


def test_what_would_bring_the_marker_of_a_young_span_waits_a_second() -> None:
    """Together with all that ended after it; what ended before it leaves."""
    program = StoredProgram(LiveMode.MARKERS, max_batch=10)
    symbol = symbol_of_a_run(program)
    program.end(program.begin("before", program.open[0], **RUN))
    program.end(program.begin("load", symbol, **RUN))
    program.end(program.begin("after", program.open[0], **RUN))
    program.turn(0.9)
    assert received(program) == [("before", None)]
    assert 0 < program.queue._turn() <= 0.1
    program.turn(0.1)
    assert received(program)[1:] == [("symbol", "started"), ("load", None), ("after", None)]


def test_a_span_that_ends_while_its_steps_wait_is_never_marked() -> None:
    """It leaves with them, as it ended."""
    program = StoredProgram(LiveMode.MARKERS, max_batch=10)
    symbol = symbol_of_a_run(program)
    program.end(program.begin("load", symbol, **RUN))
    program.turn(0.1)
    assert received(program) == []
    program.end(symbol)
    program.turn(0.1)
    assert received(program) == [("load", None), ("symbol", None)]


def test_a_parent_that_ended_behind_what_is_held_comes_with_its_child() -> None:
    """Though the two would have left in one batch, and a record between them waits."""
    program = StoredProgram(LiveMode.MARKERS, max_batch=10)
    symbol = symbol_of_a_run(program)
    operation = program.open[0]
    timeframe = program.begin("timeframe", operation, **RUN)
    program.end(program.begin("of timeframe", timeframe, **RUN))
    program.end(program.begin("of symbol", symbol, **RUN))
    program.end(timeframe)
    program.turn(0.1)
    assert received(program) == [("timeframe", None), ("of timeframe", None)]


def test_a_flush_waits_for_nothing() -> None:
    """Whoever asks gets all that had ended at that moment, markers and all."""
    program = StoredProgram(LiveMode.MARKERS, max_batch=10)
    symbol = symbol_of_a_run(program)
    program.end(program.begin("load", symbol, **RUN))
    program.turn(0.1)
    assert received(program) == []
    mark = _Mark()
    program.queue._inbox.append(mark)
    program.turn()
    assert received(program) == [("symbol", "started"), ("load", None)]
    assert mark.reached.is_set()
    assert mark.complete


def test_nothing_is_held_where_it_would_be_lost() -> None:
    """More than half of the room is taken."""
    program = StoredProgram(LiveMode.MARKERS, max_queue=10, max_batch=10)
    symbol = symbol_of_a_run(program)
    for number in range(5):
        program.end(program.begin(f"load {number}", symbol, **RUN))
    program.turn(0.1)
    assert received(program) == []
    program.end(program.begin("load 5", symbol, **RUN))
    program.turn(0.1)
    assert len(received(program)) == 7


def test_a_clock_that_was_set_back_holds_nothing() -> None:
    """A span that begins in an hour is not young."""
    program = StoredProgram(LiveMode.MARKERS, max_batch=10)
    program.clock.advance(7200)
    program.end(program.begin("load", symbol_of_a_run(program), **RUN))
    program.turn(0.1)
    assert received(program) == []
    program.clock.now_ns -= 3_600_000_000_000
    program.turn()
    assert received(program) == [("symbol", "started"), ("load", None)]


def test_spans_of_no_operation_wait_for_nobody() -> None:
    """No store will know them."""
    program = StoredProgram(LiveMode.MARKERS)
    program.end(program.begin("query", program.begin("request")))
    program.turn()
    assert received(program) == [("request", "started"), ("query", None)]


@given(steps=st.lists(st.tuples(st.sampled_from("beest"), st.integers(0, 7), st.floats(0, 1.5)), max_size=60))
def test_no_marker_is_younger_than_a_second(steps: list[tuple[str, int, float]]) -> None:
    """Whatever begins and ends meanwhile; and no record waits longer than it takes its parents to be known."""
    program = StoredProgram(LiveMode.MARKERS)
    seen = 0
    for what, which, seconds in steps:
        chosen = program.open[which % len(program.open)] if program.open else None
        if what == "b" or chosen is None:
            program.begin(f"span {len(program.ended) + len(program.open)}", chosen, **RUN)
        elif what == "e":
            program.end(chosen)
        elif what == "s":
            program.end(program.begin("step", chosen, **RUN))
        else:
            program.turn(seconds)
        for record in program.storage.received[seen:]:
            if state_of(record) == semconv.STATE_STARTED:
                assert program.clock.now_ns - (record.start_time or 0) >= KNOWN_AFTER_NS
        seen = len(program.storage.received)
    program.turn(1)
    for _ in range(len(program.ended)):
        program.turn()
    assert program.queue._waiting() == 0

"""Open spans are shown, and what was shown never lies afterwards, whatever the receiver does."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import Status, StatusCode

from ktrdr_otel import semconv
from ktrdr_otel.exporters.live import LiveMode
from ktrdr_otel.exporters.marks import Marks
from ktrdr_otel.exporters.processor import ExportProcessor
from ktrdr_otel.exporters.queue import ExportQueue, _Mark
from tests.unit.exporters.conftest import FakeClock
from tests.unit.exporters.stepped import StoredProgram
from tests.unit.exporters.storages import (
    Answer,
    Storage,
    folded,
    id_of,
    last_written,
    plain,
    state_of,
)

LIVE = [LiveMode.SNAPSHOT, LiveMode.MARKERS]
ANSWERS = st.lists(st.sampled_from(Answer), max_size=30)
# 0-5: what to do; then which of the open spans, and how much time passes.
STEPS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 7), st.floats(0, 7)), max_size=60)


def run(program: StoredProgram, steps: Sequence[tuple[int, int, float]]) -> None:
    """The steps, each on one of the open spans."""
    for what, which, seconds in steps:
        chosen = program.open[which % len(program.open)] if program.open else None
        if what <= 1 or chosen is None:
            number = len(program.ended) + len(program.open)
            of_operation = {semconv.OPERATION_ID: "run"} if number % 2 else {}
            program.begin(f"span {number}", chosen, **of_operation)
        elif what == 2:
            program.end(chosen)
        elif what == 3:
            for number in range(which):
                program.end(program.begin(f"short {number}", chosen))
        elif what == 4:
            program.storage.meanwhile = lambda span=chosen: program.end(span)
            program.turn(seconds)
        else:
            program.turn(seconds)


@given(steps=STEPS, answers=ANSWERS, room=st.integers(1, 12))
@pytest.mark.parametrize("mode", LIVE)
def test_what_was_shown_open_is_shown_ended(
    mode: LiveMode, steps: list[tuple[int, int, float]], answers: list[Answer], room: int
) -> None:
    """Refusals, lost answers, full queues: nothing open arrives after its end, and every end arrives in the end."""
    program = StoredProgram(mode, answers, max_queue=room)
    run(program, steps)
    program.conclude()

    finals: set[int] = set()
    for record in program.storage.received:
        if state_of(record) == semconv.STATE_IN_PROGRESS:
            assert id_of(record) not in finals, "a snapshot after the end"
        elif state_of(record) != semconv.STATE_STARTED:
            finals.add(id_of(record))
    read = last_written if mode is LiveMode.SNAPSHOT else folded
    for span_id, seen in read(program.storage.received).items():
        assert seen.attributes.get(semconv.SPAN_STATE) is None, f"{seen.name} is left as it was shown"
        assert seen.end_ns == program.ended[span_id].end_time


@given(
    steps=STEPS, answers=st.lists(st.sampled_from([Answer.TAKEN, Answer.UNREACHED, Answer.HALF]), max_size=30)
)
@pytest.mark.parametrize("mode", LIVE)
def test_the_finished_trace_is_the_plain_one(
    mode: LiveMode, steps: list[tuple[int, int, float]], answers: list[Answer]
) -> None:
    """Parents, times, names: all as if nothing had been shown; with markers no parent was missing at any moment."""
    program = StoredProgram(mode, answers)
    seen: set[int] = set()

    def no_parent_is_missing() -> None:
        seen.update(id_of(record) for record in program.storage.received)
        for record in program.storage.received:
            assert record.parent is None or record.parent.span_id in seen, f"{record.name} has no parent"

    if mode is LiveMode.MARKERS:
        program.storage.after_request = no_parent_is_missing
    run(program, steps)
    program.conclude()
    read = last_written if mode is LiveMode.SNAPSHOT else folded
    assert read(program.storage.received) == program.plain_trace()


def test_an_open_span_is_seen_within_seconds_and_again_every_five() -> None:
    """Its length is how long it has been open so far, and it says how far it is."""
    program = StoredProgram(LiveMode.SNAPSHOT)
    span_id = id_of(program.begin("operation"))
    program.queue.tell_progress(span_id, lambda: {semconv.PROGRESS_MESSAGE: "Computing RSI (15/40)"})
    program.turn(0.5)
    assert program.storage.received == []
    for _ in range(22):
        program.turn(0.5)
    lengths = [
        ((record.end_time or 0) - (record.start_time or 0)) // 1_000_000_000
        for record in program.storage.received
    ]
    assert lengths == [1, 6, 11]
    assert {record.attributes[semconv.PROGRESS_MESSAGE] for record in program.storage.received} == {  # type: ignore[index] # there
        "Computing RSI (15/40)"
    }


def test_spans_shorter_than_a_second_are_sent_once() -> None:
    """Nothing is added to a busy trace but what is needed to see the open."""
    program = StoredProgram(LiveMode.SNAPSHOT)
    for _ in range(100):
        program.end(program.begin("short"))
        program.turn(0.01)
    program.conclude()
    assert len(program.storage.received) == 100


def test_a_marker_leaves_with_the_first_that_finished_inside() -> None:
    """Outermost first and in the same request; later children need none."""
    program = StoredProgram(LiveMode.MARKERS, max_batch=10)
    operation = program.begin("operation")
    symbol = program.begin("symbol", operation)
    program.end(program.begin("load", symbol))
    program.turn()
    names = [(record.name, state_of(record)) for record in program.storage.received]
    assert names == [("operation", "started"), ("symbol", "started"), ("load", None)]
    program.end(program.begin("compute", symbol))
    program.turn()
    assert program.storage.received[3].name == "compute"
    assert len(program.storage.received) == 4


def test_a_parent_that_ended_but_waits_behind_a_full_batch_comes_with_its_child() -> None:
    """It is sent as it ended, ahead of its turn: a marker would say that it is open."""
    program = StoredProgram(LiveMode.MARKERS, max_batch=2)
    outer = program.begin("outer")
    first, second, third = (program.begin(name, outer) for name in ("1", "2", "3"))
    for span in (first, second, third, outer):
        program.end(span)
    program.turn()
    assert [record.name for record in program.storage.received] == ["outer", "1"]
    program.conclude()
    assert sorted(record.name for record in program.storage.received) == ["1", "2", "3", "outer"]


def test_failure_and_cancellation_are_in_the_end_that_is_shown() -> None:
    """The child of a marker has the status, the exception and the state of its span."""
    program = StoredProgram(LiveMode.MARKERS)
    failing = program.begin("fails")
    stopped = program.begin("stopped")
    program.turn(6)
    failing.record_exception(ValueError("no bars"))
    failing.set_status(Status(StatusCode.ERROR, "no bars"))
    stopped.set_attribute(semconv.SPAN_STATE, semconv.STATE_CANCELLED)
    program.conclude()
    finals = {record.name: record for record in program.storage.received if state_of(record) != "started"}
    assert [event.name for event in finals["fails"].events] == ["exception"]
    assert finals["fails"].status.description == "no bars"
    assert state_of(finals["fails"]) == semconv.STATE_FINISHED
    assert state_of(finals["stopped"]) == semconv.STATE_CANCELLED
    assert folded(program.storage.received) == program.plain_trace()


def test_an_end_that_may_be_overtaken_is_sent_twice() -> None:
    """After a request of unknown outcome that held a snapshot its end arrives again, when that can be no more."""
    program = StoredProgram(LiveMode.SNAPSHOT, [Answer.UNREACHED])
    span = program.begin("operation")
    program.turn(2)
    program.end(span)
    program.turn(1)
    assert [state_of(record) for record in program.storage.received] == [None]
    late = plain(program.ended[id_of(span)])
    program.turn(13)
    assert [plain(record) for record in program.storage.received] == [late, late]


@pytest.mark.parametrize("mode", LIVE)
def test_what_a_program_leaves_open_is_closed_when_the_queue_is(mode: LiveMode) -> None:
    """A span that was shown open and that nobody will end any more is told as lost, with an error."""
    queue = ExportQueue(
        [storage := Storage()], live=mode, interval_seconds=0.01, clock=(clock := FakeClock())
    )
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(ExportProcessor(queue))
    provider.get_tracer("tests").start_span("abandoned", start_time=clock.wall_ns())
    clock.advance(6)
    assert queue.flush(5)
    assert queue.shutdown(5)
    read = last_written if mode is LiveMode.SNAPSHOT else folded
    (seen,) = read(storage.received).values()
    assert seen.attributes[semconv.SPAN_STATE] == semconv.STATE_LOST
    assert (seen.status, seen.message) == ("ERROR", "its program left it open")


@given(steps=STEPS)
@pytest.mark.parametrize("mode", LIVE)
def test_nothing_is_shown_open_after_the_end_of_the_queue(
    mode: LiveMode, steps: list[tuple[int, int, float]]
) -> None:
    """Spans that are open when it is concluded have an end if they were shown, and are not shown if they were not."""
    program = StoredProgram(mode)
    run(program, steps)
    program.queue._inbox.append(_Mark(is_last=True))
    for _ in range(50):
        program.turn(0.5)
    read = last_written if mode is LiveMode.SNAPSHOT else folded
    shown = read(program.storage.received)
    for seen in shown.values():
        assert seen.attributes.get(semconv.SPAN_STATE) in (None, semconv.STATE_LOST), seen
        assert mode is LiveMode.SNAPSHOT or seen.parent is None or seen.parent in shown


def test_a_receiver_that_refuses_everything_is_owed_nothing() -> None:
    """It was never shown anything: nothing is kept for it, however many containers begin and end."""
    program = StoredProgram(LiveMode.MARKERS, [Answer.REFUSED] * 1000)
    for number in range(40):
        outer = program.begin(f"symbol {number}")
        program.end(program.begin("step", outer))
        program.turn(1)
        program.end(outer)
        program.turn(1)
    assert program.queue._waiting() == 0
    program.storage.answers.clear()
    program.end(program.begin("later"))
    program.turn(1)
    assert [record.name for record in program.storage.received] == ["later"]


def test_an_end_that_nobody_told_of_is_found_and_costs_no_rest() -> None:
    """Another processor raised before ours: the span is not open, has its end, and the thread sleeps meanwhile."""
    program = StoredProgram(LiveMode.SNAPSHOT)
    span = program.begin("operation")
    program.turn(2)
    program.clock.advance(4.9)
    program.open.remove(span)
    span._end_time = program.clock.wall_ns()
    program.ended[id_of(span)] = span
    program.turn()
    program.clock.advance(0.2)  # its next snapshot would be due
    assert program.queue._turn() > 0
    for _ in range(4):
        program.turn(1)
    assert last_written(program.storage.received) == program.plain_trace()
    assert program.queue.health().open_spans == 0


@pytest.mark.parametrize("seconds", [0.5, 6.0])
def test_a_span_that_is_withdrawn_is_not_shown_any_more(seconds: float) -> None:
    """It was never to be: unseen it leaves no trace, shown it ends as lost."""
    program = StoredProgram(LiveMode.SNAPSHOT)
    span = program.begin("operation")
    program.turn(seconds)
    program.queue.withdraw(id_of(span))
    for _ in range(20):
        program.turn(1)
    states = [state_of(record) for record in program.storage.received]
    assert states == ([] if seconds < 1 else [semconv.STATE_IN_PROGRESS, semconv.STATE_LOST])


def test_places_are_confirmed_without_a_gap() -> None:
    """Every taken span has a place; those up to the confirmed one have all left, whatever order they left in."""
    program = StoredProgram(LiveMode.MARKERS, [Answer.TAKEN, Answer.UNREACHED], max_batch=2)
    outer = program.begin("outer")
    for name in "12345":
        program.end(program.begin(name, outer))
    program.turn()
    assert [record.name for record in program.storage.received] == ["outer", "1"]
    assert program.queue.confirmed == 1
    program.turn()
    assert program.queue.confirmed == 1
    program.conclude()
    assert program.queue.confirmed == 6


def test_who_has_to_know_is_told_what_was_marked() -> None:
    """Once for each span of its own operation, in the order of the markers; those of others are left to them."""
    program = StoredProgram(LiveMode.MARKERS)
    program.begin("of nobody")
    outer = program.begin("outer", None, **{semconv.OPERATION_ID: "run"})
    inner = program.begin("inner", outer, **{semconv.OPERATION_ID: "run"})
    elsewhere = program.begin("elsewhere", None, **{semconv.OPERATION_ID: "another store's"})
    program.end(program.begin("step", inner))
    program.turn(6)
    assert program.queue.take_marked("run") == {id_of(outer): True, id_of(inner): True}
    assert program.queue.take_marked("run") == {}
    assert program.queue.take_marked("another store's") == {id_of(elsewhere): True}


def test_who_has_to_know_is_told_of_a_marker_that_was_refused() -> None:
    """After a death its span would else end as the child of what the receiver never had; marked again it counts."""
    program = StoredProgram(LiveMode.MARKERS, [Answer.REFUSED, Answer.TAKEN])
    outer = program.begin("outer", None, **{semconv.OPERATION_ID: "run"})
    program.turn(6)
    assert program.queue.take_marked("run") == {id_of(outer): False}
    program.turn(1)
    assert program.queue.take_marked("run") == {id_of(outer): True}
    assert [state_of(record) for record in program.storage.received] == [semconv.STATE_STARTED]


def test_what_nobody_asks_for_does_not_grow() -> None:
    """The operation that has not been asked for the longest is forgotten, and no other."""
    marks = Marks(most=4)
    for number in range(100):
        marks.tell(f"of nobody {number // 2}", number, is_marked=True)
        marks.tell("run", number, is_marked=True)
        assert marks.take("run") == {number: True}
    marks.tell("run", 100, is_marked=True)
    assert marks.take("of nobody 47") == {}
    assert marks.take("of nobody 49") == {98: True, 99: True}
    assert marks.take("run") == {100: True}

"""What becomes of the spans that wait for one exporter."""

import logging
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import ReadableSpan

from ktrdr_otel.exporters.delivery import Delivery, Fate
from ktrdr_otel.exporters.lane import DropCause, Lane
from tests.unit.exporters.conftest import FakeClock, ScriptedExporter, finished_spans

SPANS = finished_spans(64)


def nothing(span: ReadableSpan) -> dict[str, str]:
    """No progress to tell of."""
    return {}


def lane_to(exporter: ScriptedExporter, clock: FakeClock, spans: Sequence[ReadableSpan]) -> Lane:
    """A lane in which the spans wait."""
    lane = Lane(exporter, max_queue=64, max_batch=64, clock=clock)
    for span in spans:
        lane.add(span)
    return lane


@given(poison=st.sets(st.sampled_from([str(number) for number in range(64)]), max_size=1))
def test_one_poisonous_span_is_the_only_one_lost(poison: set[str]) -> None:
    """A batch with one span that nobody can store loses that span, and its order is kept."""

    def judge(spans: Sequence[ReadableSpan]) -> Delivery:
        bad = poison & {span.name for span in spans}
        return Delivery(Fate.INDIGESTIBLE, error="HTTP 400") if bad else Delivery(Fate.DELIVERED)

    exporter = ScriptedExporter(judge)
    lane = lane_to(exporter, FakeClock(), SPANS)
    lane.send(nothing)

    assert exporter.names == [span.name for span in SPANS if span.name not in poison]
    assert lane.dropped[DropCause.REJECTED] == len(poison)
    assert not lane.pending


def test_a_wholly_poisonous_batch_costs_a_bounded_number_of_tries() -> None:
    """Where every span is refused, not every span is tried."""
    exporter = ScriptedExporter(lambda spans: Delivery(Fate.INDIGESTIBLE))
    lane = lane_to(exporter, FakeClock(), SPANS)
    lane.send(nothing)
    assert lane.dropped[DropCause.REJECTED] == 64
    assert exporter.calls <= 1 + 2 * 7


@given(
    fates=st.lists(st.sampled_from(list(Fate)), max_size=40),
    sizes=st.lists(st.integers(0, 20), min_size=1, max_size=10),
)
def test_no_span_is_lost_uncounted(fates: list[Fate], sizes: list[int]) -> None:
    """Whatever the receiver does, a span is exported, dropped or still waits; none arrives twice."""
    script = iter(fates)
    exporter = ScriptedExporter(lambda spans: Delivery(next(script, Fate.DELIVERED)))
    clock = FakeClock()
    lane = Lane(exporter, max_queue=24, max_batch=8, clock=clock)
    spans = iter(finished_spans(sum(sizes)))
    for size in sizes:
        for _ in range(size):
            lane.add(next(spans))
        clock.advance(31)
        if lane.wait_ns() == 0:
            lane.send(nothing)
    assert lane.exported + lane.dropped.total() + len(lane.pending) == sum(sizes)
    assert lane.exported == len(exporter.names) == len(set(exporter.names))
    assert exporter.names == sorted(exporter.names, key=int)


def test_an_outage_is_waited_out_with_growing_pauses() -> None:
    """While nobody takes the spans the pauses double up to half a minute and nothing is dropped."""
    exporter = ScriptedExporter(lambda spans: Delivery(Fate.UNREACHABLE))
    clock = FakeClock()
    lane = lane_to(exporter, clock, SPANS)
    pauses = []
    for _ in range(20):
        lane.send(nothing)
        wait_ns = lane.wait_ns()
        assert wait_ns is not None
        pauses.append(wait_ns / 1e9)
        clock.advance(wait_ns / 1e9)
    assert pauses[:6] == [0.5, 1, 2, 4, 8, 16]
    assert set(pauses[6:]) == {30}
    assert len(lane.pending) == 64
    assert lane.dropped.total() == 0


def test_a_receiver_that_goes_away_during_the_search_loses_nothing() -> None:
    """What had not been tried yet waits, in order, for the receiver to come back."""
    answers = [Fate.INDIGESTIBLE, Fate.DELIVERED, Fate.UNREACHABLE]
    exporter = ScriptedExporter(lambda spans: Delivery(answers.pop(0) if answers else Fate.DELIVERED))
    clock = FakeClock()
    lane = lane_to(exporter, clock, SPANS)
    lane.send(nothing)
    assert len(lane.pending) == 32
    assert lane.wait_ns() == 500_000_000
    clock.advance(1)
    lane.send(nothing)
    assert exporter.names == [span.name for span in SPANS]
    assert lane.dropped.total() == 0


def test_an_unexplained_failure_is_blamed_on_the_batch_in_the_end() -> None:
    """A batch that an exporter refuses without a reason does not stand in the way for ever."""
    exporter = ScriptedExporter(
        lambda spans: Delivery(Fate.FAILED if any(span.name == "5" for span in spans) else Fate.DELIVERED)
    )
    lane = lane_to(exporter, FakeClock(), SPANS)
    for _ in range(6):
        assert lane.pending
        lane.send(nothing)
    assert not lane.pending
    assert lane.dropped[DropCause.REJECTED] == 1
    assert lane.exported == 63


def test_an_outage_and_its_end_are_one_log_record_each(caplog: pytest.LogCaptureFixture) -> None:
    """However many attempts fail, the log tells it once, and once that it is over."""
    answers = [Fate.UNREACHABLE] * 5 + [Fate.DELIVERED]
    exporter = ScriptedExporter(lambda spans: Delivery(answers.pop(0), error="ConnectionRefusedError"))
    clock = FakeClock()
    lane = lane_to(exporter, clock, SPANS)
    with caplog.at_level(logging.INFO):
        while lane.pending:
            lane.send(nothing)
            clock.advance(1)
    told = [record.getMessage() for record in caplog.records]
    assert told == [
        "spans do not get through to the script: ConnectionRefusedError; further faults are only counted",
        "spans get through to the script again after 5.0 s; 0 were lost",
    ]


def test_spans_that_a_receiver_did_not_store_are_counted() -> None:
    """A partial success counts what was rejected and sends nothing again."""
    exporter = ScriptedExporter(
        lambda spans: Delivery(Fate.DELIVERED, rejected=3, error="3 spans not stored")
    )
    lane = lane_to(exporter, FakeClock(), SPANS)
    lane.send(nothing)
    assert (lane.exported, lane.dropped[DropCause.REJECTED], exporter.calls) == (61, 3, 1)
    assert lane.last_error == "3 spans not stored"

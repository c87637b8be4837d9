"""Rows that are made straight from checkpoints are those that their units would make."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.trace import SpanContext

from ktrdr_otel import semconv
from ktrdr_otel.bridge.units import ended_unit, is_counted_alone, rows_of, unit_of_checkpoint
from ktrdr_otel.checkpoint import Checkpoint, checkpoint
from ktrdr_otel.operations.durations import Learned, kind_of, kind_of_row
from ktrdr_otel.operations.step_row import row_of_unit

WORDS = [
    *(word for word in semconv.KEY_OF_ATTRIBUTE if word is not None),
    semconv.EVALUATION,
    "load",
    "a word\0",
]
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False),
    st.text(st.characters(exclude_categories=())),
    st.sampled_from(["AAPL", "RSI", "\ud83d", "\0", ""]),
)


@st.composite
def ended(draw: st.DrawFn) -> Checkpoint:
    """A checkpoint that ended well, below another or not."""
    keywords: dict[str, Any] = draw(
        st.dictionaries(st.sampled_from(sorted(semconv.ATTRIBUTE_OF_KEY)), VALUES, max_size=9)
    )
    made = checkpoint(draw(st.sampled_from(WORDS)), **keywords)  # hostile values too
    made.ids = SpanContext(draw(st.integers(1, 3)), draw(st.integers(1, 2**64 - 1)), False)
    if draw(st.booleans()):
        made.parent = Checkpoint("symbol", {})
        made.parent.ids = SpanContext(made.ids.trace_id, draw(st.integers(1, 3)), False)
    made.export_place = draw(st.none() | st.integers(1, 9))
    made.began_monotonic_ns = made.started_ns = draw(st.integers(0, 2**60))
    made.ended_monotonic_ns = made.ended_ns = made.started_ns + draw(st.integers(0, 2**60))
    return made


@given(st.lists(ended(), max_size=5))
def test_a_row_made_at_once_is_the_row_of_its_unit(checkpoints: list[Checkpoint]) -> None:
    """Whatever the words, the values and the order: the short way stores and learns what the long one does."""
    counted = [each for each in checkpoints if is_counted_alone(each)]
    units = [ended_unit(unit_of_checkpoint(each, "op-1"), each) for each in counted]
    rows = rows_of(counted, "op-1")
    assert rows == [row_of_unit(unit) for unit in units]
    one, other = Learned(), Learned()
    for unit, row in zip(units, rows, strict=True):
        assert unit.is_finished_work
        words = [unit.progress_type, *unit.context.values()]
        if all(words) and all(isinstance(word, str) and word.isprintable() for word in words):
            assert kind_of_row(row) == kind_of(unit)
        one.add(unit)
        other.add_row(row)
    assert sum(units for units, _ in one.cells().values()) == sum(
        units for units, _ in other.cells().values()
    )


def test_what_is_more_than_counted_goes_the_long_way() -> None:
    """Containers, holds and epochs, what failed, was cancelled, has metrics or attributes of its own."""
    assert is_counted_alone(checkpoint("load"))
    for word in ("symbol", "timeframe", "training", semconv.HOLD, semconv.EPOCH):
        assert not is_counted_alone(checkpoint(word))
    failed, cancelled, measured, more = (checkpoint("load") for _ in range(4))
    failed.error = ("ValueError", "why")
    cancelled.cancelled = True
    measured.record({"loss": 0.5})
    more.notice({**more.attributes, "rows": 15847})
    assert not any(is_counted_alone(each) for each in (failed, cancelled, measured, more))
    assert not is_counted_alone(checkpoint("load", total_samples=15847))

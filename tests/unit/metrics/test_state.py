"""What the metrics know of operations: where each is, how it ended, and what of it is bounded."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource
from prometheus_client.parser import text_string_to_metric_families

from ktrdr_otel import semconv
from ktrdr_otel.metrics import instruments
from ktrdr_otel.metrics.instruments import Instrument
from ktrdr_otel.metrics.otlp import OtlpFace
from ktrdr_otel.metrics.prometheus import PrometheusFace
from ktrdr_otel.metrics.state import MetricsState
from ktrdr_otel.operations.models import OperationStatus
from tests.unit.metrics.builders import ended, indicator, operation, received, step

Labels = dict[str, str]


class Time:
    """The wall clock, moved by hand."""

    def __init__(self) -> None:
        self.now = datetime.now(UTC).timestamp()

    def __call__(self) -> float:
        """Seconds since the epoch."""
        return self.now


@pytest.fixture
def clock() -> Time:
    """Time that passes when a test says so."""
    return Time()


def told(state: MetricsState, instrument: Instrument) -> list[tuple[Labels, float]]:
    """The series of that instrument: its labels that are not empty, and its value."""
    return [
        ({name: each for name, each in zip(instrument.attributes, values, strict=True) if each}, value)
        for one, values, value in [*state.points(), *state.counters()]
        if one is instrument
    ]


def ends(state: MetricsState) -> dict[str, str]:
    """How each operation ended of which that is exposed."""
    return {
        labels[semconv.OPERATION_ID]: labels[semconv.OPERATION_STATUS]
        for labels, _ in told(state, instruments.ENDED)
    }


def totals(state: MetricsState) -> dict[str, float]:
    """How many have ended, by status."""
    return {labels[semconv.OPERATION_STATUS]: value for labels, value in told(state, instruments.OPERATIONS)}


def counted(face: PrometheusFace) -> dict[tuple[str, str, str], float]:
    """How many steps were counted, by progress type, timeframe and item, as a scraper reads it."""
    name = instruments.CHECKPOINT_DURATION.prometheus_name
    labels = instruments.CHECKPOINT_DURATION.labels
    return {
        (each.labels[labels[0]], each.labels[labels[1]], each.labels[labels[2]]): each.value
        for family in text_string_to_metric_families(face.render("")[0].decode())
        for each in family.samples
        if each.name == f"{name}_count"
    }


@pytest.mark.parametrize("word", [semconv.EVALUATION, semconv.HOLD, "a word of yours", semconv.EPOCH])
def test_where_an_operation_is_and_ended_has_its_progress_type(word: str) -> None:
    """Whatever keys the context has besides."""
    state = MetricsState()
    there = operation(context={"progress_type": word})
    state.stored([there, operation("two", context={"progress_type": word})], [], 0)
    state.stored([ended(operation("two", context={"progress_type": word}), OperationStatus.LOST)], [], 0)
    for instrument in (instruments.STEP_INFO, instruments.ENDED):
        assert [labels[semconv.PROGRESS_TYPE] for labels, _ in told(state, instrument)] == [word]


def test_a_state_that_was_stored_before_types_were_has_none() -> None:
    """Nothing is made up from its other keys."""
    state = MetricsState()
    state.stored([operation(context={"symbol": "AAPL"})], [], 0)
    ((labels, _),) = told(state, instruments.STEP_INFO)
    assert semconv.PROGRESS_TYPE not in labels
    assert labels[semconv.SYMBOL_NAME] == "AAPL"


def test_words_beyond_the_bound_are_other_and_our_own_types_never_are() -> None:
    """Of steps that have ended, and of the step under way."""
    state = MetricsState()
    face = PrometheusFace(state, list)
    state.stored([operation()], [step(number, progress_type=f"word {number}") for number in range(100)], 0)
    assert len(counted(face)) == 33
    assert counted(face)["other", "", ""] == 68
    state.stored([operation(context={"progress_type": "one more word"})], [step(200)], 0)
    ((labels, _),) = told(state, instruments.STEP_INFO)
    assert labels[semconv.PROGRESS_TYPE] == "other"
    assert counted(face)["epoch", "", ""] == 1


def test_forty_indicators_and_forty_fuzzy_sets_in_four_timeframes_fit() -> None:
    """The largest strategy that we measure, with its epochs: nothing is `other`."""
    state = MetricsState()
    face = PrometheusFace(state, list)
    steps = [
        indicator(1, progress_type=word, timeframe=timeframe, item_name=f"{word} {number}")
        for word in (semconv.INDICATOR_COMPUTATION, semconv.FUZZY_GENERATION)
        for timeframe in ("5m", "1h", "1d", "1w")
        for number in range(40)
    ]
    state.stored([operation()], [*steps, step(1), step(2, progress_type=semconv.EVALUATION)], 0)
    assert len(counted(face)) == 322
    assert counted(face)["epoch", "", ""] == counted(face)["evaluation", "", ""] == 1
    assert told(state, instruments.CARDINALITY_OVERFLOW) == [({}, 0.0)]


def test_items_beyond_the_bound_are_other_of_their_own_type_and_timeframe() -> None:
    """A board of indicators still counts them all; each such step is counted as overflow."""
    state = MetricsState()
    face = PrometheusFace(state, list)
    for number in range(300):
        state.stored([operation()], [indicator(number, item_name=f"I{number}")], 0)
    state.stored([operation()], [step(1), indicator(1, timeframe="1d", item_name="I299")], 0)
    seen = counted(face)
    assert seen["indicator_computation", "1h", "other"] == 100
    assert seen["indicator_computation", "1d", "other"] == 1
    assert seen["epoch", "", ""] == 1
    assert told(state, instruments.CARDINALITY_OVERFLOW) == [({}, 101.0)]


def test_timeframes_beyond_the_bound_are_other() -> None:
    """A program of any language may say anything."""
    state = MetricsState()
    face = PrometheusFace(state, list)
    steps = [indicator(number, timeframe=f"{number}m") for number in range(50)]
    state.stored([operation()], steps, 0)
    assert len(counted(face)) == 17
    assert counted(face)["indicator_computation", "other", "RSI"] == 34


def test_an_item_that_nobody_has_used_for_an_hour_makes_room(clock: Time) -> None:
    """A server that sees another strategy every day: its series are gone from both faces, those in use stay."""
    scraped, pushed = MetricsState(now=clock), MetricsState(now=clock)
    face, other = PrometheusFace(scraped, list), OtlpFace(pushed, Resource.get_empty(), list)
    yesterdays = [indicator(number, item_name=f"I{number}") for number in range(200)]
    for state in (scraped, pushed):
        state.stored([operation()], yesterdays, 0)
    clock.now += 3601
    for state in (scraped, pushed):
        state.stored([operation()], [indicator(1, item_name="I0"), indicator(2, item_name="new")], 0)
    seen = counted(face)
    assert len(seen) == 200
    assert seen["indicator_computation", "1h", "I0"] == 2
    assert seen["indicator_computation", "1h", "new"] == 1
    assert ("indicator_computation", "1h", "I1") not in seen
    points = received(other.metrics())["ktrdr.checkpoint.duration"].histogram.data_points
    assert len(points) == 200
    assert told(scraped, instruments.CARDINALITY_OVERFLOW) == [({}, 0.0)]


def test_late_steps_of_what_has_ended_are_not_kept() -> None:
    """Spans may arrive after their operation's end, and for operations that nobody has told of."""
    state = MetricsState()
    state.stored([operation("over")], [], 0)
    state.stored([ended(operation("over"))], [], 0)
    for number in range(2_000):
        late: dict[str, Any] = {"operation_id": "over" if number == 0 else f"unknown {number}"}
        state.stored([], [step(number, **late)], 0)
    assert not state._training


def test_metrics_of_an_epoch_stay_until_the_operation_ends() -> None:
    """Epochs may be hours apart; what else is brought meanwhile changes nothing."""
    state = MetricsState()
    state.stored([operation()], [step(3)], 1)
    state.stored([operation(), operation("two")], [], 1)
    assert told(state, instruments.EPOCH)[0][1] == 3.0
    state.stored([ended(operation())], [], 1)
    assert not told(state, instruments.EPOCH)


def test_an_operation_that_was_taken_for_dead_has_its_true_end() -> None:
    """Its process came back and completed before anybody looked; both ends were counted when they were told."""
    state = MetricsState()
    state.stored([ended(operation(), OperationStatus.LOST)], [], 0)
    assert ends(state) == {"one": "lost"}
    state.stored([ended(operation())], [], 0)
    state.stored([ended(operation())], [], 0)
    assert ends(state) == {"one": "completed"}
    assert totals(state) == {"lost": 1.0, "completed": 1.0}


def test_ends_from_before_are_shown_and_not_counted() -> None:
    """Of a server that starts again: the counters tell what it has seen itself."""
    state = MetricsState()
    face = PrometheusFace(state, list)
    at = datetime.now(UTC) - timedelta(minutes=5)
    failed = operation("old", status=OperationStatus.FAILED, ended_at=at)
    state.stored([operation(), ended(operation("new"))], [], 0)
    state.recall([failed, ended(operation()), ended(operation("new"), OperationStatus.LOST)])
    shown = {
        labels[semconv.OPERATION_ID]: (labels, value) for labels, value in told(state, instruments.ENDED)
    }
    assert shown.keys() == {"old", "new"}
    assert shown["old"][1] == at.timestamp()
    assert shown["old"][0][semconv.OPERATION_STATUS] == "failed"
    assert shown["old"][0][semconv.ITEM_NAME] == "RSI"
    assert shown["new"][0][semconv.OPERATION_STATUS] == "completed"
    assert totals(state) == {"completed": 1.0}
    assert [labels[semconv.OPERATION_ID] for labels, _ in told(state, instruments.PROGRESS)] == ["one"]
    assert 'duration_seconds_count{ktrdr_operation_status="failed"' not in face.render("")[0].decode()


def test_of_ends_from_before_the_newest_are_kept_and_none_for_longer(clock: Time) -> None:
    """Those that end now push out the oldest; each is gone a quarter of an hour after its end."""
    state = MetricsState(now=clock)
    begin = datetime.fromtimestamp(clock.now, UTC)
    old = [
        operation(f"old {number}", status=OperationStatus.FAILED, ended_at=begin - timedelta(seconds=number))
        for number in range(100)
    ]
    state.stored([ended(operation("now"))], [], 0)
    state.recall(old)
    assert len(ends(state)) == 100
    assert "now" in ends(state)
    assert "old 99" not in ends(state)
    clock.now += 15 * 60 - 10.5
    assert ends(state).keys() == {"now", *(f"old {number}" for number in range(11))}


def test_an_end_that_was_long_ago_is_shown_for_as_long_as_any(clock: Time) -> None:
    """A machine that was off overnight: nobody could have told earlier that its runs are lost."""
    state = MetricsState(now=clock)
    night = datetime.fromtimestamp(clock.now, UTC) - timedelta(hours=9)
    state.stored([operation(status=OperationStatus.LOST, ended_at=night)], [], 0)
    ((_, value),) = told(state, instruments.ENDED)
    assert value == night.timestamp()
    clock.now += 14 * 60
    assert ends(state) == {"one": "lost"}
    clock.now += 2 * 60
    assert ends(state) == {}


def test_who_is_stopped_is_not_stalled() -> None:
    """The flag may have been set before the process was stopped: it is silent then, and says why."""
    state = MetricsState()
    state.stored([operation(stalled=True, suspended=True)], [], 0)
    assert [value for _, value in told(state, instruments.STALLED)] == [0.0]
    assert [value for _, value in told(state, instruments.SUSPENDED)] == [1.0]
    state.stored([operation(stalled=True)], [], 0)
    assert [value for _, value in told(state, instruments.STALLED)] == [1.0]

"""The remaining time: from earlier runs, from this run's pace, or not at all; never made up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr_otel import semconv
from ktrdr_otel.progress.estimate import Kind, Pace
from ktrdr_otel.progress.events import Unit

INDICATOR = semconv.INDICATOR_COMPUTATION
SLOW: Kind = (INDICATOR, "slow", "1h")
FAST: Kind = (INDICATOR, "fast", "1h")


def lasting(seconds: float, progress_type: str | None = INDICATOR) -> Unit:
    """A unit that took so long."""
    return Unit("op-1", 1, 2, None, "unit", progress_type, {}, 0, 0, ended_ns=round(seconds * 1e9))


def test_nothing_is_known_before_anything_has_taken_time() -> None:
    """No earlier run and no finished unit: no figure."""
    assert Pace().remaining_seconds({INDICATOR: 3}) is None


def test_one_unknown_type_makes_the_whole_unknown() -> None:
    """Indicators are known, epochs are not."""
    pace = Pace()
    pace.finished(lasting(2.0))
    assert pace.remaining_seconds({INDICATOR: 3}) == 6.0
    assert pace.remaining_seconds({INDICATOR: 3, semconv.EPOCH: 10}) is None


def test_nothing_left_takes_no_time() -> None:
    """Also where nothing is known."""
    assert Pace().remaining_seconds({}) == 0.0


def test_earlier_runs_are_enough() -> None:
    """The mean over a type's kinds, for as many units as remain."""
    pace = Pace({SLOW: 9.0, FAST: 1.0, (semconv.EPOCH, None, None): 3.0})
    assert pace.remaining_seconds({INDICATOR: 2, semconv.EPOCH: 4}) == 22.0


def test_a_finished_slow_unit_leaves_only_the_fast_one() -> None:
    """The slow indicator takes 90 % of the time: when it is done, a tenth remains, not a half."""
    learned = {SLOW: 9.0, FAST: 1.0}
    slow_first, fast_first = Pace(learned), Pace(learned)
    slow_first.finished(lasting(9.0), SLOW)
    fast_first.finished(lasting(1.0), FAST)
    assert slow_first.remaining_seconds({INDICATOR: 1}) == 1.0
    assert fast_first.remaining_seconds({INDICATOR: 1}) == 9.0


def test_a_run_that_is_slower_than_earlier_ones_takes_longer_for_the_rest() -> None:
    """Twice as slow over the fast unit, and one mean unit (5 s) of prior: 9 s x (2 + 5) / (1 + 5)."""
    pace = Pace({SLOW: 9.0, FAST: 1.0})
    pace.finished(lasting(2.0), FAST)
    assert pace.remaining_seconds({INDICATOR: 1}) == pytest.approx(10.5)


def test_where_all_units_are_alike_this_runs_own_pace_counts() -> None:
    """A hundred times the data: the first epoch says more than all earlier runs."""
    kind: Kind = (semconv.EPOCH, None, None)
    pace = Pace({kind: 1.0})
    pace.finished(lasting(100.0, semconv.EPOCH), kind)
    assert pace.remaining_seconds({semconv.EPOCH: 3}) == pytest.approx(300.0)


def test_more_units_than_earlier_runs_had_still_take_time() -> None:
    """Three slow ones are done, which is more than the mean foresaw; the rest are at least as long as the least."""
    pace = Pace({SLOW: 9.0, FAST: 1.0})
    for _ in range(3):
        pace.finished(lasting(9.0), SLOW)
    assert pace.remaining_seconds({INDICATOR: 2}) == pytest.approx(2.0)


def test_containers_take_no_units_time() -> None:
    """A span without a progress type teaches nothing."""
    pace = Pace()
    pace.finished(lasting(5.0, None))
    assert pace.remaining_seconds({INDICATOR: 1}) is None


seconds = st.floats(0, 1e6)


@given(
    learned=st.dictionaries(st.sampled_from([SLOW, FAST]), seconds),
    done=st.lists(st.tuples(st.sampled_from([SLOW, FAST]), seconds), max_size=10),
    left=st.floats(0.01, 100),
)
def test_an_estimate_is_never_negative(
    learned: dict[Kind, float], done: list[tuple[Kind, float]], left: float
) -> None:
    """Whatever was learned and whatever came; None only where nothing is known."""
    pace = Pace(learned)
    for kind, took in done:
        pace.finished(lasting(took), kind)
    estimate = pace.remaining_seconds({INDICATOR: left})
    assert (estimate is None) == (not learned and not done)
    assert estimate is None or estimate >= 0

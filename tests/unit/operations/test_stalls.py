"""Stalled if and only if an allowance was exceeded, on a clock that stands still while the process does."""

from hypothesis import given
from hypothesis import strategies as st

from ktrdr_otel.operations import lease
from ktrdr_otel.operations.allowances import Allowances, p99_seconds
from ktrdr_otel.operations.lease import Heartbeat
from ktrdr_otel.operations.models import Worker
from ktrdr_otel.operations.stalls import Condition, Silence, judge

ALLOWANCE = 10.0
LOOK = 0.25


@given(st.lists(st.floats(min_value=0.0, max_value=25.0), min_size=1, max_size=12))
def test_stalled_if_and_only_if_an_allowance_was_exceeded(steps: list[float]) -> None:
    """For any sequence of step lengths, looked at four times a second."""
    silence = Silence(0)
    now, seen = 0.0, set()
    silence.look(0, now, is_stopped=False)
    for number, length in enumerate(steps, start=1):
        looks = int(length / LOOK)
        for _ in range(looks):
            now += LOOK
            if judge(silence.look(number, now, is_stopped=False), ALLOWANCE, None) is Condition.STALLED:
                seen.add(number)
        now += length - looks * LOOK
    for number, length in enumerate(steps, start=1):
        # It is looked at every quarter of a second: what is shorter than that beyond the allowance may be missed.
        if length > ALLOWANCE + 2 * LOOK:
            assert number in seen
        if length <= ALLOWANCE:
            assert number not in seen


@given(st.floats(min_value=0, max_value=9), st.floats(min_value=1, max_value=1000))
def test_a_stopped_process_is_never_stalled(before: float, stopped: float) -> None:
    """Its clock goes on from where it stood."""
    silence = Silence(1)
    silence.look(1, 0.0, is_stopped=False)
    assert silence.look(1, before, is_stopped=False) == before
    silence.look(1, before + 0.1, is_stopped=True)
    assert silence.look(1, before + stopped, is_stopped=True) <= before + 0.1
    assert silence.is_suspended
    assert silence.look(1, before + stopped + 0.1, is_stopped=False) <= before + 0.1
    assert silence.look(2, before + stopped + 5, is_stopped=False) == 0


def test_slow_is_between_what_it_ever_took_and_what_is_allowed() -> None:
    """And unknown where nothing has been learned."""
    assert judge(3, 30, 2) is Condition.SLOW
    assert judge(1, 30, 2) is Condition.MOVING
    assert judge(31, 30, 2) is Condition.STALLED
    assert judge(29, 30, None) is Condition.MOVING


def test_allowances_are_learned_with_a_floor() -> None:
    """Five times the 99th percentile; never below the floor; unknown kinds have their own."""
    kind, other = ("load", "AAPL", "1h"), ("load", "MSFT", "1h")
    p99 = p99_seconds([(kind, 8 * 33, 98), (kind, 8 * 34, 1), (kind, 8 * 36, 1)])  # 8.6 s, 17 s, 69 s
    allowances = Allowances(p99, factor=5, floor_seconds=30, unknown_seconds=300)
    learned = allowances.of(kind)
    assert 17 < p99[kind] < 19
    assert learned.seconds == p99[kind] * 5
    assert allowances.of(other) == (300, None)
    quick = Allowances({kind: 0.001}, factor=5, floor_seconds=30, unknown_seconds=300)
    assert quick.of(kind).seconds == 30


def test_a_step_is_slow_well_beyond_what_such_steps_take() -> None:
    """By a second and by half of its 99th percentile: what a busy machine adds to a short step is no slowness."""
    kind = ("load", "AAPL", "1h")

    def slow_after(p99: float) -> float | None:
        allowances = Allowances({kind: p99}, factor=5, floor_seconds=30, unknown_seconds=300)
        return allowances.of(kind).slow_after_seconds

    assert slow_after(0.2) == 1.2
    assert slow_after(2.0) == 3.0
    assert slow_after(60.0) == 90.0


@given(st.sampled_from([-3600, 3600]))
def test_who_sets_the_clock_changes_no_state(moved_seconds: int) -> None:
    """On the same boot only the monotonic clock counts."""
    worker = Worker(host="here", boot_id="boot", pid=4711, pid_started_ticks=0, pid_namespace="other")
    beat = Heartbeat(worker, 10**18, 10**9, 15)
    here = lease.Here("boot", "mine", 10**18 + moved_seconds * 10**9, 10**9 + 10**9)
    assert lease.lost_reason(beat, here, started_ticks=None) is None

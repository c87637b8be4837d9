"""The human pace of lines."""

from hypothesis import given
from hypothesis import strategies as st

from ktrdr_otel.display.pace import Pace
from tests.unit.display.builders import HandClock

_STEPS = st.lists(
    st.tuples(st.sampled_from("ab"), st.sampled_from(["AAPL", "MSFT"]), st.floats(0, 0.3)), max_size=60
)


@given(_STEPS)
def test_the_last_line_of_every_kind_in_every_scope_is_said(steps: list[tuple[str, str, float]]) -> None:
    """However fast the work is, nobody is left with an old line of a kind that has moved on."""
    clock, said = HandClock(), list[str]()
    pace = Pace(said.append, monotonic=clock.monotonic)
    runs: list[dict[str, str]] = []
    scope_before = None
    for number, (kind, scope, seconds) in enumerate(steps):
        if scope != scope_before:
            runs.append({})
            scope_before = scope
        runs[-1][kind] = f"{number}"
        pace.line(kind, (scope,), f"{number}")
        clock.advance(seconds)
    pace.flush()

    assert set(said) >= {line for run in runs for line in run.values()}
    assert said == sorted(said, key=int)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 0.05)), min_size=1, max_size=200))
def test_within_a_scope_there_are_ten_lines_a_second(steps: list[tuple[str, float]]) -> None:
    """Kinds that alternate do not make it faster."""
    clock, said = HandClock(), list[str]()
    pace = Pace(said.append, monotonic=clock.monotonic)
    for number, (kind, seconds) in enumerate(steps):
        pace.line(kind, ("AAPL",), f"{number}")
        clock.advance(seconds)

    elapsed = clock.seconds - 1000.0
    assert len(said) <= elapsed * 10 + 2  # the first, and one more kind


def test_what_has_not_changed_is_not_said_twice() -> None:
    """A line is a change."""
    clock, said = HandClock(), list[str]()
    pace = Pace(said.append, monotonic=clock.monotonic)
    for _ in range(3):
        pace.line("a", (), "same")
        clock.advance(1)
    pace.flush()

    assert said == ["same"]


def test_memory_is_bounded_whatever_the_kinds() -> None:
    """A job that has a word of its own for every unit is said, not hoarded."""
    clock, said = HandClock(), list[str]()
    pace = Pace(said.append, monotonic=clock.monotonic)
    for number in range(1000):
        pace.line(f"kind {number}", (), f"{number}")
    held = 1000 - len(said)

    assert 0 <= held <= 32

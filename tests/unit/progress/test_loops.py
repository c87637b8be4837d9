"""What is known of an operation without a plan: the units that its loops announce."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr_otel import checkpoint, observe, semconv
from ktrdr_otel.observation import Observation
from ktrdr_otel.progress.events import Unit
from ktrdr_otel.progress.loops import Loops


def item(index: int, total: int) -> Unit:
    """One of a loop of so many."""
    return Unit("op-1", 1, index, None, "load", "load", {"index": index, "total": total}, 0, 0)


@given(total=st.integers(1, 30), passes=st.integers(1, 4), seed=st.integers())
def test_every_pass_of_a_loop_is_announced_once(total: int, passes: int, seed: int) -> None:
    """In whatever order its units come, and although some fail and are tried again."""
    chance = random.Random(seed)
    loops = Loops()
    for number in range(1, passes + 1):
        order = list(range(1, total + 1))
        chance.shuffle(order)
        for index in order:
            while chance.random() < 0.3:
                assert loops.begins(item(index, total)) == number * total  # and fails
            assert loops.begins(item(index, total)) == number * total
            loops.ends(item(index, total))


def test_a_loop_that_grows_is_one_loop() -> None:
    """A queue is as long as what was found so far."""
    loops = Loops()
    known = []
    for index, total in ((1, 1), (2, 2), (3, 5), (4, 5), (5, 5)):
        known.append(loops.begins(item(index, total)))
        loops.ends(item(index, total))
    assert known == [1, 2, 5, 5, 5]


def test_who_announces_nothing_adds_nothing() -> None:
    """A unit need not say of how many it is one."""
    alone = Unit("op-1", 1, 1, None, "load", "load", {}, 0, 0)
    loops = Loops()
    assert loops.begins(alone) is None
    loops.ends(alone)
    assert loops.begins(item(1, 3)) == 3


Known = Callable[[], tuple[int, int | None]]


@pytest.fixture
def known() -> Iterator[Known]:
    """What an operation without a plan says of its units."""
    with observe("job", display="off", database="sqlite:///:memory:") as operation:
        yield lambda: _units(operation)


def _units(operation: Observation) -> tuple[int, int | None]:
    status: dict[str, Any] = operation.status()
    return status["items_completed"], status["items_planned"]


@pytest.mark.parametrize(
    "kind", [semconv.INDICATOR_COMPUTATION, semconv.FUZZY_GENERATION, semconv.EPOCH, "anything"]
)
def test_the_total_is_known_from_the_first_unit_on(known: Known, kind: str) -> None:
    """Whatever the seed calls the total of that type: 19 of 40, not 19 of 19."""
    for index in range(1, 41):
        with checkpoint(
            kind, symbol="AAPL", symbol_index=1, total_symbols=1, timeframe="1h", index=index, total=40
        ):
            assert known() == (index - 1, 40)
    assert known() == (40, 40)


def test_the_next_symbol_has_units_of_its_own(known: Known) -> None:
    """Its loop comes on top when it begins."""
    for number, symbol in enumerate(("AAPL", "MSFT"), 1):
        with checkpoint("symbol", symbol=symbol, symbol_index=number, total_symbols=2):
            for index in range(1, 5):
                with checkpoint(
                    "indicator_computation", indicator_name="RSI", indicator_index=index, total_indicators=4
                ):
                    assert known() == ((number - 1) * 4 + index - 1, number * 4)


def test_one_loop_may_run_through_many_containers(known: Known) -> None:
    """One file of each symbol: as many as they say, not as many for each."""
    for index, symbol in enumerate(("AAPL", "GOOG", "IBM", "MSFT"), 1):
        with (
            checkpoint("symbol", symbol=symbol, symbol_index=index, total_symbols=4),
            checkpoint("load", item=symbol, index=index, total=4),
        ):
            assert known() == (index - 1, 4)


def test_what_remains_is_unknown_when_all_that_was_announced_is_done() -> None:
    """No plan says that nothing comes any more: not `0 s`, but nobody knows."""
    with observe("job", display="off", database="sqlite:///:memory:") as operation:
        for index in (1, 2):
            with checkpoint("load", index=index, total=2):
                pass
            remaining = operation.status()["estimated_remaining_seconds"]
            assert (remaining is None) == (index == 2)

"""The manager: one callback per call with a state of its own, and a percentage that never falls."""

import logging
import threading
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr_otel.progress.manager import GenericProgressManager
from ktrdr_otel.progress.renderer import ProgressRenderer
from ktrdr_otel.progress.state import GenericProgressState


def followed(
    renderer: ProgressRenderer | None = None,
) -> tuple[GenericProgressManager, list[GenericProgressState]]:
    """A manager, and the states that its callback has had."""
    states: list[GenericProgressState] = []
    return GenericProgressManager(states.append, renderer), states


def test_every_call_is_told_once_with_a_state_of_its_own() -> None:
    """What a listener does to its state or context reaches nobody else."""
    manager, states = followed()
    manager.start_operation("op-1", 4, {"symbol": "AAPL"})
    manager.update_progress(1, "one")
    manager.update_progress(2)
    manager.complete_operation()
    assert [state.percentage for state in states] == [0, 25, 50, 100]
    assert [state.message for state in states] == ["Starting op-1", "one", "one", "Operation op-1 completed"]
    states[1].context["symbol"] = "MSFT"
    assert states[2].context == {"symbol": "AAPL"}
    assert len({id(state) for state in states}) == 4


def test_a_callback_that_raises_is_logged_and_nothing_more(caplog: pytest.LogCaptureFixture) -> None:
    """The operation goes on."""

    def broken(state: GenericProgressState) -> None:
        raise RuntimeError(state.message)

    manager = GenericProgressManager(broken)
    with caplog.at_level(logging.WARNING):
        manager.start_operation("op-1", 4)
        manager.update_progress(2, "half")
    assert [record.message for record in caplog.records] == [
        "Progress callback failed; the operation goes on"
    ] * 2
    state = manager.current()
    assert state is not None
    assert (state.percentage, state.message) == (50, "half")


def test_an_update_before_the_start_is_logged_and_told_to_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """There is nothing to be at a step of."""
    manager, states = followed()
    with caplog.at_level(logging.WARNING):
        manager.update_progress(1)
        manager.complete_operation()
    assert len(caplog.records) == 2
    assert states == []


def test_a_step_moves_within_its_own_range() -> None:
    """The second of four steps, half way: 37.5 %."""
    manager, states = followed()
    manager.start_operation("op-1", 4)
    manager.start_step("load", 2)
    manager.update_step_progress(5, 10, items_processed=500, detail="bars")
    assert [state.percentage for state in states] == [0, 25, 37.5]
    assert states[-1].context["step_detail"] == "bars"


def test_the_renderer_words_what_is_handed_out_only() -> None:
    """The manager's own state keeps its message."""

    class Loud(ProgressRenderer):
        def render_message(self, state: GenericProgressState) -> str:
            return state.message.upper()

        def enhance_state(self, state: GenericProgressState) -> GenericProgressState:
            state.context["enhanced"] = True
            return state

    manager, states = followed(Loud())
    manager.start_operation("op-1", 4)
    own = manager.current()
    assert (states[0].message, states[0].context) == ("STARTING OP-1", {"enhanced": True})
    assert own is not None
    assert (own.message, own.context) == ("Starting op-1", {})


@given(steps=st.lists(st.integers(-5, 15), max_size=40), threads=st.integers(1, 4))
def test_the_percentage_never_falls_within_an_operation(steps: list[int], threads: int) -> None:
    """Whatever steps are told, from however many threads; another operation begins at 0."""
    manager, states = followed()
    manager.start_operation("op-1", 10)

    def work(mine: list[int]) -> None:
        for step in mine:
            manager.update_progress(step)

    workers = [threading.Thread(target=work, args=(steps[at::threads],)) for at in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(states) == 1 + len(steps)
    assert all(later.percentage >= earlier.percentage for earlier, later in pairwise(states))
    assert states[-1].percentage == min(max([0, *steps]), 10) * 10
    manager.start_operation("op-2", 10)
    assert states[-1].percentage == 0

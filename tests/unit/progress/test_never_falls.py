"""What is told of an operation never falls, in the order in which it is told, from however many threads it comes."""

import random
import sys
import threading
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, TypeVar

from hypothesis import given, settings
from hypothesis import strategies as st

from ktrdr_otel import checkpoint, observe, semconv
from ktrdr_otel.bridge.training_bridge import TrainingProgressBridge
from ktrdr_otel.progress.events import Unit
from ktrdr_otel.progress.plan import Plan

KINDS = [
    semconv.INDICATOR_COMPUTATION,
    semconv.FUZZY_GENERATION,
    semconv.PREPARATION,
    semconv.EPOCH,
    semconv.EVALUATION,
    "load",
]
plans = st.dictionaries(st.sampled_from(KINDS), st.integers(1, 8), min_size=1)
Work = tuple[str, int, int]  # progress type, index, total
T = TypeVar("T")


def shuffled(units: dict[str, int], seed: int) -> list[Work]:
    """All units of the plan, in a random order."""
    order = [(kind, index, total) for kind, total in units.items() for index in range(1, total + 1)]
    random.Random(seed).shuffle(order)
    return order


def in_threads(count: int, order: Sequence[T], work: Callable[[T], None]) -> None:
    """The work is done by so many threads, that begin together."""
    together = threading.Barrier(count)

    def some(mine: Sequence[T]) -> None:
        together.wait()
        for each in mine:
            work(each)

    workers = [threading.Thread(target=some, args=(order[first::count],)) for first in range(count)]
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # so that they meet in the middle of things
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    finally:
        sys.setswitchinterval(usual)


def never_falls(told: Sequence[float]) -> bool:
    """Each as high as the one before it, or higher."""
    return all(later >= earlier for earlier, later in pairwise(told))


class Hearer:
    """Hears each change in the order in which it is told."""

    def __init__(self) -> None:
        self.percentages: list[float] = []
        self.finished = 0

    def operation_started(self, operation: object) -> None:
        """Nothing is done yet."""

    def unit_started(self, unit: Unit, progress: Any) -> None:
        """Where it was then."""
        self.percentages.append(progress.percentage)

    def unit_finished(self, unit: Unit, progress: Any) -> None:
        """Where it is now."""
        self.percentages.append(progress.percentage)
        self.finished += unit.is_finished_work

    def ticked(self, tick: object, progress: Any) -> None:
        """Nothing loops here."""

    def status_changed(self, operation_id: str, status: object, progress: Any, error: object) -> None:
        """The end."""
        self.percentages.append(progress.percentage)


@settings(max_examples=25)
@given(units=plans, seed=st.integers(), threads=st.integers(1, 4), planned=st.booleans())
def test_what_listeners_are_told_never_falls(
    units: dict[str, int], seed: int, threads: int, planned: bool
) -> None:
    """Over random plans, none at all, orders and thread counts, while somebody else asks all the time."""
    hearer = Hearer()
    asked: list[float] = []
    order = shuffled(units, seed)
    with observe(
        "job",
        plan=Plan(units) if planned else None,
        display="off",
        database="sqlite:///:memory:",
        listeners=[hearer],
    ) as operation:

        def work(each: Work) -> None:
            kind, index, total = each
            with checkpoint(kind, index=index, total=total):
                pass

        done = threading.Event()

        def ask() -> None:
            while not done.is_set():
                asked.append(operation.status()["percentage"])

        asker = threading.Thread(target=ask)
        asker.start()
        in_threads(threads, order, work)
        done.set()
        asker.join()
    assert hearer.finished == len(order)
    assert never_falls(hearer.percentages)
    assert never_falls(asked)
    assert hearer.percentages[-1] == 100
    assert max(hearer.percentages[:-1]) < 100


@given(units=plans, seed=st.integers(), threads=st.integers(1, 4))
def test_what_a_bridge_tells_never_falls(units: dict[str, int], seed: int, threads: int) -> None:
    """Driven by many threads at once, with a plan that is counted beside it."""
    told: list[float] = []
    plan = Plan(units)
    bridge = TrainingProgressBridge(
        context=None, update_progress_callback=lambda **update: told.append(update["percentage"]), plan=plan
    )

    def work(each: Work) -> None:
        kind, index, total = each
        bridge.on_item(kind, {"index": index, "total": total})
        plan.finish(kind)
        bridge.refresh()

    in_threads(threads, shuffled(units, seed), work)
    bridge.on_complete()
    assert never_falls(told)
    assert told[-1] == 100


@given(
    calls=st.lists(st.tuples(st.integers(0, 4), st.integers(1, 5), st.integers(1, 5)), min_size=1),
    threads=st.integers(1, 4),
)
def test_a_bridge_without_a_plan_never_falls(calls: list[tuple[int, int, int]], threads: int) -> None:
    """Whatever is told, in whatever order: an earlier symbol, an epoch before it, another epoch's batch."""
    told: list[float] = []
    bridge = TrainingProgressBridge(
        context=None, update_progress_callback=lambda **update: told.append(update["percentage"])
    )

    def work(call: tuple[int, int, int]) -> None:
        number, index, other = call
        if number == 0:
            bridge.on_symbol_processing("AAPL", index, 5, semconv.CREATING_FEATURES)
        elif number == 1:
            bridge.on_indicator_computation("AAPL", index, 5, "1h", "RSI", other, 5)
        elif number == 2:
            bridge.on_preparation_phase("combining_data")
        elif number == 3:
            bridge.on_epoch(index - 1, 5)
        else:
            bridge.on_batch(index - 1, other - 1, 5)

    in_threads(threads, calls, work)
    assert never_falls(told)

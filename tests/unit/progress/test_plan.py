"""The ratio: finished over planned, whatever the order, and it never falls."""

import random
import threading
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr_otel import semconv
from ktrdr_otel.progress.plan import Plan

TYPES = [
    semconv.PREPROCESSING,
    semconv.INDICATOR_COMPUTATION,
    semconv.FUZZY_GENERATION,
    semconv.PREPARATION,
    semconv.EPOCH,
    semconv.EVALUATION,
    "load",
]
plans = st.dictionaries(st.sampled_from(TYPES), st.integers(0, 20), min_size=1)


@given(units=plans, seed=st.integers(), threads=st.integers(1, 4))
def test_the_ratio_never_falls_and_counts_every_unit_once(
    units: dict[str, int], seed: int, threads: int
) -> None:
    """Over random plans, orders and thread counts, as any one thread sees it; 1 only at completion.

    What is told in one order to all is the bridge's to say: `test_never_falls`.
    """
    plan = Plan(units)
    order = [kind for kind, count in units.items() for _ in range(count)]
    random.Random(seed).shuffle(order)
    seen: list[list[float]] = [[] for _ in range(threads)]

    def work(mine: list[str], ratios: list[float]) -> None:
        for kind in mine:
            plan.finish(kind)
            ratios.append(plan.ratio())

    workers = [
        threading.Thread(target=work, args=(order[first::threads], seen[first])) for first in range(threads)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert plan.finished == plan.planned == len(order)
    for ratios in seen:
        assert all(later >= earlier - 1e-12 for earlier, later in pairwise(ratios))
    assert plan.ratio() < 1
    plan.complete()
    assert plan.ratio() == 1


def test_the_allocation_is_the_seeds() -> None:
    """5 % before training, 95 % after it."""
    plan = Plan.training(steps=2, indicators=4, fuzzy_sets=4, epochs=10)
    for kind, count in (
        (semconv.PREPROCESSING, 2),
        (semconv.INDICATOR_COMPUTATION, 4),
        (semconv.FUZZY_GENERATION, 4),
    ):
        for _ in range(count):
            plan.finish(kind)
    for _ in range(3):
        plan.finish(semconv.PREPARATION)
    assert plan.ratio() == pytest.approx(0.05)
    plan.finish(semconv.EPOCH)
    assert plan.ratio() == pytest.approx(0.14)
    plan.partly(semconv.EPOCH, 0.5)
    assert plan.ratio() == pytest.approx(0.185)
    for _ in range(9):
        plan.finish(semconv.EPOCH)
    assert plan.ratio() == pytest.approx(0.95)


def test_an_early_stop_takes_the_rest_out() -> None:
    """What will not come is not waited for."""
    plan = Plan.training(steps=0, indicators=0, fuzzy_sets=0, preparation=0, epochs=100)
    plan.finish(semconv.EPOCH)
    assert plan.forgo(semconv.EPOCH) == 99
    assert plan.planned == 2
    assert plan.remaining() == {semconv.EVALUATION: 1}
    assert plan.ratio() == pytest.approx(0.90 / 0.95)


def test_a_unit_beyond_the_plan_widens_it() -> None:
    """Never more than all."""
    plan = Plan({"load": 1})
    plan.finish("load")
    plan.finish("load")
    assert (plan.finished, plan.planned) == (2, 2)


@given(st.lists(st.floats(-1, 2), min_size=1))
def test_a_unit_under_way_never_goes_back(fractions: list[float]) -> None:
    """A second loop inside an epoch begins at 0; the epoch does not."""
    plan = Plan({semconv.EPOCH: 2})
    seen = []
    for fraction in fractions:
        plan.partly(semconv.EPOCH, fraction)
        seen.append(plan.ratio())
    assert all(later >= earlier for earlier, later in pairwise(seen))
    assert 0 <= seen[-1] <= 0.5
    plan.finish(semconv.EPOCH)
    assert plan.ratio() == pytest.approx(0.5)

"""The bridge: the seed's words, percentages that never fall, nothing told to who has been cancelled."""

import threading
from collections.abc import Callable
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrdr_otel import semconv
from ktrdr_otel.bridge.training_bridge import TrainingProgressBridge
from ktrdr_otel.cancellation import CancellationToken
from ktrdr_otel.errors import CancellationError
from ktrdr_otel.progress.manager import GenericProgressManager
from ktrdr_otel.progress.plan import Plan
from ktrdr_otel.progress.state import GenericProgressState


def followed(**options: Any) -> tuple[TrainingProgressBridge, list[GenericProgressState]]:
    """A bridge, and the states that its manager's callback has had so far."""
    states: list[GenericProgressState] = []
    manager = GenericProgressManager(states.append)
    manager.start_operation("op-1", 10)
    states.clear()
    return TrainingProgressBridge(context=None, progress_manager=manager, **options), states


def test_a_bridge_that_nobody_hears_is_refused() -> None:
    """A manager or a callback must be given."""
    with pytest.raises(ValueError, match="progress_manager or update_progress_callback"):
        TrainingProgressBridge(context=None)


@pytest.mark.parametrize(
    ("step", "percentage"),
    [
        ("loading_data", 1.0),
        ("creating_features", 1.6),
        ("generating_labels", 1.8),
    ],
)
def test_a_symbols_step_is_a_fifth_of_its_share(step: str, percentage: float) -> None:
    """Second of five symbols: 1 % for the first, then 1 % x step number / 5."""
    bridge, _ = followed()
    bridge.on_symbol_processing("AAPL", 2, 5, step)
    assert bridge.percentage == pytest.approx(percentage)


def test_an_indicator_counts_by_its_index() -> None:
    """(1 + 15/40) / 5 of 5 %."""
    bridge, _ = followed()
    bridge.on_indicator_computation("AAPL", 2, 5, "1h", "RSI", 15, 40)
    assert bridge.percentage == pytest.approx(1.375)


def test_a_fuzzy_set_counts_by_its_index() -> None:
    """(1 + 12/40) / 5 of 5 %."""
    bridge, _ = followed()
    bridge.on_fuzzy_generation("AAPL", 2, 5, "1h", "macd_standard", 12, 40)
    assert bridge.percentage == pytest.approx(1.3)


def test_preparation_is_at_5_percent_and_epochs_share_the_next_90() -> None:
    """5 + 90 x 5/100 after the fifth epoch of a hundred."""
    bridge, _ = followed()
    bridge.on_preparation_phase("combining_data")
    assert bridge.percentage == 5.0
    bridge.on_epoch(4, 100, {})
    assert bridge.percentage == pytest.approx(9.5)


def test_items_count_before_epochs() -> None:
    """120 of 50,000 batches: 5 + 90 x 120 / 50000."""
    bridge, _ = followed()
    bridge.on_batch(0, 119, metrics={"total_batches_per_epoch": 500, "total_batches": 50_000})
    assert bridge.percentage == pytest.approx(5.216)


def test_the_first_batch_of_an_epoch_is_not_the_whole_epoch() -> None:
    """Batch 1 of 10 in the first of two epochs is a twentieth of the training."""
    bridge, _ = followed()
    bridge.on_epoch_started(0, 2)
    bridge.on_batch(0, 0, 10)
    assert bridge.percentage == pytest.approx(5 + 90 / 20)


def test_a_batch_of_unknown_many_counts_nothing_of_its_epoch() -> None:
    """The second of four epochs is under way: one quarter of the training is finished."""
    bridge, _ = followed()
    bridge.on_epoch_started(1, 4)
    bridge.on_batch(1, 0)
    assert bridge.percentage == pytest.approx(5 + 90 / 4)


def test_the_percentage_is_100_only_at_the_end() -> None:
    """After the last epoch it is 95 %."""
    bridge, _ = followed()
    bridge.on_epoch(99, 100, {})
    assert bridge.percentage == 95.0
    bridge.on_complete()
    assert (bridge.percentage, bridge.message) == (100.0, "Training complete")


def test_only_some_batches_are_told() -> None:
    """The first, every third and the last two of ten."""
    bridge, states = followed(batch_update_stride=3)
    for batch in range(10):
        bridge.on_batch(0, batch, 10)
    assert [state.context["batch_number"] for state in states] == [1, 3, 6, 9, 10]


def test_the_stride_is_read_from_the_training_config() -> None:
    """Of the context the bridge reads `progress.batch_stride`."""
    told: list[int] = []
    bridge = TrainingProgressBridge(
        context=SimpleNamespace(total_epochs=1, training_config={"progress": {"batch_stride": 4}}),
        update_progress_callback=lambda **state: told.append(state["batch_number"]),
    )
    for batch in range(9):
        bridge.on_batch(0, batch, 100)
    assert told == [1, 4, 8]


def test_a_strangers_keys_do_not_displace_the_bridges_own() -> None:
    """A unit whose context has `step` and `phase` of its own is told all the same."""
    told: list[dict[str, Any]] = []
    bridge = TrainingProgressBridge(context=None, update_progress_callback=lambda **state: told.append(state))
    bridge.on_item("load", {"step": "fetching", "phase": "mine", "item": "MSFT"})
    assert (told[0]["step"], told[0]["phase"], told[0]["item"]) == (0, "load", "MSFT")


CALLS: list[Callable[[TrainingProgressBridge], None]] = [
    lambda bridge: bridge.on_symbol_processing("AAPL", 1, 5, "loading_data"),
    lambda bridge: bridge.on_indicator_computation("AAPL", 1, 5, "1h", "RSI", 1, 40),
    lambda bridge: bridge.on_fuzzy_generation("AAPL", 1, 5, "1h", "rsi", 1, 40),
    lambda bridge: bridge.on_preparation_phase("combining_data"),
    lambda bridge: bridge.on_epoch_started(0, 10),
    lambda bridge: bridge.on_epoch(0, 10),
    lambda bridge: bridge.on_batch(0, 0, 10),
    lambda bridge: bridge.on_item("load", {}),
    lambda bridge: bridge.on_loop("load", 1, 10, {}),
    lambda bridge: bridge.on_phase("warm_up"),
    lambda bridge: bridge.on_remote_snapshot({}),
    lambda bridge: bridge.on_complete(),
]


@pytest.mark.parametrize("call", CALLS)
def test_the_cancelled_is_told_nothing_more(call: Callable[[TrainingProgressBridge], None]) -> None:
    """Every method raises before anything is told."""
    token = CancellationToken()
    token.cancel()
    bridge, states = followed(cancellation_token=token)
    with pytest.raises(CancellationError):
        call(bridge)
    assert states == []


def test_a_cancellation_itself_is_told() -> None:
    """`on_cancellation` asks no token, and the percentage stays."""
    token = CancellationToken()
    bridge, states = followed(cancellation_token=token)
    bridge.on_epoch(0, 10)
    token.cancel()
    bridge.on_cancellation()
    assert (states[-1].message, states[-1].percentage) == ("Training cancelled", 14.0)
    assert states[-1].context["phase_name"] == "cancelled"


calls = st.one_of(
    st.tuples(st.just("on_symbol_processing"), st.integers(1, 5), st.just("generating_labels")),
    st.tuples(st.just("on_preparation_phase")),
    st.tuples(st.just("on_epoch"), st.integers(0, 9)),
    st.tuples(st.just("on_batch"), st.integers(0, 9), st.integers(0, 9)),
    st.tuples(st.just("on_remote_snapshot"), st.floats(-10, 110)),
    st.tuples(st.just("on_phase")),
)


def _call(bridge: TrainingProgressBridge, call: tuple[Any, ...]) -> None:
    match call:
        case ("on_symbol_processing", index, step):
            bridge.on_symbol_processing("AAPL", index, 5, step)
        case ("on_preparation_phase",):
            bridge.on_preparation_phase("combining_data")
        case ("on_epoch", epoch):
            bridge.on_epoch(epoch, 10)
        case ("on_batch", epoch, batch):
            bridge.on_batch(epoch, batch, 10)
        case ("on_remote_snapshot", percent):
            bridge.on_remote_snapshot({"progress": {"progress_percent": percent}})
        case _:
            bridge.on_phase("any")


@given(script=st.lists(calls, max_size=40), threads=st.integers(1, 4))
def test_the_percentage_never_falls(script: list[tuple[Any, ...]], threads: int) -> None:
    """Whatever is told, in whatever order, from however many threads; always 0-100."""
    bridge, states = followed(batch_update_stride=1)

    def work(mine: list[tuple[Any, ...]]) -> None:
        for call in mine:
            _call(bridge, call)

    workers = [threading.Thread(target=work, args=(script[at::threads],)) for at in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    percentages = [state.percentage for state in states]
    assert len(percentages) == len(script)
    assert all(later >= earlier for earlier, later in pairwise(percentages))
    assert all(0 <= percentage <= 100 for percentage in percentages)


@given(
    units=st.dictionaries(
        st.sampled_from([semconv.INDICATOR_COMPUTATION, semconv.EPOCH, semconv.EVALUATION, "load"]),
        st.integers(1, 8),
        min_size=1,
    ),
    order=st.randoms(use_true_random=False),
    threads=st.integers(1, 4),
)
def test_with_a_plan_the_percentage_never_falls_in_any_order(
    units: dict[str, int], order: Any, threads: int
) -> None:
    """Every planned unit counts once, and only completion makes 100 %."""
    plan = Plan(units)
    bridge, states = followed(plan=plan)
    script = [kind for kind, count in units.items() for _ in range(count)]
    order.shuffle(script)

    def work(mine: list[str]) -> None:
        for kind in mine:
            bridge.on_item(kind, {})
            plan.finish(kind)
            bridge.refresh()

    workers = [threading.Thread(target=work, args=(script[at::threads],)) for at in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    percentages = [state.percentage for state in states]
    assert all(later >= earlier for earlier, later in pairwise(percentages))
    assert percentages[-1] < 100
    assert plan.finished == plan.planned == len(script)
    bridge.on_complete()
    assert bridge.percentage == 100


def test_metrics_are_read_from_a_cursor_on() -> None:
    """A reader gets each epoch once."""
    bridge, _ = followed()
    for epoch in range(3):
        bridge.on_epoch(epoch, 3, {"progress_type": "epoch", "epoch": epoch, "train_loss": 0.5})
    first, cursor = bridge.get_metrics()
    assert [entry["epoch"] for entry in first] == [0, 1, 2]
    assert bridge.get_metrics(cursor) == ([], 3)


def test_a_remote_percentage_is_taken_as_it_is() -> None:
    """A training elsewhere knows its own."""
    bridge, _ = followed()
    bridge.on_remote_snapshot({"progress": {"progress_percent": 37.5, "epoch": 2, "total_epochs": 4}})
    assert (bridge.percentage, bridge.message) == (37.5, "Epoch 2/4")


@pytest.mark.parametrize("percent", [None, "soon", float("nan"), float("inf"), {}])
def test_a_remote_percentage_that_is_none_is_derived(percent: object) -> None:
    """5 + 90 x 2/4, from the epochs that it tells."""
    bridge, _ = followed()
    bridge.on_remote_snapshot({"progress": {"progress_percent": percent, "epoch": 2, "total_epochs": 4}})
    assert bridge.percentage == 50.0


@pytest.mark.parametrize("snapshot", [{}, {"progress": None}, {"progress": {"epoch": "x"}, "metrics": 3}])
def test_an_empty_or_garbled_snapshot_says_only_that_it_is_polled(snapshot: dict[str, Any]) -> None:
    """Nothing is made up from it."""
    bridge, states = followed()
    bridge.on_remote_snapshot(snapshot)
    assert (bridge.message, bridge.percentage, len(states)) == ("Polling host session", 0.0, 1)

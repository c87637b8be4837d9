"""One table: spans and callbacks of every type reach the method of the bridge that is theirs."""

from typing import Any

import pytest

from ktrdr_otel import semconv
from ktrdr_otel.bridge.routing import route_callback, route_finished, route_started, route_tick
from ktrdr_otel.bridge.training_bridge import TrainingProgressBridge
from ktrdr_otel.progress.events import Tick, Unit, UnitError
from ktrdr_otel.progress.manager import GenericProgressManager

AAPL: dict[str, object] = {"symbol": "AAPL", "symbol_index": 2, "total_symbols": 5, "timeframe": "1h"}


def a_bridge() -> TrainingProgressBridge:
    """A bridge that keeps its latest state to itself."""
    return TrainingProgressBridge(context=None, progress_manager=GenericProgressManager())


def unit(progress_type: str | None, context: dict[str, object], **end: Any) -> Unit:
    """A unit that began at 0 and, with `ended_ns`, has ended."""
    return Unit("op-1", 1, 2, None, "a span", progress_type, context, 0, 0, **end)


SPANS: list[tuple[str, dict[str, object], str]] = [
    (
        semconv.PREPROCESSING,
        {**AAPL, "preprocessing_step": "loading_data"},
        "Processing AAPL (2/5) [1h] - Loading data",
    ),
    (
        semconv.INDICATOR_COMPUTATION,
        {**AAPL, "indicator_name": "RSI", "indicator_index": 15, "total_indicators": 40},
        "Processing AAPL (2/5) [1h] - Computing RSI (15/40)",
    ),
    (
        semconv.FUZZY_GENERATION,
        {**AAPL, "fuzzy_set_name": "macd_standard", "fuzzy_index": 12, "total_fuzzy_sets": 40},
        "Processing AAPL (2/5) [1h] - Fuzzifying macd_standard (12/40)",
    ),
    (
        semconv.PREPARATION,
        {"preparation_phase": "combining_data", "total_symbols": 5},
        "Combining data from 5 symbols",
    ),
    (semconv.EPOCH, {"epoch_index": 3, "total_epochs": 100}, "Epoch 3/100"),
    (semconv.EVALUATION, {}, "Evaluating model"),
    ("load", {"item": "MSFT", "index": 3, "total": 10}, "Load MSFT (3/10)"),
    (semconv.HOLD, {"item": "waiting for the broker"}, "waiting for the broker"),
]


@pytest.mark.parametrize(("progress_type", "context", "message"), SPANS)
def test_the_start_of_a_unit_says_where_the_work_is(
    progress_type: str, context: dict[str, object], message: str
) -> None:
    """Every type, and any word, has its message."""
    bridge = a_bridge()
    route_started(bridge, unit(progress_type, context))
    assert bridge.message == message


def test_a_container_says_and_counts_nothing() -> None:
    """A span without a progress type changes no message and no percentage."""
    bridge = a_bridge()
    route_started(bridge, unit(None, {**AAPL}))
    route_finished(bridge, unit(None, {**AAPL}, ended_ns=1))
    assert (bridge.message, bridge.percentage) == ("", 0.0)


def test_the_end_of_an_epoch_is_told_with_its_metrics() -> None:
    """The span counts epochs from 1, the bridge from 0: epoch 5 of 100 is finished, not 6."""
    bridge = a_bridge()
    context: dict[str, object] = {"epoch_index": 5, "total_epochs": 100}
    route_finished(bridge, unit(semconv.EPOCH, context, ended_ns=1, metrics={"loss": 0.5, "val_loss": 0.25}))
    assert (bridge.message, bridge.percentage) == ("Epoch 5/100", 9.5)
    (entry,), _ = bridge.get_metrics()
    assert (entry["epoch"], entry["train_loss"], entry["val_loss"]) == (4, 0.5, 0.25)


@pytest.mark.parametrize("end", [{"error": UnitError("ValueError", "no")}, {"cancelled": True}])
def test_an_epoch_that_did_not_end_well_is_not_finished(end: dict[str, Any]) -> None:
    """Failed and cancelled epochs advance nothing."""
    bridge = a_bridge()
    context: dict[str, object] = {"epoch_index": 5, "total_epochs": 100}
    route_finished(bridge, unit(semconv.EPOCH, context, ended_ns=1, **end))
    assert (bridge.percentage, bridge.get_metrics()) == (0.0, ([], 0))


def test_a_tick_in_an_epoch_is_a_batch() -> None:
    """120 turns are finished: batch 120 of 500."""
    bridge = a_bridge()
    route_started(bridge, unit(semconv.EPOCH, {"epoch_index": 5, "total_epochs": 100}))
    route_tick(bridge, Tick("op-1", "batch", 120, 500, 4, 100, 0))
    assert bridge.message == "Epoch 5/100 · Batch 120/500"


def test_a_tick_elsewhere_has_the_loops_own_word() -> None:
    """A loop outside of any epoch, of known and of unknown length."""
    bridge = a_bridge()
    route_tick(bridge, Tick("op-1", "download", 0, 10, None, None, 0))
    assert bridge.message == ""
    route_tick(bridge, Tick("op-1", "download", 3, 10, None, None, 0))
    assert bridge.message == "Download (3/10)"
    route_tick(bridge, Tick("op-1", "download", 4, None, None, None, 0))
    assert bridge.message == "Download (4/?)"


CALLBACKS: list[tuple[dict[str, Any], str]] = [
    (
        {"progress_type": "preprocessing", **AAPL, "step": "loading_data"},
        "Processing AAPL (2/5) [1h] - Loading data",
    ),
    (
        {
            "progress_type": "indicator_computation",
            **AAPL,
            "indicator_name": "RSI",
            "indicator_index": 15,
            "total_indicators": 40,
        },
        "Processing AAPL (2/5) [1h] - Computing RSI (15/40)",
    ),
    (
        {
            "progress_type": "fuzzy_generation",
            **AAPL,
            "fuzzy_set_name": "rsi_14",
            "fuzzy_index": 10,
            "total_fuzzy_sets": 40,
        },
        "Processing AAPL (2/5) [1h] - Fuzzifying rsi_14 (10/40)",
    ),
    (
        {"progress_type": "preparation", "phase": "combining_data", "total_symbols": 5},
        "Combining data from 5 symbols",
    ),
    (
        {"progress_type": "preparation", "phase": "splitting_data", "total_samples": 15847},
        "Splitting 15847 samples (train/val/test)",
    ),
    (
        {"progress_type": "preparation", "phase": "creating_model", "input_dim": 256},
        "Creating model (input_dim=256)",
    ),
    ({"progress_type": "load", "item": "MSFT", "index": 3, "total": 10}, "Load MSFT (3/10)"),
]


@pytest.mark.parametrize(("metrics", "message"), CALLBACKS)
def test_the_seeds_callback_dictionaries_have_the_seeds_messages(
    metrics: dict[str, Any], message: str
) -> None:
    """Told with epoch 0 of 0, as the pipeline does before it trains."""
    bridge = a_bridge()
    route_callback(bridge, 0, 0, metrics)
    assert bridge.message == message
    assert "progress_type" not in bridge.get_status()


def test_a_callback_without_a_type_is_an_epoch_and_batch_is_a_batch() -> None:
    """Both count from 0."""
    bridge = a_bridge()
    route_callback(bridge, 4, 100, {"train_loss": 0.5})
    assert bridge.message == "Epoch 5/100"
    route_callback(bridge, 5, 100, {"progress_type": "batch", "batch": 119, "total_batches_per_epoch": 120})
    assert bridge.message == "Epoch 6/100 · Batch 120/120"


def test_a_step_that_names_no_symbol_is_of_the_one_that_was_named_last() -> None:
    """The seed's pipeline tells `creating_features` without a symbol, indicators without its index."""
    bridge = a_bridge()
    route_callback(bridge, 0, 0, {"progress_type": "preprocessing", **AAPL, "step": "loading_data"})
    route_callback(bridge, 0, 0, {"progress_type": "preprocessing", "step": "creating_features"})
    assert bridge.message == "Processing AAPL (2/5) - Creating features"
    assert bridge.percentage == pytest.approx(1.6)
    indicator = {"indicator_name": "RSI", "indicator_index": 15, "total_indicators": 40}
    route_callback(
        bridge,
        0,
        0,
        {"progress_type": "indicator_computation", "symbol": "AAPL", "timeframe": "1h", **indicator},
    )
    assert bridge.message == "Processing AAPL (2/5) [1h] - Computing RSI (15/40)"


def test_another_symbol_does_not_take_the_last_ones_place() -> None:
    """An index belongs to the symbol that it was told with."""
    bridge = a_bridge()
    route_callback(bridge, 0, 0, {"progress_type": "preprocessing", **AAPL, "step": "loading_data"})
    route_callback(bridge, 0, 0, {"progress_type": "preprocessing", "symbol": "MSFT", "step": "loading_data"})
    assert bridge.message == "Processing MSFT (1/1) - Loading data"

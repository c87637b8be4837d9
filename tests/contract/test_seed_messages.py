"""The messages of the seed, to the letter: by the bridge, by the renderer, by the words themselves."""

from typing import Any

import pytest

from ktrdr_otel.bridge.training_bridge import TrainingProgressBridge
from ktrdr_otel.progress.manager import GenericProgressManager
from ktrdr_otel.progress.renderer import TrainingProgressRenderer
from ktrdr_otel.progress.state import GenericProgressState

AAPL: dict[str, Any] = {"symbol": "AAPL", "symbol_index": 2, "total_symbols": 5}
# method, arguments, message
SEED: list[tuple[str, dict[str, Any], str]] = [
    ("on_symbol_processing", {**AAPL, "step": "loading_data"}, "Processing AAPL (2/5) - Loading data"),
    (
        "on_symbol_processing",
        {**AAPL, "step": "loading_data", "context": {"timeframe": "1h"}},
        "Processing AAPL (2/5) [1h] - Loading data",
    ),
    (
        "on_symbol_processing",
        {**AAPL, "step": "creating_features"},
        "Processing AAPL (2/5) - Creating features",
    ),
    (
        "on_symbol_processing",
        {**AAPL, "step": "generating_labels"},
        "Processing AAPL (2/5) - Generating labels",
    ),
    (
        "on_indicator_computation",
        {**AAPL, "timeframe": "1h", "indicator_name": "RSI", "indicator_index": 15, "total_indicators": 40},
        "Processing AAPL (2/5) [1h] - Computing RSI (15/40)",
    ),
    (
        "on_fuzzy_generation",
        {
            **AAPL,
            "timeframe": "1h",
            "fuzzy_set_name": "macd_standard",
            "fuzzy_index": 12,
            "total_fuzzy_sets": 40,
        },
        "Processing AAPL (2/5) [1h] - Fuzzifying macd_standard (12/40)",
    ),
    (
        "on_preparation_phase",
        {"phase": "combining_data", "message": "Combining data from 5 symbols"},
        "Combining data from 5 symbols",
    ),
    (
        "on_preparation_phase",
        {"phase": "splitting_data", "context": {"total_samples": 15847}},
        "Splitting 15847 samples (train/val/test)",
    ),
    (
        "on_preparation_phase",
        {"phase": "creating_model", "context": {"input_dim": 256}},
        "Creating model (input_dim=256)",
    ),
    ("on_epoch", {"epoch": 4, "total_epochs": 100}, "Epoch 5/100"),
    (
        "on_batch",
        {"epoch": 4, "batch": 119, "total_batches": 500, "metrics": {"total_batches": 50_000}},
        "Epoch 5/100 · Batch 120/500",
    ),
    ("on_complete", {}, "Training complete"),
]


@pytest.mark.parametrize(("method", "arguments", "message"), SEED)
@pytest.mark.parametrize("renderer", [None, TrainingProgressRenderer()], ids=["bare", "rendered"])
def test_the_bridge_says_what_the_seed_says(
    renderer: TrainingProgressRenderer | None, method: str, arguments: dict[str, Any], message: str
) -> None:
    """With a renderer and without one the words are the same."""
    states: list[GenericProgressState] = []
    manager = GenericProgressManager(states.append, renderer)
    manager.start_operation("op-1", 100)
    bridge = TrainingProgressBridge(context=None, progress_manager=manager)
    bridge.on_epoch_started(0, 100)
    getattr(bridge, method)(**arguments)
    assert states[-1].message == message
    assert bridge.get_status()["message"] == message


def test_the_renderer_adds_the_gpu() -> None:
    """`Epoch 5/100 · Batch 120/500 🖥️ GPU: 85%`."""
    context = {
        "epoch_index": 5,
        "total_epochs": 100,
        "batch_number": 120,
        "batch_total_per_epoch": 500,
        "resource_usage": {"gpu_used": True, "gpu_utilization_percent": 85.0},
    }
    state = GenericProgressState("op-1", 5, 100, 9.0, "", context=context)
    assert TrainingProgressRenderer().render_message(state) == "Epoch 5/100 · Batch 120/500 🖥️ GPU: 85%"


def test_a_step_without_an_item_has_the_steps_words() -> None:
    """A context that says too little for the item's message still says the step."""
    context = {**AAPL, "phase": "preprocessing", "preprocessing_step": "computing_indicator"}
    state = GenericProgressState("op-1", 0, 100, 1.0, "", context=context)
    assert TrainingProgressRenderer().render_message(state) == "Processing AAPL (2/5) - Computing indicators"


CONTEXT_KEYS: list[tuple[str, dict[str, Any], set[str]]] = [
    (
        "on_indicator_computation",
        {**AAPL, "timeframe": "1h", "indicator_name": "RSI", "indicator_index": 15, "total_indicators": 40},
        {"timeframe", "indicator_name", "indicator_index", "total_indicators", "preprocessing_step", *AAPL},
    ),
    (
        "on_fuzzy_generation",
        {**AAPL, "timeframe": "1h", "fuzzy_set_name": "rsi", "fuzzy_index": 10, "total_fuzzy_sets": 40},
        {"timeframe", "fuzzy_set_name", "fuzzy_index", "total_fuzzy_sets", "preprocessing_step", *AAPL},
    ),
    ("on_preparation_phase", {"phase": "splitting_data"}, {"preparation_phase"}),
    ("on_epoch", {"epoch": 4, "total_epochs": 100}, {"epoch_index", "total_epochs", "epoch_metrics"}),
]


@pytest.mark.parametrize(("method", "arguments", "keys"), CONTEXT_KEYS)
def test_the_context_has_the_seeds_keys(method: str, arguments: dict[str, Any], keys: set[str]) -> None:
    """What a renderer or a dashboard reads is there, and nothing of the step before."""
    bridge = TrainingProgressBridge(context=None, progress_manager=GenericProgressManager())
    bridge.on_symbol_processing("MSFT", 1, 5, "loading_data", {"timeframe": "5m"})
    getattr(bridge, method)(**arguments)
    assert set(bridge.current_context) == keys

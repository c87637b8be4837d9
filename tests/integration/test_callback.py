"""The seed's progress callback in both directions: fed by spans, and turned into them."""

from pathlib import Path
from typing import Any

import pytest

from ktrdr_otel import checkpoint, observe, track
from ktrdr_otel.callback import CallbackSpans, fed
from pipeline.data import write_samples
from pipeline.strategy import load_strategy
from pipeline.training_pipeline import TrainingPipeline

STRATEGY = Path(__file__).parents[2] / "pipeline" / "strategies" / "momentum_daily_weekly.yaml"
Heard = list[tuple[int, int, dict[str, Any]]]


def test_a_training_feeds_the_seeds_four_dictionaries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Called as a library, without an operation around it."""
    monkeypatch.setenv("KTRDR_OTEL_DATABASE", str(tmp_path / "operations.db"))
    write_samples(tmp_path)
    heard: Heard = []
    pipeline = TrainingPipeline(load_strategy(STRATEGY, symbols=["AAPL", "IBM"]), tmp_path, epochs=2)
    outcome = pipeline.train_strategy(progress_callback=lambda *call: heard.append(call))
    assert (
        0,
        0,
        {
            "progress_type": "indicator_computation",
            "step": "computing_indicator",
            "symbol": "AAPL",
            "symbol_index": 1,
            "total_symbols": 2,
            "timeframe": "1d",
            "indicator_name": "rsi_14",
            "indicator_index": 2,
            "total_indicators": 40,
        },
    ) in heard
    types = [metrics["progress_type"] for _, _, metrics in heard]
    assert types.count("indicator_computation") == types.count("fuzzy_generation") == 2 * 2 * 40
    loading = {"progress_type": "preprocessing", "step": "loading_data", "symbol": "IBM", "timeframe": "1w"}
    assert any(loading.items() <= metrics.items() for _, _, metrics in heard)
    assert {"progress_type": "preparation", "phase": "combining_data", "total_symbols": 2} in [
        m for *_, m in heard
    ]
    epochs = [call for call in heard if call[2]["progress_type"] == "epoch"]
    assert [(epoch, total) for epoch, total, _ in epochs] == [(0, 2), (1, 2)]
    assert epochs[-1][2]["train_loss"] == outcome.history[-1]["loss"]
    assert "batch" in types


def test_a_callback_that_raises_harms_nobody(tmp_path: Path) -> None:
    """The work goes on."""

    def broken(*_: object) -> None:
        raise RuntimeError("broken callback")

    with (
        observe("job", display="off", database=str(tmp_path / "operations.db")) as operation,
        fed(operation.active, broken),
    ):
        for index in range(1, 4):
            with checkpoint("load", index=index, total=3):
                pass
        assert operation.status()["items_completed"] == 3


def test_a_foreign_pipelines_callbacks_become_spans(tmp_path: Path) -> None:
    """What was heard through a callback sounds the same when its calls are made into spans."""
    first: Heard = []
    second: Heard = []
    item = {"symbol": "AAPL", "symbol_index": 1, "total_symbols": 2, "timeframe": "1h"}
    with (
        observe("one", display="off", database=str(tmp_path / "operations.db")) as operation,
        fed(operation.active, lambda *call: first.append(call)),
    ):
        with checkpoint("preprocessing", step="loading_data", **item):  # type: ignore[arg-type] # a plain dictionary
            pass
        with checkpoint("preparation", step="splitting_data", total_samples=10):
            pass
        for epoch in range(1, 3):
            with checkpoint("epoch", index=epoch, total=2) as unit:
                for _ in track(range(3), "batch"):
                    pass
                unit.record({"loss": 0.5, "val_accuracy": 0.25})
    with (
        observe("two", display="off", database=str(tmp_path / "operations.db")) as operation,
        fed(operation.active, lambda *call: second.append(call)),
        CallbackSpans() as progress_callback,
    ):
        for call in first:
            progress_callback(*call)
    assert second == [call for call in first if call[2]["progress_type"] != "batch"]

"""Strategy files: everything the grammar has can be said, and everything wrong is one line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.errors import InputError
from pipeline.strategy import load_strategy

STRATEGIES = Path(__file__).parents[2] / "pipeline" / "strategies"


def base() -> dict[str, Any]:
    """A file that is right, with most of what the grammar has."""
    return {
        "name": "test",
        "version": "3.0",
        "description": "all of it",
        "training_data": {
            "symbols": {"mode": "multi_symbol", "list": ["EURUSD", "GBPUSD"]},
            "timeframes": {"mode": "multi_timeframe", "list": ["1h", "4h"], "base_timeframe": "1h"},
            "date_range": {"start": "2020-01-01", "end": "2021-01-01"},
            "history_required": 100,
        },
        "context_data": [{"provider": "fred", "series": ["DGS2", "IRLTLT01DEM156N"]}],
        "indicators": {
            "rsi_14": {"type": "RSI", "period": 14, "source": "close"},
            "bands": {"type": "BollingerBands", "period": 20, "multiplier": 2.0},
            "carry": {"type": "rsi", "data_source": "yield_spread_DGS2_IRLTLT01DEM156N"},
        },
        "fuzzy_sets": {
            "momentum": {
                "indicator": "rsi_14",
                "low": [0, 30, 40],
                "high": {"type": "trapezoidal", "parameters": [60, 70, 90, 100]},
                "middle": {"type": "gaussian", "parameters": [50, 10]},
            },
            "top": {"indicator": "bands.upper", "near": [0, 1, 2]},
            "spread": {"indicator": "carry", "wide": [50, 75, 100]},
        },
        "nn_inputs": [
            {"fuzzy_set": "momentum", "timeframes": "all"},
            {"fuzzy_set": "top", "timeframes": ["4h"]},
            {"fuzzy_set": "spread", "timeframes": "all"},
            {"raw_indicator": "bands.middle", "timeframes": ["1h"], "normalization": "zscore"},
        ],
        "model": {
            "type": "mlp",
            "architecture": {"hidden_layers": [8]},
            "features": {"scale_features": True},
        },
        "decisions": {"output_format": "classification"},
        "training": {"labels": {"source": "zigzag"}, "loss": "focal", "focal_gamma": 2.0, "epochs": 3},
    }


def written(folder: Path, content: dict[str, Any]) -> Path:
    """The file."""
    path = folder / "strategy.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def test_everything_is_read(tmp_path: Path) -> None:
    """Features in the order of inputs, timeframes and terms, by ktrdr's names."""
    strategy = load_strategy(written(tmp_path, base()))
    assert strategy.symbols == ("EURUSD", "GBPUSD")
    assert (strategy.timeframes, strategy.base_timeframe) == (("1h", "4h"), "1h")
    assert (strategy.start_date, strategy.end_date) == ("2020-01-01", "2021-01-01")
    assert [feature.name for feature in strategy.features()] == [
        "1h_momentum_low",
        "1h_momentum_high",
        "1h_momentum_middle",
        "4h_momentum_low",
        "4h_momentum_high",
        "4h_momentum_middle",
        "4h_top_near",
        "1h_spread_wide",
        "1h_bands.middle_raw",
    ]
    assert [each.id for each in strategy.indicators_for("1h")] == ["rsi_14", "bands", "carry"]
    assert [each.id for each in strategy.indicators_for("4h")] == ["rsi_14", "bands"]
    assert [each.id for each in strategy.fuzzy_sets_for("1h")] == ["momentum", "spread"]
    assert strategy.classes == ("buy", "hold", "sell")
    assert (strategy.loss, strategy.training["epochs"]) == ("focal", 3)


def test_what_nothing_reads_is_said(tmp_path: Path) -> None:
    """Tolerated, as ktrdr does, but not in silence."""
    content = base()
    content["deployment"] = {"x": 1}
    assert load_strategy(written(tmp_path, content)).ignored == ("model.features", "deployment")


def test_a_file_without_labels_has_zigzag(tmp_path: Path) -> None:
    """As ktrdr's minimal example."""
    content = base()
    content["training"] = {}
    strategy = load_strategy(written(tmp_path, content))
    assert (strategy.labels, strategy.loss) == ({"source": "zigzag"}, "cross_entropy")


def test_symbols_and_timeframes_can_be_chosen(tmp_path: Path) -> None:
    """Instead of the file's own."""
    content = base()
    content["nn_inputs"] = [{"fuzzy_set": "momentum", "timeframes": "all"}]
    strategy = load_strategy(written(tmp_path, content), symbols=["USDJPY"], timeframes=["1d", "1w"])
    assert (strategy.symbols, strategy.timeframes, strategy.base_timeframe) == (
        ("USDJPY",),
        ("1d", "1w"),
        "1d",
    )


def edit(*path: Any, value: Any) -> Callable[[dict[str, Any]], None]:
    """A change of one value in the file."""

    def change(content: dict[str, Any]) -> None:
        for step in path[:-1]:
            content = content[step]
        content[path[-1]] = value

    return change


FAULTS = [
    (
        edit("indicators", "rsi_14", "type", value="rsj"),
        "indicators.rsi_14.type: unknown indicator type 'rsj'; did you mean rsi?",
    ),
    (
        edit("indicators", "rsi_14", "perid", value=3),
        "indicators.rsi_14.perid: unknown parameter 'perid'; did you mean period?",
    ),
    (
        edit("indicators", "rsi_14", "period", value=0),
        "indicators.rsi_14.period: input should be greater than or equal to 2, not 0",
    ),
    (
        edit("indicators", "carry", "data_source", value="DGS2"),
        "indicators.carry.data_source: no context_data gives 'DGS2'",
    ),
    (
        edit("fuzzy_sets", "momentum", "indicator", value="rsi_15"),
        "fuzzy_sets.momentum.indicator: no indicator 'rsi_15'; did you mean rsi_14?",
    ),
    (
        edit("fuzzy_sets", "top", "indicator", value="bands.uper"),
        "fuzzy_sets.top.indicator: bollingerbands has no output 'uper'; did you mean upper?",
    ),
    (
        edit("fuzzy_sets", "top", "near", value=[2, 1, 0]),
        "fuzzy_sets.top.near: parameters must rise, a <= b <= c, not [2, 1, 0]",
    ),
    (
        edit("fuzzy_sets", "top", "near", value="wide"),
        "fuzzy_sets.top.near: parameters must be numbers, not 'wide'",
    ),
    (
        edit("nn_inputs", 0, "fuzzy_set", value="moment"),
        "nn_inputs.0.fuzzy_set: no fuzzy set 'moment'; did you mean momentum?",
    ),
    (
        edit("nn_inputs", 1, "timeframes", value=["1d"]),
        "nn_inputs.1.timeframes: 1d is none of the timeframes; they are 1h, 4h",
    ),
    (
        edit("nn_inputs", 1, value={"timeframes": "all"}),
        "nn_inputs.1: give either fuzzy_set or raw_indicator",
    ),
    (
        edit("nn_inputs", 1, value={"fuzzy_set": "momentum"}),
        "nn_inputs.1: feature 1h_momentum_low comes twice",
    ),
    (
        edit("training_data", "timeframes", "list", value=["1x"]),
        "training_data.timeframes: unknown timeframe '1x'",
    ),
    (
        edit("training_data", "timeframes", "base_timeframe", value="1d"),
        "training_data.timeframes.base_timeframe: 1d is none of the timeframes; they are 1h, 4h",
    ),
    (edit("training_data", "symbols", value={}), "training_data.symbols: no symbol; give symbol or list"),
    (edit("model", "type", value="gru"), "model.type: input should be 'mlp' or 'lstm', not 'gru'"),
    (
        edit("training", "labels", value={"source": "magic"}),
        "training.labels.source: unknown label source 'magic'",
    ),
    (edit("training", "loss", value="huber"), "training.loss: huber does not fit labels that are classes"),
    (
        edit("training", "data_split", value={"train": 0.9}),
        "training.data_split: shares must sum to 1, not 1.2",
    ),
    (edit("indicators", value=[{"name": "rsi"}]), "indicators: not a v3 strategy; migrate it"),
    (edit("name", value=None), "name: input should be a valid string, not None"),
]


@pytest.mark.parametrize(
    ("change", "said"), FAULTS, ids=[said.split(":")[0] + str(at) for at, (_, said) in enumerate(FAULTS)]
)
def test_a_fault_is_one_line_with_its_place(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], said: str
) -> None:
    """File, path in the file, what is wrong, the nearest name."""
    content = base()
    change(content)
    path = written(tmp_path, content)
    with pytest.raises(InputError) as caught:
        load_strategy(path)
    assert str(caught.value).startswith(f"{path}: {said}")
    assert "\n" not in str(caught.value)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    """A section that must be there."""
    content = base()
    del content["model"]
    with pytest.raises(InputError, match="model: is missing"):
        load_strategy(written(tmp_path, content))


def test_yaml_that_cannot_be_parsed_names_the_line(tmp_path: Path) -> None:
    """One line, no traceback of the parser."""
    path = tmp_path / "strategy.yaml"
    path.write_text("name: x\nindicators: [\n")
    with pytest.raises(InputError, match=r"strategy\.yaml: line 3, column 1: not YAML"):
        load_strategy(path)


@pytest.mark.parametrize("path", sorted(STRATEGIES.glob("*.yaml")), ids=lambda path: path.name)
def test_the_samples_are_right_to_the_last_key(path: Path) -> None:
    """Nothing in them is ignored."""
    assert load_strategy(path).ignored == ()


def test_the_demo_is_as_large_as_promised() -> None:
    """40 indicators, 40 fuzzy sets of 3 memberships, two timeframes."""
    strategy = load_strategy(STRATEGIES / "momentum_daily_weekly.yaml")
    assert len(strategy.indicators) == len(strategy.fuzzy_sets) == 40
    assert {len(each.memberships) for each in strategy.fuzzy_sets.values()} == {3}
    assert (strategy.timeframes, len(strategy.features())) == (("1d", "1w"), 240)

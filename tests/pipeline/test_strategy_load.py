"""Reading strategy files: what cannot be read, what is written in other ways, and anything at all in any place."""

import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import InputError
from pipeline.features import NORMALISATIONS
from pipeline.fuzzy import Gaussian, Trapezoidal, Triangular
from pipeline.strategy import load_strategy
from pipeline.strategy.grammar import TRAINING_KEYS

# What ktrdr's own files hold, each construct once: its spellings of symbols, timeframes, memberships and inputs.
FILE = """
name: everything
description: one of each
version: 3.0
training_data:
  symbols: {mode: multi_symbol, list: [EURUSD, GBPUSD]}
  timeframes: {mode: multi_timeframe, list: [5m, 1h], base_timeframe: 1h}
  start_date: 2019-01-01
  end_date: 2024-01-01
  history_required: 200
context_data:
  - {provider: fred, series: [DGS2, IRLTLT01DEM156N], alignment: forward_fill}
  - {provider: ib, symbol: GBPUSD, timeframe: 1h, asset_type: forex}
  - {provider: cftc_cot, report: EUR}
indicators:
  rsi_14: {type: rsi, period: 14, source: close}
  macd_12_26_9: {type: MACD, fast_period: 12, slow_period: 26, signal_period: 9}
  carry: {type: roc, period: 5, data_source: yield_spread_DGS2_IRLTLT01DEM156N}
  cable: {type: rsi, period: 14, data_source: GBPUSD}
  funds: {type: rsi, period: 14, data_source: cot_EUR_net_pct}
fuzzy_sets:
  rsi_14:
    indicator: rsi_14
    oversold: [0, 20, 35]
    neutral: {type: trapezoidal, parameters: [30, 40, 60, 70]}
    overbought: {type: gaussian, parameters: [80, 8]}
  trend: {indicator: macd_12_26_9.histogram, up: [0, 0.001, 0.01]}
  line: {indicator: macd_12_26_9, up: [0, 0.001, 0.01]}
  carry: {indicator: carry, rising: [0, 1, 2]}
nn_inputs:
  - {fuzzy_set: rsi_14, timeframes: all}
  - {fuzzy_set: trend, timeframes: [1h]}
  - {fuzzy_set: carry, timeframes: all}
  - {raw_indicator: macd_12_26_9.signal, timeframes: [5m, 1h], normalization: zscore}
  - {raw_indicator: rsi_14, timeframes: [1h], normalization: minmax}
model:
  type: lstm
  architecture: {hidden_size: 8}
  features: {include_price_context: false}
  training: {epochs: 7, learning_rate: 0.01, optimizer: adam}
decisions: {output_format: classification, confidence_threshold: 0.6}
training:
  method: supervised
  labels: {source: zigzag, zigzag_threshold: 0.025, label_lookahead: 20}
  loss: cross_entropy
  learning_rate: 0.001
  lr_scheduler: true
  data_split: {train: 0.6, validation: 0.2, test: 0.2}
"""


def content() -> dict[str, Any]:
    """The file as YAML gives it."""
    loaded: dict[str, Any] = yaml.safe_load(FILE)
    return loaded


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file stands; empty."""
    return tmp_path / "strategy.yaml"


def fault(path: Path, text: str | dict[str, Any]) -> str:
    """What is said about the file, without its own name."""
    path.write_text(text if isinstance(text, str) else yaml.safe_dump(text, sort_keys=False))
    with pytest.raises(InputError) as caught:
        load_strategy(path)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(f"{path}: ")
    return line.removeprefix(f"{path}: ")


def test_each_spelling_of_ktrdr_is_understood(path: Path) -> None:
    """Features carry ktrdr's names in ktrdr's order; series from outside are known on the base timeframe alone."""
    path.write_text(FILE)
    strategy = load_strategy(path)
    assert [spec.name for spec in strategy.features()] == [
        "5m_rsi_14_oversold",
        "5m_rsi_14_neutral",
        "5m_rsi_14_overbought",
        "1h_rsi_14_oversold",
        "1h_rsi_14_neutral",
        "1h_rsi_14_overbought",
        "1h_trend_up",
        "1h_carry_rising",
        "5m_macd_12_26_9.signal_raw",
        "1h_macd_12_26_9.signal_raw",
        "1h_rsi_14_raw",
    ]
    assert strategy.fuzzy_sets["rsi_14"].memberships == (
        ("oversold", Triangular(0, 20, 35)),
        ("neutral", Trapezoidal(30, 40, 60, 70)),
        ("overbought", Gaussian(80, 8)),
    )
    assert (strategy.version, strategy.start_date, strategy.end_date) == ("3.0", "2019-01-01", "2024-01-01")
    assert (strategy.fuzzy_sets["line"].output, strategy.fuzzy_sets["trend"].output) == ("line", "histogram")
    assert strategy.split == (0.6, 0.2, 0.2)


def test_the_training_section_outranks_the_training_of_the_model(path: Path) -> None:
    """Both are read, as in ktrdr; where they say different things the section's word counts."""
    path.write_text(FILE)
    training = load_strategy(path).training
    assert (training["epochs"], training["learning_rate"]) == (7, 0.001)


def test_keys_that_nothing_reads_are_listed_with_their_place(path: Path) -> None:
    """A slip in an optional key would otherwise train with the default and say nothing."""
    altered = content()
    altered["training"]["epoch"] = 5
    altered["model"]["training"]["batchsize"] = 5
    altered["nn_inputs"][0]["weight"] = 1
    path.write_text(yaml.safe_dump(altered, sort_keys=False))
    assert set(load_strategy(path).ignored) == {
        "model.features",
        "model.training.batchsize",
        "training.method",
        "training.epoch",
        "nn_inputs.0.weight",
    }


def test_the_keys_called_read_are_those_that_the_training_reads() -> None:
    """One list stands in the grammar, which must not wait for torch; this holds it to the settings."""
    from pipeline.train import TrainingSettings

    assert {*TrainingSettings.model_fields, "focal_gamma", "huber_delta"} - {"seed"} == TRAINING_KEYS


@pytest.mark.parametrize("kind", NORMALISATIONS)
def test_each_normalisation_of_the_features_can_be_asked_for(path: Path, kind: str) -> None:
    """The grammar knows all that the features know."""
    altered = content()
    altered["nn_inputs"] = [{"raw_indicator": "rsi_14", "normalization": kind}]
    path.write_text(yaml.safe_dump(altered))
    assert {spec.normalization for spec in load_strategy(path).features()} == {kind}


def test_a_file_that_is_not_there_names_its_neighbour(tmp_path: Path) -> None:
    """A slip in the name is seen at once."""
    (tmp_path / "momentum.yaml").write_text(FILE)
    with pytest.raises(InputError, match=r"momentun\.yaml: there is no such file; did you mean .*momentum"):
        load_strategy(tmp_path / "momentun.yaml")


def test_a_folder_is_no_strategy(tmp_path: Path) -> None:
    """The system's word for it is passed on."""
    with pytest.raises(InputError, match="cannot be read: Is a directory"):
        load_strategy(tmp_path)


def test_bytes_that_are_no_text_are_refused(path: Path) -> None:
    """A compressed file handed in by mistake ends in one line."""
    path.write_bytes(b"\x1f\x8b\x08\x00\xff")
    with pytest.raises(InputError, match="cannot be read: not text"):
        load_strategy(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a strategy: the file holds no mapping"),
        ("- a\n- b\n", "not a strategy: the file holds no mapping"),
        ("a: b: c\n", "line 1, column 5: not YAML: mapping values are not allowed here"),
        ("name: x\nname: y\n", "line 2, column 1: not YAML: 'name' comes twice"),
        ("start: 2024-13-45\n", "not YAML: month must be in 1..12"),
        ("a: \0", "not YAML: special characters are not allowed"),
        (
            "a: !!python/object:os.system {}\n",
            "line 1, column 4: not YAML: could not determine a constructor",
        ),
        ("[" * 3000, "not a strategy: nested too deeply"),
    ],
    ids=["empty", "list", "syntax", "twice", "date", "nul", "object", "deep"],
)
def test_what_is_not_yaml_is_one_line(path: Path, text: str, said: str) -> None:
    """With line and column where the parser knows them."""
    assert fault(path, text).startswith(said)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("training_data.start_date", "soon", "training_data: 'soon' is not a date; write it as 2024-01-31"),
        (
            "training_data.start_date",
            "2025-01-01",
            "training_data: the start 2025-01-01 is after the end 2024-01-01",
        ),
        (
            "training_data.symbols",
            {"symbol": True},
            "training_data.symbols.symbol: input should be a valid string, not True; YAML reads on, off",
        ),
        ("training_data", [1] * 100, "training_data: input should be a valid mapping, not [1, 1, 1, 1, 1"),
        ("context_data.0.provider", "fed", "context_data.0: unknown context_data provider 'fed'"),
        ("indicators.a.b", {"type": "rsi"}, "indicators.a.b: an id has no dot"),
        ("indicators.a\nb", {"type": "rsi"}, r"indicators.'a\nb': an id has no line breaks"),
        ("indicators.rsi_14", None, "indicators.rsi_14: input should be a valid mapping, not None"),
        ("indicators.rsi_14", {"period": 14}, "indicators.rsi_14: has no type"),
        ("fuzzy_sets.trend", {"up": [0, 1, 2]}, "fuzzy_sets.trend: names no indicator"),
        ("fuzzy_sets.trend", {"indicator": "rsi_14"}, "fuzzy_sets.trend: has no membership"),
        ("fuzzy_sets.trend.up", [0, 1, 10**400], "fuzzy_sets.trend.up: int too large"),
        ("fuzzy_sets.trend.up", [True, 1, 2], "fuzzy_sets.trend.up: parameters must be numbers"),
        ("fuzzy_sets.trend.up", {"type": 3}, "fuzzy_sets.trend.up: the type must be a word, not 3"),
        (
            "fuzzy_sets.trend.indicator",
            "rsi_14.value",
            "fuzzy_sets.trend.indicator: rsi has no output 'value'; rsi_14 has one output: write rsi_14",
        ),
        ("nn_inputs", [], "nn_inputs: list should have at least 1 item"),
        ("nn_inputs.0.timeframes", "1h", "nn_inputs.0.timeframes: input should be 'all', not '1h'"),
        ("nn_inputs.0.normalization", "zscore", "nn_inputs.0: degrees of membership are not normalised"),
        ("nn_inputs.3.raw_indicator", "mcad", "nn_inputs.3.raw_indicator: no indicator 'mcad'"),
        ("training.data_split", {"train": 1, "validation": 0, "test": 0}, "training.data_split: each of"),
    ],
)
def test_a_fault_names_its_place(path: Path, place: str, value: object, said: str) -> None:
    """As a dotted path in the file, with what was found there."""
    altered = content()
    steps = place.split(".", 2) if place.startswith("fuzzy_sets") else place.split(".")
    if place == "indicators.a.b":
        steps = ["indicators", "a.b"]
    target: Any = altered
    for step in steps[:-1]:
        target = target[int(step)] if isinstance(target, list) else target[step]
    target[steps[-1]] = value
    assert fault(path, altered).startswith(said)


def test_a_slip_in_the_name_of_a_section_is_recognised(path: Path) -> None:
    """What is missing is there under a name much like it."""
    altered = content()
    altered["indicatorz"] = altered.pop("indicators")
    assert fault(path, altered) == "indicators: is missing; is it indicatorz?"


def test_the_authors_own_version_is_no_format(path: Path) -> None:
    """ktrdr tells its formats apart by their shape; a strategy may be at its own 2.1."""
    altered = content()
    altered["version"] = "2.1"
    path.write_text(yaml.safe_dump(altered))
    assert load_strategy(path).version == "2.1"


def test_names_given_twice_count_once(path: Path) -> None:
    """A symbol trained on twice would weigh twice; `1H` is `1h`."""
    altered = content()
    altered["training_data"]["symbols"]["list"] = ["A", "B", "A"]
    altered["nn_inputs"] = [{"fuzzy_set": "rsi_14", "timeframes": ["1H", "1h"]}]
    path.write_text(yaml.safe_dump(altered))
    strategy = load_strategy(path)
    assert strategy.symbols == ("A", "B")
    assert {spec.timeframe for spec in strategy.features()} == {"1h"}


def test_timeframes_that_the_inputs_need_cannot_be_taken_away(path: Path) -> None:
    """A choice instead of the file's own is checked like the file."""
    path.write_text(FILE)
    with pytest.raises(InputError, match=re.escape("nn_inputs.1.timeframes: 1h is none of the timeframes")):
        load_strategy(path, timeframes=["1d"])


def places(node: object, prefix: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place below the root."""
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in pairs:
        yield (*prefix, key)
        yield from places(value, (*prefix, key))


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner),
    max_leaves=4,
)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.sampled_from(sorted(places(content()), key=str)), value=ANYTHING)
def test_anything_in_any_place_loads_or_is_one_line(path: Path, place: tuple[Any, ...], value: Any) -> None:
    """No value of YAML, wherever it stands, ends in anything but a strategy or its fault in one line."""
    altered = copy.deepcopy(content())
    target: Any = altered
    for step in place[:-1]:
        target = target[step]
    target[place[-1]] = value
    path.write_text(yaml.safe_dump(altered), encoding="utf-8")
    said: str | None = None
    try:
        strategy = load_strategy(path)
    except InputError as error:
        said = str(error)
    if said is None:
        assert strategy.features()
        assert strategy.symbols
    else:
        assert len(said.splitlines()) == 1
        assert said.startswith(str(path))

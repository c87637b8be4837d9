"""A training from end to end: every planned unit is reported, in the seed's words, as one whole tree of spans."""

import re
from collections import Counter
from typing import Any

from tests.acceptance.conftest import STRATEGY, Place
from tests.acceptance.expected_tree import ExpectedTree
from tests.acceptance.span_tree import read_tree, spans_of

Finished = tuple[Place, list[dict[str, Any]]]

# Two symbols, two timeframes: loads, features and labels; indicators; fuzzy sets; preparation; epochs; evaluation.
PLANNED = {
    "preprocessing": 2 * (2 + 2),
    "indicator_computation": 2 * 2 * 40,
    "fuzzy_generation": 2 * 2 * 40,
    "preparation": 3,
    "epoch": 2,
    "evaluation": 1,
}


def of(events: list[dict[str, Any]], event: str) -> list[dict[str, Any]]:
    """The lines of that kind."""
    return [line for line in events if line["event"] == event]


def test_every_planned_unit_is_reported_once(finished: Finished) -> None:
    """Starts = ends = the plan, for every progress type."""
    _, events = finished
    assert Counter(line["progress_type"] for line in of(events, "started")) == PLANNED
    assert Counter(line["progress_type"] for line in of(events, "finished")) == PLANNED
    operation = finished[0].operations("show", "finished")
    assert operation["items_completed"] == operation["items_planned"] == sum(PLANNED.values())


def test_every_line_says_all_that_is_promised(finished: Finished) -> None:
    """The fields are there, times are UTC to the microsecond."""
    for line in finished[1]:
        for name in ("operation_id", "status", "phase", "percentage", "message", "timestamp", "context"):
            assert name in line
        assert line["operation_id"] == "finished"
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", line["timestamp"])


def test_the_percentage_never_falls_and_ends_at_100(finished: Finished) -> None:
    """100 % is said only at completion."""
    percentages = [line["percentage"] for line in finished[1]]
    assert percentages == sorted(percentages)
    assert percentages[-1] == 100.0
    assert max(percentages[:-1]) < 100.0
    epochs = [line["percentage"] for line in of(finished[1], "finished") if line["progress_type"] == "epoch"]
    assert abs(epochs[-1] - 95.0) < 1e-6


def test_messages_are_the_seeds(finished: Finished) -> None:
    """Each kind of unit in its own words."""
    messages = [line["message"] for line in of(finished[1], "started")]
    for wanted in (
        "Processing AAPL (1/2) [1d] - Loading data",
        "Processing AAPL (1/2) [1d] - Computing rsi_14 (2/40)",
        "Processing MSFT (2/2) [1w] - Fuzzifying rsi_7 (1/40)",
        "Processing MSFT (2/2) - Creating features",
        "Processing MSFT (2/2) - Generating labels",
        "Combining data from 2 symbols",
        "Creating model (input_dim=240)",
        "Epoch 2/2",
    ):
        assert wanted in messages
    assert any(re.fullmatch(r"Splitting \d+ samples \(train/val/test\)", message) for message in messages)
    ticks = [line["message"] for line in of(finished[1], "tick")]
    assert any(re.fullmatch(r"Epoch \d/2 · Batch \d+/\d+", message) for message in ticks)


def test_nothing_is_done_in_silence(finished: Finished) -> None:
    """Each unit is announced before it is worked on and its end told before the next: a silence is one step long.

    How long that is, on a machine that may be busy, `tests/benchmarks/silence` measures.
    """
    announced = None
    for line in finished[1]:
        if line["event"] == "started":
            assert announced is None, f"{line['message']} begins while {announced} is not told to have ended"
            announced = line["message"]
        elif line["event"] == "finished":
            assert announced is not None, f"{line['message']} ends and was never announced"
            announced = None


def test_the_trace_is_one_whole_tree(finished: Finished) -> None:
    """Every span with its parent, its order and all its attributes is what the strategy file says, and none beside."""
    expected = ExpectedTree(STRATEGY, "finished", ["AAPL", "MSFT"], epochs=2).completed()
    actual = list(read_tree(finished[0].trace_file).rows())
    assert actual == list(expected.rows())
    assert len(actual) == sum(PLANNED.values()) + 1 + 2 + 4 + 1  # operation, symbols, timeframes, training


def test_the_record_has_every_checkpoint(finished: Finished) -> None:
    """Each ended well, in the store as in the trace."""
    place, _ = finished
    rows = place.operations("checkpoints", "finished")
    assert {row["status"] for row in rows} == {"completed"}
    assert {row["span_id"] for row in rows} == {span["spanId"] for span in spans_of(place.trace_file)}
    assert [row["sequence"] for row in rows] == sorted(row["sequence"] for row in rows)


def test_the_same_seed_gives_the_same_model(finished: Finished, place: Place) -> None:
    """The weights are equal, byte by byte; another seed's are not."""
    first = (finished[0].folder / "runs" / "finished" / "model.safetensors").read_bytes()
    for seed, same in (("0", True), ("1", False)):
        done = place.run(place.train_arguments("--seed", seed, "--operation-id", f"seed-{seed}", "--plain"))
        assert done.returncode == 0, done.stderr
        assert f"updates reported:  {sum(PLANNED.values())} of {sum(PLANNED.values())} planned" in done.stdout
        assert "\x1b" not in done.stdout
        again = (place.folder / "runs" / f"seed-{seed}" / "model.safetensors").read_bytes()
        assert (again == first) is same

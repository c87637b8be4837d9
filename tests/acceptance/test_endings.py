"""How a run can end other than well: cancelled, failed, killed. How one is refused: `test_bad_input`."""

import json
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.conftest import COMMAND, STRATEGY, Place, until
from tests.acceptance.expected_tree import ExpectedTree
from tests.acceptance.span_tree import read_tree

# The command line with a loader that fails at the second symbol.
FAILING = """
import sys
import pipeline.training_pipeline as training
real = training.load_bars
def load(folder, symbol, *rest):
    if symbol == "MSFT":
        raise ConnectionError("Failed to load MSFT: Connection timeout")
    return real(folder, symbol, *rest)
training.load_bars = load
from ktrdr_otel.__main__ import main
main()
"""
# The command line whose epochs take their time, so that there is a moment to do something to it.
SLOW = """
import os, time
import pipeline.trainer as trainer
real = trainer.train
def train(*arguments, epoch_scope, **rest):
    from contextlib import contextmanager
    @contextmanager
    def slow(epoch, epochs):
        with epoch_scope(epoch, epochs) as record:
            time.sleep(0.2)
            while not os.path.exists(os.environ.get("GATE", "/")):
                time.sleep(0.02)
            yield record
    return real(*arguments, epoch_scope=slow, **rest)
trainer.train = train
from ktrdr_otel.__main__ import main
main()
"""


def slow_training(place: Place, *more: str) -> list[str]:
    """A training of a hundred slow epochs."""
    return [sys.executable, "-c", SLOW, *place.train_arguments("--json", *more, epochs=100)[len(COMMAND) :]]


def is_epoch(event: dict[str, Any]) -> bool:
    """Whether the line says that an epoch has begun."""
    return bool(event["event"] == "started" and event["progress_type"] == "epoch")


Failed = tuple[Place, subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory, bars: Path) -> Failed:
    """A run whose loader has failed."""
    place = Place(tmp_path_factory.mktemp("failed"), bars)
    arguments = place.train_arguments("--operation-id", "failing", "--trace-file", str(place.trace_file))
    return place, place.run([sys.executable, "-c", FAILING, *arguments[len(COMMAND) :]])


def test_a_failing_loader_leaves_exactly_the_seeds_two_lines(failed: Failed) -> None:
    """The last progress, then the error; exit code 1; the operation says where and why."""
    place, done = failed
    assert done.returncode == 1
    assert done.stderr == (
        "Processing MSFT (2/2) [1d] - Loading data\nERROR: Failed to load MSFT: Connection timeout\n"
    )
    operation = place.operations("show", "failing")
    assert operation["status"] == "failed"
    error = operation["error"]
    assert error.pop("traceback").startswith("Traceback (most recent call last):")
    assert error == {
        "type": "ConnectionError",
        "message": "Failed to load MSFT: Connection timeout",
        "step": "Processing MSFT (2/2) [1d] - Loading data",
    }
    rows = place.operations("checkpoints", "failing")
    loads = [row for row in rows if row["status"] == "failed" and row["name"] == "loading_data"]
    assert [row["error"]["type"] for row in loads] == ["ConnectionError"]


def test_the_trace_of_a_failure_is_whole_and_says_why(failed: Failed) -> None:
    """From the load to the root each span has the status, `error.type` and the exception; no other has."""
    expected = ExpectedTree(STRATEGY, "failing", ["AAPL", "MSFT"], epochs=2)
    why = ("ConnectionError", "Failed to load MSFT: Connection timeout")
    actual = read_tree(failed[0].trace_file)
    assert list(actual.rows()) == list(expected.failed_at_the_last_symbol(*why).rows())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_cancels_at_the_next_step(place: Place, number: signal.Signals, code: int) -> None:
    """No further epoch ends; the exit code says which signal it was."""
    gate = place.folder / "gate"
    process = place.start(slow_training(place, "--operation-id", "stopped"), GATE=str(gate))
    until(process, is_epoch)
    process.send_signal(number)
    gate.touch()
    rest, problems = process.communicate(timeout=60)
    assert process.returncode == code, problems
    assert "cancelled: " in problems
    ended = [json.loads(line) for line in rest.splitlines()]
    assert sum(line["event"] == "finished" and line["progress_type"] == "epoch" for line in ended) <= 1
    operation = place.operations("show", "stopped")
    assert operation["status"] == "cancelled"
    assert operation["message"].startswith("Epoch 1/100")


def test_a_cancel_from_elsewhere_is_heard(place: Place) -> None:
    """`operations cancel` in another process ends it with exit code 130 and the reason."""
    process = place.start(slow_training(place, "--operation-id", "elsewhere"))
    until(process, is_epoch)
    place.operations("cancel", "elsewhere", "--reason", "enough")
    _, problems = process.communicate(timeout=60)
    assert process.returncode == 130, problems
    assert problems.endswith("cancelled: enough\n")
    operation = place.operations("show", "elsewhere")
    assert (operation["status"], operation["cancel_reason"]) == ("cancelled", "enough")


def test_a_second_signal_ends_it_at_once(place: Place) -> None:
    """Whoever insists does not wait for the step."""
    process = place.start(slow_training(place, "--operation-id", "impatient"))
    until(process, is_epoch)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode in (-signal.SIGINT, 130)


def test_kill_9_loses_no_finished_step(place: Place) -> None:
    """What was finished half a second before is stored; the dead run is lost to whoever asks; the next one works."""
    process = place.start(slow_training(place, "--operation-id", "killed"))
    said: list[dict[str, Any]] = []

    def third_epoch(event: dict[str, Any]) -> bool:
        said.append(event)
        return is_epoch(event) and event["context"]["epoch_index"] == 4

    until(process, third_epoch)
    killed_at = time.time()
    process.kill()
    process.communicate(timeout=60)
    operation = place.operations("show", "killed")
    while operation["status"] == "running":
        assert time.time() < killed_at + 30, "whoever asks sees that three heartbeats have not come"
        operation = place.operations("show", "killed")
    assert operation["status"] == "lost"
    # By its watcher, if it lived long enough to have one.
    assert operation["lost_reason"].startswith(f"process {process.pid} ")
    stored = {
        (row["name"], row["symbol"], row["timeframe"]) for row in place.operations("checkpoints", "killed")
    }
    assert ("computing_indicator rsi_14", "MSFT", "1w") in stored
    with sqlite3.connect(place.database) as connection:
        ended = connection.execute("SELECT count(*) FROM checkpoints WHERE ended_ns IS NOT NULL").fetchone()[
            0
        ]
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    old = [line for line in said if line["event"] == "finished" and _seconds(line) < killed_at - 0.5]
    assert ended >= len(old) > 300
    again = place.run(place.train_arguments("--operation-id", "again"))
    assert again.returncode == 0, again.stderr
    assert [row["operation_id"] for row in place.operations("list")] == ["again", "killed"]


def _seconds(line: dict[str, Any]) -> float:
    from datetime import datetime

    return datetime.fromisoformat(line["timestamp"]).timestamp()


FULL = 110_000  # bytes: enough for the schema and the model snapshot, too few for the run's steps


def test_a_store_that_fails_stops_no_training(place: Place) -> None:
    """The disk is full for the store alone: the run completes, says so, and exits with 0."""
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({FULL}, {FULL}))\n"
    ignore = "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
    script = ignore + limited + "from ktrdr_otel.__main__ import main\nmain()"
    arguments = place.train_arguments("--operation-id", "full", epochs=1)
    done = place.run([sys.executable, "-c", script, *arguments[len(COMMAND) :]])
    assert done.returncode == 0, done.stderr
    assert "progress is not stored" in done.stderr
    assert "updates reported:" in done.stdout
    assert place.database.stat().st_size <= FULL

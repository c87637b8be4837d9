"""Real runs of the command line, in processes of their own, on real bars."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.data import write_samples

STRATEGY = Path(__file__).parents[2] / "pipeline" / "strategies" / "momentum_daily_weekly.yaml"
COMMAND = [sys.executable, "-m", "ktrdr_otel"]


@pytest.fixture(scope="session")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample bars."""
    folder = tmp_path_factory.mktemp("bars")
    write_samples(folder)
    return folder


@dataclass(frozen=True)
class Place:
    """A folder of one test, with a store of its own."""

    folder: Path
    bars: Path

    @property
    def database(self) -> Path:
        """The store's file."""
        return self.folder / "operations.db"

    @property
    def trace_file(self) -> Path:
        """Where a run writes its trace."""
        return self.folder / "trace.jsonl"

    def train_arguments(self, *more: str, epochs: int = 2) -> list[str]:
        """A training of the sample strategy on two symbols."""
        return [
            *COMMAND,
            "train",
            str(STRATEGY),
            "--data",
            str(self.bars),
            "--output",
            str(self.folder / "runs"),
            "--database",
            str(self.database),
            "--symbols",
            "AAPL,MSFT",
            "--epochs",
            str(epochs),
            *more,
        ]

    def run(self, arguments: Sequence[str], **environment: str) -> subprocess.CompletedProcess[str]:
        """The finished process."""
        return subprocess.run(
            arguments,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
            env=self._environment(environment),
        )

    def start(self, arguments: Sequence[str], **environment: str) -> subprocess.Popen[str]:
        """The running process."""
        return subprocess.Popen(
            arguments,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self._environment(environment),
        )

    def operations(self, *arguments: str) -> Any:
        """What `operations ... --json` says."""
        done = self.run([*COMMAND, "operations", *arguments, "--json", "--database", str(self.database)])
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    @staticmethod
    def _environment(more: dict[str, str]) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "KTRDR_"))}
        # Several runs share the cores of a test machine; OpenMP threads that wait by spinning would take them all.
        return {**kept, "OMP_NUM_THREADS": "1", **more}


@pytest.fixture
def place(tmp_path: Path, bars: Path) -> Place:
    """A folder with nothing but a view of the bars."""
    return Place(tmp_path, bars)


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, bars: Path) -> tuple[Place, list[dict[str, Any]]]:
    """One completed run, and its JSON lines."""
    place = Place(tmp_path_factory.mktemp("finished"), bars)
    arguments = place.train_arguments(
        "--json", "--operation-id", "finished", "--trace-file", str(place.trace_file)
    )
    done = place.run(arguments)
    assert done.returncode == 0, done.stderr
    return place, [json.loads(line) for line in done.stdout.splitlines()]


def until(process: subprocess.Popen[str], wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The first JSON line of the process that is wanted."""
    assert process.stdout is not None
    for line in process.stdout:
        event: dict[str, Any] = json.loads(line)
        if wanted(event):
            return event
    raise AssertionError("the process ended before it said what was wanted")

"""What runs beside a program holds nothing of it, wherever it runs and whatever its receivers do."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ktrdr_otel.runtime import open_service
from ktrdr_otel.settings import load_settings

JOB = """
import os, signal, time
from ktrdr_otel import checkpoint, observe

with observe("job", operation_id="job", display="off"):
    os.chdir("/")
    with checkpoint("load", index=1, total=2):
        time.sleep(4)  # it is watched after two
    {ending}
"""


@pytest.mark.parametrize("database", ["operations.db", "sqlite:///operations.db", "./new/operations.db"])
def test_a_relative_path_names_the_same_store_for_all(tmp_path: Path, database: str) -> None:
    """For the program, though it goes elsewhere, and for its watcher, which has always been elsewhere."""
    done = subprocess.run(
        [sys.executable, "-c", JOB.format(ending="os.kill(os.getpid(), signal.SIGKILL)")],
        cwd=tmp_path,
        env={**os.environ, "KTRDR_OTEL_DATABASE": database},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    path = tmp_path / database.removeprefix("sqlite:///")
    service = open_service(load_settings(database=str(path)))
    deadline = time.monotonic() + 20
    # After six seconds anybody can see that it is gone; only its watcher knows of what it died.
    while not str(service.get("job").lost_reason).endswith("killed by SIGKILL"):
        assert time.monotonic() < deadline, service.get("job").lost_reason
        time.sleep(0.05)
    service.close()
    assert not Path("/operations.db").exists()


@pytest.mark.parametrize("ending", ["os.kill(os.getpid(), signal.SIGKILL)", "pass"])
def test_nobody_waits_for_what_runs_beside_a_program_that_has_ended(tmp_path: Path, ending: str) -> None:
    """Its output ends with it, though what completes its trace and sends its messages goes on for two minutes."""
    began = time.monotonic()
    subprocess.run(
        [sys.executable, "-c", JOB.format(ending=ending)],
        env={
            **os.environ,
            "KTRDR_OTEL_DATABASE": str(tmp_path / "operations.db"),
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
            "KTRDR_OTEL_SHUTDOWN_TIMEOUT_SECONDS": "1",
            "KTRDR_OTEL_NOTIFY": "json://127.0.0.1:9",
        },
        capture_output=True,
        timeout=100,
    )
    assert time.monotonic() - began < 30

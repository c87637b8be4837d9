"""What a watcher does at the end of its process, on real ones."""

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ktrdr_otel.operations.models import NewOperation, OperationStatus
from ktrdr_otel.operations.worker import started_ticks, this_worker
from ktrdr_otel.pulse import Pulse
from ktrdr_otel.settings import Settings
from ktrdr_otel.storage import open_store
from ktrdr_otel.watcher.process import Watcher


def test_a_death_is_stored_and_said_once_where_the_trace_cannot_be_closed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The interpreter that should close it is gone: that is what the log says, and nothing else is tried again."""
    process = subprocess.Popen([sys.executable, "-I", "-S", "-c", "input()"], stdin=subprocess.PIPE)
    ticks = started_ticks(process.pid)
    assert ticks is not None
    worker = replace(this_worker(), pid=process.pid, pid_started_ticks=ticks)
    store = open_store(Settings(database=str(tmp_path / "operations.db")))
    new = NewOperation(
        operation_id="one",
        operation_type="training",
        name="train",
        started_at=datetime.now(UTC),
        trace_id=None,
        span_id=None,
        worker=worker,
        lease_seconds=15,
    )
    store.create(new, wall_ns=1, monotonic_ns=1)
    pulse = Pulse.create()
    watcher = Watcher(
        {
            **store.watching(),
            "pid": worker.pid,
            "started_ticks": worker.pid_started_ticks,
            "boot_id": worker.boot_id,
            "pulse": pulse.path,
            "heartbeat_seconds": 2.0,
            "unknown_seconds": 300.0,
            "allowances": [],
            "py_spy": None,
            "site_packages": [],
            "closing": {"python": str(tmp_path / "gone"), "environment": {}, "told": {}},
        }
    )
    process.kill()
    watcher.run()
    process.communicate()
    assert store.get("one").operation.status is OperationStatus.LOST
    [said] = capsys.readouterr().err.splitlines()
    assert "its trace is left to whoever reads the store" in said
    pulse.close()
    store.close()

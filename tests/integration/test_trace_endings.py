"""However a program ends, what it has shown open ends truthfully in its backend, and its exit code stays."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ktrdr_otel import semconv
from ktrdr_otel.operations.models import OperationStatus
from ktrdr_otel.runtime import open_service
from ktrdr_otel.settings import load_settings
from tests.integration.otlp_receivers import HttpReceiver
from tests.integration.test_live_traces import shown_by_all
from tests.unit.exporters.storages import fold

JOB = """
import multiprocessing, os, signal, sys
from ktrdr_otel import CancellationError, checkpoint, observe

def child():
    pass

def abandoned():
    with checkpoint("load", item="left open", index=2, total=2):
        yield

if __name__ == "__main__":
    with observe("job", operation_id="job", database={database!r}, display="off") as operation:
        with checkpoint("symbol", symbol="AAPL", symbol_index=1, total_symbols=1):
            with checkpoint("load", item="w1", index=1, total=2):
                pass
            operation.flush()  # now the open ones have been shown
            {ending}
"""


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    """An OTLP/HTTP receiver that keeps everything."""
    receiver = HttpReceiver()
    yield receiver
    receiver.close()


@pytest.mark.parametrize(
    ("ending", "code", "status", "error", "state"),
    [
        ("pass", 0, "completed", None, None),
        ("sys.exit(0)", 0, "completed", None, None),
        ("sys.exit(3)", 3, "failed", "SystemExit", None),
        ("raise ValueError('no bars')", 1, "failed", "ValueError", None),
        (
            "signal.signal(signal.SIGINT, signal.default_int_handler); signal.raise_signal(signal.SIGINT)",
            -2,
            "cancelled",
            None,
            semconv.STATE_CANCELLED,
        ),
        ("raise CancellationError('enough')", 1, "cancelled", None, semconv.STATE_CANCELLED),
        ("multiprocessing.get_context('fork').Process(target=child).start()", 0, "completed", None, None),
        ("multiprocessing.get_context('spawn').Process(target=child).start()", 0, "completed", None, None),
    ],
)
def test_every_end_is_told(
    tmp_path: Path,
    receiver: HttpReceiver,
    ending: str,
    code: int,
    status: str,
    error: str | None,
    state: str | None,
) -> None:
    """Root and container have the status, the error and the state that their end gave them; nothing is left open."""
    program = tmp_path / "job.py"
    program.write_text(JOB.format(database=str(tmp_path / "operations.db"), ending=ending))
    done = subprocess.run(
        [sys.executable, str(program)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url},
    )
    assert done.returncode == code, done.stderr
    trace = {span.name: span for span in fold(shown_by_all(receiver.spans)).values()}
    assert set(trace) == {"operation", "symbol AAPL", "load"}
    assert trace["operation"].attributes[semconv.OPERATION_STATUS] == status
    for name in ("operation", "symbol AAPL"):
        assert trace[name].attributes.get(semconv.ERROR_TYPE) == error
        assert trace[name].attributes.get(semconv.SPAN_STATE) == state
        assert (trace[name].status == "ERROR") == (error is not None)
        assert (trace[name].events == ("exception",)) == (error is not None)


LEFT_OPEN = """
import sys, threading, time
from ktrdr_otel import checkpoint, observe

def work(began):
    with observe("job", operation_id="job", database={database!r}, display="off") as operation:
        with checkpoint("symbol", symbol="AAPL", symbol_index=1, total_symbols=1):
            with checkpoint("load", item="w1", index=1, total=2):
                pass
            operation.flush()
            began.set()
            {wait}

began = threading.Event()
{start}
began.wait()
sys.exit(3)
"""


@pytest.mark.parametrize(
    ("start", "wait"),
    [
        ("threading.Thread(target=work, args=[began], daemon=True).start()", "time.sleep(60)"),
        ("kept = work(began); next(kept)", "yield"),
    ],
)
def test_what_is_open_when_the_interpreter_exits_is_cancelled(
    tmp_path: Path, receiver: HttpReceiver, start: str, wait: str
) -> None:
    """In a thread that nobody waits for, or never left: by its program, which is no death; its exit code stays."""
    database = str(tmp_path / "operations.db")
    program = tmp_path / "job.py"
    program.write_text(LEFT_OPEN.format(database=database, start=start, wait=wait))
    done = subprocess.run(
        [sys.executable, str(program)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url},
    )
    assert (done.returncode, done.stderr) == (3, "")
    service = open_service(load_settings(database=database))
    operation = service.get("job")
    service.close()
    assert operation.status is OperationStatus.CANCELLED
    assert operation.cancel_reason == "its program ended before it did"
    trace = {span.name: span for span in fold(shown_by_all(receiver.spans)).values()}
    assert trace["operation"].attributes[semconv.OPERATION_STATUS] == "cancelled"
    states = (semconv.STATE_LOST, semconv.STATE_CANCELLED)
    assert trace["symbol AAPL"].attributes[semconv.SPAN_STATE] in states


ENDING = """
import sys, time
from ktrdr_otel import checkpoint, observe

with observe("job", database=sys.argv[1], display="off"):
    with checkpoint("load", index=1, total=1):
        pass
    began = time.monotonic()
print(time.monotonic() - began)
"""


def test_receivers_that_hang_do_not_keep_a_program_twice(tmp_path: Path) -> None:
    """Of traces and of metrics: the time for the end is one for both, with a moment for each."""
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes connections, and never answers
        done = subprocess.run(
            [sys.executable, "-c", ENDING, str(tmp_path / "operations.db")],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            env={
                **os.environ,
                "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}",
                "OTEL_METRICS_EXPORTER": "otlp",
                "KTRDR_OTEL_SHUTDOWN_TIMEOUT_SECONDS": "6",
            },
        )
    assert 6 <= float(done.stdout) < 12


def test_a_span_that_its_program_left_open_is_told_as_lost(tmp_path: Path, receiver: HttpReceiver) -> None:
    """A generator that nobody exhausted, kept alive beyond its operation."""
    program = tmp_path / "job.py"
    ending = "kept = abandoned(); next(kept); import time; time.sleep(6)"
    program.write_text(JOB.format(database=str(tmp_path / "operations.db"), ending=ending))
    subprocess.run(
        [sys.executable, str(program)],
        check=True,
        timeout=60,
        env={**os.environ, "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url},
    )
    lost = [
        span
        for span in receiver.spans
        if any(
            each.key == semconv.SPAN_STATE and each.value.string_value == semconv.STATE_LOST
            for each in span.attributes
        )
    ]
    assert [(span.name, span.status.message) for span in lost] == [("load", "its program left it open")]

"""However a program ends, what it has shown open ends truthfully in its backend, and its exit code stays."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ktrdr_otel import semconv
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
        ("signal.raise_signal(signal.SIGINT)", -2, "cancelled", None, semconv.STATE_CANCELLED),
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

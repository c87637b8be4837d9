"""What a run that was killed leaves in a tracing backend: a trace that is closed, and says what was open."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from ktrdr_otel import semconv
from ktrdr_otel.clock import ns_from_utc
from ktrdr_otel.exporters.live import LiveMode
from ktrdr_otel.operations.models import Checkpoint, CheckpointStatus, OperationStatus
from ktrdr_otel.operations.service import OperationsService
from ktrdr_otel.runtime import open_service
from ktrdr_otel.settings import load_settings
from tests.integration.otlp_receivers import HttpReceiver
from tests.integration.test_live_traces import id_of, seen, shown_by_badger
from tests.unit.exporters.storages import Seen, fold

KILLS = int(os.environ.get("KTRDR_OTEL_TEST_KILLS", "20"))
TOGETHER = 5

JOB = """
import itertools, random, sys, time
from ktrdr_otel import checkpoint, observe

chance = random.Random(int(sys.argv[2]))
with observe("job", operation_id="job", database=sys.argv[1], display="off"):
    print("there", flush=True)
    for symbol in itertools.count(1):
        with checkpoint("symbol", symbol=f"S{symbol}", symbol_index=symbol, total_symbols=1000):
            for item in range(1, 8):
                with checkpoint("load", item=f"w{item}", index=item, total=7):
                    time.sleep(chance.choice([0, 0, 0.001, 0.05, 0.4, 1.5]))
"""


STUCK = """
import sys, time
from ktrdr_otel import checkpoint, observe

def stuck():
    while True:
        pass

with observe("job", operation_id="job", database=sys.argv[1], display="off"):
    print("there", flush=True)
    with checkpoint("symbol", symbol="AAPL", symbol_index=1, total_symbols=1):
        with checkpoint("load", item="w1", index=1, total=1):
            stuck()
"""


class Job:
    """A job that exports to a receiver of its own, and its record."""

    def __init__(self, folder: Path, mode: LiveMode, seed: int, program: str = JOB, **more: str) -> None:
        self.receiver = HttpReceiver()
        self.database = str(folder / "operations.db")
        self.service: OperationsService = open_service(load_settings(database=self.database, lease_seconds=2))
        self.environment = {
            **os.environ,
            "KTRDR_OTEL_LIVE": str(mode),
            "KTRDR_OTEL_LEASE_SECONDS": "2",
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.receiver.url,
            "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20token",
            **more,
        }
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, self.database, str(seed)],
            stdout=subprocess.PIPE,
            text=True,
            env=self.environment,
        )

    def wait_until_there(self) -> None:
        """The operation runs."""
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "there\n"

    def wait_until_watched(self) -> None:
        """Its watcher has looked at it."""
        deadline = time.monotonic() + 30
        while not self.service.latest_samples(["job"]) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert self.service.latest_samples(["job"])

    def wait_until_closed(self, timeout_seconds: float = 40) -> list[Checkpoint]:
        """The operation is lost, and nothing of its trace is owed any more; its checkpoints."""
        deadline = time.monotonic() + timeout_seconds
        root_is_closed = False
        while time.monotonic() < deadline and not root_is_closed:
            time.sleep(0.05)
            states = {
                each.value.string_value
                for span in list(self.receiver.spans)
                if span.name == "operation"
                for each in span.attributes
                if each.key == semconv.SPAN_STATE
            }
            root_is_closed = semconv.STATE_LOST in states
        assert root_is_closed, f"the trace is not closed; {self.service.get('job').status}"
        while time.monotonic() < deadline and self.service.trace_debt("job") is not None:
            time.sleep(0.05)
        assert self.service.trace_debt("job") is None, "the root is closed, and something is owed"
        return list(self.service.checkpoints("job", limit=1_000_000))

    def close(self) -> None:
        """Nothing of it is left."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.service.close()
        self.receiver.close()


@contextmanager
def jobs(
    folder: Path, mode: LiveMode, seeds: Sequence[int], program: str = JOB, **more: str
) -> Iterator[list[Job]]:
    """Jobs that run at once."""
    started = []
    for seed in seeds:
        own = folder / str(seed)
        own.mkdir()
        started.append(Job(own, mode, seed, program, **more))
    try:
        yield started
    finally:
        for each in started:
            each.close()


def shown(receiver: HttpReceiver, mode: LiveMode) -> tuple[dict[int, Seen], int]:
    """The trace as a reader finds it, and how many records of it are doubles."""
    spans: list[Span] = list(receiver.spans)
    if mode is LiveMode.SNAPSHOT:
        return shown_by_badger(spans), 0
    kept: dict[int, Seen] = {}
    doubles = 0
    for span in spans:
        doubles += id_of(span) in kept
        kept[id_of(span)] = seen(span)
    return fold(kept), doubles


def disagreements(trace: Mapping[int, Seen], mode: LiveMode, checkpoints: Iterable[Checkpoint]) -> list[str]:
    """Where the trace, as a reader finds it, does not say what the store says."""
    wrong = []
    for checkpoint in checkpoints:
        span = trace.get(int(checkpoint.span_id, 16))
        is_lost = checkpoint.status is CheckpointStatus.LOST
        assert checkpoint.ended_at is not None
        if span is None:
            wrong.append(f"{checkpoint.name} is missing")
        elif (span.attributes.get(semconv.SPAN_STATE) == semconv.STATE_LOST) != is_lost:
            wrong.append(f"{checkpoint.name} is {checkpoint.status}, there {span.attributes}")
        elif (span.status == "ERROR") != is_lost:
            wrong.append(f"{checkpoint.name} is {checkpoint.status}, there {span.status}")
        elif (span.start_ns or 0) // 1000 != ns_from_utc(checkpoint.started_at) // 1000:
            wrong.append(f"{checkpoint.name} began at {checkpoint.started_at}, there {span.start_ns}")
        elif not is_lost and (span.end_ns or 0) // 1000 != ns_from_utc(checkpoint.ended_at) // 1000:
            wrong.append(f"{checkpoint.name} ended at {checkpoint.ended_at}, there {span.end_ns}")
    open_states = (semconv.STATE_IN_PROGRESS, semconv.STATE_STARTED)
    for span in trace.values():
        if span.attributes.get(semconv.SPAN_STATE) in open_states:
            wrong.append(f"{span.name} is left open there")
        if mode is LiveMode.MARKERS and span.parent is not None and span.parent not in trace:
            wrong.append(f"{span.name} has no parent there")
    return wrong


@pytest.mark.timeout(120 + KILLS * 15)
@pytest.mark.parametrize("mode", [LiveMode.SNAPSHOT, LiveMode.MARKERS])
def test_the_trace_of_a_killed_run_is_closed(tmp_path: Path, mode: LiveMode) -> None:
    """At random moments: lost is exactly what was open at the last flush, what had ended arrives as it ended."""
    chance = random.Random(11)
    doubles: list[int] = []
    for start in range(0, KILLS // 2, TOGETHER):
        seeds = range(start, min(start + TOGETHER, KILLS // 2))
        with jobs(tmp_path, mode, seeds) as running:
            for each in running:
                each.wait_until_there()
            time.sleep(2.5)  # until they are watched
            for each in running:
                time.sleep(chance.uniform(0, 0.8))
                each.process.kill()
            for each in running:
                checkpoints = each.wait_until_closed()
                operation = each.service.get("job")
                assert operation.status is OperationStatus.LOST
                assert operation.lost_reason is not None
                root = next(each for each in checkpoints if each.name == "operation")
                trace, came_twice = shown(each.receiver, mode)
                closed = trace[int(root.span_id, 16)]
                assert closed.message == operation.lost_reason
                assert closed.attributes[semconv.OPERATION_STATUS] == "lost"
                assert {headers["authorization"] for headers in each.receiver.headers} == {"Bearer token"}
                assert disagreements(trace, mode, checkpoints) == []
                doubles.append(came_twice)
    print(f"{mode}: {len(doubles)} kills, records that came twice: {sorted(doubles)}")
    # Spans that left after the last flush, and one batch whose confirmation was not stored.
    assert max(doubles) <= 512


def test_what_stood_still_and_was_stopped_says_where(tmp_path: Path) -> None:
    """A stalled run that is told to go by SIGTERM: the signal is the reason, the stack is on the span that stood."""
    short = {"KTRDR_OTEL_STALL_FLOOR_SECONDS": "1", "KTRDR_OTEL_STALL_UNKNOWN_SECONDS": "1"}
    with jobs(tmp_path, LiveMode.SNAPSHOT, [1], STUCK, **short) as [job]:
        job.wait_until_there()
        deadline = time.monotonic() + 30
        while job.service.get("job").stall is None and time.monotonic() < deadline:
            time.sleep(0.05)
        job.process.terminate()
        job.process.wait()  # the kernel tells the signal once the parent has asked for it
        job.wait_until_closed()
        (span,) = (span for span in job.receiver.spans if span.name == "load" and span.events)
        assert "SIGTERM" in span.status.message
        (event,) = span.events
        told = {each.key: each.value.string_value for each in event.attributes}
        assert event.name == semconv.STALLED_EVENT
        assert ", in stuck, " in told[semconv.STALL_ACTIVITY]
        assert "stuck (" in told[semconv.STACKTRACE]


def test_a_server_that_lacks_the_credentials_keeps_out_nobody_who_has_them(tmp_path: Path) -> None:
    """It sees the loss at once; the watcher's closer, which has them, completes the trace, and nobody is refused."""
    # Long enough that on a busy machine too it is the watcher who finds it dead.
    with jobs(tmp_path, LiveMode.MARKERS, [1], KTRDR_OTEL_LEASE_SECONDS="15") as [job]:
        job.receiver.authorization = "Bearer token"
        job.wait_until_there()
        stranger = {name: value for name, value in job.environment.items() if not name.startswith("OTEL_")}
        server = subprocess.Popen(
            [sys.executable, "-m", "ktrdr_otel", "serve", "--port", "0", "--database", job.database],
            stdout=subprocess.PIPE,
            text=True,
            env=stranger,
        )
        try:
            assert server.stdout is not None
            assert any("http://" in line for line in server.stdout)  # it serves, and follows the store
            job.wait_until_watched()
            job.process.kill()
            job.process.wait()
            checkpoints = job.wait_until_closed()
        finally:
            server.terminate()
            server.communicate()
        trace, _ = shown(job.receiver, LiveMode.MARKERS)
        assert disagreements(trace, LiveMode.MARKERS, checkpoints) == []
        assert job.receiver.strangers == 0


def test_without_a_watcher_whoever_looks_closes_the_trace(tmp_path: Path) -> None:
    """The command line finds the run dead when its lease has expired, and has its trace completed."""
    with jobs(tmp_path, LiveMode.MARKERS, [1], KTRDR_OTEL_WATCHER="off") as [job]:
        job.wait_until_there()
        deadline = time.monotonic() + 20
        while not job.receiver.spans and time.monotonic() < deadline:
            time.sleep(0.05)
        job.process.kill()
        job.process.wait()
        listed = subprocess.run(
            [sys.executable, "-m", "ktrdr_otel", "operations", "list", "--database", job.database],
            env=job.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert "lost" in listed.stdout
        checkpoints = job.wait_until_closed()
        trace, _ = shown(job.receiver, LiveMode.MARKERS)
        assert disagreements(trace, LiveMode.MARKERS, checkpoints) == []


def test_what_could_not_leave_before_the_end_is_sent_by_who_looks(tmp_path: Path) -> None:
    """A run completes while its receiver is away: its last spans are owed, and arrive when somebody looks."""
    receiver = HttpReceiver()
    port = receiver.port
    receiver.close()
    database = str(tmp_path / "operations.db")
    environment = {
        **os.environ,
        "KTRDR_OTEL_LIVE": "off",
        "KTRDR_OTEL_SHUTDOWN_TIMEOUT_SECONDS": "1",
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
        "OTEL_EXPORTER_OTLP_TIMEOUT": "1",
    }
    program = (
        "import sys; from ktrdr_otel import checkpoint, observe\n"
        "with observe('job', operation_id='job', database=sys.argv[1], display='off'):\n"
        "    for item in range(1, 8):\n"
        "        with checkpoint('load', item=f'w{item}', index=item, total=7): pass\n"
    )
    subprocess.run([sys.executable, "-c", program, database], env=environment, check=True, timeout=60)
    receiver = HttpReceiver(port)
    look = [sys.executable, "-m", "ktrdr_otel", "operations", "list", "--database", database]
    try:
        subprocess.run(look, env=environment, check=True, capture_output=True, timeout=60)
        deadline = time.monotonic() + 30
        while len(receiver.spans) < 8 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert sorted(receiver.names) == ["load"] * 7 + ["operation"]
        root = next(span for span in receiver.spans if span.name == "operation")
        told = {each.key: each.value.string_value for each in root.attributes}
        assert told[semconv.OPERATION_STATUS] == "completed"
    finally:
        receiver.close()

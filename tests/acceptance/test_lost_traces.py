"""What a run that was killed leaves in a tracing backend: a trace that is closed, and says what was open."""

import os
import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from ktrdr_otel import semconv
from ktrdr_otel.exporters.live import LiveMode
from ktrdr_otel.operations.models import OperationStatus
from ktrdr_otel.operations.retelling import Retelling, RetoldSpan
from ktrdr_otel.operations.service import OperationsService
from ktrdr_otel.runtime import open_service
from ktrdr_otel.settings import load_settings
from tests.integration.otlp_receivers import HttpReceiver, spans_of
from tests.integration.test_live_traces import badger_rule, id_of, seen
from tests.unit.exporters.storages import Seen, fold

KILLS = int(os.environ.get("KTRDR_OTEL_TEST_KILLS", "20"))
TOGETHER = 5
UNWATCHED_SECONDS = 2.0  # a watcher is started when an operation is so old
UNKNOWN_SECONDS = (
    2.0  # what the store may be behind: a flush, here on a busy machine, and a request under way
)

JOB = """
import contextlib, itertools, logging, random, sys, time
from opentelemetry import trace
from ktrdr_otel import checkpoint, observe

bars = logging.getLogger("bars")
chance = random.Random(int(sys.argv[2]))
with observe("job", operation_id="job", database=sys.argv[1], display="off"):
    print("there", flush=True)
    for symbol in itertools.count(1):
        with checkpoint("symbol", symbol=f"S{symbol}", symbol_index=symbol, total_symbols=1000):
            for item in range(1, 8):
                with contextlib.suppress(ValueError), checkpoint("load", item=f"w{item}", index=item, total=7):
                    trace.get_current_span().set_attribute("rows", 1000 * item)
                    if item == 2:
                        bars.warning("a gap in S%d", symbol)
                    time.sleep(chance.choice([0, 0, 0.001, 0.05, 0.4, 1.5]))
                    if item == 5:
                        raise ValueError(f"no bars of S{symbol}")
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
        self.killed_at = 0.0  # by CLOCK_MONOTONIC
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

    def wait_until_closed(self, timeout_seconds: float = 40) -> None:
        """The operation is lost, and nothing of its trace is owed any more."""
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
        self.wait_until_nothing_is_owed(timeout_seconds)

    def wait_until_nothing_is_owed(self, timeout_seconds: float = 40) -> None:
        """Whatever has been found to be owed has been sent."""
        deadline = time.monotonic() + timeout_seconds
        while self.service.traces.debt("job") is not None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert self.service.traces.debt("job") is None, "something is owed"

    def look_until_lost(self) -> None:
        """The command line finds it dead once three heartbeats have not come, and has its trace completed."""
        deadline = time.monotonic() + 30
        with closing(sqlite3.connect(self.database)) as connection:
            # One that looks in the very moment tells the loss, and the next one stores it.
            while connection.execute("SELECT 1 FROM operations WHERE status = 'lost'").fetchone() is None:
                assert time.monotonic() < deadline
                subprocess.run(
                    [sys.executable, "-m", "ktrdr_otel", "operations", "list", "--database", self.database],
                    env=self.environment,
                    capture_output=True,
                    check=True,
                )

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


def shown(receiver: HttpReceiver, mode: LiveMode) -> tuple[dict[int, Seen], set[int]]:
    """The trace as a reader finds it, and the spans that are there twice."""
    spans: list[Span] = list(receiver.spans)
    if mode is LiveMode.SNAPSHOT:
        kept_by_start = badger_rule(spans)
        counted = Counter(span_id for _, _, span_id in kept_by_start)
        trace = {span_id: span for (_, _, span_id), span in kept_by_start.items()}
        return trace, {span_id for span_id, count in counted.items() if count > 1}
    kept: dict[int, Seen] = {}
    doubles: set[int] = set()
    for span in spans:
        if id_of(span) in kept:
            doubles.add(id_of(span))
        kept[id_of(span)] = seen(span)
    return fold(kept), doubles


def retold(service: OperationsService) -> list[RetoldSpan]:
    """The spans of the job as its store tells them."""
    checkpoints = service.checkpoints("job", limit=1_000_000)
    root = next((each.span_id for each in checkpoints if each.name == "operation"), None)
    return Retelling(service.get("job"), root, service.logs("job")).spans(checkpoints)


def disagreements(trace: Mapping[int, Seen], mode: LiveMode, told: Iterable[RetoldSpan]) -> list[str]:
    """Where the trace, as a reader finds it, does not say what the store says."""
    wrong = []
    for span in told:
        there = trace.get(int(span.span_id, 16))
        if there is None:
            wrong.append(f"{span.name} is missing")
            continue
        parent = None if span.parent_span_id is None else int(span.parent_span_id, 16)
        for what, stored, found in (
            ("name", span.name, there.name),
            ("parent", parent, there.parent),
            ("start", span.start_ns // 1000, (there.start_ns or 0) // 1000),
            ("end", span.end_ns // 1000, (there.end_ns or 0) // 1000),
            ("status", "ERROR" if span.is_error else "UNSET", there.status),
            ("message", span.message, there.message),
            ("attributes", dict(span.attributes), dict(there.attributes)),
            ("events", sorted(event.name for event in span.events), sorted(there.events)),
        ):
            if stored != found:
                wrong.append(f"{span.name}: its {what} is {stored}, there {found}")
    open_states = (semconv.STATE_IN_PROGRESS, semconv.STATE_STARTED)
    for span_id, there in trace.items():
        if there.attributes.get(semconv.SPAN_STATE) in open_states:
            wrong.append(f"{there.name} ({span_id:x}) is left open there")
        if mode is LiveMode.MARKERS and there.parent is not None and there.parent not in trace:
            wrong.append(f"{there.name} has no parent there")
    return wrong


def kill(job: Job, seconds: float) -> None:
    """So long after its operation was there it is killed; if nobody watched it yet, somebody looks."""
    job.wait_until_there()
    if seconds < UNWATCHED_SECONDS:
        time.sleep(seconds)
    else:
        job.wait_until_watched()
        time.sleep(seconds - UNWATCHED_SECONDS)
    job.killed_at = time.monotonic()
    job.process.kill()
    job.process.wait()
    if seconds < UNWATCHED_SECONDS:
        job.look_until_lost()


@pytest.mark.timeout(120 + KILLS * 15)
@pytest.mark.parametrize("mode", [LiveMode.SNAPSHOT, LiveMode.MARKERS])
def test_the_trace_of_a_killed_run_is_closed(tmp_path: Path, mode: LiveMode) -> None:
    """At random moments, half of them before it is watched: lost is exactly what was open at the last flush."""
    chance = random.Random(11)
    doubles: list[int] = []
    for start in range(0, KILLS // 2, TOGETHER):
        seeds = range(start, min(start + TOGETHER, KILLS // 2))
        moments = [
            chance.uniform(0, UNWATCHED_SECONDS) if seed % 2 else UNWATCHED_SECONDS + chance.uniform(0.5, 2.5)
            for seed in seeds
        ]
        with jobs(tmp_path, mode, seeds) as running, ThreadPoolExecutor(TOGETHER) as threads:
            list(threads.map(kill, running, moments))
            for job, seconds in zip(running, moments, strict=True):
                if seconds < UNWATCHED_SECONDS:
                    job.wait_until_nothing_is_owed()
                else:
                    job.wait_until_closed()
                operation = job.service.get("job")
                assert operation.status is OperationStatus.LOST
                assert operation.lost_reason is not None
                told = retold(job.service)
                lost = [
                    each for each in told if each.attributes.get(semconv.SPAN_STATE) == semconv.STATE_LOST
                ]
                assert all(each.message == operation.lost_reason for each in lost)
                assert not told or "operation" in {each.name for each in lost}
                trace, came_twice = shown(job.receiver, mode)
                assert {headers["authorization"] for headers in job.receiver.headers} <= {"Bearer token"}
                assert disagreements(trace, mode, told) == []
                # What last-write-wins leaves double no reader can mend; elsewhere a span may come twice that left
                # after the last flush of the store, or in a batch whose confirmation was not stored.
                assert mode is LiveMode.MARKERS or not came_twice
                assert came_twice <= arrived_after(job.receiver, job.killed_at - UNKNOWN_SECONDS)
                doubles.append(len(came_twice))
    print(f"{mode}: {len(doubles)} kills, spans that are there twice: {sorted(doubles)}")


def arrived_after(receiver: HttpReceiver, moment: float) -> set[int]:
    """Spans of which nothing had arrived before that moment."""
    before: set[int] = set()
    after: set[int] = set()
    for arrived_at, request in zip(receiver.arrived, receiver.requests, strict=True):
        ids = {id_of(span) for span in spans_of(request)}
        (before if arrived_at < moment else after).update(ids)
    return after - before


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
            job.wait_until_closed()
        finally:
            server.terminate()
            server.communicate()
        trace, _ = shown(job.receiver, LiveMode.MARKERS)
        assert disagreements(trace, LiveMode.MARKERS, retold(job.service)) == []
        assert job.receiver.strangers == 0


PROVIDER = """
import os, requests

def session():
    made = requests.Session()
    made.headers["authorization"] = os.environ["TOKEN_OF_PROVIDER"]
    return made
"""


def test_a_credential_provider_of_the_run_serves_its_closer(tmp_path: Path) -> None:
    """It finds the variables that it reads, and nothing of them is stored or on a command line."""
    package = tmp_path / "package"
    installed = package / "provider-1.0.dist-info"
    installed.mkdir(parents=True)
    (package / "provider.py").write_text(PROVIDER)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: provider\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(
        "[opentelemetry_otlp_credential_provider]\nours = provider:session\n"
    )
    more = {
        "PYTHONPATH": str(package),
        "OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER": "ours",
        "TOKEN_OF_PROVIDER": "Bearer of the provider",
        "OTEL_EXPORTER_OTLP_HEADERS": "",
    }
    with jobs(tmp_path, LiveMode.MARKERS, [1], **more) as [job]:
        job.receiver.authorization = "Bearer of the provider"
        job.wait_until_there()
        job.wait_until_watched()
        commands = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
        job.process.kill()
        job.process.wait()
        job.wait_until_closed()
        assert job.receiver.strangers == 0
        assert not any(b"Bearer of the provider" in command for command in commands)
        assert b"Bearer of the provider" not in Path(job.database).read_bytes()


def test_without_a_watcher_whoever_looks_closes_the_trace(tmp_path: Path) -> None:
    """The command line finds the run dead when its lease has expired, and has its trace completed."""
    with jobs(tmp_path, LiveMode.MARKERS, [1], KTRDR_OTEL_WATCHER="off") as [job]:
        job.wait_until_there()
        deadline = time.monotonic() + 20
        while not job.receiver.spans and time.monotonic() < deadline:
            time.sleep(0.05)
        job.process.kill()
        job.process.wait()
        job.look_until_lost()
        job.wait_until_closed()
        trace, _ = shown(job.receiver, LiveMode.MARKERS)
        assert disagreements(trace, LiveMode.MARKERS, retold(job.service)) == []

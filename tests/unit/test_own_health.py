"""What the plugin says of itself: of its export, of its threads, of the machine's GPUs."""

import sys
import threading
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider

from ktrdr_otel import overhead
from ktrdr_otel.bridge.processor import ProgressSpanProcessor
from ktrdr_otel.bridge.pump import Pump
from ktrdr_otel.context import Inbox
from ktrdr_otel.exporters.delivery import Delivery, Fate
from ktrdr_otel.exporters.processor import ExportProcessor
from ktrdr_otel.exporters.queue import ExportQueue
from ktrdr_otel.metrics import gpu, instruments
from ktrdr_otel.metrics.health import store_points
from ktrdr_otel.metrics.instruments import Instrument
from ktrdr_otel.operations.models import Ending, NewOperation, OperationStatus, Progress
from ktrdr_otel.operations.worker import this_worker
from ktrdr_otel.own_health import OwnHealth
from ktrdr_otel.progress.events import Unit
from ktrdr_otel.runtime import open_service
from ktrdr_otel.settings import load_settings
from tests.unit.exporters.conftest import ScriptedExporter


@pytest.fixture
def own() -> OwnHealth:
    """The health of a process in which nothing has happened yet."""
    inbox: Inbox = Inbox()
    wake: SimpleQueue[None] = SimpleQueue()
    processor = ProgressSpanProcessor(inbox, wake)
    return OwnHealth(inbox, processor, Pump(inbox, wake, interval_seconds=60))


def figures(own: OwnHealth) -> dict[tuple[Instrument, tuple[str, ...]], float]:
    """The points by their series."""
    return {(instrument, values): value for instrument, values, value in own.points()}


def exporting(fate: Fate, spans: int) -> ExportQueue:
    """A queue whose exporter has answered so to that many spans."""
    queue = ExportQueue([ScriptedExporter(lambda _: Delivery(fate, error="as told"))], interval_seconds=60)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(ExportProcessor(queue))
    for _ in range(spans):
        provider.get_tracer("tests").start_span("one").end()
    queue.flush(0.2)
    return queue


def test_where_nothing_is_exported_nothing_is_said_of_exports(own: OwnHealth) -> None:
    """No made-up zeros: a process without a receiver has no queue."""
    said = {instrument for instrument, _ in figures(own)}
    assert said == {instruments.INBOX, instruments.FAULTS, instruments.OWN_CPU_TIME}


def test_an_export_that_fails_is_counted_with_what_waits(own: OwnHealth) -> None:
    """The receiver cannot be reached: the spans wait, none is dropped yet."""
    queue = exporting(Fate.UNREACHABLE, 3)
    own.exports(queue)
    said = figures(own)
    assert said[instruments.EXPORT_QUEUE, ()] == 3
    assert said[instruments.EXPORT_FAILURES, ()] >= 1
    assert said[instruments.EXPORTED, ()] == 0
    queue.shutdown(0.1)
    own.exported(queue)
    assert figures(own)[instruments.DROPPED, ("span", "shutdown")] == 3
    assert figures(own)[instruments.EXPORT_QUEUE, ()] == 0


def test_counts_of_an_operation_that_has_ended_stay(own: OwnHealth) -> None:
    """A counter never falls, and the next operation counts on."""
    for exported, expected in ((2, 2.0), (3, 5.0)):
        queue = exporting(Fate.DELIVERED, exported)
        own.exports(queue)
        queue.shutdown(1)
        own.exported(queue)
        assert figures(own)[instruments.EXPORTED, ()] == expected
    refused = exporting(Fate.REFUSED, 4)
    own.exports(refused)
    assert figures(own)[instruments.DROPPED, ("span", "rejected")] == 4
    refused.shutdown(1)


def test_an_applications_queue_is_counted_once(own: OwnHealth) -> None:
    """However many operations it serves."""
    queue = exporting(Fate.DELIVERED, 2)
    own.exports(queue)
    own.exports(queue)
    assert figures(own)[instruments.EXPORTED, ()] == 2
    queue.shutdown(1)


def test_the_cpu_of_a_thread_that_has_ended_stays_counted() -> None:
    """The counter never falls when an operation's threads go."""
    spent = overhead.ThreadTime()
    measured = threading.Event()
    done = threading.Event()

    def work() -> None:
        sum(range(3_000_000))
        measured.set()
        done.wait()

    thread = threading.Thread(target=work, name="ktrdr-otel test")
    thread.start()
    measured.wait()
    before = spent.seconds()
    done.set()
    thread.join()
    after = spent.seconds()
    assert before is not None
    assert after is not None
    assert after >= before > 0


def test_the_store_tells_what_it_took_and_whether_it_is_there() -> None:
    """As this process writes it; and one that cannot be followed is not up, whoever writes."""
    service = open_service(load_settings(database="sqlite:///:memory:"))
    unit = Unit("one", 1, 2, None, "load", "load", {}, 10**18, 0, 10**18 + 1)
    now = datetime.now(UTC)
    service.begin(
        NewOperation(
            operation_id="one",
            operation_type="test",
            name="test",
            started_at=now,
            trace_id=None,
            span_id=None,
            worker=this_worker(),
            lease_seconds=15,
        ),
        lambda reason: None,
    )
    service.record(unit)
    assert service.flush()
    said = {(instrument, values): value for instrument, values, value in store_points(service)}
    assert said[instruments.STORE_UP, ()] == 1
    assert said[instruments.STORE_FLUSHES, ()] >= 1
    assert said[instruments.STORE_FLUSH_TIME, ()] > 0
    assert said[instruments.STORE_QUEUE, ()] == 0
    assert said[instruments.DROPPED, ("checkpoint", "store")] == 0
    away = {
        (instrument, values): value for instrument, values, value in store_points(service, is_followed=False)
    }
    assert away[instruments.STORE_UP, ()] == 0
    over = Progress(
        phase=None,
        percentage=100,
        message="",
        context={},
        last_progress_at=now,
        items_completed=1,
        items_planned=None,
        estimated_remaining_seconds=None,
    )
    service.end("one", Ending(status=OperationStatus.COMPLETED, ended_at=now, progress=over))
    service.close()


class Nvml:
    """A driver's library for two GPUs, of which the second is partitioned: such a one tells no utilisation."""

    class NVMLError(Exception):  # the library's name
        """Anything that goes wrong."""

    class NVMLError_NotSupported(NVMLError):  # noqa: N801, N818 # the library's name
        """The GPU does not tell."""

    class Told:
        """An answer."""

        used, total, gpu = 2**30, 2**34, 85

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802 # the library's name
        """Two."""
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802 # the library's name
        """The index will do."""
        return index

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Told:  # noqa: N802 # the library's name
        """Of each the same."""
        return self.Told()

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Told:  # noqa: N802 # the library's name
        """Not of the second."""
        if handle == 1:
            raise self.NVMLError_NotSupported
        return self.Told()


def test_a_gpu_says_what_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    """And no number stands for what it does not."""
    monkeypatch.setattr(gpu, "_loaded", Nvml)
    points = gpu.Gpus().points()
    assert [(instrument, values, value) for instrument, values, value in points] == [
        (instruments.GPU_MEMORY, ("0",), 2.0**30),
        (instruments.GPU_MEMORY_LIMIT, ("0",), 2.0**34),
        (instruments.GPU_UTILIZATION, ("0",), 0.85),
        (instruments.GPU_MEMORY, ("1",), 2.0**30),
        (instruments.GPU_MEMORY_LIMIT, ("1",), 2.0**34),
    ]


def test_without_the_package_there_are_no_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """`nvidia-ml-py` is an extra."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert gpu.Gpus().points() == []


def test_a_driver_that_fails_later_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU that has fallen off the bus: no numbers, no exception."""

    class Broken(Nvml):
        def nvmlDeviceGetCount(self) -> Any:  # noqa: N802 # the library's name
            raise self.NVMLError

    monkeypatch.setattr(gpu, "_loaded", Broken)
    assert gpu.Gpus().points() == []


def test_whatever_a_driver_does_is_counted_and_said_once(
    own: OwnHealth, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A library that does not fit its driver fails in ways of its own."""

    class Unfit(Nvml):
        def nvmlDeviceGetCount(self) -> Any:  # noqa: N802 # the library's name
            raise AttributeError("no such symbol")

    monkeypatch.setattr(gpu, "_loaded", Unfit)
    figures(own)
    assert figures(own)[instruments.FAULTS, ("gpu",)] == 2
    assert caplog.text.count("the GPUs cannot be read") == 1


def test_a_driver_that_does_not_answer_keeps_one_caller(
    own: OwnHealth, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Operations begin and end, and others get their numbers, without those of the GPUs."""
    asked, answer = threading.Event(), threading.Event()

    class Hanging(Nvml):
        def nvmlDeviceGetCount(self) -> int:  # noqa: N802 # the library's name
            asked.set()
            answer.wait()
            return 1

    monkeypatch.setattr(gpu, "_loaded", Hanging)
    told: list[Any] = []
    looking = threading.Thread(target=lambda: told.append(figures(own)))
    looking.start()
    assert asked.wait(10)

    def run() -> None:
        queue = exporting(Fate.DELIVERED, 1)
        own.exports(queue)
        queue.shutdown(1)
        own.exported(queue)
        told.append(figures(own))

    running = threading.Thread(target=run, daemon=True)
    running.start()
    running.join(10)
    hung = running.is_alive()
    answer.set()
    looking.join()
    assert not hung
    assert [(instruments.GPU_UTILIZATION, ("0",)) in figures for figures in told] == [False, True]

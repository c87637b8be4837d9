"""Exporters that do as they are told, and a tracer whose spans go to a queue."""

import threading
from collections.abc import Callable, Iterator, Sequence

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.trace import Tracer

from ktrdr_otel.exporters.delivery import AccountableExporter, Delivery, Fate
from ktrdr_otel.exporters.live import LiveMode
from ktrdr_otel.exporters.processor import ExportProcessor
from ktrdr_otel.exporters.queue import ExportQueue


class ScriptedExporter(AccountableExporter):
    """Keeps what it is given, with the fate that `judge` decides; `hold` keeps it inside an export."""

    target = "the script"

    def __init__(self, judge: Callable[[Sequence[ReadableSpan]], Delivery] | None = None) -> None:
        self._judge = judge or (lambda spans: Delivery(Fate.DELIVERED))
        self.batches: list[list[str]] = []
        self.calls = 0
        self.entered = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self.is_shut_down = False

    @property
    def names(self) -> list[str]:
        """Names of the delivered spans, in the order of their arrival."""
        return [name for batch in self.batches for name in batch]

    def deliver(self, spans: Sequence[ReadableSpan]) -> Delivery:
        """What `judge` says."""
        self.calls += 1
        self.entered.set()
        self.go_on.wait()
        delivery = self._judge(spans)
        if delivery.fate is Fate.DELIVERED:
            self.batches.append([span.name for span in spans])
        return delivery

    def shutdown(self) -> None:
        """Nothing is to be released."""
        self.is_shut_down = True


class FakeClock:
    """Stands still until it is told to go on."""

    def __init__(self) -> None:
        self.now_ns = 1_000_000_000

    def wall_ns(self) -> int:
        """As set."""
        return self.now_ns

    def monotonic_ns(self) -> int:
        """As set."""
        return self.now_ns

    def advance(self, seconds: float) -> None:
        """The time is later."""
        self.now_ns += int(seconds * 1e9)


QueueMaker = Callable[..., tuple[ExportQueue, Tracer]]


@pytest.fixture
def make_queue() -> Iterator[QueueMaker]:
    """Makes a queue for an exporter and a tracer that feeds it; ended with the test."""
    queues: list[ExportQueue] = []

    def make(*exporters: AccountableExporter, **limits: int | float | LiveMode) -> tuple[ExportQueue, Tracer]:
        queue = ExportQueue(exporters, **({"interval_seconds": 0.01} | limits))  # type: ignore[arg-type] # as the class takes them
        queues.append(queue)
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(ExportProcessor(queue))
        return queue, provider.get_tracer("tests")

    yield make
    for queue in queues:
        queue.shutdown(0.1)


def finished_spans(count: int) -> list[ReadableSpan]:
    """Sampled spans named "0", "1", ..."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("tests")
    spans: list[ReadableSpan] = []
    for number in range(count):
        span = tracer.start_span(str(number))
        span.end()
        assert isinstance(span, ReadableSpan)
        spans.append(span)
    return spans

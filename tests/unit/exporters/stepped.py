"""A program whose spans, clock and exporter thread all stand still until a test moves them."""

from collections.abc import Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, Span, TracerProvider
from opentelemetry.sdk.trace.export import SpanExporter

from ktrdr_otel.exporters.live import LiveMode
from ktrdr_otel.exporters.processor import ExportProcessor
from ktrdr_otel.exporters.queue import ExportQueue
from tests.unit.exporters.conftest import FakeClock
from tests.unit.exporters.storages import Answer, Seen, Storage, id_of, plain

ROOM = 1000


class SteppedQueue(ExportQueue):
    """Its thread ends at once: turns are taken by the test, between whatever else happens."""

    def _run(self) -> None:
        self._thread_ended.set()


class Program:
    """Spans that are opened and ended on a clock that stands still, and the storage that they go to."""

    def __init__(
        self, mode: LiveMode, exporter: SpanExporter, *, max_queue: int = ROOM, max_batch: int = 4
    ) -> None:
        self.clock = FakeClock()
        self.queue = SteppedQueue(
            [exporter], live=mode, max_queue=max_queue, max_batch=max_batch, clock=self.clock
        )
        self.ended: dict[int, ReadableSpan] = {}
        self.open: list[Span] = []
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(ExportProcessor(self.queue))
        self._tracer = provider.get_tracer("tests")

    def begin(self, name: str, parent: Span | None = None, **attributes: Any) -> Span:
        """A span is open, inside another one."""
        context = None if parent is None else trace.set_span_in_context(parent)
        span = self._tracer.start_span(name, context, attributes=attributes, start_time=self.clock.wall_ns())
        assert isinstance(span, Span)
        self.open.append(span)
        self.clock.now_ns += 1_000  # no two spans begin at once
        return span

    def end(self, span: Span) -> None:
        """It has ended, if it has not before."""
        if span not in self.open:
            return
        self.open.remove(span)
        span.end(self.clock.wall_ns())
        self.ended[id_of(span)] = span

    def turn(self, seconds: float = 0.0) -> None:
        """Time has passed, and the exporter thread has had its turn."""
        self.clock.advance(seconds)
        self.queue._turn()

    def conclude(self) -> None:
        """All spans end, and everything that waits has had time to leave."""
        for span in reversed(self.open.copy()):
            self.end(span)
        for _ in range(200):
            self.turn(1)
            if not self.queue._waiting():
                break
        self.turn(60)
        assert self.queue._waiting() == 0

    def plain_trace(self) -> dict[int, Seen]:
        """What a plain export would have shown."""
        return {span_id: plain(span) for span_id, span in self.ended.items()}


class StoredProgram(Program):
    """A program whose spans go to a storage that answers as it is told."""

    def __init__(self, mode: LiveMode, answers: Sequence[Answer] = (), **limits: int) -> None:
        self.storage = Storage(answers)
        super().__init__(mode, self.storage, **limits)

    def conclude(self) -> None:
        """The storage answers again."""
        self.storage.answers.clear()
        super().conclude()

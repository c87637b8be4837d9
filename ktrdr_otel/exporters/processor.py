"""The span processor through which our own provider's spans reach the exporter thread."""

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from ktrdr_otel.exporters.queue import ExportQueue


class ExportProcessor(SpanProcessor):
    """Tells the queue of every start and end, in the thread of the span: O(1), no lock, no I/O."""

    def __init__(self, queue: ExportQueue) -> None:
        self._queue = queue

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """The span is open."""
        self._queue.started(span)

    def on_end(self, span: ReadableSpan) -> None:
        """The span has ended and will be exported if it is sampled."""
        self._queue.ended(span)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Whether everything has left within the time."""
        return self._queue.flush(timeout_millis / 1000)

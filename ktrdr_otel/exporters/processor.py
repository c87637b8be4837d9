"""The span processors through which spans reach an exporter thread."""

import weakref

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor
from opentelemetry.sdk.trace.export import SpanExporter

from ktrdr_otel.context import when_forked
from ktrdr_otel.errors import SettingsError
from ktrdr_otel.exporters.environment import queue_limits_from_environment
from ktrdr_otel.exporters.live import LiveMode
from ktrdr_otel.exporters.otlp import accountable
from ktrdr_otel.exporters.queue import ExportQueue
from ktrdr_otel.settings import load_settings


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


class LiveSpanProcessor(ExportProcessor):
    """Exports spans, open ones too: for an application's own provider, in place of its batch processor.

    `live` is `snapshot`, `markers` or `off`, by default what `KTRDR_OTEL_LIVE` says; `OTEL_BSP_*` set the limits of its
    queue. One exporter thread, started here and again in a forked child that traces. Raises `SettingsError`.

    >>> from opentelemetry.sdk.trace import TracerProvider
    >>> from opentelemetry.sdk.trace.export import ConsoleSpanExporter
    >>> provider = TracerProvider()
    >>> provider.add_span_processor(LiveSpanProcessor(ConsoleSpanExporter(), live="markers"))
    >>> provider.shutdown()
    """

    def __init__(self, exporter: SpanExporter, *, live: str | None = None) -> None:
        self._exporter = exporter
        self.live = _mode(live)
        self._shutdown_timeout_seconds = load_settings().shutdown_timeout_seconds
        self._limits = queue_limits_from_environment()
        self._is_inherited = False
        super().__init__(self._new_queue())
        _processors.add(self)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """The span is open."""
        if self._is_inherited:
            self._reopen()
        self._queue.started(span)

    def shutdown(self) -> None:
        """All that has ended has left, or what could not within `KTRDR_OTEL_SHUTDOWN_TIMEOUT_SECONDS` is dropped."""
        self._queue.shutdown(self._shutdown_timeout_seconds)

    def _new_queue(self) -> ExportQueue:
        return ExportQueue(
            [accountable(self._exporter)],
            live=self.live,
            max_queue=self._limits.max_queue,
            max_batch=self._limits.max_batch,
            interval_seconds=self._limits.interval_seconds,
        )

    def _reopen(self) -> None:
        """In a forked child: a thread of its own, and no connection that is the parent's too."""
        self._is_inherited = False
        # Two processes on one kept-alive connection would garble each other's requests; the SDK has no public way.
        transport = getattr(getattr(self._exporter, "_client", None), "_transport", None)
        if transport is not None:
            transport.close()
        self._queue = self._new_queue()

    def forget_after_fork(self) -> None:
        """The child's first span opens a queue of its own."""
        self._is_inherited = True


_processors: "weakref.WeakSet[LiveSpanProcessor]" = weakref.WeakSet()


def live_processors() -> list[LiveSpanProcessor]:
    """Those that this process has made."""
    return list(_processors)


def _mode(given: str | None) -> LiveMode:
    if given is None:
        return LiveMode(load_settings().live)
    try:
        return LiveMode(given)
    except ValueError:
        raise SettingsError(f"live: {given!r} is not one of {', '.join(LiveMode)}") from None


def _forget_all_after_fork() -> None:
    for processor in live_processors():
        processor.forget_after_fork()


when_forked(_forget_all_after_fork)

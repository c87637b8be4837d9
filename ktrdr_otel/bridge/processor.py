"""The span processor that doubles as the bridge: starts and ends go into the inbox, and that is all."""

import logging
import time
from queue import SimpleQueue

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor

from ktrdr_otel import faults
from ktrdr_otel.context import Happening, Inbox, active_operations, sighting
from ktrdr_otel.pulse import Pulse
from ktrdr_otel.semconv import CONTAINERS

logger = logging.getLogger(__name__)

# So many entries are not left lying until the reader's next look: what waits costs the garbage collector.
CROWDED = 256


class ProgressSpanProcessor(SpanProcessor):
    """Tells the inbox of every span that starts or ends while an operation runs.

    Both calls are O(1), take no lock, do no I/O and never raise; spans that belong to no operation are sorted
    out by the reader. `shutdown` is ignored: progress goes on when an application shuts its provider down.
    """

    def __init__(self, inbox: Inbox, wake: "SimpleQueue[None]") -> None:
        self._inbox = inbox
        self._wake = wake
        self.pulse: Pulse | None = None  # set while a watcher reads it
        self.faults = 0

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Called by the SDK, in the thread that opens the span."""
        try:
            checkpoint = sighting.opening
            if checkpoint is not None:
                if checkpoint.seen:
                    return
                checkpoint.seen = True
                # Set before the entry is visible: the reader may be faster than `start_span` returns.
                checkpoint.span = span
                checkpoint.ids = span.context
                checkpoint.started_ns = span.start_time or 0
                checkpoint.began_monotonic_ns = time.monotonic_ns()
                self._inbox.append(checkpoint)
                pulse = self.pulse
                if pulse is not None and checkpoint.word not in CONTAINERS and checkpoint.parent is not None:
                    pulse.begin_step(checkpoint.attributes)
            elif active_operations():
                self._inbox.append((Happening.SPAN_STARTED, span, time.monotonic_ns()))
        except Exception:
            self._contain("on_start")

    def on_end(self, span: ReadableSpan) -> None:
        """Called by the SDK, in the thread that ends the span."""
        try:
            checkpoint = sighting.closing
            if checkpoint is not None:
                if checkpoint.seen:
                    checkpoint.seen = False  # told once, also where an application added us twice
                    checkpoint.ended_ns = span.end_time
                    checkpoint.export_place = getattr(span, "export_place", None)
                    # Our own tracer's span has the checkpoint's until somebody adds to them, the SDK's a copy.
                    attributes = span._attributes
                    if attributes is not checkpoint.attributes:
                        checkpoint.notice(attributes)
                    inbox = self._inbox
                    checkpoint.ended_monotonic_ns = time.monotonic_ns()
                    inbox.append(checkpoint)
                    if len(inbox) == CROWDED:
                        self._wake.put(None)
                    pulse = self.pulse
                    if pulse is not None:
                        pulse.end_step()
            elif active_operations():
                self._inbox.append((Happening.SPAN_ENDED, span, time.monotonic_ns()))
        except Exception:
            self._contain("on_end")

    def _contain(self, where: str) -> None:
        self.faults += 1
        if self.faults == 1:
            faults.report(
                logger, "progress of this span is lost: %s failed; further faults are only counted", where
            )

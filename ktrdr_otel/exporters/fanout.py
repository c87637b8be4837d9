"""The processors of our own provider, called without the SDK's detours."""

from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, SynchronousMultiSpanProcessor


class FixedFanout(SynchronousMultiSpanProcessor):
    """Processors that are all known when the provider is made, as its only ones.

    The SDK's own loop costs a private provider, whose two processors only append to a deque, more than they do
    (`tests/benchmarks/checkpoint_cost`). None of them has anything to do while a span is ending.
    """

    def __init__(self, processors: Sequence[SpanProcessor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # the SDK leaves it without annotations
        for processor in processors:
            self.add_span_processor(processor)
        self._on_start = [processor.on_start for processor in processors]
        self._on_end = [processor.on_end for processor in processors]

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Every processor hears of the start."""
        for on_start in self._on_start:
            on_start(span, parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        """Every processor hears of the end."""
        for on_end in self._on_end:
            on_end(span)

    def _on_ending(self, span: Span) -> None:
        pass

"""What does a checkpoint cost, beside a bare span of the same attributes?

A whole checkpoint, with processor, bridge, manager, store and exporter thread at work, against
`start_as_current_span` under a BatchSpanProcessor. Both export to the same exporter, which throws away. `ratio`
compares what the observed loop takes while the background threads of each side work beside it; `ratio_to_the_end`
adds the wait until all that the loop left behind has been processed and stored.
"""

import time
from collections.abc import Sequence

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from ktrdr_otel import semconv

UNITS = 10_000
PAIRS = 12
TURNS = 200_000
TRACK_PAIRS = 12


class Discard(SpanExporter):
    """Takes every span and keeps none."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Nothing is left of them."""
        return SpanExportResult.SUCCESS


def main() -> None:
    """The figures are printed."""
    provider = TracerProvider()
    batch = BatchSpanProcessor(Discard(), max_queue_size=2 * UNITS)
    provider.add_span_processor(batch)
    tracer = provider.get_tracer("bare")

    def bare() -> tuple[float, float]:
        began = time.perf_counter()
        with tracer.start_as_current_span("timeframe 1h"):
            for index in range(1, UNITS + 1):
                with tracer.start_as_current_span(
                    "computing_indicator RSI",
                    attributes={
                        semconv.OPERATION_ID: "bench",
                        semconv.PROGRESS_TYPE: semconv.INDICATOR_COMPUTATION,
                        semconv.STEP: semconv.COMPUTING_INDICATOR,
                        semconv.SYMBOL_NAME: "AAPL",
                        semconv.SYMBOL_INDEX: 2,
                        semconv.SYMBOL_TOTAL: 5,
                        semconv.TIMEFRAME: "1h",
                        semconv.ITEM_NAME: "RSI",
                        semconv.ITEM_INDEX: index,
                        semconv.ITEM_TOTAL: UNITS,
                    },
                ):
                    pass
        looped = time.perf_counter()
        batch.force_flush()
        return looped - began, time.perf_counter() - began

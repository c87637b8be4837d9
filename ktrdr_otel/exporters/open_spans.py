"""The spans that are open, as the exporter thread knows them."""

from opentelemetry.sdk.trace import ReadableSpan, Span


class OpenSpans:
    """Added by whichever thread opens a span, at the price of a dict entry; taken off by the exporter thread alone.

    A span whose end waits to be sorted is still in here. At most `most` are known: those beyond are exported when they
    end, as ever, but are not shown while they are open.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._spans: dict[int, Span] = {}

    def __len__(self) -> int:
        return len(self._spans)

    def add(self, span_id: int, span: Span) -> None:
        """The span is open. Called in any thread, also by the garbage collector: one C call, no lock."""
        if len(self._spans) < self._most:
            self._spans[span_id] = span

    def get(self, span_id: int) -> Span | None:
        """The span, if it has not been seen to end."""
        return self._spans.get(span_id)

    def remove(self, span_id: int) -> bool:
        """Whether the span was known; it is not any more."""
        return self._spans.pop(span_id, None) is not None

    def in_order(self) -> list[ReadableSpan]:
        """The open spans, roughly in the order in which they began."""
        # Of a copy, which is made in one C call: another thread may open a span at any moment.
        return list(self._spans.copy().values())

    def forget(self) -> None:
        """In the child of a fork: what the parent has open is the parent's."""
        self._spans = {}

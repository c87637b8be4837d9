"""What became of one export: more than success or failure, so that a poisonous batch is no outage."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult


class Fate(Enum):
    """What the queue does next with a batch."""

    DELIVERED = "delivered"
    UNREACHABLE = "unreachable"  # nobody has taken it, and that says nothing about the batch: keep and retry
    FAILED = "failed"  # the exporter does not say why: retry, and suspect the batch in the end
    INDIGESTIBLE = "indigestible"  # something in this batch is at fault: look for it
    REFUSED = "refused"  # the receiver wants none of it, whatever the batch


@dataclass(frozen=True, slots=True)
class Delivery:
    """The fate of one batch; `rejected` spans of a delivered batch were not stored by the receiver."""

    fate: Fate
    rejected: int = 0
    error: str | None = None


class AccountableExporter(SpanExporter):
    """An exporter that can say what became of a batch."""

    @abstractmethod
    def deliver(self, spans: Sequence[ReadableSpan]) -> Delivery:
        """What became of the batch; may raise."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """The SDK's answer to the same question."""
        delivered = self.deliver(spans).fate is Fate.DELIVERED
        return SpanExportResult.SUCCESS if delivered else SpanExportResult.FAILURE


def is_archive(exporter: SpanExporter) -> bool:
    """Whether it keeps spans for later and is to get each once, when it has ended."""
    return bool(getattr(exporter, "is_archive", False))


def deliver(exporter: SpanExporter, spans: Sequence[ReadableSpan]) -> Delivery:
    """What became of the batch; an exporter that raises has met something it cannot digest."""
    try:
        if isinstance(exporter, AccountableExporter):
            return exporter.deliver(spans)
        if exporter.export(spans) is SpanExportResult.SUCCESS:
            return Delivery(Fate.DELIVERED)
        return Delivery(Fate.FAILED, error=f"{type(exporter).__name__} reported a failure")
    except Exception as error:
        return Delivery(Fate.INDIGESTIBLE, error=f"{type(error).__name__}: {error}")

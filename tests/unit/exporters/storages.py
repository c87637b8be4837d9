"""Receivers that keep spans as real storages do, and what a reader finds in them."""

import dataclasses
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

from ktrdr_otel import semconv
from ktrdr_otel.exporters.delivery import AccountableExporter, Delivery, Fate
from ktrdr_otel.exporters.records import final_span_id
from ktrdr_otel.operations.trace_export import TraceReceiver


class Answer(Enum):
    """What a receiver does with one request."""

    TAKEN = "taken"
    UNREACHED = "unreached"  # it never arrives
    HALF = "half"  # it is stored, and the answer is lost
    REFUSED = "refused"
    INDIGESTIBLE = "indigestible"
    FAILED = "failed"
    PARTIAL = "partial"  # answered as stored, but one of its spans was not


_FATES = {
    Answer.TAKEN: Fate.DELIVERED,
    Answer.UNREACHED: Fate.UNREACHABLE,
    Answer.HALF: Fate.UNREACHABLE,
    Answer.REFUSED: Fate.REFUSED,
    Answer.INDIGESTIBLE: Fate.INDIGESTIBLE,
    Answer.FAILED: Fate.FAILED,
    Answer.PARTIAL: Fate.DELIVERED,
}


class Storage(AccountableExporter):
    """Keeps every record in the order of arrival; answers as it is told, and takes all once nothing is left to say."""

    target = "the storage"
    receiver = TraceReceiver(protocol="http/protobuf", endpoint="http://the.storage")

    def __init__(self, answers: Sequence[Answer] = ()) -> None:
        self.answers = deque(answers)
        self.received: list[ReadableSpan] = []
        self.meanwhile: Callable[[], None] | None = None  # happens once, while a request is under way
        self.after_request: Callable[[], None] = lambda: None

    def deliver(self, spans: Sequence[ReadableSpan]) -> Delivery:
        """As the next answer says."""
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            meanwhile()
        answer = self.answers.popleft() if self.answers else Answer.TAKEN
        if answer in (Answer.TAKEN, Answer.HALF):
            self.received += spans
        elif answer is Answer.PARTIAL:
            self.received += spans[1:]
        self.after_request()
        return Delivery(_FATES[answer], rejected=1 if answer is Answer.PARTIAL else 0)


@dataclass(frozen=True)
class Seen:
    """A span as a reader finds it."""

    name: str
    parent: int | None
    start_ns: int | None
    end_ns: int | None
    status: str
    message: str | None
    events: tuple[str, ...]
    attributes: Mapping[str, Any] = field(hash=False)


def plain(span: ReadableSpan) -> Seen:
    """The span as it says itself."""
    return Seen(
        span.name,
        None if span.parent is None else span.parent.span_id,
        span.start_time,
        span.end_time,
        span.status.status_code.name,
        span.status.description,
        tuple(event.name for event in span.events),
        dict(span.attributes or {}),
    )


def last_written(records: Sequence[ReadableSpan]) -> dict[int, Seen]:
    """As Badger keeps them: of the same trace, start and span id the last one wins."""
    kept = {(id_of(record), (record.start_time or 0) // 1000): plain(record) for record in records}
    assert len(kept) == len({span_id for span_id, _ in kept}), "one span with two starts"
    return {span_id: seen for (span_id, _), seen in kept.items()}


def folded(records: Sequence[ReadableSpan]) -> dict[int, Seen]:
    """As a storage that keeps every record is read."""
    return fold({id_of(record): plain(record) for record in records})


def fold(kept: Mapping[int, Seen]) -> dict[int, Seen]:
    """Each final child as the end of the span whose marker is its parent; what it says beside its end stays."""
    finals = {final_span_id(span_id): span_id for span_id in kept}
    spans = {span_id: span for span_id, span in kept.items() if span_id not in finals}
    for final_id, span_id in finals.items():
        if final_id not in kept:
            continue
        final = kept[final_id]
        assert final.parent == span_id
        attributes = dict(final.attributes)
        if attributes[semconv.SPAN_STATE] == semconv.STATE_FINISHED:
            del attributes[semconv.SPAN_STATE]
        spans[span_id] = dataclasses.replace(final, parent=kept[span_id].parent, attributes=attributes)
    return spans


def id_of(record: ReadableSpan) -> int:
    """Its span id."""
    context = record.get_span_context()
    assert context is not None
    return context.span_id


def state_of(record: ReadableSpan) -> Any:
    """Its `ktrdr.span.state`, None where it has none."""
    return (record.attributes or {}).get(semconv.SPAN_STATE)

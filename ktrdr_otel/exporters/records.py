"""What is exported of a span that was shown open: snapshots, markers, and the final records that are owed to them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self, TypeVar

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext, Status, StatusCode
from opentelemetry.util.types import AttributeValue

from ktrdr_otel.semconv import SPAN_STATE, STATE_FINISHED, STATE_IN_PROGRESS, STATE_LOST, STATE_STARTED

RecordT = TypeVar("RecordT", bound=ReadableSpan)

_64_BITS: Final = (1 << 64) - 1
_MARKER_NS: Final = 1_000  # how long a marker is: backends count in microseconds
_NEVER_ENDED: Final = "its program left it open"


@dataclass(slots=True, eq=False)
class Showing:
    """What a receiver may have of a span that is open."""

    next_ns: int = 0  # when it is due again
    may_have_arrived: bool = False
    is_certain: bool = True  # every request that held it was answered


class OwedRecord(ReadableSpan):
    """A record about a span that was sent to be shown open: a marker, or the end that it then has to get.

    It must arrive if the receiver may have been shown the span. With `again` a request of unknown outcome may still
    bring an older record of the span, so this one is sent a second time once that can no longer be.
    """

    export_place: int | None = None
    again: bool = False
    is_marker: bool = False
    showing: Showing | None = None
    plain: ReadableSpan | None = None  # what a marker's end is where the marker never got there

    @property
    def must_arrive(self) -> bool:
        """Whether the receiver would otherwise show a span as open that is not."""
        return self.showing is None or self.showing.may_have_arrived

    def was_sent(self) -> None:
        """It may have arrived."""
        if self.is_marker and self.showing is not None:
            self.showing.may_have_arrived = True

    @classmethod
    def of(cls, span: ReadableSpan) -> Self:
        """The finished span itself, to the count of its dropped attributes, as a record that must arrive."""
        record = cls(
            name=span.name,
            context=span.context,
            parent=span.parent,
            resource=span.resource,
            # As they are: the public properties are copies that have forgotten what was dropped.
            attributes=span._attributes,
            events=span._events,
            links=span._links,
            kind=span.kind,
            status=span.status,
            start_time=span.start_time,
            end_time=span.end_time,
            instrumentation_scope=span.instrumentation_scope,
        )
        record.export_place = getattr(span, "export_place", None)
        return record

    def bare(self) -> Self:
        """The same without what a receiver might choke on: its identity, times, status and state are left."""
        state = (self.attributes or {}).get(SPAN_STATE)
        record = _copy(
            self,
            type(self),
            attributes={} if state is None else {SPAN_STATE: state},
            end_time=self.end_time,
            status=Status(self.status.status_code),
            with_events=False,
        )
        record.export_place, record.again = self.export_place, self.again
        record.is_marker, record.showing = self.is_marker, self.showing
        return record


def final_span_id(span_id: int) -> int:
    """The id of the record that closes the span's marker.

    Made from the span's own (by the finalizer of SplitMix64, a bijection) and not drawn: whoever closes a trace
    after a death says it under the id under which the worker would have, so that neither doubles the other.
    """
    mixed = (span_id + 0x9E3779B97F4A7C15) & _64_BITS
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _64_BITS
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _64_BITS
    return (mixed ^ (mixed >> 31)) or 1


def snapshot(span: ReadableSpan, now_ns: int, progress: Mapping[str, AttributeValue]) -> ReadableSpan:
    """The open span as it is now, under its own ids: where the last write wins, its end replaces it."""
    return _copy(
        span,
        ReadableSpan,
        attributes={**(span.attributes or {}), **progress, SPAN_STATE: STATE_IN_PROGRESS},
        end_time=max(now_ns, _shortest(span)),
    )


def marker(span: ReadableSpan, showing: Showing) -> OwedRecord:
    """The open span's place in the tree, where every record is kept: a short finished span of its own ids."""
    record = _copy(
        span,
        OwedRecord,
        attributes={**(span.attributes or {}), SPAN_STATE: STATE_STARTED},
        end_time=_shortest(span),
        with_events=False,
    )
    record.is_marker, record.showing = True, showing
    return record


def final_of_marker(span: ReadableSpan, showing: Showing) -> OwedRecord:
    """The true end of a span that was marked, as the child of its marker."""
    record = OwedRecord.of(span)
    record.showing, record.plain = showing, span
    record._attributes = {SPAN_STATE: STATE_FINISHED, **(span.attributes or {})}  # a cancelled one stays so
    return under_its_marker(record)


def final_of_snapshot(span: ReadableSpan, showing: Showing) -> OwedRecord:
    """The span as it ended, which has to replace what was shown of it."""
    record = OwedRecord.of(span)
    record.showing, record.again = showing, not showing.is_certain
    return record


def left_open(span: ReadableSpan, showing: Showing, now_ns: int, *, is_marked: bool) -> OwedRecord:
    """The end of a span that was shown open and that its program never ended."""
    record = _copy(
        span,
        OwedRecord,
        attributes={**(span.attributes or {}), SPAN_STATE: STATE_LOST},
        end_time=max(now_ns, _shortest(span)),
        status=Status(StatusCode.ERROR, _NEVER_ENDED),
    )
    record.showing, record.again = showing, not showing.is_certain
    return under_its_marker(record) if is_marked else record


def under_its_marker(record: OwedRecord) -> OwedRecord:
    """The record, which had the ids of a marked span, as the child of the marker."""
    marked = record.context
    assert marked is not None
    record._parent = marked
    record._context = SpanContext(
        marked.trace_id,
        final_span_id(marked.span_id),
        is_remote=False,
        trace_flags=marked.trace_flags,
        trace_state=marked.trace_state,
    )
    return record


def _shortest(span: ReadableSpan) -> int:
    return (span.start_time or 0) + _MARKER_NS


def _copy(
    span: ReadableSpan,
    kind: type[RecordT],
    *,
    attributes: Mapping[str, AttributeValue],
    end_time: int | None,
    status: Status | None = None,
    with_events: bool = True,
) -> RecordT:
    return kind(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=attributes,
        events=span.events if with_events else (),
        links=span.links if with_events else (),
        kind=span.kind,
        status=span.status if status is None else status,
        start_time=span.start_time,
        end_time=end_time,
        instrumentation_scope=span.instrumentation_scope,
    )

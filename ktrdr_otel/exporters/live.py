"""How open spans are shown to one receiver: not at all, as snapshots, or as markers. What a storage keeps decides."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from itertools import islice
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanContext
from opentelemetry.util.types import AttributeValue

from ktrdr_otel.exporters import records
from ktrdr_otel.exporters.marks import Marks
from ktrdr_otel.exporters.open_spans import OpenSpans
from ktrdr_otel.exporters.records import OwedRecord, Showing
from ktrdr_otel.semconv import OPERATION_ID

_SECOND_NS: Final = 1_000_000_000
SNAPSHOT_AFTER_NS: Final = 1 * _SECOND_NS  # shorter spans are seen when they end
SNAPSHOT_EVERY_NS: Final = 5 * _SECOND_NS
MARKER_AFTER_NS: Final = 5 * _SECOND_NS
KNOWN_AFTER_NS: Final = 1 * _SECOND_NS  # four times what an operation's store may be behind

# What is known of a span's progress beside its own attributes; called by the exporter thread.
Describe = Callable[[ReadableSpan], Mapping[str, AttributeValue]]


class Answer(Enum):
    """What is known of a request that held snapshots."""

    TAKEN = "taken"
    REFUSED = "refused"  # the receiver has none of it
    UNKNOWN = "unknown"  # it may have it, now or later


class LiveMode(StrEnum):
    """How open spans are shown."""

    SNAPSHOT = "snapshot"  # where the last write wins: Jaeger with Badger
    MARKERS = "markers"  # where every record is kept: all others
    OFF = "off"  # spans are seen when they end


@dataclass(frozen=True, slots=True)
class Leading:
    """What has to leave before or with a batch, outermost first."""

    markers: Sequence[OwedRecord] = ()  # new records
    waiting: Sequence[ReadableSpan] = ()  # records that wait behind the batch


class View:
    """What one receiver has been shown of the open spans, here nothing; used by the exporter thread alone."""

    def first_held(
        self, pending: Iterable[ReadableSpan], most: int, known_ns: int, now_ns: int
    ) -> tuple[int, ReadableSpan] | None:
        """The first of `most` records that has to wait, and the open span around it that it waits for.

        That is one whose store need not know it yet: it began after `known_ns`, and not after `now_ns`.
        """
        return None

    def leading(self, batch: Sequence[ReadableSpan], behind: Sequence[ReadableSpan]) -> Leading:
        """What the receiver needs so that no parent of the batch is missing."""
        return Leading()

    def markers_due(self, now_ns: int) -> Sequence[OwedRecord]:
        """Markers of spans that have been open for long, outermost first; they have to leave in this order."""
        return ()

    def snapshots_due(self, now_ns: int, describe: Describe, most: int) -> Sequence[ReadableSpan]:
        """Snapshots of spans that are open at this very moment: to be sent at once or thrown away."""
        return ()

    def answered(self, snapshots: Sequence[ReadableSpan], now_ns: int, answer: Answer) -> None:
        """The snapshots were sent, and that was the receiver's answer."""

    def final(self, span: ReadableSpan) -> ReadableSpan:
        """The record by which the receiver learns that the span has ended."""
        return span

    def has_shown(self, span_id: int) -> bool:
        """Whether the receiver may believe that the span is open."""
        return False

    def not_shown(self, marker: OwedRecord) -> None:
        """The marker was refused: the receiver knows nothing of its span."""

    def left_open(self, spans: Sequence[ReadableSpan], now_ns: int) -> Sequence[OwedRecord]:
        """The ends of those of the spans that were shown open: nobody will end them any more."""
        return ()

    def due_ns(self, now_ns: int) -> int | None:
        """Nanoseconds until something that is open has to be shown again; None if nothing has."""
        return None


class Snapshots(View):
    """An open span is sent again and again under its own ids, and its end replaces what was there.

    A snapshot is made and sent in one breath and never kept, by the thread that sends the ends: so none can leave
    after the end of its span.
    """

    def __init__(self, open_spans: OpenSpans) -> None:
        self._open = open_spans
        self._shown: dict[int, Showing] = {}

    def snapshots_due(self, now_ns: int, describe: Describe, most: int) -> Sequence[ReadableSpan]:
        """Of each span that has been open for a second, every five seconds."""
        due: list[ReadableSpan] = []
        for span in self._open.in_order():
            if len(due) == most:
                break
            context = span.context
            if context is None or span.end_time is not None or now_ns < self._next_ns(span, context):
                continue
            self._shown.setdefault(context.span_id, Showing(now_ns))
            due.append(records.snapshot(span, now_ns, describe(span)))
        return due

    def answered(self, snapshots: Sequence[ReadableSpan], now_ns: int, answer: Answer) -> None:
        """Each of them is due again in five seconds."""
        for span in snapshots:
            shown = self._shown.get(_id(span.context))
            if shown is not None:
                shown.next_ns = now_ns + SNAPSHOT_EVERY_NS
                shown.may_have_arrived |= answer is not Answer.REFUSED
                shown.is_certain &= answer is not Answer.UNKNOWN

    def final(self, span: ReadableSpan) -> ReadableSpan:
        """The span itself, owed if it was shown."""
        shown = self._shown.pop(_id(span.context), None)
        return span if shown is None else records.final_of_snapshot(span, shown)

    def has_shown(self, span_id: int) -> bool:
        """Whether a snapshot of it may have arrived."""
        return span_id in self._shown and self._shown[span_id].may_have_arrived

    def left_open(self, spans: Sequence[ReadableSpan], now_ns: int) -> Sequence[OwedRecord]:
        """Under their own ids, in place of their snapshots."""
        return _left_open(spans, self._shown, now_ns, is_marked=False)

    def due_ns(self, now_ns: int) -> int | None:
        """Until the next span is old enough."""
        waits = [
            self._next_ns(span, span.context) - now_ns
            for span in self._open.in_order()
            if span.context is not None and span.end_time is None
        ]
        return max(0, min(waits)) if waits else None

    def _next_ns(self, span: ReadableSpan, context: SpanContext) -> int:
        shown = self._shown.get(context.span_id)
        return (span.start_time or 0) + SNAPSHOT_AFTER_NS if shown is None else shown.next_ns


class Markers(View):
    """An open span is sent once, as a short finished span of its own ids, and its end as a child of that.

    It is marked when it has been open for five seconds or when something that finished inside it leaves, so that
    no receiver ever sees a child without its parent.
    """

    def __init__(self, open_spans: OpenSpans, marks: Marks) -> None:
        self._open = open_spans
        self._marked: dict[int, Showing] = {}
        self._told = marks  # for whoever has to know them after a death

    def first_held(
        self, pending: Iterable[ReadableSpan], most: int, known_ns: int, now_ns: int
    ) -> tuple[int, ReadableSpan] | None:
        """The first that would bring the marker of a span of an operation whose store may not know the span.

        After a death nobody could close such a marker.
        """
        ended = _Ended(pending)
        for index, span in enumerate(islice(pending, most)):
            for outer in self._around(span, ended):
                is_young = outer.end_time is None and known_ns < (outer.start_time or 0) <= now_ns
                if is_young and OPERATION_ID in (outer.attributes or {}):
                    return index, outer
        return None

    def leading(self, batch: Sequence[ReadableSpan], behind: Sequence[ReadableSpan]) -> Leading:
        """Markers of the open spans around the batch, and what ended around it but waits behind it."""
        markers: list[OwedRecord] = []
        waiting: list[ReadableSpan] = []
        ended = _Ended(behind)
        for span in batch:
            for outer in reversed(self._around(span, ended)):
                if self._is_open(outer):
                    markers.append(self._mark(outer))
                else:
                    waiting.append(outer)
        return Leading(markers, waiting)

    def markers_due(self, now_ns: int) -> Sequence[OwedRecord]:
        """Of each span that has been open for five seconds, and of those around it."""
        old: list[ReadableSpan] = []
        for span in self._open.in_order():
            if (span.start_time or 0) > now_ns - MARKER_AFTER_NS:
                continue
            if _id(span.context) not in self._marked:
                old.append(span)
        outer = [each for span in old for each in self.leading([span], ()).markers]
        return [*outer, *(self._mark(span) for span in old if _id(span.context) not in self._marked)]

    def final(self, span: ReadableSpan) -> ReadableSpan:
        """The span itself, or the child of its marker."""
        showing = self._marked.pop(_id(span.context), None)
        return span if showing is None else records.final_of_marker(span, showing)

    def has_shown(self, span_id: int) -> bool:
        """Whether it was marked."""
        return span_id in self._marked

    def not_shown(self, marker: OwedRecord) -> None:
        """Its span may be marked again, and ends as itself if it is not."""
        self._marked.pop(_id(marker.context), None)
        self._tell(marker, is_marked=False)

    def left_open(self, spans: Sequence[ReadableSpan], now_ns: int) -> Sequence[OwedRecord]:
        """As children of their markers."""
        return _left_open(spans, self._marked, now_ns, is_marked=True)

    def due_ns(self, now_ns: int) -> int | None:
        """Until the next span is old enough."""
        waits = [
            (span.start_time or 0) + MARKER_AFTER_NS - now_ns
            for span in self._open.in_order()
            if _id(span.context) not in self._marked and span.end_time is None
        ]
        return max(0, min(waits)) if waits else None

    def _around(self, span: ReadableSpan, ended: "_Ended") -> list[ReadableSpan]:
        """What is around the span and was not marked, innermost first: open, or taken from what has ended."""
        found: dict[int, ReadableSpan] = {}
        parent = span.parent
        while parent is not None and parent.span_id not in self._marked and parent.span_id not in found:
            outer = self._open.get(parent.span_id) or ended.take(parent.span_id)
            if outer is None:
                break
            found[parent.span_id] = outer
            parent = outer.parent
        return list(found.values())

    def _is_open(self, span: ReadableSpan) -> bool:
        return self._open.get(_id(span.context)) is span

    def _mark(self, span: ReadableSpan) -> OwedRecord:
        span_id = _id(span.context)
        showing = self._marked[span_id] = Showing()
        self._tell(span, is_marked=True)
        return records.marker(span, showing)

    def _tell(self, span: ReadableSpan, *, is_marked: bool) -> None:
        operation_id = (span.attributes or {}).get(OPERATION_ID)
        if isinstance(operation_id, str):
            self._told.tell(operation_id, _id(span.context), is_marked=is_marked)


class _Ended:
    """Records that wait, by span id; each is given away once."""

    def __init__(self, records: Iterable[ReadableSpan]) -> None:
        self._records = records
        self._by_id: dict[int, ReadableSpan] | None = None  # most batches ask for none

    def take(self, span_id: int) -> ReadableSpan | None:
        """The record, unless somebody has it."""
        if self._by_id is None:
            self._by_id = {_id(each.context): each for each in self._records}
        return self._by_id.pop(span_id, None)


def view_of(mode: LiveMode, open_spans: OpenSpans, marks: Marks) -> View:
    """A view for a receiver to which nothing has been shown yet."""
    match mode:
        case LiveMode.SNAPSHOT:
            return Snapshots(open_spans)
        case LiveMode.MARKERS:
            return Markers(open_spans, marks)
        case LiveMode.OFF:
            return View()


def _left_open(
    spans: Sequence[ReadableSpan], shown: Mapping[int, Showing], now_ns: int, *, is_marked: bool
) -> list[OwedRecord]:
    found = [(span, shown.get(_id(span.context))) for span in spans]
    return [
        records.left_open(span, showing, now_ns, is_marked=is_marked)
        for span, showing in found
        if showing is not None
    ]


def _id(context: SpanContext | None) -> int:
    return 0 if context is None else context.span_id

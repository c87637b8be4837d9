"""The one exporter thread: spans come in, batches leave, their results are read.

It alone sends, sorts and takes spans off the table of open ones, so no snapshot of a span can leave after its end.
No `BatchSpanProcessor`: it drops the oldest, ignores what an export returns and knows no starts.
"""

import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from queue import Empty, SimpleQueue

from opentelemetry import context as otel_context
from opentelemetry.sdk.trace import ReadableSpan, Span
from opentelemetry.sdk.trace.export import SpanExporter
from opentelemetry.util.types import AttributeValue

from ktrdr_otel import faults
from ktrdr_otel.clock import Clock, SystemClock
from ktrdr_otel.context import when_forked
from ktrdr_otel.exporters.delivery import is_archive
from ktrdr_otel.exporters.health import ExportHealth, Tally
from ktrdr_otel.exporters.lane import DropCause, Lane, place_of
from ktrdr_otel.exporters.live import LiveMode, view_of
from ktrdr_otel.exporters.marks import Marks
from ktrdr_otel.exporters.open_spans import OpenSpans
from ktrdr_otel.exporters.receivers import receiver_of

logger = logging.getLogger(__name__)

DEFAULT_MAX_QUEUE = 8192
DEFAULT_MAX_BATCH = 512
DEFAULT_INTERVAL_SECONDS = 1.0
_MOST_OPEN_TIMES = 4  # as many open spans are shown at most, times `max_queue`
_PRUNE_EVERY_NS = 1_000_000_000
_GRACE_SECONDS = 0.05  # for a thread that only has to wake up


class _Mark:
    """A place in the queue at which somebody waits for everything before it."""

    def __init__(self, *, is_last: bool = False) -> None:
        self.is_last = is_last
        self.reached = threading.Event()
        self.complete = False
        self.place = 0  # the highest place before it
        self.rejected = 0  # spans that had been rejected before it


@dataclass(frozen=True, slots=True)
class _Withdrawal:
    """A span that nobody will end, because it was never to be."""

    span_id: int


_Entry = ReadableSpan | _Mark | _Withdrawal
Progress = Callable[[], Mapping[str, AttributeValue]]


class ExportQueue:
    """Finished spans on their way to the exporters, in order, with bounded memory; open ones are shown, as `live` says.

    `started` and `ended` may be called in any thread and at any moment, also by the garbage collector inside
    this class: they only store into a dict, append to a deque and wake the thread through a reentrant C queue.
    `max_queue` spans wait for each exporter at most, and twice as many ends for being sorted while an export is on;
    ends of spans that were shown open are kept beyond that. A receiver that cannot be reached is tried again, after
    0.5 s at first and every 30 s in the end. An exporter whose `is_archive` is true gets finished spans alone.
    """

    def __init__(
        self,
        exporters: Sequence[SpanExporter],
        *,
        live: LiveMode = LiveMode.OFF,
        max_queue: int = DEFAULT_MAX_QUEUE,
        max_batch: int = DEFAULT_MAX_BATCH,
        interval_seconds: float = DEFAULT_INTERVAL_SECONDS,
        clock: Clock | None = None,
    ) -> None:
        clock = self._clock = clock or SystemClock()
        self.live = live
        self._is_live = live is not LiveMode.OFF
        self._progress_of: dict[int, Progress] = {}
        self._open = OpenSpans(_MOST_OPEN_TIMES * max_queue)
        self._marked = Marks(_MOST_OPEN_TIMES * max_queue)
        self._lanes = [
            Lane(
                exporter,
                max_queue=max_queue,
                max_batch=max_batch,
                clock=clock,
                view=view_of(LiveMode.OFF if is_archive(exporter) else live, self._open, self._marked),
            )
            for exporter in exporters
        ]
        # Open spans are to be seen within seconds, however rarely finished ones are to be sent.
        self._interval_seconds = (
            min(interval_seconds, DEFAULT_INTERVAL_SECONDS) if self._is_live else interval_seconds
        )
        self._limit = 2 * max_queue
        self._max_batch = max_batch
        self._inbox: deque[_Entry] = deque()
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._marks: deque[_Mark] = deque()
        self._next_place = count(1).__next__
        self._highest_place = 0  # of those that were sorted
        self._refused = Tally()
        self._refused_after_end = Tally()
        self._refusals_seen = 0
        self._next_prune_ns = 0
        self._taken_early: set[int] = set()
        self._faults = 0
        self._closing = False
        self._thread_ended = threading.Event()
        self._closing_lock = threading.Lock()
        _queues.add(self)
        self._thread = threading.Thread(target=self._run, name="ktrdr-otel-export", daemon=True)
        self._thread.start()

    def started(self, span: Span) -> None:
        """The exporter thread knows of the span while it is open, if it is sampled and open ones are shown."""
        context = span.context
        if self._is_live and context is not None and context.trace_flags & 1:
            self._open.add(context.span_id, span)

    def ended(self, span: ReadableSpan) -> None:
        """The span will be exported if it is sampled; counted as dropped where there is no room for it.

        From now on it has an `export_place`: 1 for the first that was taken in, and so on without a gap; 0 where it is
        not to be exported.
        """
        context = span.context
        # Never the truth of the flags: an unsampled span can carry the random-trace-id flag, 2.
        if context is None or not context.trace_flags & 1:
            span.export_place = 0  # type: ignore[attr-defined] # ours: nobody is to export it
            return
        inbox = self._inbox
        waiting = len(inbox)
        if waiting < self._limit:
            span.export_place = self._next_place()  # type: ignore[attr-defined] # ours; a wrapper for each costs more
            inbox.append(span)
            if waiting == self._max_batch:
                self._wake.put(None)
        elif self._closing:
            self._refused_after_end.add()
        else:
            self._refused.add()

    def knows(self, span_id: int) -> bool:
        """Whether the span is open and would be shown."""
        return self._open.get(span_id) is not None

    def withdraw(self, span_id: int) -> None:
        """The open span was never there, and nobody will end it."""
        self._inbox.append(_Withdrawal(span_id))

    def tell_progress(self, span_id: int, progress: Progress) -> None:
        """What `progress` says, in the exporter thread, is on each snapshot of that span until it ends."""
        self._progress_of[span_id] = progress

    @property
    def confirmed(self) -> int:
        """The place up to which all spans have left for good, to every receiver that others could send to as well."""
        lanes = [lane for lane in self._lanes if receiver_of(lane.exporter) is not None]
        return min((lane.places.confirmed for lane in lanes), default=0)

    @property
    def exporters(self) -> list[SpanExporter]:
        """Those to which spans go."""
        return [lane.exporter for lane in self._lanes]

    def take_marked(self, operation_id: str) -> dict[int, bool]:
        """The operation's spans that were marked since the last call, or whose marker was refused after all."""
        return self._marked.take(operation_id)

    def flush(self, timeout_seconds: float) -> bool:
        """Whether all that waited at the call was delivered to every exporter within the time."""
        if self._closing:
            return not self._waiting()
        mark = _Mark()
        self._inbox.append(mark)
        self._wake.put(None)
        return mark.reached.wait(timeout_seconds) and mark.complete

    def shutdown(self, timeout_seconds: float) -> bool:
        """The thread has ended, or is left alone after the time; what still waits is counted as dropped.

        Whether everything was delivered. A second call changes nothing.
        """
        with self._closing_lock:
            if self._closing:
                return not self._waiting()
            deadline = time.monotonic() + timeout_seconds
            mark = _Mark(is_last=True)
            self._inbox.append(mark)
            self._wake.put(None)
            complete = mark.reached.wait(timeout_seconds) and mark.complete
            self._closing = True
            self._is_live = False
            self._limit = 0
        self._wake.put(None)
        # A thread that hangs in an export is left behind: a daemon, whose doings a closed lane ignores.
        self._thread_ended.wait(max(_GRACE_SECONDS, deadline - time.monotonic()))
        for lane in self._lanes:
            lane.close()
        self._sort()
        for lane in self._lanes:
            _close_exporter(lane)
        return complete

    def health(self) -> ExportHealth:
        """How the export fares at this moment."""
        dropped = {cause: sum(lane.dropped[cause] for lane in self._lanes) for cause in DropCause}
        dropped[DropCause.QUEUE_FULL] += self._refused.value * len(self._lanes)
        dropped[DropCause.SHUTDOWN] += self._refused_after_end.value * len(self._lanes)
        errors = [lane.last_error for lane in self._lanes if lane.last_error]
        return ExportHealth(
            queued=self._waiting(),
            open_spans=len(self._open),
            exported=sum(lane.exported for lane in self._lanes),
            dropped=dropped,
            failures=sum(lane.failures for lane in self._lanes),
            last_error=errors[-1] if errors else None,
        )

    def forget_after_fork(self) -> None:
        """In a forked child: the queue is closed and empty; what it held is the parent's to export."""
        self._limit = 0
        self._closing = True
        self._inbox = deque()
        self._wake = SimpleQueue()
        self._open.forget()
        self._marked.forget()
        self._marks = deque()
        # Another thread of the parent may have held a lock at the fork.
        self._closing_lock = threading.Lock()
        self._refused = Tally()
        self._refused_after_end = Tally()
        for lane in self._lanes:
            lane.forget()

    def _waiting(self) -> int:
        unsorted = sum(isinstance(entry, ReadableSpan) for entry in self._inbox.copy())
        return sum(lane.waiting + unsorted for lane in self._lanes)

    def _run(self) -> None:
        # Instrumented HTTP and gRPC clients would make spans of our exports, which we would export.
        otel_context.attach(otel_context.set_value(otel_context._SUPPRESS_INSTRUMENTATION_KEY, True))
        while not self._closing:
            try:
                pause_seconds = self._turn()
            except Exception:
                pause_seconds = self._interval_seconds
                self._note_fault("the exporter thread met a fault")
            if pause_seconds and not self._closing:
                self._sleep(pause_seconds)
        self._thread_ended.set()

    def _turn(self) -> float:
        """One batch per exporter has been tried; the seconds until there is something to do again."""
        self._sort()
        for lane in self._lanes:
            if lane.wait_ns() == 0:
                lane.send(self._described)
        self._answer_marks()
        waits = [wait / 1e9 for lane in self._lanes if (wait := lane.wait_ns()) is not None]
        return min([self._interval_seconds, *waits])

    def _sleep(self, seconds: float) -> None:
        try:
            self._wake.get(timeout=seconds)
            while True:
                self._wake.get_nowait()
        except Empty:
            return

    def _sort(self) -> None:
        """Everything in the inbox is in the table of open spans, in the lanes, or answered."""
        inbox = self._inbox
        for _ in range(len(inbox)):
            try:
                entry = inbox.popleft()
            except IndexError:  # the exporter thread and a shutdown met here
                return
            if isinstance(entry, ReadableSpan):
                self._take_end(entry)
            elif isinstance(entry, _Mark):
                self._take_mark(entry)
            else:
                self._take_withdrawal(entry.span_id)
        now_ns, refusals = self._clock.wall_ns(), self._refused.value
        if refusals != self._refusals_seen:
            self._refusals_seen = refusals
            self._prune(now_ns)
        elif now_ns >= self._next_prune_ns:
            self._next_prune_ns = now_ns + _PRUNE_EVERY_NS
            self._prune(now_ns - _PRUNE_EVERY_NS)

    def _take_end(self, span: ReadableSpan) -> None:
        span_id = _span_id(span)
        self._highest_place = max(self._highest_place, place_of(span) or 0)
        self._open.remove(span_id)
        self._progress_of.pop(span_id, None)
        if span_id in self._taken_early:
            self._taken_early.discard(span_id)
            for lane in self._lanes:
                lane.places.settle(place_of(span))
            return
        for lane in self._lanes:
            lane.add(span)

    def _take_withdrawal(self, span_id: int) -> None:
        span = self._open.get(span_id)
        self._progress_of.pop(span_id, None)
        if span is not None and self._open.remove(span_id):
            for lane in self._lanes:
                lane.abandon(span)

    def _prune(self, ended_before_ns: int) -> None:
        """Spans that have ended although nobody said so are not open; those that were shown get their ends.

        The end of one was refused because too many waited, or it was lost in another processor that raised.
        """
        for span in self._open.in_order():
            if span.end_time is None or span.end_time > ended_before_ns:
                continue
            span_id = _span_id(span)
            self._open.remove(span_id)
            if any(lane.view.has_shown(span_id) for lane in self._lanes):
                self._taken_early.add(span_id)  # it may have found room after all, and come a second time
                for lane in self._lanes:
                    lane.add(span)

    def _take_mark(self, mark: _Mark) -> None:
        mark.place = self._highest_place
        mark.rejected = self._rejected()
        for lane in self._lanes:
            lane.try_now()
            if mark.is_last:
                self._prune(self._clock.wall_ns())
                lane.conclude(self._open.in_order())
        self._marks.append(mark)

    def _answer_marks(self) -> None:
        while self._marks:
            mark = self._marks[0]
            for lane in self._lanes:
                if not (lane.has_tried_all() if mark.is_last else lane.has_tried_up_to(mark.place)):
                    return
            mark.complete = self._rejected() == mark.rejected and not any(lane.owes for lane in self._lanes)
            self._marks.popleft()
            mark.reached.set()

    def _rejected(self) -> int:
        return sum(lane.dropped[DropCause.REJECTED] for lane in self._lanes)

    def _described(self, span: ReadableSpan) -> Mapping[str, AttributeValue]:
        progress = self._progress_of.get(_span_id(span))
        if progress is None:
            return {}
        try:
            return progress()
        except Exception:
            self._note_fault("the progress of an open span cannot be told")
            return {}

    def _note_fault(self, what: str) -> None:
        self._faults += 1
        if self._faults == 1:
            faults.report(logger, "%s; the export goes on, further faults are only counted", what)


def _span_id(span: ReadableSpan) -> int:
    context = span.context
    return 0 if context is None else context.span_id


def _close_exporter(lane: Lane) -> None:
    try:
        lane.exporter.shutdown()
    except Exception as error:
        logger.warning("%s did not shut down cleanly: %s: %s", lane.name, type(error).__name__, error)


_queues: "weakref.WeakSet[ExportQueue]" = weakref.WeakSet()


def queue_that_knows(span_id: int) -> ExportQueue | None:
    """The queue of this process, if any, that shows the span while it is open."""
    return next((queue for queue in list(_queues) if queue.knows(span_id)), None)


def _forget_all_after_fork() -> None:
    for queue in list(_queues):
        queue.forget_after_fork()


when_forked(_forget_all_after_fork)
